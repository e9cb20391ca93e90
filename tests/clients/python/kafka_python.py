"""kafka-python against the broker at argv[1], with topics that start with argv[2]."""

import time

import kafka
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka import errors
from kafka.admin import ConfigResource, ConfigResourceType

import records as r

SECONDS = 30


def producer(bootstrap, **extra):
    return KafkaProducer(bootstrap_servers=bootstrap, linger_ms=5, **extra)


def produce_all(p, topic, start, numbers, partition=r.partition):
    sent = {
        i: p.send(topic, key=r.key(i), value=r.value(i), headers=r.headers(i), partition=partition(i),
                  timestamp_ms=r.timestamp(i, start))
        for i in numbers
    }
    offsets = {i: future.get(SECONDS).offset for i, future in sent.items()}
    p.close()
    return offsets


def read(c, topic, partition, offset, count):
    tp = TopicPartition(topic, partition)
    c.assign([tp])
    c.seek(tp, offset)
    found, deadline = [], time.time() + SECONDS
    while len(found) < count and time.time() < deadline:
        found += c.poll(timeout_ms=500).get(tp, [])
    r.expect(f"{topic}-{partition} from {offset}: records", len(found), count)
    return found


def check_messages(what, messages, numbers, start, first_offset):
    r.expect(f"{what}: count", len(messages), len(numbers))
    for at, (message, i) in enumerate(zip(messages, numbers)):
        r.expect(f"{what}: offset", message.offset, first_offset + at)
        r.check(what, i, start, (message.key, message.value, list(message.headers), message.timestamp))


def error_of(action, *args, **named):
    try:
        action(*args, **named)
    except errors.KafkaError as error:
        return type(error).__name__
    return "none"


def main(bootstrap, prefix):
    report = r.Report("kafka-python", kafka.__version__)
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    start = int(time.time() * 1000) - 3_600_000

    def create(topic, partitions=1, configs=None, **named):
        return admin.create_topics(
            {topic: {"num_partitions": partitions, "replication_factor": 1, "configs": configs or {}}}, **named)

    c = KafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="none", enable_auto_commit=False,
                      fetch_max_wait_ms=20)
    for codec in [None, "gzip", "snappy", "lz4", "zstd"]:
        topic = f"{prefix}-{codec}".lower()
        create(topic, r.PARTITIONS)
        [described] = admin.describe_topics([topic])
        r.expect("partitions", sorted(p["partition_index"] for p in described["partitions"]), [0, 1, 2])
        offsets = produce_all(producer(bootstrap, compression_type=codec), topic, start, range(r.COUNT))
        for p in range(r.PARTITIONS):
            numbers = r.of_partition(p)
            r.expect(f"{codec}: acknowledged offsets", [offsets[i] for i in numbers], list(range(len(numbers))))
            check_messages(f"{codec}", read(c, topic, p, 0, 100), numbers, start, 0)
            check_messages(f"{codec} from 41", read(c, topic, p, 41, 59), numbers[41:], start, 41)
        report.ok(f"produce and read back {codec}")
        asked = {TopicPartition(topic, p): r.timestamp(150, start) + 1 for p in range(r.PARTITIONS)}
        for tp, found in c.offsets_for_times(asked).items():
            numbers = r.of_partition(tp.partition)
            wanted = next(at for at, i in enumerate(numbers) if i > 150)
            r.expect("offset by timestamp", (found.offset, found.timestamp), (wanted, r.timestamp(numbers[wanted], start)))
            check_messages(f"{codec} by timestamp", read(c, topic, tp.partition, wanted, 100 - wanted), numbers[wanted:], start, wanted)
        tp = TopicPartition(topic, 0)
        r.expect("a time in the future", c.offsets_for_times({tp: start + 10**10})[tp], None)
        r.expect("beginning and end", (c.beginning_offsets([tp])[tp], c.end_offsets([tp])[tp]), (0, 100))
        report.ok(f"read by timestamp {codec}")

    for acks in [0, 1, "all"]:
        topic = f"{prefix}-acks-{acks}"
        create(topic)
        tp = TopicPartition(topic, 0)
        p = producer(bootstrap, acks=acks, enable_idempotence=False)
        for i in range(100):
            p.send(topic, key=r.key(i), value=r.value(i), headers=r.headers(i), partition=0, timestamp_ms=r.timestamp(i, start))
        p.flush(SECONDS)
        p.close()
        check_messages(f"acks={acks}", read(c, topic, 0, 0, 100), list(range(100)), start, 0)
        r.expect("end", c.end_offsets([tp])[tp], 100)
    report.ok("acks 0, 1 and all")

    topic = f"{prefix}-idempotent"
    create(topic)
    for run in range(2):
        p = producer(bootstrap, enable_idempotence=True, acks="all", batch_size=2000, compression_type="gzip")
        offsets = produce_all(p, topic, start, range(1000), lambda i: 0)
        r.expect("idempotent offsets", [offsets[i] for i in range(1000)], list(range(run * 1000, run * 1000 + 1000)))
    messages = read(c, topic, 0, 0, 2000)
    check_messages("idempotent", messages[:1000], list(range(1000)), start, 0)
    check_messages("idempotent, second", messages[1000:], list(range(1000)), start, 1000)
    report.ok("idempotent producer")

    topic = f"{prefix}-large"
    create(topic, configs={"max.message.bytes": "2000000"})
    p = producer(bootstrap, max_request_size=10_000_000)
    r.expect("below max.message.bytes", p.send(topic, b"v" * 1_900_000).get(SECONDS).offset, 0)
    too_large = p.send(topic, b"v" * 2_100_000)
    r.expect("above max.message.bytes", error_of(too_large.get, SECONDS), "MessageSizeTooLargeError")
    p.close()
    r.expect("it reads back", [len(m.value) for m in read(c, topic, 0, 0, 1)], [1_900_000])
    report.ok("large records")

    missing = f"{prefix}-missing"
    p = producer(bootstrap, max_block_ms=2000)
    r.expect("produce to an unknown topic", error_of(lambda: p.send(missing, b"v").get(SECONDS)), "KafkaTimeoutError")
    p.close()
    r.expect("create twice", error_of(create, topic), "TopicAlreadyExistsError")
    r.expect("a bad name", error_of(create, "bad name"), "InvalidTopicError")
    r.expect("an unknown setting", error_of(create, missing, configs={"no.such.key": "1"}), "InvalidConfigurationError")
    r.expect("no partitions", error_of(create, missing, partitions=0), "InvalidPartitionsError")
    create(missing, validate_only=True)
    r.expect("nothing made by it", missing in admin.list_topics(), False)
    tp = TopicPartition(topic, 0)
    c.assign([tp])
    c.seek(tp, 1_000_000)
    r.expect("offset out of range", error_of(c.poll, timeout_ms=SECONDS * 1000), "OffsetOutOfRangeError")
    report.ok("errors")

    topic = f"{prefix}-gzip"
    admin.create_partitions({topic: 5})
    r.expect("partitions now", len(admin.describe_topics([topic])[0]["partitions"]), 5)
    r.expect("fewer partitions", error_of(admin.create_partitions, {topic: 2}), "InvalidPartitionsError")
    produce_all(producer(bootstrap), topic, start, range(10), lambda i: 4)
    check_messages("new partition", read(c, topic, 4, 0, 10), list(range(10)), start, 0)
    report.ok("create partitions")

    tp = TopicPartition(topic, 0)
    for spec, wanted in [(-2, 0), (-1, 100), (r.timestamp(3, start), 1), (-3, 99)]:
        r.expect(f"list offsets {spec}", admin.list_partition_offsets({tp: spec})[tp].offset, wanted)
    report.ok("list offsets")

    resource = ConfigResource(ConfigResourceType.TOPIC, f"{prefix}-large")
    config = admin.describe_configs([resource], config_filter="all")["topic"][f"{prefix}-large"]
    r.expect("max.message.bytes", config["max.message.bytes"]["value"], "2000000")
    r.expect("cleanup.policy", config["cleanup.policy"]["value"], "delete")
    cluster = admin.describe_cluster()
    r.expect("brokers", len(cluster["brokers"]), 1)
    broker = str(cluster["brokers"][0]["broker_id"])
    config = admin.describe_configs([ConfigResource(ConfigResourceType.BROKER, broker)], config_filter="all")["broker"][broker]
    r.expect("log.segment.bytes", config["log.segment.bytes"]["value"], "1073741824")
    report.ok("describe configs and cluster")

    admin.delete_topics([topic])
    deadline = time.time() + SECONDS
    while topic in admin.list_topics() and time.time() < deadline:
        time.sleep(0.05)
    r.expect("deleted topic is gone", topic in admin.list_topics(), False)
    r.expect("delete again", error_of(admin.delete_topics, [topic]), "UnknownTopicOrPartitionError")
    report.ok("delete topics")
    c.close()
    admin.close()


r.run(main)

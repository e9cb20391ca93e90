"""confluent-kafka (librdkafka) against the broker at argv[1], with topics that start with argv[2]."""

import time

import confluent_kafka as ck
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewPartitions, NewTopic, OffsetSpec

import records as r

SECONDS = 30


def producer(bootstrap, **extra):
    return Producer({"bootstrap.servers": bootstrap, "message.timeout.ms": SECONDS * 1000, "linger.ms": 5, **extra})


def consumer(bootstrap, **extra):
    # A group id is demanded by the library; nothing is committed and no group is joined.
    return Consumer({
        "bootstrap.servers": bootstrap, "group.id": "unused", "enable.auto.commit": False,
        "auto.offset.reset": "error", "enable.partition.eof": True, "fetch.wait.max.ms": 20, **extra,
    })


def error_of(future):
    try:
        future.result(SECONDS)
    except KafkaException as error:
        return error.args[0].name()
    return "NONE"


def produce_all(p, topic, start, numbers, partition=r.partition):
    failures, offsets = [], {}

    def delivered(error, message, i):
        if error:
            failures.append(f"record {i}: {error}")
        else:
            offsets[i] = message.offset()

    for i in numbers:
        p.produce(topic, key=r.key(i), value=r.value(i), headers=r.headers(i), partition=partition(i),
                  timestamp=r.timestamp(i, start), on_delivery=lambda e, m, i=i: delivered(e, m, i))
        p.poll(0)
    r.expect("records left in the producer", p.flush(SECONDS), 0)
    r.expect("delivery failures", failures, [])
    return offsets


def read(c, topic, partition, offset):
    """Everything from `offset` to the end of the partition."""
    c.assign([TopicPartition(topic, partition, offset)])
    found, deadline = [], time.time() + SECONDS
    while time.time() < deadline:
        message = c.poll(1.0)
        if message is None:
            continue
        if message.error():
            if message.error().code() == KafkaError._PARTITION_EOF:
                return found
            raise KafkaException(message.error())
        found.append(message)
    raise r.Failed(f"{topic}-{partition}: no end of partition within {SECONDS} s, {len(found)} records")


def check_messages(what, messages, numbers, start, first_offset):
    r.expect(f"{what}: count", len(messages), len(numbers))
    for at, (message, i) in enumerate(zip(messages, numbers)):
        r.expect(f"{what}: offset", message.offset(), first_offset + at)
        kind, timestamp = message.timestamp()
        r.expect(f"{what}: timestamp type", kind, ck.TIMESTAMP_CREATE_TIME)
        r.check(what, i, start, (message.key(), message.value(), message.headers() or [], timestamp))


def main(bootstrap, prefix):
    report = r.Report("confluent-kafka", f"{ck.version()} (librdkafka {ck.libversion()[0]})")
    admin = AdminClient({"bootstrap.servers": bootstrap})
    start = int(time.time() * 1000) - 3_600_000
    codecs = ["none", "gzip", "snappy", "lz4", "zstd"]

    topics = [f"{prefix}-{codec}" for codec in codecs]
    for topic, future in admin.create_topics([NewTopic(t, r.PARTITIONS, 1) for t in topics]).items():
        r.expect(f"create {topic}", error_of(future), "NONE")
    metadata = admin.list_topics(timeout=SECONDS)
    for topic in topics:
        r.expect(f"partitions of {topic}", sorted(metadata.topics[topic].partitions), [0, 1, 2])
    report.ok("create topics")

    c = consumer(bootstrap)
    for codec, topic in zip(codecs, topics):
        offsets = produce_all(producer(bootstrap, **{"compression.type": codec}), topic, start, range(r.COUNT))
        for p in range(r.PARTITIONS):
            numbers = r.of_partition(p)
            r.expect(f"{codec}: acknowledged offsets", [offsets[i] for i in numbers], list(range(len(numbers))))
            check_messages(codec, read(c, topic, p, 0), numbers, start, 0)
            check_messages(f"{codec} from 41", read(c, topic, p, 41), numbers[41:], start, 41)
        report.ok(f"produce and read back {codec}")

        asked = [TopicPartition(topic, p, r.timestamp(150, start) + 1) for p in range(r.PARTITIONS)]
        for found in c.offsets_for_times(asked, timeout=SECONDS):
            numbers = r.of_partition(found.partition)
            wanted = next(at for at, i in enumerate(numbers) if i > 150)
            r.expect(f"{codec}: offset by timestamp, partition {found.partition}", found.offset, wanted)
            messages = read(c, topic, found.partition, found.offset)
            check_messages(f"{codec} by timestamp", messages, numbers[wanted:], start, wanted)
        [beyond] = c.offsets_for_times([TopicPartition(topic, 0, start + 10**10)], timeout=SECONDS)
        r.expect(f"{codec}: offset of a time in the future", beyond.offset, ck.OFFSET_END)
        report.ok(f"read by timestamp {codec}")
        r.expect("watermarks", c.get_watermark_offsets(TopicPartition(topic, 0), timeout=SECONDS), (0, 100))

    for acks in ["0", "1", "all"]:
        topic = f"{prefix}-acks-{acks}"
        r.expect("create", error_of(admin.create_topics([NewTopic(topic, 1, 1)])[topic]), "NONE")
        produce_all(producer(bootstrap, acks=acks), topic, start, range(100), lambda i: 0)
        deadline = time.time() + SECONDS
        while c.get_watermark_offsets(TopicPartition(topic, 0), timeout=SECONDS)[1] < 100 and time.time() < deadline:
            time.sleep(0.05)
        check_messages(f"acks={acks}", read(c, topic, 0, 0), list(range(100)), start, 0)
    report.ok("acks 0, 1 and all")

    topic = f"{prefix}-idempotent"
    r.expect("create", error_of(admin.create_topics([NewTopic(topic, 1, 1)])[topic]), "NONE")
    for run in range(2):  # a second producer is another producer id on the same partition
        p = producer(bootstrap, **{"enable.idempotence": True, "compression.type": "lz4", "batch.num.messages": 20})
        offsets = produce_all(p, topic, start, range(1000), lambda i: 0)
        r.expect("idempotent offsets", [offsets[i] for i in range(1000)], list(range(run * 1000, run * 1000 + 1000)))
    messages = read(c, topic, 0, 0)
    check_messages("idempotent", messages[:1000], list(range(1000)), start, 0)
    check_messages("idempotent, second", messages[1000:], list(range(1000)), start, 1000)
    report.ok("idempotent producer")

    # A reader that waits at the end gets what comes.
    patient = consumer(bootstrap, **{"fetch.wait.max.ms": 10_000})
    patient.assign([TopicPartition(topic, 0, 1999)])
    r.expect("the last record", patient.poll(SECONDS).offset(), 1999)
    produce_all(producer(bootstrap), topic, start, [7], lambda i: 0)
    check_messages("waiting reader", [patient.poll(SECONDS)], [7], start, 2000)
    patient.close()
    report.ok("long poll")

    topic = f"{prefix}-large"
    made = admin.create_topics([NewTopic(topic, 1, 1, config={"max.message.bytes": "2000000"})])[topic]
    r.expect("create", error_of(made), "NONE")
    outcomes = []
    p = producer(bootstrap, **{"message.max.bytes": 10_000_000})
    for size in [1_900_000, 2_100_000]:
        p.produce(topic, value=b"v" * size, partition=0, on_delivery=lambda e, m: outcomes.append(e.name() if e else "NONE"))
        r.expect("flush", p.flush(SECONDS), 0)
    r.expect("sizes below and above max.message.bytes", outcomes, ["NONE", "MSG_SIZE_TOO_LARGE"])
    big = read(consumer(bootstrap, **{"fetch.message.max.bytes": 1000}), topic, 0, 0)
    r.expect("a record above the fetch size still comes", [len(m.value()) for m in big], [1_900_000])
    report.ok("large records")

    missing = f"{prefix}-missing"
    outcomes.clear()
    p = producer(bootstrap, **{"topic.metadata.propagation.max.ms": 1000})
    p.produce(missing, value=b"v", on_delivery=lambda e, m: outcomes.append(e.name()))
    p.flush(SECONDS)
    r.expect("produce to an unknown topic", outcomes, ["UNKNOWN_TOPIC_OR_PART"])
    r.expect("create twice", error_of(admin.create_topics([NewTopic(topic, 1, 1)])[topic]), "TOPIC_ALREADY_EXISTS")
    made = admin.create_topics([NewTopic("bad name", 1, 1)])["bad name"]
    r.expect("a bad name", error_of(made), "TOPIC_EXCEPTION")
    made = admin.create_topics([NewTopic(missing, 1, 1, config={"no.such.key": "1"})])[missing]
    r.expect("an unknown setting", error_of(made), "INVALID_CONFIG")
    made = admin.create_topics([NewTopic(missing, 1, 9)])[missing]
    r.expect("too many replicas", error_of(made), "INVALID_REPLICATION_FACTOR")
    made = admin.create_topics([NewTopic(missing, 1, 1)], validate_only=True)[missing]
    r.expect("validate only", error_of(made), "NONE")
    r.expect("nothing made by it", missing in admin.list_topics(timeout=SECONDS).topics, False)
    try:
        read(c, topic, 0, 1_000_000)
        raise r.Failed("reading far behind the end gave no error")
    except KafkaException as error:
        r.expect("offset out of range", error.args[0].name(), "_AUTO_OFFSET_RESET")
    report.ok("errors")

    topic = topics[0]
    grown = admin.create_partitions([NewPartitions(topic, 5)])[topic]
    r.expect("create partitions", error_of(grown), "NONE")
    r.expect("partitions now", len(admin.list_topics(topic, timeout=SECONDS).topics[topic].partitions), 5)
    r.expect("fewer partitions", error_of(admin.create_partitions([NewPartitions(topic, 2)])[topic]), "INVALID_PARTITIONS")
    produce_all(producer(bootstrap), topic, start, range(10), lambda i: 4)
    check_messages("new partition", read(c, topic, 4, 0), list(range(10)), start, 0)
    report.ok("create partitions")

    tp = TopicPartition(topic, 0)
    for spec, wanted in [(OffsetSpec.earliest(), 0), (OffsetSpec.latest(), 100),
                         (OffsetSpec.for_timestamp(r.timestamp(3, start)), 1), (OffsetSpec.max_timestamp(), 99)]:
        found = admin.list_offsets({tp: spec})[tp].result(SECONDS)
        r.expect(f"list offsets {spec}", found.offset, wanted)
    report.ok("list offsets")

    resource = ConfigResource(ConfigResource.Type.TOPIC, f"{prefix}-large")
    config = admin.describe_configs([resource])[resource].result(SECONDS)
    r.expect("max.message.bytes", (config["max.message.bytes"].value, config["max.message.bytes"].is_default), ("2000000", False))
    r.expect("cleanup.policy", (config["cleanup.policy"].value, config["cleanup.policy"].is_default), ("delete", True))
    cluster = admin.describe_cluster().result(SECONDS)
    r.expect("nodes", len(cluster.nodes), 1)
    broker = ConfigResource(ConfigResource.Type.BROKER, str(cluster.nodes[0].id))
    config = admin.describe_configs([broker])[broker].result(SECONDS)
    r.expect("log.segment.bytes", config["log.segment.bytes"].value, "1073741824")
    unknown = ConfigResource(ConfigResource.Type.TOPIC, missing)
    r.expect("configs of an unknown topic", error_of(admin.describe_configs([unknown])[unknown]), "UNKNOWN_TOPIC_OR_PART")
    report.ok("describe configs and cluster")

    r.expect("delete", error_of(admin.delete_topics([topic])[topic]), "NONE")
    deadline = time.time() + SECONDS
    while topic in admin.list_topics(timeout=SECONDS).topics and time.time() < deadline:
        time.sleep(0.05)
    r.expect("deleted topic is gone", topic in admin.list_topics(timeout=SECONDS).topics, False)
    r.expect("delete again", error_of(admin.delete_topics([topic])[topic]), "UNKNOWN_TOPIC_OR_PART")
    outcome = "TOPIC_ALREADY_EXISTS"  # a broker may need a moment to forget the old one
    while outcome == "TOPIC_ALREADY_EXISTS" and time.time() < deadline:
        outcome = error_of(admin.create_topics([NewTopic(topic, 1, 1)])[topic])
    r.expect("make it anew", outcome, "NONE")
    produce_all(producer(bootstrap), topic, start, range(5), lambda i: 0)
    check_messages("the new topic holds nothing old", read(consumer(bootstrap), topic, 0, 0), list(range(5)), start, 0)
    report.ok("delete topics")
    c.close()


r.run(main)

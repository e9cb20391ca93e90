"""aiokafka against the broker at argv[1], with topics that start with argv[2]."""

import asyncio
import time

import aiokafka
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition, errors
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

import records as r

SECONDS = 30


async def produce_all(bootstrap, topic, start, numbers, partition=r.partition, **extra):
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, linger_ms=5, **extra) as p:
        sent = [
            await p.send(topic, key=r.key(i), value=r.value(i), headers=r.headers(i), partition=partition(i),
                         timestamp_ms=r.timestamp(i, start))
            for i in numbers
        ]
        done = await asyncio.wait_for(asyncio.gather(*sent), SECONDS)
    return {i: meta.offset if meta else None for i, meta in zip(numbers, done)}


async def read(c, topic, partition, offset, count):
    tp = TopicPartition(topic, partition)
    c.assign([tp])
    c.seek(tp, offset)
    found, deadline = [], time.time() + SECONDS
    while len(found) < count and time.time() < deadline:
        found += (await c.getmany(tp, timeout_ms=500)).get(tp, [])
    r.expect(f"{topic}-{partition} from {offset}: records", len(found), count)
    return found


def check_messages(what, messages, numbers, start, first_offset):
    r.expect(f"{what}: count", len(messages), len(numbers))
    for at, (message, i) in enumerate(zip(messages, numbers)):
        r.expect(f"{what}: offset", message.offset, first_offset + at)
        r.check(what, i, start, (message.key, message.value, list(message.headers), message.timestamp))


async def error_of(action):
    try:
        answer = await action
    except errors.KafkaError as error:
        return type(error).__name__
    rows = getattr(answer, "topic_errors", None) or getattr(answer, "topic_error_codes", None) or []
    codes = [row[1] for row in rows]
    return errors.for_code(codes[0]).__name__ if codes else "NoError"


async def work(bootstrap, prefix):
    report = r.Report("aiokafka", aiokafka.__version__)
    start = int(time.time() * 1000) - 3_600_000
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()

    async def create(topic, partitions=1, configs=None, **named):
        return await error_of(admin.create_topics([NewTopic(topic, partitions, 1, topic_configs=configs)], **named))

    # No automatic commits and no group: partitions are assigned by hand.
    c = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="none", enable_auto_commit=False,
                         group_id=None, fetch_max_wait_ms=20)
    await c.start()
    for codec in [None, "gzip", "snappy", "lz4", "zstd"]:
        topic = f"{prefix}-{codec}".lower()
        r.expect(f"create {topic}", await create(topic, r.PARTITIONS), "NoError")
        [described] = await admin.describe_topics([topic])
        r.expect("partitions", sorted(p["partition"] for p in described["partitions"]), [0, 1, 2])
        offsets = await produce_all(bootstrap, topic, start, range(r.COUNT), compression_type=codec)
        for p in range(r.PARTITIONS):
            numbers = r.of_partition(p)
            r.expect(f"{codec}: acknowledged offsets", [offsets[i] for i in numbers], list(range(len(numbers))))
            check_messages(f"{codec}", await read(c, topic, p, 0, 100), numbers, start, 0)
            check_messages(f"{codec} from 41", await read(c, topic, p, 41, 59), numbers[41:], start, 41)
        report.ok(f"produce and read back {codec}")
        asked = {TopicPartition(topic, p): r.timestamp(150, start) + 1 for p in range(r.PARTITIONS)}
        for tp, found in (await c.offsets_for_times(asked)).items():
            numbers = r.of_partition(tp.partition)
            wanted = next(at for at, i in enumerate(numbers) if i > 150)
            r.expect("offset by timestamp", (found.offset, found.timestamp), (wanted, r.timestamp(numbers[wanted], start)))
            check_messages(f"{codec} by timestamp", await read(c, topic, tp.partition, wanted, 100 - wanted), numbers[wanted:], start, wanted)
        tp = TopicPartition(topic, 0)
        r.expect("a time in the future", (await c.offsets_for_times({tp: start + 10**10}))[tp], None)
        r.expect("beginning and end", ((await c.beginning_offsets([tp]))[tp], (await c.end_offsets([tp]))[tp]), (0, 100))
        report.ok(f"read by timestamp {codec}")

    for acks in [0, 1, "all"]:
        topic = f"{prefix}-acks-{acks}"
        r.expect("create", await create(topic), "NoError")
        await produce_all(bootstrap, topic, start, range(100), lambda i: 0, acks=acks)
        check_messages(f"acks={acks}", await read(c, topic, 0, 0, 100), list(range(100)), start, 0)
    report.ok("acks 0, 1 and all")

    topic = f"{prefix}-idempotent"
    r.expect("create", await create(topic), "NoError")
    for run in range(2):
        offsets = await produce_all(bootstrap, topic, start, range(1000), lambda i: 0, enable_idempotence=True,
                                    max_batch_size=2000, compression_type="gzip")
        r.expect("idempotent offsets", [offsets[i] for i in range(1000)], list(range(run * 1000, run * 1000 + 1000)))
    messages = await read(c, topic, 0, 0, 2000)
    check_messages("idempotent", messages[:1000], list(range(1000)), start, 0)
    check_messages("idempotent, second", messages[1000:], list(range(1000)), start, 1000)
    report.ok("idempotent producer")

    topic = f"{prefix}-large"
    r.expect("create", await create(topic, configs={"max.message.bytes": "2000000"}), "NoError")
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, max_request_size=10_000_000) as p:
        r.expect("below max.message.bytes", (await p.send_and_wait(topic, b"v" * 1_900_000)).offset, 0)
        r.expect("above max.message.bytes", await error_of(p.send_and_wait(topic, b"v" * 2_100_000)), "MessageSizeTooLargeError")
    r.expect("it reads back", [len(m.value) for m in await read(c, topic, 0, 0, 1)], [1_900_000])
    report.ok("large records")

    missing = f"{prefix}-missing"
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, request_timeout_ms=2000) as p:
        r.expect("produce to an unknown topic", await error_of(p.send_and_wait(missing, b"v")), "UnknownTopicOrPartitionError")
    r.expect("create twice", await create(topic), "TopicAlreadyExistsError")
    r.expect("a bad name", await create("bad name"), "InvalidTopicError")
    r.expect("an unknown setting", await create(missing, configs={"no.such.key": "1"}), "InvalidConfigurationError")
    r.expect("validate only", await create(missing, validate_only=True), "NoError")
    r.expect("nothing made by it", missing in await admin.list_topics(), False)
    tp = TopicPartition(topic, 0)
    c.assign([tp])
    c.seek(tp, 1_000_000)
    r.expect("offset out of range", await error_of(asyncio.wait_for(c.getone(), SECONDS)), "OffsetOutOfRangeError")
    report.ok("errors")

    topic = f"{prefix}-gzip"
    await admin.create_partitions({topic: NewPartitions(5)})
    r.expect("partitions now", len((await admin.describe_topics([topic]))[0]["partitions"]), 5)
    await produce_all(bootstrap, topic, start, range(10), lambda i: 4)
    check_messages("new partition", await read(c, topic, 4, 0, 10), list(range(10)), start, 0)
    report.ok("create partitions")

    [answer] = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, f"{prefix}-large")])
    [resource] = answer.resources
    values = {entry[0]: entry[1] for entry in resource[4]}
    r.expect("max.message.bytes", values["max.message.bytes"], "2000000")
    r.expect("cleanup.policy", values["cleanup.policy"], "delete")
    cluster = await admin.describe_cluster()
    r.expect("brokers", len(cluster["brokers"]), 1)
    report.ok("describe configs and cluster")

    r.expect("delete", await error_of(admin.delete_topics([topic])), "NoError")
    deadline = time.time() + SECONDS
    while topic in await admin.list_topics() and time.time() < deadline:
        await asyncio.sleep(0.05)
    r.expect("deleted topic is gone", topic in await admin.list_topics(), False)
    r.expect("delete again", await error_of(admin.delete_topics([topic])), "UnknownTopicOrPartitionError")
    report.ok("delete topics")
    await c.stop()
    await admin.close()


r.run(lambda bootstrap, prefix: asyncio.run(asyncio.wait_for(work(bootstrap, prefix), 240)))

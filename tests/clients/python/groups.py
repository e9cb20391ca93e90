"""Consumer groups with the Python clients against the broker at argv[1], with names that start with argv[2].

Each client: members that share a topic read each record once, what is committed is where the next member goes on.
Then a member that is killed: the one that stays gets its partitions.
"""

import asyncio
import subprocess
import sys
import time

import aiokafka
import confluent_kafka
import kafka
from confluent_kafka.admin import AdminClient, NewTopic

import records as r

SECONDS = 40
PARTITIONS = 4
COUNT = 400


def create(bootstrap, topic):
    admin = AdminClient({"bootstrap.servers": bootstrap})
    made = admin.create_topics([NewTopic(topic, PARTITIONS, 1)])
    made[topic].result(SECONDS)


def produce(bootstrap, topic, numbers):
    producer = confluent_kafka.Producer({"bootstrap.servers": bootstrap, "linger.ms": 5})
    for i in numbers:
        producer.produce(topic, str(i).encode(), partition=i % PARTITIONS)
    r.expect("left in the producer", producer.flush(SECONDS), 0)


def confluent(bootstrap, group, topic, **extra):
    consumer = confluent_kafka.Consumer({
        "bootstrap.servers": bootstrap, "group.id": group, "auto.offset.reset": "earliest",
        "enable.auto.commit": False, "session.timeout.ms": 6000, **extra})
    consumer.subscribe([topic])
    return consumer


def take_confluent(consumer, count):
    found, deadline = [], time.time() + SECONDS
    while len(found) < count and time.time() < deadline:
        message = consumer.poll(0.5)
        if message is not None and message.error() is None:
            found.append(int(message.value()))
    consumer.commit(asynchronous=False)
    consumer.close()
    return sorted(found)


def take_kafka_python(bootstrap, group, topic, count):
    consumer = kafka.KafkaConsumer(topic, bootstrap_servers=bootstrap, group_id=group,
                                   auto_offset_reset="earliest", enable_auto_commit=False)
    found, deadline = [], time.time() + SECONDS
    while len(found) < count and time.time() < deadline:
        for messages in consumer.poll(timeout_ms=500, max_records=count - len(found)).values():
            found += [int(message.value) for message in messages]
    consumer.commit()
    consumer.close()
    return sorted(found)


async def take_as_two(bootstrap, group, topic, count):
    """Both members have half of the partitions before either reads."""
    members = [aiokafka.AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False,
                                         auto_offset_reset="earliest") for _ in range(2)]
    for member in members:
        member.subscribe([topic])
        await member.start()
    deadline = time.time() + SECONDS
    while [len(member.assignment()) for member in members] != [2, 2] and time.time() < deadline:
        await asyncio.sleep(0.1)
    r.expect("partitions of each member", [len(member.assignment()) for member in members], [2, 2])
    found = [[], []]
    while sum(map(len, found)) < count and time.time() < deadline:
        for member, into in zip(members, found):
            for messages in (await member.getmany(timeout_ms=200)).values():
                into += [int(message.value) for message in messages]
    for member in members:
        await member.commit()
        await member.stop()
    r.expect("each member read its half", [len(part) for part in found], [count // 2, count // 2])
    return sorted(found[0] + found[1])


def hold(bootstrap, group, topic):
    """A member that joins, says so, and stays until it is killed."""
    consumer = confluent(bootstrap, group, topic)
    while not consumer.assignment():
        consumer.poll(0.2)
    print("joined", flush=True)
    while True:
        consumer.poll(0.2)


def a_killed_member(bootstrap, prefix):
    topic, group = f"{prefix}-killed", f"{prefix}-killed"
    create(bootstrap, topic)
    child = subprocess.Popen([sys.executable, __file__, "hold", bootstrap, group, topic],
                             stdout=subprocess.PIPE, text=True)
    try:
        r.expect("the other member", child.stdout.readline().strip(), "joined")
        stays = confluent(bootstrap, group, topic)
        deadline = time.time() + SECONDS
        while len(stays.assignment()) != 2 and time.time() < deadline:
            stays.poll(0.2)
        r.expect("partitions while both live", len(stays.assignment()), 2)
    finally:
        child.kill()
        child.wait()
    while len(stays.assignment()) != PARTITIONS and time.time() < deadline:
        stays.poll(0.2)
    r.expect("partitions of the one that stays", len(stays.assignment()), PARTITIONS)
    stays.close()


def main(bootstrap, prefix):
    versions = f"confluent {confluent_kafka.__version__}, kafka-python {kafka.__version__}, aiokafka {aiokafka.__version__}"
    report = r.Report("groups-python", versions)
    topic = f"{prefix}-groups"
    create(bootstrap, topic)
    first, second = list(range(COUNT)), list(range(COUNT, COUNT + 40))
    takers = {
        "confluent-kafka": lambda count: take_confluent(confluent(bootstrap, f"{prefix}-c", topic), count),
        "confluent-kafka cooperative": lambda count: take_confluent(
            confluent(bootstrap, f"{prefix}-s", topic, **{"partition.assignment.strategy": "cooperative-sticky",
                                                          "group.instance.id": "one"}), count),
        "kafka-python": lambda count: take_kafka_python(bootstrap, f"{prefix}-k", topic, count),
        "aiokafka, two members": lambda count: asyncio.run(take_as_two(bootstrap, f"{prefix}-a", topic, count)),
    }
    for numbers, what in [(first, "from the beginning"), (second, "from what was committed")]:
        produce(bootstrap, topic, numbers)
        for name, take in takers.items():
            r.expect(f"{name} {what}", take(len(numbers)), numbers)
            report.ok(f"{name} {what}")
    a_killed_member(bootstrap, prefix)
    report.ok("the partitions of a killed member go to the one that stays")


if __name__ == "__main__":
    if sys.argv[1] == "hold":
        hold(*sys.argv[2:])
    r.run(main)

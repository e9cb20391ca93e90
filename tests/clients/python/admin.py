"""What administrators ask, with confluent-kafka and kafka-python, of the broker at argv[1], with topics that start with argv[2]."""

import time

import confluent_kafka as ck
import kafka
from confluent_kafka import KafkaException, Producer, TopicCollection, TopicPartition
from confluent_kafka.admin import (
    AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, OffsetSpec, ScramCredentialInfo, ScramMechanism,
    UserScramCredentialDeletion, UserScramCredentialUpsertion,
)
from kafka.admin import KafkaAdminClient

import records as r

SECONDS = 30


# Resource, operation, key, value, and what a broker of Java Kafka 3.9.1 in ZooKeeper mode answered.
REFUSED = """
topic | set | retention.ms | soon | INVALID_CONFIG
topic | set | retention.ms | -2 | INVALID_CONFIG
topic | set | cleanup.policy | nothing | INVALID_CONFIG
topic | set | no.such | 1 | INVALID_CONFIG
topic | append | retention.ms | 1 | INVALID_CONFIG
topic | append | cleanup.policy | nothing | INVALID_CONFIG
topic | set | min.insync.replicas | 0 | INVALID_CONFIG
topic | set | segment.bytes | 1 | INVALID_CONFIG
topic | set | compression.type | rar | INVALID_CONFIG
topic | set | preallocate | yes | INVALID_CONFIG
topic | set | min.cleanable.dirty.ratio | 1.5 | INVALID_CONFIG
topic | set | max.message.bytes | -1 | INVALID_CONFIG
topic | set | segment.jitter.ms | abc | INVALID_CONFIG
topic | set | message.format.version | 9.9 | INVALID_CONFIG
topic | set | message.timestamp.type | Never | INVALID_CONFIG
topic | set | max.compaction.lag.ms | 0 | INVALID_CONFIG
topic | set | leader.replication.throttled.replicas | x | INVALID_CONFIG
absent | set | retention.ms | 1 | UNKNOWN_TOPIC_OR_PART
broker | set | log.dirs | /tmp | INVALID_REQUEST
broker | set | log.retention.ms | soon | INVALID_REQUEST
broker | set | message.max.bytes | -5 | INVALID_REQUEST
broker | set | broker.id | 4 | INVALID_REQUEST
broker | set | num.network.threads | 0 | INVALID_REQUEST
broker | set | num.io.threads | 1000 | INVALID_REQUEST
"""


def only(futures):
    """The result of the one future of a call."""
    (future,) = futures.values()
    return future.result(SECONDS)


def error_of(futures):
    try:
        only(futures)
    except KafkaException as error:
        return error.args[0].name()
    return "NONE"


def within(what, found, wanted):
    """A setting is in force within a second of its answer; a busy machine is given more."""
    deadline = time.time() + SECONDS
    while found() != wanted and time.time() < deadline:
        time.sleep(0.05)
    r.expect(what, found(), wanted)


def main(bootstrap, prefix):
    report = r.Report("admin", f"confluent {ck.version()}, kafka-python {kafka.__version__}")
    admin = AdminClient({"bootstrap.servers": bootstrap})
    topic = f"{prefix}-admin"
    only(admin.create_topics([NewTopic(topic, num_partitions=2, replication_factor=1)]))

    def config(kind, name, key):
        return only(admin.describe_configs([ConfigResource(kind, name)]))[key]

    def change(kind, name, key, operation, value=None):
        entry = ConfigEntry(key, value, incremental_operation=operation)
        return admin.incremental_alter_configs([ConfigResource(kind, name, incremental_configs=[entry])])

    T, B = ConfigResource.Type.TOPIC, ConfigResource.Type.BROKER
    op = AlterConfigOpType
    default = config(T, topic, "retention.ms").value
    only(change(T, topic, "retention.ms", op.SET, "1234567"))
    r.expect("the new value", config(T, topic, "retention.ms").value, "1234567")
    only(change(T, topic, "cleanup.policy", op.APPEND, "compact"))
    r.expect("an appended value", config(T, topic, "cleanup.policy").value, "delete,compact")
    only(change(T, topic, "cleanup.policy", op.SUBTRACT, "compact"))
    r.expect("a value less", config(T, topic, "cleanup.policy").value, "delete")
    only(change(T, topic, "retention.ms", op.DELETE))
    r.expect("the default again", config(T, topic, "retention.ms").value, default)
    report.ok("topic settings, one by one")

    broker = next(iter(admin.list_topics(timeout=SECONDS).brokers))
    resources = {"topic": (T, topic), "absent": (T, f"{topic}-none"), "broker": (B, str(broker))}
    operations = {"set": op.SET, "append": op.APPEND, "subtract": op.SUBTRACT, "delete": op.DELETE}
    for line in REFUSED.strip().splitlines():
        resource, operation, key, value, wanted = line.split(" | ")
        found = error_of(change(*resources[resource], key, operations[operation], value))
        r.expect(f"{resource}: {operation} {key} {value}", found, wanted)
    report.ok(f"{len(REFUSED.strip().splitlines())} settings that cannot be")

    only(change(T, topic, "max.message.bytes", op.SET, "2000"))
    outcome = []

    def attempt():
        outcome.clear()
        p = Producer({"bootstrap.servers": bootstrap, "message.timeout.ms": SECONDS * 1000})
        p.produce(topic, value=b"x" * 5000, partition=0, on_delivery=lambda error, _: outcome.append(error and error.name()))
        p.flush(SECONDS)
        return outcome[:]

    within("a record above the new limit", attempt, ["MSG_SIZE_TOO_LARGE"])
    only(change(T, topic, "max.message.bytes", op.DELETE))
    within("the limit taken away", attempt, [None])
    report.ok("a setting is in force without a restart")

    # Only this program changes these keys, and it puts them back.
    before = config(B, str(broker), "log.cleaner.delete.retention.ms").value
    only(change(B, str(broker), "log.cleaner.delete.retention.ms", op.SET, "1048576"))
    r.expect("a broker's setting", config(B, str(broker), "log.cleaner.delete.retention.ms").value, "1048576")
    only(change(B, str(broker), "log.cleaner.delete.retention.ms", op.DELETE))
    r.expect("and back", config(B, str(broker), "log.cleaner.delete.retention.ms").value, before)
    report.ok("broker settings")

    p = Producer({"bootstrap.servers": bootstrap, "message.timeout.ms": SECONDS * 1000, "linger.ms": 5})
    for i in range(100):
        p.produce(topic, value=b"%d" % i, partition=1)
    r.expect("records left in the producer", p.flush(SECONDS), 0)
    at = TopicPartition(topic, 1)
    deleted = only(admin.delete_records([TopicPartition(topic, 1, 40)]))
    r.expect("the new start", deleted.low_watermark, 40)
    r.expect("the start told", only(admin.list_offsets({at: OffsetSpec.earliest()})).offset, 40)
    r.expect("the end told", only(admin.list_offsets({at: OffsetSpec.latest()})).offset, 100)
    r.expect("beyond the end", error_of(admin.delete_records([TopicPartition(topic, 1, 101)])), "OFFSET_OUT_OF_RANGE")
    r.expect("all there is", only(admin.delete_records([TopicPartition(topic, 1, -1)])).low_watermark, 100)
    report.ok("deleted records")

    cluster = admin.describe_cluster(request_timeout=SECONDS).result(SECONDS)
    r.expect("the controller", cluster.controller.id, broker)
    described = only(admin.describe_topics(TopicCollection([topic]), request_timeout=SECONDS))
    r.expect("partitions", [partition.leader.id for partition in described.partitions], [broker, broker])
    elected = admin.elect_leaders(ck.ElectionType.PREFERRED, [at]).result(SECONDS)
    r.expect("an election that is not needed", elected[at].name(), "ELECTION_NOT_NEEDED")
    report.ok("cluster, topics and elections")

    user = f"{prefix}-user"
    secret = UserScramCredentialUpsertion(user, ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 8192), b"secret")
    only(admin.alter_user_scram_credentials([secret]))
    stored = admin.describe_user_scram_credentials([user])[user].result(SECONDS).scram_credential_infos
    r.expect("a credential", [(one.mechanism, one.iterations) for one in stored], [(ScramMechanism.SCRAM_SHA_256, 8192)])
    only(admin.alter_user_scram_credentials([UserScramCredentialDeletion(user, ScramMechanism.SCRAM_SHA_256)]))
    r.expect("a credential that is gone", error_of(admin.describe_user_scram_credentials([user])), "RESOURCE_NOT_FOUND")
    report.ok("SCRAM credentials")

    other = KafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=SECONDS * 1000)
    resource = kafka.admin.ConfigResource(kafka.admin.ConfigResourceType.TOPIC, topic, configs={"segment.bytes": "2097152"})
    other.alter_configs([resource])
    r.expect("kafka-python's change", config(T, topic, "segment.bytes").value, "2097152")
    other.close()
    report.ok("kafka-python's AlterConfigs")

    only(admin.delete_topics([topic]))


if __name__ == "__main__":
    r.run(main)

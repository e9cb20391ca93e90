"""The administrative tools of Java Kafka 3.9.1 against the broker at argv[1], with topics that start with argv[2].

Settings of all brokers are changed only where the other clients at the same broker do not notice.
"""

import json
import pathlib
import re
import tempfile

import records as r
from java_tools import VERSION, both, tool

TOPICS = "org.apache.kafka.tools.TopicCommand"
CONFIGS = "kafka.admin.ConfigCommand"


def main(bootstrap, prefix):
    report = r.Report("java-admin", VERSION)
    to = ["--bootstrap-server", bootstrap]
    topic = f"{prefix}-admin"
    folder = pathlib.Path(tempfile.mkdtemp(prefix="java-admin-"))

    def holds(what, wanted, text):
        r.expect(f"{what} says {wanted!r} ({text})", wanted in text, True)

    def file(name, content):
        path = folder / name
        path.write_text(json.dumps(content))
        return str(path)

    tool(TOPICS, *to, "--create", "--topic", topic, "--partitions", "2", "--replication-factor", "1")
    of_topic = [*to, "--entity-type", "topics", "--entity-name", topic]
    holds("alter", f"Completed updating config for topic {topic}.",
          tool(CONFIGS, *of_topic, "--alter", "--add-config", "retention.ms=3600000,cleanup.policy=[compact,delete]"))
    described = tool(CONFIGS, *of_topic, "--describe")
    holds("configs", "retention.ms=3600000 sensitive=false synonyms={DYNAMIC_TOPIC_CONFIG:retention.ms=3600000", described)
    holds("configs", "cleanup.policy=compact,delete", described)
    tool(CONFIGS, *of_topic, "--alter", "--delete-config", "retention.ms")
    r.expect("retention.ms is gone", "retention.ms" in tool(CONFIGS, *of_topic, "--describe"), False)
    holds("a value that is no number", "Invalid value x for configuration retention.ms: Not a number of type LONG",
          both(CONFIGS, *of_topic, "--alter", "--add-config", "retention.ms=x"))
    holds("a value out of range", "Invalid value -5 for configuration retention.ms: Value must be at least -1",
          both(CONFIGS, *of_topic, "--alter", "--add-config", "retention.ms=-5"))
    holds("an unknown key", "Unknown topic config name: no.such", both(CONFIGS, *of_topic, "--alter", "--add-config", "no.such=1"))
    report.ok("configs of a topic")

    all_brokers = [*to, "--entity-type", "brokers", "--entity-default"]
    holds("alter", "Completed updating default config for brokers in the cluster.",
          tool(CONFIGS, *all_brokers, "--alter", "--add-config", "log.roll.jitter.ms=77"))
    holds("default configs", "log.roll.jitter.ms=77", tool(CONFIGS, *all_brokers, "--describe"))
    one = [*to, "--entity-type", "brokers", "--entity-name", "1"]
    holds("alter", "Completed updating config for broker 1.",
          tool(CONFIGS, *one, "--alter", "--add-config", "log.roll.jitter.ms=78"))
    holds("both layers", "DYNAMIC_BROKER_CONFIG:log.roll.jitter.ms=78, DYNAMIC_DEFAULT_BROKER_CONFIG:log.roll.jitter.ms=77",
          tool(CONFIGS, *one, "--describe"))
    tool(CONFIGS, *one, "--alter", "--delete-config", "log.roll.jitter.ms")
    tool(CONFIGS, *all_brokers, "--alter", "--delete-config", "log.roll.jitter.ms")
    holds("a key of the file", "Cannot update these configs dynamically: Set(broker.id)",
          both(CONFIGS, *one, "--alter", "--add-config", "broker.id=9"))
    report.ok("configs of brokers")

    user = [*to, "--entity-type", "users", "--entity-name", f"{prefix}-user"]
    holds("alter", "Completed updating config for user", tool(CONFIGS, *user, "--alter", "--add-config", "producer_byte_rate=1000000"))
    holds("quota", "producer_byte_rate=1000000.0", tool(CONFIGS, *user, "--describe"))
    tool(CONFIGS, *user, "--alter", "--add-config", "SCRAM-SHA-256=[iterations=4096,password=secret]")
    holds("credential", "SCRAM-SHA-256=iterations=4096", tool(CONFIGS, *user, "--describe"))
    tool(CONFIGS, *user, "--alter", "--delete-config", "producer_byte_rate")
    tool(CONFIGS, *user, "--alter", "--delete-config", "SCRAM-SHA-256")
    gone = tool(CONFIGS, *user, "--describe")
    r.expect(f"nothing is left ({gone})", "byte_rate" in gone or "SCRAM" in gone, False)
    report.ok("quotas and credentials of a user")

    tool(TOPICS, *to, "--alter", "--topic", topic, "--partitions", "3")
    holds("partitions", "PartitionCount: 3", tool(TOPICS, *to, "--describe", "--topic", topic))
    holds("fewer partitions", "which is higher than the requested 2",
          both(TOPICS, *to, "--alter", "--topic", topic, "--partitions", "2", fails=True))
    report.ok("topics --alter")

    tool("kafka.tools.ConsoleProducer", *to, "--topic", topic, "--property", "parse.key=true", stdin="".join(f"k{i}\tv\n" for i in range(60)))
    offsets = tool("org.apache.kafka.tools.GetOffsetShell", *to, "--topic", topic)
    ends = {int(p): int(end) for _, p, end in (line.split(":") for line in offsets.split())}
    r.expect(f"all are there ({offsets})", (len(ends), sum(ends.values())), (3, 60))
    wanted = {"partitions": [{"topic": topic, "partition": p, "offset": end - 1} for p, end in ends.items()], "version": 1}
    deleted = tool("org.apache.kafka.tools.DeleteRecordsCommand", *to, "--offset-json-file", file("records.json", wanted))
    for p, end in ends.items():
        holds("delete records", f"partition: {topic}-{p}\tlow_watermark: {end - 1}", deleted)
    starts = tool("org.apache.kafka.tools.GetOffsetShell", *to, "--topic", topic, "--time", "earliest")
    r.expect("starts now", sorted(starts.split()), sorted(f"{topic}:{p}:{end - 1}" for p, end in ends.items()))
    beyond = {"partitions": [{"topic": topic, "partition": 0, "offset": 10**6}], "version": 1}
    holds("delete beyond the end", "OffsetOutOfRangeException",
          both("org.apache.kafka.tools.DeleteRecordsCommand", *to, "--offset-json-file", file("beyond.json", beyond)))
    report.ok("delete-records and get-offsets")

    dirs = tool("org.apache.kafka.tools.LogDirsCommand", *to, "--describe", "--topic-list", topic)
    found = json.loads(next(line for line in dirs.splitlines() if line.startswith("{")))
    [broker] = found["brokers"]
    partitions = [p for d in broker["logDirs"] for p in d["partitions"]]
    r.expect("partitions in directories", sorted(p["partition"] for p in partitions), [f"{topic}-{n}" for n in range(3)])
    r.expect("each has a size", all(p["size"] > 0 and p["offsetLag"] == 0 and not p["isFuture"] for p in partitions), True)
    r.expect("no directory has an error", [d["error"] for d in broker["logDirs"]], [None] * len(broker["logDirs"]))
    report.ok("log-dirs")

    holds("election", "Valid replica already elected for partitions",
          tool("org.apache.kafka.tools.LeaderElectionCommand", *to, "--election-type", "preferred", "--topic", topic, "--partition", "0"))
    report.ok("leader-election")

    mover = "org.apache.kafka.tools.reassign.ReassignPartitionsCommand"
    plan = file("plan.json", {"version": 1, "partitions": [{"topic": topic, "partition": 0, "replicas": [1]}]})
    holds("reassign", "Successfully started partition reassignment", tool(mover, *to, "--reassignment-json-file", plan, "--execute"))
    holds("verify", f"Reassignment of partition {topic}-0 is completed.", tool(mover, *to, "--reassignment-json-file", plan, "--verify"))
    holds("list", "No partition reassignments found.", tool(mover, *to, "--list"))
    away = file("away.json", {"version": 1, "partitions": [{"topic": topic, "partition": 0, "replicas": [9]}]})
    holds("a broker that is not there", "9", both(mover, *to, "--reassignment-json-file", away, "--execute", fails=True))
    report.ok("reassign-partitions")

    acls = both("kafka.admin.AclCommand", *to, "--list")
    holds("acls", "SecurityDisabledException: No Authorizer is configured", acls)
    report.ok("acls without an authorizer")

    features = tool("org.apache.kafka.tools.FeatureCommand", *to, "describe")
    r.expect(f"features name no finalized level ({features})", re.search(r"FinalizedVersionLevel: [1-9]", features), None)
    report.ok("features")

    versions = tool("kafka.admin.BrokerApiVersionsCommand", *to)
    for wanted in ["AlterConfigs(33): 0 to 2", "IncrementalAlterConfigs(44): 0 to 1", "DeleteRecords(21): 0 to 2",
                   "DescribeLogDirs(35): 0 to 4", "DescribeClientQuotas(48): 0 to 1", "AlterUserScramCredentials(51): 0"]:
        holds("broker versions", wanted, versions)
    report.ok("broker-api-versions")


if __name__ == "__main__":
    r.run(main)

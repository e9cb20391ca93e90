"""The command-line tools of Java Kafka 3.9.1 against the broker at argv[1], with topics that start with argv[2]."""

import pathlib
import subprocess

import records as r

SECONDS = 120
VERSION = "3.9.1"
LAUNCHER = pathlib.Path(__file__).resolve().parents[3] / "scripts" / "java-kafka.sh"


def tool(name, *args, stdin="", fails=False):
    done = subprocess.run([LAUNCHER, "run", VERSION, name, *args], input=stdin, capture_output=True, text=True, timeout=SECONDS)
    if (done.returncode != 0) != fails:
        raise r.Failed(f"{name} {' '.join(args)}: status {done.returncode}: {done.stdout[-500:]} {done.stderr[-500:]}")
    return done.stdout


def both(name, *args, fails=None):
    """What a tool says on both streams; its status too is judged only when `fails` is given, since releases differ in it."""
    done = subprocess.run([LAUNCHER, "run", VERSION, name, *args], input="", capture_output=True, text=True, timeout=SECONDS)
    if fails is not None and (done.returncode != 0) != fails:
        raise r.Failed(f"{name} {' '.join(args)}: status {done.returncode}: {done.stdout[-500:]} {done.stderr[-500:]}")
    return done.stdout + done.stderr


def main(bootstrap, prefix):
    report = r.Report("java-tools", VERSION)
    to = ["--bootstrap-server", bootstrap]
    topics = "org.apache.kafka.tools.TopicCommand"
    topic = f"{prefix}-tools"

    r.expect("create", tool(topics, *to, "--create", "--topic", topic, "--partitions", "2", "--replication-factor", "1",
                            "--config", "segment.bytes=1048576").strip(), f"Created topic {topic}.")
    r.expect("list", topic in tool(topics, *to, "--list").split(), True)
    described = tool(topics, *to, "--describe", "--topic", topic)
    for wanted in [f"Topic: {topic}", "PartitionCount: 2", "ReplicationFactor: 1", "segment.bytes=1048576", "Leader: "]:
        r.expect(f"describe says {wanted} ({described})", wanted in described, True)
    twice = tool(topics, *to, "--create", "--topic", topic, fails=True)
    r.expect(f"create twice ({twice})", "already exists" in twice, True)
    report.ok("topics")

    lines = "".join(f"k{i}\tvalue {i}\n" for i in range(50))
    tool("kafka.tools.ConsoleProducer", *to, "--topic", topic, "--property", "parse.key=true", "--compression-codec", "zstd", stdin=lines)
    read = ""
    for line in tool("org.apache.kafka.tools.GetOffsetShell", *to, "--topic", topic).split():
        _, partition, count = line.split(":")
        # It stops at that many records; the time is only how long it may wait for one, its own start included.
        if count != "0":
            read += tool("org.apache.kafka.tools.consumer.ConsoleConsumer", *to, "--topic", topic, "--partition", partition,
                         "--offset", "earliest", "--max-messages", count, "--timeout-ms", "40000", "--property", "print.key=true")
    r.expect("console producer and consumer", sorted(read.splitlines()), sorted(lines.splitlines()))
    report.ok("console producer and consumer")

    speed = tool("org.apache.kafka.tools.ProducerPerformance", "--topic", topic, "--num-records", "5000", "--record-size", "200",
                 "--throughput", "-1", "--producer-props", f"bootstrap.servers={bootstrap}", "acks=all")
    r.expect(f"producer performance ({speed})", "5000 records sent" in speed, True)
    ends = tool("org.apache.kafka.tools.GetOffsetShell", *to, "--topic", topic)
    r.expect(f"end offsets ({ends})", sum(int(line.split(":")[2]) for line in ends.split()), 5050)
    report.ok("performance tool and offsets")

    configs = tool("kafka.admin.ConfigCommand", *to, "--describe", "--entity-type", "topics", "--entity-name", topic)
    r.expect(f"configs ({configs})", "segment.bytes=1048576" in configs, True)
    versions = tool("kafka.admin.BrokerApiVersionsCommand", *to)
    for wanted in ["Produce(0): 0 to", "Fetch(1):", "ApiVersions(18): 0 to 4", "CreateTopics(19): 0 to 7"]:
        r.expect(f"broker versions say {wanted} ({versions})", wanted in versions, True)
    report.ok("configs and versions")

    tool(topics, *to, "--alter", "--topic", topic, "--partitions", "4")
    r.expect("partitions now", "PartitionCount: 4" in tool(topics, *to, "--describe", "--topic", topic), True)
    report.ok("more partitions")

    tool(topics, *to, "--delete", "--topic", topic)
    gone = tool(topics, *to, "--describe", "--topic", topic, fails=True)
    r.expect(f"deleted ({gone})", "does not exist" in gone, True)
    report.ok("delete")


if __name__ == "__main__":
    r.run(main)

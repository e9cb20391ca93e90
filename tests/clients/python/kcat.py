"""kcat (librdkafka) against the broker at argv[1], with topics that start with argv[2].

kcat makes no topics: it runs against a broker with auto.create.topics.enable=true and num.partitions=3,
and so also shows that a first produce makes a topic.
"""

import json
import subprocess
import sys
import time

import records as r

SECONDS = 60
LINES = 100


def kcat(*args, stdin=None, fails=False):
    done = subprocess.run(["kcat", *args], input=stdin, capture_output=True, timeout=SECONDS)
    if (done.returncode != 0) != fails:
        raise r.Failed(f"kcat {' '.join(args)}: status {done.returncode}: {done.stderr.decode()[-500:]}")
    return done.stderr.decode() if fails else done.stdout.decode()


def produce(bootstrap, topic, numbers, partition, *args):
    lines = "".join(f"key-{i}\tvalue {i} {'x' * (i * 37 % 300)}\n" for i in numbers)
    kcat("-b", bootstrap, "-P", "-t", topic, "-p", str(partition), "-K", "\t", "-H", "h=1", "-H", "h=2", *args, stdin=lines.encode())


def read(bootstrap, topic, partition, offset, *args):
    out = kcat("-b", bootstrap, "-C", "-t", topic, "-p", str(partition), "-o", str(offset), "-e", "-q", "-J", "-X", "fetch.wait.max.ms=20", *args)
    return [json.loads(line) for line in out.splitlines()]


def check(what, found, numbers, first_offset):
    r.expect(f"{what}: count", len(found), len(numbers))
    for at, (m, i) in enumerate(zip(found, numbers)):
        seen = (m["offset"], m["key"], m["payload"], m["headers"], m["tstype"])
        r.expect(f"{what}: record {i}", seen, (first_offset + at, f"key-{i}", f"value {i} {'x' * (i * 37 % 300)}", ["h", "1", "h", "2"], "create"))


def main(bootstrap, prefix):
    first_line = subprocess.run(["kcat", "-V"], capture_output=True, text=True).stdout
    version = " ".join(word for word in first_line.split() if word[0].isdigit() and "." in word)
    report = r.Report("kcat", version)

    for codec in ["none", "gzip", "snappy", "lz4", "zstd"]:
        topic = f"{prefix}-{codec}"
        for partition in range(r.PARTITIONS):
            produce(bootstrap, topic, range(LINES), partition, "-z", codec)
            found = read(bootstrap, topic, partition, 0)
            check(codec, found, range(LINES), 0)
            check(f"{codec} from 41", read(bootstrap, topic, partition, 41), range(41, LINES), 41)
            check(f"{codec}, the last 7", read(bootstrap, topic, partition, -7), range(LINES - 7, LINES), LINES - 7)
        report.ok(f"produce and read back {codec}")
        time.sleep(0.02)
        produce(bootstrap, topic, range(10), 0, "-z", codec)
        when = read(bootstrap, topic, 0, LINES)[0]["ts"]
        answer = kcat("-b", bootstrap, "-Q", "-t", f"{topic}:0:{when}")
        r.expect("query by timestamp", answer.split(), [topic, "[0]", "offset", str(LINES)])
        check("from a timestamp", read(bootstrap, topic, 0, f"s@{when}"), range(10), LINES)
        report.ok(f"read by timestamp {codec}")

    topic = f"{prefix}-idempotent"
    for acks in ["0", "1", "all"]:
        produce(bootstrap, f"{topic}-{acks}", range(LINES), 1, "-X", f"acks={acks}")
        check(f"acks={acks}", read(bootstrap, f"{topic}-{acks}", 1, 0), range(LINES), 0)
    report.ok("acks 0, 1 and all")
    for run in range(2):
        produce(bootstrap, topic, range(1000), 2, "-X", "enable.idempotence=true", "-X", "batch.num.messages=20")
    found = read(bootstrap, topic, 2, 0)
    check("idempotent", found[:1000], range(1000), 0)
    check("idempotent, second", found[1000:], range(1000), 1000)
    report.ok("idempotent producer")

    # -Z: an empty value is null, and so is an empty key.
    kcat("-b", bootstrap, "-P", "-t", f"{prefix}-null", "-p", "0", "-Z", "-K", "\t", stdin=b"\tv\nk\t\n")
    found = read(bootstrap, f"{prefix}-null", 0, 0)
    r.expect("null key, null value", [(m["key"], m["payload"]) for m in found], [(None, "v"), ("k", None)])
    report.ok("nulls")

    metadata = json.loads(kcat("-b", bootstrap, "-L", "-J"))
    r.expect("brokers", len(metadata["brokers"]), 1)
    [described] = [t for t in metadata["topics"] if t["topic"] == topic]
    r.expect("partitions", [p["partition"] for p in described["partitions"]], [0, 1, 2])
    report.ok("metadata")

    too_large = kcat("-b", bootstrap, "-P", "-t", topic, "-p", "0", "-X", "message.max.bytes=10000000",
                     stdin=b"v" * 1_200_000, fails=True)
    r.expect(f"too large ({too_large.strip()})", "Message size too large" in too_large, True)
    unknown = kcat("-b", bootstrap, "-C", "-t", f"{prefix}-missing", "-p", "0", "-e", fails=True)
    r.expect(f"unknown topic ({unknown.strip()})", "Unknown topic or partition" in unknown, True)
    beyond = kcat("-b", bootstrap, "-C", "-t", topic, "-p", "2", "-o", "1000000", "-e", "-X", "auto.offset.reset=error", fails=True)
    r.expect(f"offset out of range ({beyond.strip()})", "out of range" in beyond.lower(), True)
    bad = kcat("-b", bootstrap, "-P", "-t", "bad name", stdin=b"v\n", fails=True)
    r.expect(f"bad name ({bad.strip()})", "Invalid topic" in bad, True)
    report.ok("errors")


if __name__ == "__main__":
    r.run(main)

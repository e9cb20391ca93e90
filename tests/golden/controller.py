#!/usr/bin/env python3
"""What Java controllers wrote and sent, cut down to what tests/controller_evidence.rs plays.

In: the folder `zk` of the recorded clusters (NAME.txns.jsonl, NAME.control-rpcs.jsonl.gz). Out: controller.jsonl.gz beside
this file, one line per ZooKeeper transaction, then per request, of each step. Ids of topics are made ids that can be read.
"""
import gzip
import json
import re
import sys
from pathlib import Path

CLUSTERS = {"k391-ibp1.0": "1.0", "k391-ibp2.6": "2.6", "k391-ibp2.8": "2.8", "k391": "3.9"}
APIS = {
    "LEADER_AND_ISR",
    "UPDATE_METADATA",
    "STOP_REPLICA",
    "CONTROLLED_SHUTDOWN",
    "ALTER_PARTITION",
    "ALLOCATE_PRODUCER_IDS",
}
source = Path(sys.argv[1])


def readable(line):
    return re.sub(r"TOPIC-ID-22-CHARS-(\d{4})", r"TOPIC-ID-CHARS-\1-AA", line)


with gzip.GzipFile(Path(__file__).with_name("controller.jsonl.gz"), "wb", mtime=0) as out:

    def write(value):
        out.write(json.dumps(value, separators=(",", ":")).encode() + b"\n")

    for cluster, protocol in CLUSTERS.items():
        steps, writes, requests = [], {}, {}
        for line in open(source / f"{cluster}.txns.jsonl"):
            txn = json.loads(readable(line))
            step = txn["step"]
            if step not in steps:
                steps.append(step)
            ops = txn.get("ops") or [txn]
            if txn["op"] == "createSession" or any(op["op"] == "error" for op in ops):
                continue
            ops = [{k: v for k, v in op.items() if k not in ("step", "zxid", "ms", "by")} for op in ops]
            writes.setdefault(step, []).append({"zxid": txn["zxid"], "by": txn.get("by", ""), "ops": ops})
        for line in gzip.open(source / f"{cluster}.control-rpcs.jsonl.gz", "rt"):
            rpc = json.loads(readable(line))
            if rpc["api"] in APIS:
                keys = ("to", "api", "version", "client_id", "request", "response")
                requests.setdefault(rpc["step"], []).append({key: rpc[key] for key in keys})
        for step in steps:
            head = {"cluster": cluster, "protocol": protocol, "step": step}
            for txn in writes.get(step, []):
                write({**head, "txn": txn})
            for rpc in requests.get(step, []):
                write({**head, "rpc": rpc})

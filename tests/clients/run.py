#!/usr/bin/env python3
"""Runs every foreign client against a broker and prints the matrix.

    run.py --broker target/release/ringdaw          starts the brokers it needs, and stops them
    run.py --bootstrap HOST:PORT                    a broker that runs, with auto.create.topics.enable=false
           --auto-bootstrap HOST:PORT               one with auto.create.topics.enable=true and num.partitions=3
    run.py ... --only NAME                          that client alone (may be given more than once)
    run.py --broker ... --engine epoll              the brokers stand on that engine; also RINGDAW_TEST_ENGINE

Clients come from scripts/client-tools.sh; one that is not there is skipped by name. The last line is
`N passed, N failed, N skipped`; the exit status is 1 if one failed.
"""

import argparse
import concurrent.futures
import os
import pathlib
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = ROOT / "tests" / "clients"
CLIENT_SECONDS = 300


def clients(tools):
    """Name, tool chain, command, and whether it needs a broker that makes topics by itself."""
    python = tools / "venv" / "bin" / "python"
    rows = [
        ("confluent-kafka", "python", [python, HERE / "python/confluent.py"], False),
        ("java-tools-3.9.1", "java-3.9.1", [sys.executable, HERE / "python/java_tools.py"], False),
        ("java-admin-3.9.1", "java-3.9.1", [sys.executable, HERE / "python/java_admin.py"], False),
        ("kafka-python", "python", [python, HERE / "python/kafka_python.py"], False),
        ("aiokafka", "python", [python, HERE / "python/aiokafka_client.py"], False),
        ("groups-python", "python", [python, HERE / "python/groups.py"], False),
        ("admin-python", "python", [python, HERE / "python/admin.py"], False),
        ("kcat", "kcat", [sys.executable, HERE / "python/kcat.py"], True),
        ("kafkajs", "node", ["node", HERE / "node/kafkajs.js"], False),
        ("franz-go", "go", [tools / "go/franz"], False),
        ("sarama", "go", [tools / "go/sarama"], False),
        ("kafka-go", "go", [tools / "go/segmentio"], False),
    ]
    for version in ["1.0.0", "3.9.1", "4.3.0"]:
        jars = ROOT / "target" / "java-kafka" / version / "libs" / "*"
        command = ["java", "-cp", f"{tools / 'java' / version}:{jars}", "Client"]
        rows.append((f"java-{version}", f"java-{version}", command, False))
    return rows


def missing(tools):
    path = tools / "missing"
    if not path.exists():
        sys.exit(f"{path} is not there: run scripts/client-tools.sh first")
    return dict(line.split(": ", 1) for line in path.read_text().splitlines())


def answers(port):
    """Whether ApiVersions is answered there."""
    request = struct.pack(">hhih", 18, 0, 1, -1)
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            connection.settimeout(2)
            connection.sendall(struct.pack(">i", len(request)) + request)
            return len(connection.recv(4)) == 4
    except OSError:
        return False


class Broker:
    """One broker of our own in a new directory; its log is kept if something went wrong."""

    def __init__(self, binary, folder, **settings):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        folder.mkdir(parents=True)
        self.log = folder / "broker.log"
        lines = {"broker.id": 1, "listeners": f"PLAINTEXT://127.0.0.1:{self.port}", "log.dirs": folder / "data", **settings}
        config = folder / "server.properties"
        config.write_text("".join(f"{key}={value}\n" for key, value in lines.items()))
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([binary, "broker", config], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        deadline = time.time() + 30
        while not answers(self.port):
            if self.process.poll() is not None or time.time() > deadline:
                self.process.kill()
                sys.exit(f"the broker does not answer:\n{self.log.read_text()[-2000:]}")
            time.sleep(0.05)

    def stop(self):
        """None if it stopped as it should, else what was wrong."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return "did not stop within 30 s of SIGTERM"
        if status != 0:
            return f"ended with status {status}"
        if "panicked at" in self.log.read_text(errors="replace"):
            return "panicked"
        return None


def run_one(name, command, bootstrap, environment, logs):
    prefix = f"{name.replace('.', '-')}-{random.randrange(10**6)}"
    begun = time.time()
    log = logs / f"{name}.log"
    with open(log, "wb") as out:
        process = subprocess.Popen([*command, bootstrap, prefix], stdout=out, stderr=subprocess.STDOUT,
                                   stdin=subprocess.DEVNULL, env=environment, start_new_session=True)
        try:
            status = process.wait(CLIENT_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            status = f"no end within {CLIENT_SECONDS} s"
    lines = log.read_text(errors="replace").splitlines()
    version = next((line.split(" ", 2)[2] for line in lines if line.startswith("client ")), "?")
    facts = [line[3:] for line in lines if line.startswith("ok ")]
    skips = [line[5:] for line in lines if line.startswith("skip ")]
    reason = None
    if status != 0:
        reason = next((line[7:] for line in reversed(lines) if line.startswith("failed ")), f"status {status}")
    elif not facts:
        reason = "it checked nothing"
    return {"name": name, "version": version, "facts": facts, "skips": skips, "reason": reason,
            "seconds": time.time() - begun, "log": log}


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--broker")
    arguments.add_argument("--bootstrap")
    arguments.add_argument("--auto-bootstrap")
    arguments.add_argument("--tools", default=ROOT / "target" / "clients", type=pathlib.Path)
    arguments.add_argument("--only", action="append")
    arguments.add_argument("--jobs", type=int, default=2)
    arguments.add_argument("--engine", default=os.environ.get("RINGDAW_TEST_ENGINE") or "auto")
    given = arguments.parse_args()
    if bool(given.broker) == bool(given.bootstrap):
        arguments.error("one of --broker and --bootstrap is needed")

    absent = missing(given.tools)
    rows = [row for row in clients(given.tools) if not given.only or row[0] in given.only]
    if not rows:
        arguments.error(f"no such client; there are: {', '.join(row[0] for row in clients(given.tools))}")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="clients-", dir=given.tools))
    environment = {**os.environ, "NODE_PATH": str(given.tools / "node" / "node_modules"), "PYTHONDONTWRITEBYTECODE": "1"}

    brokers, bad = [], []
    try:
        if given.broker:
            engine = {"reactor.engine": given.engine}
            brokers.append(Broker(given.broker, folder / "plain", **engine, **{"auto.create.topics.enable": "false"}))
            brokers.append(Broker(given.broker, folder / "auto", **engine, **{"auto.create.topics.enable": "true", "num.partitions": 3}))
            plain, auto = (f"127.0.0.1:{broker.port}" for broker in brokers)
        else:
            plain, auto = given.bootstrap, given.auto_bootstrap
        results, skipped = [], []
        with concurrent.futures.ThreadPoolExecutor(given.jobs) as pool:
            waiting = []
            for name, chain, command, needs_auto in rows:
                if chain in absent:
                    skipped.append((name, absent[chain]))
                elif needs_auto and not auto:
                    skipped.append((name, "no --auto-bootstrap given"))
                else:
                    waiting.append(pool.submit(run_one, name, command, auto if needs_auto else plain, environment, folder))
            for each in concurrent.futures.as_completed(waiting):
                result = each.result()
                results.append(result)
                print(f"{result['name']}: {result['reason'] or 'ok'} ({result['seconds']:.0f} s)", flush=True)
    finally:
        for broker in brokers:
            wrong = broker.stop()
            if wrong:
                bad.append(f"the broker at port {broker.port} {wrong}; its log: {broker.log}")

    order = [row[0] for row in rows]
    results.sort(key=lambda result: order.index(result["name"]))
    print(f"\n{'client':<18} {'version':<32} {'facts':>5} {'skipped':>7}  result")
    for result in results:
        verdict = "passed" if result["reason"] is None else f"FAILED: {result['reason']}"
        print(f"{result['name']:<18} {result['version']:<32} {len(result['facts']):>5} {len(result['skips']):>7}  {verdict}")
        for skip in result["skips"]:
            print(f"{'':<18} skipped: {skip}")
    for name, why in skipped:
        print(f"{name:<18} {'-':<32} {'-':>5} {'-':>7}  skipped: {why}")
    for result in results:
        if result["reason"] is not None:
            print(f"\n---- {result['name']}, the end of {result['log']}")
            print("\n".join(result["log"].read_text(errors="replace").splitlines()[-25:]))
    for line in bad:
        print(f"\n{line}")
    failed = sum(result["reason"] is not None for result in results) + len(bad)
    if not failed:
        shutil.rmtree(folder)
    print(f"\n{len(results) + len(brokers) - failed} passed, {failed} failed, {len(skipped)} skipped")
    sys.exit(1 if failed else 0)


main()

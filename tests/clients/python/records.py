"""The records every client writes and expects back, and how a client says what it found.

Record i is a function of i alone, so a reader needs no memory of what was written. The other languages'
programs carry the same rules: null key at i % 7 == 0, null value at i % 11 == 5 where there is a
key, empty value at i % 13 == 3, headers unless i % 3 == 0, ten milliseconds between two records.
"""

import sys

COUNT = 300
PARTITIONS = 3
STEP_MS = 10


def key(i):
    return None if i % 7 == 0 else f"key-{i % 50}".encode()


def value(i):
    if i % 11 == 5 and i % 7 != 0:  # some clients refuse a record that has neither
        return None
    if i % 13 == 3:
        return b""
    return f"value-{i}-".encode() + b"x" * (i * 37 % 300)


def headers(i):
    if i % 3 == 0:
        return []
    both = [("n", str(i).encode())]
    if i % 5 == 0:
        both += [("n", b"again"), ("empty", b"")]
    return both


def timestamp(i, start_ms):
    return start_ms + i * STEP_MS


def partition(i):
    return i % PARTITIONS


def of_partition(p):
    return [i for i in range(COUNT) if partition(i) == p]


class Failed(Exception):
    """A check that did not hold; the text is the reason."""


def expect(what, found, wanted):
    if found != wanted:
        raise Failed(f"{what}: found {found!r}, wanted {wanted!r}")


def check(what, i, start_ms, found):
    """`found` is (key, value, headers, timestamp) of what should be record i."""
    wanted = (key(i), value(i), headers(i), timestamp(i, start_ms))
    expect(f"{what}: record {i}", found, wanted)


class Report:
    """One line per fact; the runner counts them."""

    def __init__(self, name, version):
        print(f"client {name} {version}", flush=True)

    def ok(self, what):
        print(f"ok {what}", flush=True)

    def skip(self, what, why):
        print(f"skip {what}: {why}", flush=True)


def run(main):
    """Any error ends the program with status 1 and its reason as the last line."""
    try:
        main(sys.argv[1], sys.argv[2])
    except Exception as error:  # the client's own errors are of many unrelated types
        import traceback

        traceback.print_exc()
        print(f"failed {type(error).__name__}: {error}", flush=True)
        sys.exit(1)

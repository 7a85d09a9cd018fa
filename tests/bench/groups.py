"""The section of tests/bench/run about consumer groups: how fast a group hands out events, what one takes of memory."""

import os
import statistics
import subprocess

import measure
from measure import Failed, Rounds

ORDERINGS = (("none", 150_000), ("stream", 80_000))
GROUP_BYTES_MAX = 3e6


def groups(bench):
    """consumer groups: 8 consumers fetching 100 at a time with acks; memory of a group"""
    rounds, own = Rounds(), {}
    count = "100000" if bench.options.quick else "500000"
    for _ in bench.rounds(f"a group of {int(count):,} events"):
        done = subprocess.run([measure.program("tests/bench/bench_group"), count], capture_output=True, text=True, check=False,
                              env={**os.environ, "TMPDIR": bench.folder})
        if done.returncode != 0:
            raise Failed(f"bench_group: {done.stderr.strip()[-300:]}")
        for line in done.stdout.splitlines():
            name, *figures = line.split()
            measured = {key: float(value) for key, value in (f.split("=") for f in figures)}
            own.setdefault(name, []).append(measured.get("events_per_cpu_s", measured.get("bytes")))
            if "events_per_s" in measured:
                rounds.add(name, measured)
    for name, target in ORDERINGS:
        bench.rate(f"group, ordering {name}, 8 consumers, fetches of 100 with acks, synced, one thread: events",
                   rounds.median(name, "events_per_s"), target,
                   f" ({statistics.median(own[name]):,.0f} a second of processor time)")
    bench.below("memory of one of 1,000 groups, 100 events in flight", statistics.median(own["memory"]), GROUP_BYTES_MAX, "bytes")
    bench.below("memory of a group that holds back all it may", statistics.median(own["memory_full"]), GROUP_BYTES_MAX, "bytes")

"""The sections of tests/bench/run about consumer groups: how fast a group hands out events, what one takes of memory; and the same
over HTTP, with a thousand groups beside appends."""

import http.client
import json
import os
import statistics
import subprocess

import measure
from measure import Failed, Rounds

ORDERINGS = (("none", 150_000), ("stream", 80_000))
GROUP_BYTES_MAX = 3e6
MANY = 1000


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


def ask(server, method, path, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        connection.request(method, path, None if body is None else json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise Failed(f"{method} {path}: {answer.status} {text[:200]!r}")
        return json.loads(text)
    finally:
        connection.close()


def consume(bench):
    """consumer groups over HTTP: 8 consumers fetching 100 at a time with acks; appends beside 1,000 groups"""
    with bench.daybook("consume") as server:
        handing_out(bench, server)
        beside_appends(bench, server)


def handing_out(bench, server):
    """Each round a new group over the whole log, whose events come one by one from 10,000 streams."""
    rounds = Rounds()
    count = 100_000 if bench.options.quick else 400_000
    measure.bench(server.url, "append", connections=64, streams=10000, payload=256, expect="any", requests=count, warmup_ms=0)
    server.settle()
    for number in bench.rounds(f"groups over {count:,} events"):
        for ordering, _ in ORDERINGS:
            name = f"{ordering}-{number}"
            ask(server, "PUT", f"/v1/groups/{name}", {"ordering": ordering, "ack_timeout_s": 600})
            got = measure.bench(server.url, "consume", group=name, connections=8, batch=100, events=count, seconds=300)
            if got["events"] < count:
                raise Failed(f"{got['events']} of {count} events were acknowledged")
            rounds.add(ordering, got)
            ask(server, "DELETE", f"/v1/groups/{name}")
    for ordering, target in ORDERINGS:
        bench.rate(f"group over HTTP, ordering {ordering}, 8 consumers, fetches of 100 with acks: events",
                   rounds.median(ordering, "events_per_s"), target, f" ({rounds.latency(ordering)})")


def beside_appends(bench, server):
    """A thousand groups, each of which was fetched from once: what they take, and what appends lose."""
    rounds = Rounds()
    before = server.private_bytes()
    for _ in bench.rounds("appends without groups"):
        server.settle()
        rounds.add("alone", bench.append(server.url, 64))
    for i in range(MANY):
        ask(server, "PUT", f"/v1/groups/many-{i}", {"after": "end"})
        ask(server, "POST", f"/v1/groups/many-{i}/fetch", {"max": 1})
    server.settle()
    each = max(0, server.private_bytes() - before) / MANY
    for _ in bench.rounds(f"appends beside {MANY:,} groups"):
        server.settle()
        rounds.add("beside", bench.append(server.url, 64))
    bench.below(f"private memory of one of {MANY:,} groups over HTTP", each, GROUP_BYTES_MAX, "bytes")
    bench.against(f"append, 64 connections, beside {MANY:,} groups that nobody fetches from", rounds.median("beside"), rounds.median("alone"),
                  "without", 0.8)

"""The section of tests/bench/run about projections: how fast models are built, state is read, and what a rebuild costs appends."""

import http.client
import json
import statistics
import subprocess
import time

import measure
from measure import Failed, Rounds, say

KINDS = (("native", "native counts ($counts)", 2_000_000), ("table", "table of two SQL statements", 150_000),
         ("document", "Lua counter document a stream", 300_000))
STATE_EVENTS = 1000
STATE_READS = 2000
TABLE = """CREATE TABLE totals (id TEXT PRIMARY KEY, events INTEGER);
CREATE TABLE types (type TEXT PRIMARY KEY, events INTEGER) WITHOUT ROWID;
-- @on *
INSERT INTO totals VALUES (:entity, 1) ON CONFLICT DO UPDATE SET events = events + 1;
INSERT INTO types VALUES (:type, 1) ON CONFLICT DO UPDATE SET events = events + 1;
"""
DOCUMENT = """return {
  init = function() return {events = 0} end,
  on = {["*"] = function(s, e) s.events = s.events + 1 return s end},
}
"""


def ask(server, method, path, body=None, content_type="application/json"):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        connection.request(method, path, body, {"Content-Type": content_type} if body is not None else {})
        answer = connection.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise Failed(f"{method} {path}: {answer.status} {text[:200]!r}")
        return json.loads(text)
    finally:
        connection.close()


def await_live(server, name, limit_s=600):
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        status = ask(server, "GET", f"/v1/projections/{name}")
        if status["state"] == "live" and "building" not in status and status["lag_events"] == 0:
            return
        if status["state"] == "faulted":
            raise Failed(f"the projection failed: {status}")
        time.sleep(0.1)
    raise Failed(f"{name} is not live after {limit_s} s")


def projections(bench):
    """read models: how fast they are built, state reads, appends while one is rebuilt"""
    building(bench)
    state(bench)
    rebuild(bench)


def building(bench):
    """One thread, no server: log to model."""
    rounds, own = Rounds(), {}
    count = "200000" if bench.options.quick else "1000000"
    for _ in bench.rounds(f"building models of {int(count):,} events"):
        done = subprocess.run([measure.program("tests/bench/bench_projection"), count], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Failed(f"bench_projection: {done.stderr.strip()[-300:]}")
        for line in done.stdout.splitlines():
            name, *figures = line.split()
            own.setdefault(name, []).append(float(figures[1].split("=")[1]))
            rounds.add(name, {"events_per_s": float(figures[0].split("=")[1])})
    for name, what, target in KINDS:
        bench.rate(f"build: {what}, one thread: events", rounds.median(name, "events_per_s"), target,
                   f" ({statistics.median(own[name]):,.0f} a second of processor time)")


def state(bench):
    """The state of a stream of 1,000 events beside the cheapest answer there is, one connection, in turns."""
    rounds = Rounds()
    with bench.daybook("state") as server:
        event = {"type": "Happened", "data": {"text": "x" * 230}}
        ask(server, "POST", "/v1/streams/s-1/events", json.dumps({"events": [event] * STATE_EVENTS}))
        ask(server, "PUT", "/v1/projections/doc", DOCUMENT.encode(), "text/x-lua")
        await_live(server, "doc")
        for _ in bench.rounds(f"state of a stream of {STATE_EVENTS:,} events"):
            for name, path in (("state", "/v1/streams/s-1/state?projection=doc"), ("healthz", "/healthz")):
                rounds.add(name, timed_reads(server, path))
        if ask(server, "GET", "/v1/streams/s-1/state?projection=doc")["state"] != {"events": STATE_EVENTS}:
            raise Failed("the state is another")
    value, bare = rounds.median("state", "p50_us") / 1e3, rounds.median("healthz", "p50_us") / 1e3
    bench.row(f"state of a stream of {STATE_EVENTS:,} events, fresh document, p50", f"{value:.3f} ms",
              f"/healthz {bare:.3f} ms", f"{value / bare:.2f}", "< 1 ms", value < 1)


def timed_reads(server, path):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    times = []
    for _ in range(STATE_READS):
        began = time.perf_counter()
        connection.request("GET", path)
        connection.getresponse().read()
        times.append((time.perf_counter() - began) * 1e6)
    connection.close()
    times.sort()
    return {"per_s": 1e6 * len(times) / sum(times), "p50_us": times[len(times) // 2], "p99_us": times[len(times) * 99 // 100]}


def rebuild(bench):
    """Appends without and with a rebuild of the large store's model beside them, in turns."""
    rounds = Rounds()
    with bench.open_large() as server:
        ask(server, "PUT", "/v1/projections/bench", TABLE.encode(), "application/sql")
        try:
            await_live(server, "bench")
            for _ in bench.rounds("appends beside a rebuild"):
                server.settle()
                await_live(server, "bench")
                rounds.add("alone", bench.append(server.url, 64))
                server.settle()
                await_live(server, "bench")
                ask(server, "POST", "/v1/projections/bench/rebuild")
                rounds.add("beside", bench.append(server.url, 64))
                if "building" not in ask(server, "GET", "/v1/projections/bench"):
                    say("    the rebuild was over before the appends: a larger store (--events) says more")
        finally:
            ask(server, "DELETE", "/v1/projections/bench")
    bench.against(f"append, 64 connections, while a model of {bench.options.events:,} events is rebuilt",
                  rounds.median("beside"), rounds.median("alone"), "without", 0.6)

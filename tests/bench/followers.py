"""The sections of tests/bench/run about followers: from append to delivery, many of them, idle ones, catching up."""

import time

import measure
from measure import Failed, Rounds, say

THOUSAND = 1000
RATE = 1000
CONNECTIONS = 8
IDLE = 10_000
IDLE_S = 16  # a heartbeat of each falls into it
MANY = ("--connections-max", str(IDLE + 100))


def one(bench):
    """1 follower: from the answer to an append to its delivery"""
    rounds = Rounds()
    with measure.BareHttp(bench.folder) as bare, bench.daybook("follow") as server:
        for _ in bench.rounds("one append after the other, one follower"):
            server.settle()
            rounds.add("bare HTTP", bench.append(bare.url, 1, "post", path="/v1/streams/order-10000/events"))
            rounds.add("delivery", measure.bench(server.url, "follow", connections=1, followers=1, seconds=bench.options.seconds))
    for key, target in (("p50_us", 1), ("p99_us", 5)):
        value, http = rounds.median("delivery", key) / 1e3, rounds.median("bare HTTP", key) / 1e3
        bench.row(f"append's 201 to delivery, 1 follower (SSE), {key[:3]}", f"{value:.3f} ms", f"bare HTTP round trip {http:.3f} ms",
                  f"{value / http:.2f}", f"< {target} ms", value < target)


def thousand(bench):
    """1,000 followers of the whole log while 1,000 events/s are appended"""
    rounds = Rounds()
    count = RATE * bench.options.seconds
    with bench.daybook("follow1000") as server:
        for _ in bench.rounds(f"{RATE:,} events/s, without and with {THOUSAND:,} followers"):
            server.settle()
            rounds.add("alone", paced(server, count))
            server.settle()
            with measure.Followers(server.url, THOUSAND, count) as followers:
                began = time.monotonic()
                rounds.add("followed", paced(server, count))
                got = followers.wait()
                rounds.add("delivered", {"events_per_s": got / (time.monotonic() - began)})
            if got != count * THOUSAND:
                raise Failed(f"{THOUSAND} followers got {got:,} events, not {count * THOUSAND:,}")
    alone, followed = rounds.median("alone", "p99_us") / 1e3, rounds.median("followed", "p99_us") / 1e3
    bench.row(f"{THOUSAND:,} followers (SSE), {RATE:,} events/s: all got all, append p99",
              f"{followed:.2f} ms (p50 {rounds.median('followed', 'p50_us') / 1e3:.2f}; "
              f"{rounds.median('delivered', 'events_per_s'):,.0f}/s delivered)", f"without them {alone:.2f} ms",
              f"{followed / alone:.2f}", "<= 2", followed <= 2 * alone)


def paced(server, count):
    """Appends begun at a steady rate; each counts from when it was due, so that none is spared by the one before."""
    return measure.bench(server.url, "append", rate=RATE, requests=count, connections=CONNECTIONS, expect="any", warmup_ms=0)


def idle(bench):
    """10,000 followers with nothing to follow: memory of each, and processor time"""
    with bench.daybook("follow10000", MANY) as server:
        bench.fill(server, 10_000)
        server.settle()
        before = server.private_bytes()
        with measure.Followers(server.url, IDLE, 1) as followers:
            time.sleep(1)
            each = (server.private_bytes() - before) / IDLE
            used = server.cpu_s()
            time.sleep(IDLE_S)
            used = (server.cpu_s() - used) / IDLE_S
            bench.append(server.url, 1, warmup_ms=0, requests=1)
            got = followers.wait()
        say(f"    {each:,.0f} bytes a follower, {100 * used:.1f} % of a processor, {got} of them got an event")
    if got != IDLE:
        raise Failed(f"one event was delivered {got} times to {IDLE} followers")
    bench.below(f"{IDLE:,} idle followers (SSE): private memory each", each / 1e3, 20, "KB")
    bench.below(f"{IDLE:,} idle followers: processor time of the server", 100 * used, 10, "% of one")


def catch_up(bench):
    """the whole large store over one NDJSON follower, beside the plain read"""
    rounds = Rounds()
    with bench.open_large() as server:
        position = server.status()["position"]
        for _ in bench.rounds(f"catching up, {position:,} events"):
            rounds.add("plain read", measure.bench(server.url, "read-log", encoding="json"))
            got = measure.bench(server.url, "follow", connections=0, feed="ndjson", until_caught_up=True, **{"from": "start"})
            if got["events"] < position:
                raise Failed(f"catching up gave {got['events']} of {position} events")
            rounds.add("catching up", got)
    bench.against("catching up with the whole log, 1 NDJSON follower: events", rounds.median("catching up", "events_per_s"),
                  rounds.median("plain read", "events_per_s"), "plain NDJSON read", 0.95, " (1 and noise)")

"""/v1/groups: shared work on the log: leases, order, retries, parked events, acknowledging in one step with an append."""
import json
import random
import threading
import time

import pytest

from support import PROTOBUF, SLOW, event, problem, quote, wait_for

LOST = "lease-lost"


class Group:
    """A group of a server's, over one category of its own."""

    def __init__(self, server, name, **settings):
        self.server, self.name, self.category = server, name.replace("/", "-"), "cat" + name.replace("-", "")
        self.put({"filter": {"category": self.category}, **settings}, 201)

    def path(self, rest=""):
        return f"/v1/groups/{quote(self.name)}{rest}"

    def send(self, method, rest, body=None, status=200):
        answer = self.server.request(method, self.path(rest), body)
        assert answer.status == status, answer.raw
        return answer.json

    def put(self, body, status=200):
        return self.send("PUT", "", body, status)

    def info(self):
        return self.send("GET", "")

    def fill(self, streams=3, events=4):
        """Events 1 to `events` of each stream, stream after stream."""
        for s in range(streams):
            self.server.append_ok(f"{self.category}-{s}", [event("Made", {"n": n + 1}) for n in range(events)])
        return streams * events

    def fetch(self, max=100, **more):
        return self.send("POST", "/fetch", {"max": max, **more})["events"]

    def ack(self, events, status=200, **more):
        return self.send("POST", "/ack", {"leases": [e["lease"] for e in events], **more}, status)

    def nack(self, events, status=200, **more):
        return self.send("POST", "/nack", {"leases": [e["lease"] for e in events], **more}, status)

    def drain(self, **more):
        """Fetches and acknowledges until there is nothing; the events in the order they came."""
        done = []
        while True:
            got = self.fetch(**more)
            if not got:
                return [e["event"] for e in done]
            self.ack(got)
            done += got


@pytest.fixture
def group(server, name):
    return Group(server, name())


def numbers(events):
    return [(e["event"]["stream"], e["event"]["revision"]) for e in events]


# ---- definitions ----------------------------------------------------------------------------------


def test_definitions(server, name):
    """PUT creates and replaces, PATCH changes, GET tells, DELETE ends; what is not said has its default."""
    g = Group(server, name())
    told = g.info()
    assert {k: told[k] for k in ("ordering", "on_park", "ack_timeout_s", "max_attempts", "backoff", "max_in_flight", "paused")} == {
        "ordering": "stream", "on_park": "block", "ack_timeout_s": 30, "max_attempts": 10,
        "backoff": {"initial_s": 1, "max_s": 300}, "max_in_flight": 1000, "paused": False}
    changed = g.send("PATCH", "", {"ack_timeout_s": 2.5, "backoff": {"initial_s": 0.25}, "filter": {"type": ["A", "B"]}})
    assert changed["ack_timeout_s"] == 2.5 and changed["backoff"] == {"initial_s": 0.25, "max_s": 300}
    assert changed["filter"] == {"type": ["A", "B"]} and changed["revision"] == told["revision"] + 1
    assert g.put({"max_attempts": 3})["ack_timeout_s"] == 30
    assert g.info()["max_attempts"] == 3 and g.info()["filter"] == {}
    assert g.name in [x["name"] for x in server.get("/v1/groups").json["groups"]]
    assert g.send("DELETE", "") == {"name": g.name, "deleted": True}
    for method, rest, body in (("GET", "", None), ("DELETE", "", None), ("PATCH", "", {}), ("POST", "/fetch", {}), ("POST", "/seek", {"to": 0}),
                               ("POST", "/ack", {"leases": ["0" * 36]}), ("GET", "/parked", None), ("POST", "/parked/replay", {})):
        problem(server.request(method, g.path(rest), body), 404, "group-not-found")
    assert g.name not in [x["name"] for x in server.get("/v1/groups").json["groups"]]


def test_where_a_group_begins(server, name):
    """"start" is the default, "end" is now, a number is that position; only a new group looks at it."""
    n = name()
    g = Group(server, n)
    g.fill(1, 3)
    head = server.get("/v1/status").json["position"]
    for after, first in (("end", None), (head - 1, head), ("start", head - 2), (0, head - 2)):
        other = Group(server, name(), after=after, filter={"category": g.category})
        got = other.fetch()
        assert [e["event"]["position"] for e in got][:1] == ([first] if first else []), after
        assert other.put({"after": "start", "filter": {"category": g.category}})["fetched"] >= head - 2
    problem(server.request("PATCH", g.path(), {"after": 0}), 400, "unknown-field", field="after")


BAD = [
    ({"filter": 1}, "invalid-field", "filter"), ({"filter": {"stream": "a"}}, "unknown-field", "filter.stream"),
    ({"filter": {"type": [1]}}, "invalid-field", "filter.type"), ({"filter": {"category": {"a": 1}}}, "invalid-field", "filter.category"),
    ({"ordering": "strict"}, "invalid-field", "ordering"), ({"on_park": 3}, "invalid-field", "on_park"),
    ({"ack_timeout_s": 0.01}, "invalid-field", "ack_timeout_s"), ({"ack_timeout_s": -1}, "invalid-field", "ack_timeout_s"),
    ({"ack_timeout_s": "30"}, "invalid-field", "ack_timeout_s"), ({"max_attempts": 0}, "invalid-field", "max_attempts"),
    ({"max_attempts": 1.5}, "invalid-field", "max_attempts"), ({"max_attempts": 5000000000}, "invalid-field", "max_attempts"),
    ({"max_in_flight": 100001}, "invalid-field", "max_in_flight"), ({"backoff": {"initial_s": 9, "max_s": 1}}, "invalid-field", None),
    ({"backoff": []}, "invalid-field", "backoff"), ({"backoff": {"factor": 2}}, "unknown-field", "backoff.factor"),
    ({"paused": "yes"}, "invalid-field", "paused"), ({"after": "middle"}, "invalid-field", "after"), ({"speed": 1}, "unknown-field", "speed"),
    ('{"paused": true, "paused": false}', "invalid-field", "paused"), ("{", "invalid-json", None), ("[1]", "invalid-field", None),
]


@pytest.mark.parametrize("body,code,field", BAD, ids=[json.dumps(b[0])[:40] for b in BAD])
def test_bad_settings(server, name, body, code, field):
    """A wrong setting is named, and no group is made."""
    n = name()
    answer = server.request("PUT", f"/v1/groups/{n}", body.encode() if isinstance(body, str) else body)
    document = problem(answer, 400, code).json
    assert field is None or document["field"] == field, document
    problem(server.get(f"/v1/groups/{n}"), 404, "group-not-found")


def test_bad_names_and_types(server):
    for bad in ("-a", "a b", "a" * 65, "$a"):
        problem(server.request("PUT", f"/v1/groups/{quote(bad)}", {}), 400, "invalid-name")
    problem(server.request("PUT", "/v1/groups/ok", b"x", {"Content-Type": PROTOBUF}), 415, "unsupported-media-type")
    problem(server.get("/v1/groups", headers={"Accept": "text/html"}), 406, "not-acceptable")
    problem(server.get("/v1/groups?x=1"), 400, "invalid-parameter")


BAD_WORK = [
    ("/fetch", {"max": 0}, "max"), ("/fetch", {"max": 10001}, "max"), ("/fetch", {"wait_s": 61}, "wait_s"), ("/fetch", {"consumer": "\n"}, "consumer"),
    ("/fetch", {"group": "x"}, "group"), ("/ack", {"leases": []}, "leases"), ("/ack", {}, "leases"), ("/ack", {"leases": [1]}, "leases"),
    ("/ack", {"leases": ["x"], "append": []}, "append"), ("/ack", {"leases": ["x"], "append": {"appends": [{"stream": "s"}]}}, "append.appends[0].events"),
    ("/ack", {"leases": ["x"], "append": {"appends": [{"stream": "$s", "events": [{"type": "T"}]}]}}, "append.appends[0].stream"),
    ("/nack", {"leases": ["x"], "action": "drop"}, "action"), ("/nack", {"leases": ["x"], "delay_s": 604801}, "delay_s"),
    ("/extend", {"leases": ["x"], "timeout_s": 86401}, "timeout_s"), ("/seek", {}, "to"), ("/seek", {"to": 1, "time": "2026-01-01T00:00:00Z"}, "to"),
    ("/seek", {"to": 10**15}, "to"), ("/seek", {"time": "yesterday"}, "time"), ("/parked/replay", {"position": 1, "from": 1}, "position"),
]


@pytest.mark.parametrize("rest,body,field", BAD_WORK, ids=[f"{b[0]}-{json.dumps(b[1])[:40]}" for b in BAD_WORK])
def test_bad_requests(group, rest, body, field):
    answer = group.server.request("POST", group.path(rest), body)
    assert answer.status in (400, 403) and answer.json["field"] == field, answer.raw


# ---- work -----------------------------------------------------------------------------------------


def test_all_events_in_order_per_stream(group):
    """One event of a stream at a time; each stream in order; everything once; the place follows."""
    n = group.fill(4, 5)
    got = group.fetch()
    assert sorted(numbers(got)) == [(f"{group.category}-{s}", 1) for s in range(4)]
    assert group.fetch() == []
    group.ack(got)
    rest = group.drain()
    assert len(rest) == n - 4
    for s in range(4):
        assert [e["revision"] for e in rest if e["stream"].endswith(f"-{s}")] == [2, 3, 4, 5]
    told = group.info()
    assert told["lag_events"] == 0 and told["in_flight"] == 0 and told["counts"]["acked"] == n and told["lag_seconds"] == 0


def test_without_order_all_at_once(server, name):
    g = Group(server, name(), ordering="none", max_in_flight=7)
    g.fill(2, 5)
    got = g.fetch(consumer="a")
    assert [e["attempt"] for e in got] == [1] * 7 and g.fetch(consumer="b") == []
    told = g.info()
    assert told["in_flight"] == 7 and told["lag_events"] == 10
    assert [(c["name"], c["in_flight"]) for c in told["consumers"]] == [("a", 7), ("b", 0)]
    g.ack(got)
    assert len(g.fetch()) == 3


def test_a_lost_lease_changes_nothing(server, name):
    """Expired, unknown, acknowledged twice: 409 names them, and the others of the request stay as they were."""
    g = Group(server, name(), ack_timeout_s=0.1, ordering="none")
    g.fill(1, 3)
    old = g.fetch(1)
    new = wait_for(lambda: [e for e in g.fetch(3) if e["attempt"] == 2], 20, "the lease to end")
    lost = problem(server.request("POST", g.path("/ack"), {"leases": [old[0]["lease"], "nonsense"]}), 409, LOST).json
    assert lost["leases"] == [old[0]["lease"], "nonsense"]
    assert new[0]["event"] == old[0]["event"]
    g.send("PATCH", "", {"ack_timeout_s": 60})
    held = wait_for(lambda: g.fetch(3), 20, "the events to come again")
    lost = problem(server.request("POST", g.path("/ack"), {"leases": [held[0]["lease"], old[0]["lease"]]}), 409, LOST).json
    assert lost["leases"] == [old[0]["lease"]]
    assert g.ack(held[:1]) == {"acked": 1}
    assert problem(server.request("POST", g.path("/ack"), {"leases": [held[0]["lease"]]}), 409, LOST).json["leases"] == [held[0]["lease"]]


def test_extend(group):
    """A lease that is extended lasts so much longer, or shorter."""
    group.fill(1, 1)
    got = group.fetch()
    told = group.send("POST", "/extend", {"leases": [got[0]["lease"]], "timeout_s": 86400})
    assert told["extended"] == 1 and told["lease_until"] > got[0]["event"]["time"][:10] + "T99"
    assert group.fetch() == []
    group.send("POST", "/extend", {"leases": [got[0]["lease"]], "timeout_s": 0.1})
    again = wait_for(group.fetch, 20, "the lease to end")
    assert again[0]["attempt"] == 2
    problem(group.server.request("POST", group.path("/extend"), {"leases": [got[0]["lease"]]}), 409, LOST)


def test_retry_park_skip(server, name):
    """A nack gives back at once, or later; after max_attempts, or by word, an event is parked; or it is left out."""
    g = Group(server, name(), max_attempts=2, backoff={"initial_s": 0, "max_s": 0})
    g.fill(3, 2)
    got = {e["event"]["stream"][-1]: e for e in g.fetch()}
    assert g.nack([got["0"]], reason="try again") == {"nacked": 1, "parked": 0}
    assert g.nack([got["1"]], action="skip") == {"nacked": 1, "parked": 0}
    assert g.nack([got["2"]], action="park", reason="broken ✓") == {"nacked": 1, "parked": 1}
    again = {e["event"]["stream"][-1]: e for e in g.fetch()}
    assert {s: (e["event"]["revision"], e["attempt"]) for s, e in again.items()} == {"0": (1, 2), "1": (2, 1)}
    assert g.nack([again["0"]], reason="for the last time") == {"nacked": 1, "parked": 1}
    parked = g.send("GET", "/parked")
    assert [(p["event"]["stream"][-1], p["cause"], p["attempts"], p["reason"], p["blocks"]) for p in parked["parked"]] == [
        ("0", "attempts", 2, "for the last time", True), ("2", "nack", 1, "broken ✓", True)]
    told = g.info()
    assert told["parked"] == 2 and told["blocked_streams"] == 2 and told["counts"]["skipped"] == 1
    page = g.send("GET", "/parked?limit=1")
    assert not page["end"] and [p["position"] for p in g.send("GET", f"/parked?after={page['next']}")["parked"]] == [parked["parked"][1]["position"]]
    g.ack([again["1"]])
    # One is replayed, before what its stream holds back; the other discarded, and its stream goes on.
    assert g.send("POST", "/parked/replay", {"dry_run": True}) == {"replayed": 2, "gone": 0, "dry_run": True}
    assert g.send("POST", "/parked/replay", {"position": parked["parked"][0]["position"]})["replayed"] == 1
    problem(server.request("POST", g.path("/parked/replay"), {"position": parked["parked"][0]["position"]}), 404, "event-not-found")
    assert g.send("DELETE", f"/parked/{parked['parked'][1]['position']}")["discarded"] == 1
    problem(server.request("DELETE", g.path(f"/parked/{parked['parked'][1]['position']}")), 404, "event-not-found")
    last = {e["event"]["stream"][-1]: e for e in g.fetch()}
    assert {s: (e["event"]["revision"], e["attempt"], e["replay"]) for s, e in last.items()} == {"0": (1, 1, True), "2": (2, 1, False)}
    g.ack(list(last.values()))
    assert [e["revision"] for e in g.drain()] == [2]


def test_on_park_continue(server, name):
    g = Group(server, name(), on_park="continue")
    g.fill(1, 3)
    g.nack(g.fetch(), action="park")
    assert [e["revision"] for e in g.drain()] == [2, 3]
    assert g.send("DELETE", "/parked?dry_run=true")["discarded"] == 1 and g.send("DELETE", "/parked")["discarded"] == 1
    assert g.send("GET", "/parked") == {"parked": [], "next": 0, "end": True}


def test_replay_by_range_and_filter(server, name):
    g = Group(server, name(), ordering="none")
    types = ["A", "B", "A", "C"]
    server.append_ok(f"{g.category}-1", [event(t, {}) for t in types])
    got = g.fetch()
    g.nack(got, action="park")
    positions = [e["event"]["position"] for e in got]
    assert g.send("POST", "/parked/replay", {"filter": {"type": "A"}, "dry_run": True})["replayed"] == 2
    assert g.send("POST", "/parked/replay", {"from": positions[1], "to": positions[2]})["replayed"] == 2
    assert [e["event"]["type"] for e in g.fetch()] == ["B", "A"]
    assert [p["position"] for p in g.send("GET", "/parked")["parked"]] == [positions[0], positions[3]]


def test_seek(group):
    """To the end, the start, a position, a time: leases end, and what comes after is owed again."""
    group.fill(1, 4)
    group.drain()
    first = group.server.get(f"/v1/streams/{group.category}-0/events?limit=1").json["events"][0]
    assert group.send("POST", "/seek", {"to": "start"})["lag_events"] == 4
    held = group.fetch()
    assert group.send("POST", "/seek", {"to": first["position"] + 1})["lag_events"] == 2
    problem(group.server.request("POST", group.path("/ack"), {"leases": [held[0]["lease"]]}), 409, LOST)
    assert [e["revision"] for e in group.drain()] == [3, 4]
    assert group.send("POST", "/seek", {"time": first["time"]})["lag_events"] == 4
    assert group.send("POST", "/seek", {"to": "end"})["lag_events"] == 0


def test_paused(server, name):
    g = Group(server, name(), paused=True)
    g.fill(1, 1)
    assert g.fetch() == []
    g.send("PATCH", "", {"paused": False})
    assert len(g.fetch()) == 1


def test_a_fetch_waits_for_events_retries_and_edits(server, name):
    """Whatever makes an event deliverable wakes a fetch that waits."""
    g = Group(server, name(), paused=True)
    got = []

    def waiting():
        got.append(g.fetch(wait_s=30))

    def wake(by):
        thread = threading.Thread(target=waiting)
        thread.start()
        time.sleep(0.05)
        by()
        thread.join(60)
        assert not thread.is_alive() and len(got[-1]) == 1
        return got[-1]

    g.send("PATCH", "", {"paused": False})
    first = wake(lambda: server.append_ok(f"{g.category}-1", [event("A", {}), event("B", {})]))
    again = wake(lambda: g.nack(first, delay_s=0.2))
    assert again[0]["attempt"] == 2 and again[0]["event"] == first[0]["event"]
    second = wake(lambda: g.ack(again))
    assert second[0]["event"]["type"] == "B"
    wake(lambda: g.send("POST", "/seek", {"to": second[0]["event"]["position"] - 1}))
    begun = time.monotonic()
    assert g.fetch(wait_s=0.3) == [] and time.monotonic() - begun >= 0.3


@pytest.mark.timeout_s(60)
def test_no_wake_up_is_lost(fresh):
    """A fetch that waits gets what an ack of the same moment makes deliverable: one stream, two consumers that both always wait."""
    g = Group(fresh, "g")
    total = g.fill(1, 150)
    done, acks, lock, begun = [], [], threading.Lock(), time.monotonic()

    def consume():
        while len(done) < total:
            for e in g.fetch(1, wait_s=20):
                with lock:
                    done.append(e["event"]["revision"])
                    acks.append(threading.Thread(target=g.ack, args=([e],)))  # while this consumer waits again
                    acks[-1].start()

    threads = [threading.Thread(target=consume) for _ in range(2)]
    for t in threads:
        t.start()
    wait_for(lambda: len(done) == total, 50, "all to be delivered")
    assert time.monotonic() - begun < 19 * SLOW  # no fetch had to wait until its time was over
    g.server.append_ok(f"{g.category}-0", [event("Last", {}) for _ in range(2)])
    for t in threads + acks:
        t.join(60)
    assert done[:total] == list(range(1, total + 1))


def test_ack_with_append(server, name):
    """Events and acknowledgement are one step: both, or neither."""
    g = Group(server, name())
    g.fill(2, 2)
    out = name()
    got = g.fetch()
    done = g.ack(got, 201, append={"appends": [{"stream": out, "expected_revision": 0, "events": [event("Done", {"of": e["event"]["position"]}) for e in got]}]})
    assert done["acked"] == 2 and [(r["stream"], r["last_revision"]) for r in done["results"]] == [(out, 2)]
    got = g.fetch()
    again = server.request("POST", g.path("/ack"), {"leases": [e["lease"] for e in got],
                                                    "append": {"appends": [{"stream": out, "expected_revision": 0, "events": [event("Done", {})]}]}})
    refused = problem(again, 409, "wrong-expected-revision").json
    assert refused["violations"] == [{"stream": out, "expected": 0, "actual": 2}]
    assert g.info()["in_flight"] == 2  # still leased, by the same leases
    condition = {"fail_if_events_match": {"items": [{"types": ["Done"]}]}, "after": 0}
    body = {"leases": [e["lease"] for e in got], "append": {"appends": [{"stream": out, "events": [event("Done", {})]}], "condition": condition}}
    problem(server.request("POST", g.path("/ack"), body), 409, "condition-failed")
    g.ack(got, 201, append={"appends": [{"stream": out, "events": [event("Done", {})]}]})
    problem(server.request("POST", g.path("/ack"), {"leases": [got[0]["lease"]], "append": {"appends": [{"stream": out, "events": [event("X", {})]}]}}), 409, LOST)
    assert server.head_revision(out) == 3 and g.info()["lag_events"] == 0


@pytest.mark.timeout_s(60)
def test_everything_survives_kill9(fresh):
    """Acknowledged stays acknowledged, leased is leased or comes again, parked stays parked, settings stay."""
    g = Group(fresh, "g", ordering="none", ack_timeout_s=120)
    g.fill(1, 6)
    got = g.fetch()
    g.ack(got[:2])
    g.nack(got[2:3], action="park", reason="r")
    g.send("POST", "/extend", {"leases": [e["lease"] for e in got[3:]], "timeout_s": 1})
    fresh.restart(kill=True)
    told = g.info()
    assert told["counts"]["acked"] == 2 and told["parked"] == 1 and told["ack_timeout_s"] == 120 and told["ordering"] == "none"
    rest = set()

    def all_again():
        rest.update(e["event"]["revision"] for e in g.fetch())
        return rest == {4, 5, 6}

    wait_for(all_again, 20, "the leases to end")
    assert g.send("GET", "/parked")["parked"][0]["reason"] == "r"


def test_shutdown_ends_waiting_fetches(fresh):
    g = Group(fresh, "g")
    statuses = []

    def waiting(number):
        answer = fresh.request("POST", g.path("/fetch"), {"wait_s": 50, "consumer": f"c{number}"})
        statuses.append((answer.status, answer.json))

    threads = [threading.Thread(target=waiting, args=(n,)) for n in range(5)]
    for t in threads:
        t.start()
    wait_for(lambda: len(g.info()["consumers"]) == 5, 20, "all to wait")
    fresh.stop()
    for t in threads:
        t.join(30)
    assert len(statuses) == 5 and all(s == (200, {"events": []}) or s[0] == 503 for s in statuses), statuses


def test_deleted_events_are_not_owed_for_ever(group):
    """A stream that is deleted while its events are leased or held back does not stop the group."""
    server = group.server
    group.fill(2, 3)
    got = group.fetch()
    assert server.request("DELETE", f"/v1/streams/{group.category}-0").status == 200
    kept = [e for e in got if not e["event"]["stream"].endswith("-0")]
    group.nack([e for e in got if e not in kept], delay_s=0)
    group.ack(kept)
    assert [(e["stream"][-1], e["revision"]) for e in group.drain()] == [("1", 2), ("1", 3)]
    assert group.info()["lag_events"] == 0 and group.info()["counts"]["gone"] >= 1


@pytest.mark.timeout_s(90)
@pytest.mark.parametrize("ordering", ["stream", "none"])
def test_many_consumers(fresh, seed, ordering):
    """Eight consumers that sometimes forget, give back and crash: every event is done once, in order where that was asked for."""
    g = Group(fresh, "g", ordering=ordering, ack_timeout_s=0.5, max_attempts=1000, backoff={"initial_s": 0, "max_s": 0})
    total = g.fill(10, 12)
    done, lock = [], threading.Lock()
    stop = threading.Event()

    def consume(number):
        dice = random.Random(seed * 100 + number)
        while not stop.is_set():
            got = g.fetch(dice.randint(1, 20), consumer=f"c{number}", wait_s=0.2)
            for e in got:
                what = dice.random()
                if what < 0.1:
                    continue  # forgotten: its lease ends
                with lock:  # what a consumer did and the acknowledgement of it are one step for this test
                    rest = "/nack" if what < 0.2 else "/ack"
                    answer = fresh.request("POST", g.path(rest), {"leases": [e["lease"]]})
                    assert answer.status in (200, 409), answer.raw
                    if rest == "/ack" and answer.status == 200:
                        done.append((e["event"]["stream"], e["event"]["revision"]))
                        if len(done) == total:
                            stop.set()

    threads = [threading.Thread(target=consume, args=(n,)) for n in range(8)]
    for t in threads:
        t.start()
    try:
        wait_for(stop.is_set, 60, "all to be done")
    finally:
        stop.set()
        for t in threads:
            t.join(60)
    assert len(done) == len(set(done)) == total
    if ordering == "stream":
        for s in {s for s, _ in done}:
            assert [r for x, r in done if x == s] == list(range(1, 13))
    assert g.info()["lag_events"] == 0

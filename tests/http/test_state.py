"""GET /v1/streams/{stream}/state: the stored document and what came since, equal to a fold from the first event at all times."""
import random
import threading

import pytest

from support import event, problem, quote, wait_for
from test_documents import COUNTER, put_ok
from test_projections import ORDERS, info, live, path, put as put_table

FOLD = """return {
  init = function() return {n = 0, amounts = array {}} end,
  on = {
    Added = function(s, e) s.n = s.n + 1 s.amounts[#s.amounts + 1] = e.data.amount return s end,
    Cleared = function(s) s.amounts = array {} return s end,
    Gone = function() return nil end,
  },
}
"""


LENIENT = FOLD.replace("e.data.amount", "(e.data or {amount = 0}).amount")  # of a redacted event it takes nothing


def state(server, stream, projection, headers=None, more="&wait=20s"):
    return server.get(f"/v1/streams/{quote(stream)}/state?projection={quote(projection)}{more}", headers=headers)


def fold(events):
    document = None
    for e in events:
        if e["type"] == "Gone":
            document = None
            continue
        document = document or {"n": 0, "amounts": []}
        if e["type"] == "Added":
            document["n"] += 1
            document["amounts"].append(e["data"]["amount"])
        elif e["type"] == "Cleared":
            document["amounts"] = []
    return document


def test_state_is_the_fold_at_all_times(fresh):
    """Right after each append, with the model ahead, behind and paused, the state is the fold of all events."""
    put_ok(fresh, "p", FOLD)
    events = []
    types = ["Added", "Added", "Cleared", "Added", "Gone", "Added", "Added"]
    for i in range(60):
        e = event(types[i % len(types)], {"amount": i})
        revision = fresh.append_ok("s-1", e)["last_revision"]
        events.append(e)
        if i == 20:
            fresh.post(path("p", "pause"))
        if i == 40:
            fresh.post(path("p", "resume"))
        answer = state(fresh, "s-1", "p")
        assert answer.json == {"stream": "s-1", "revision": revision, "projection_version": 1, "state": fold(events)}, i
    fresh.append_ok("s-2", event("Other"))
    assert state(fresh, "s-2", "p").json["state"] is None


def test_state_under_load(fresh):
    """While others append to the stream each state is that of its revision."""
    put_ok(fresh, "p", COUNTER)
    fresh.append_ok("s", event())
    stop, failures = threading.Event(), []

    def read():
        while not stop.is_set():
            answer = state(fresh, "s", "p").json
            if answer["state"]["n"] != answer["revision"]:
                failures.append(answer)

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(200):
        fresh.append_ok("s", [event(), event()])
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []


def test_etag_and_versions(fresh):
    """The tag changes with the stream and with the version of the projection; a known one is 304."""
    fresh.append_ok("s", event("Added", {"amount": 1}))
    put_ok(fresh, "p", FOLD)
    first = state(fresh, "s", "p")
    assert state(fresh, "s", "p", {"If-None-Match": first.headers["ETag"]}).status == 304
    fresh.append_ok("s", event("Added", {"amount": 2}))
    second = state(fresh, "s", "p", {"If-None-Match": first.headers["ETag"]})
    assert second.status == 200 and second.json["state"]["n"] == 2
    put_ok(fresh, "p", FOLD.replace("s.n + 1", "s.n + 10"))
    live(fresh, "p", 2)
    third = state(fresh, "s", "p", {"If-None-Match": second.headers["ETag"]})
    assert third.status == 200 and third.json["state"]["n"] == 20 and third.json["projection_version"] == 2


def test_what_has_no_state(fresh):
    """Streams and projections that are not there, are deleted, or are of another kind; a tail that the script fails on."""
    fresh.append_ok("s", event("Added", {"amount": 1}))
    put_ok(fresh, "p", FOLD)
    put_table(fresh, "t", ORDERS)
    put_ok(fresh, "keyed", "return { key = function(e) return 'x' end, on = { ['*'] = function(s) return s end } }")
    put_ok(fresh, "bad", "return { on = { Added = function(s, e) return {n = e.data.amount} end, Bad = function(s) return s.x.y end } }")
    for name in ("p", "t", "keyed", "bad"):
        live(fresh, name)
    problem(fresh.get("/v1/streams/s/state"), 400, "invalid-parameter", "query.projection")
    problem(state(fresh, "s", "nothing"), 404, "projection-not-found", "query.projection")
    problem(state(fresh, "s", "t"), 400, "invalid-query", "query.projection")
    problem(state(fresh, "s", "keyed"), 400, "invalid-query", "query.projection")
    problem(state(fresh, "nothing", "p"), 404, "stream-not-found", "stream")
    fresh.append_ok("s", event("Bad"))
    wait_for(lambda: info(fresh, "bad")["state"] == "faulted", 20, "a fault")
    assert "line 1" in problem(state(fresh, "s", "bad"), 409, "state-not-folded", "query.projection").json["detail"]
    fresh.append_ok("gone", event("Added", {"amount": 1}))
    assert fresh.request("DELETE", "/v1/streams/gone").status == 200
    problem(state(fresh, "gone", "p"), 410, "stream-deleted", "stream")


# ---- automatic snapshots --------------------------------------------------------------------------


def expect_states(server, streams, seed, rounds, change):
    """Random events and changes of the streams' lives; after each the state is the fold of what the model had and what can be read since."""
    dice = random.Random(seed)
    for i in range(rounds):
        s = dice.choice(streams)
        change(s, dice, i)
        one = state(server, s, "p").json["state"]
        assert one == state(server, s, "plain").json["state"], (seed, i, s)


@pytest.mark.timeout_s(60)
def test_snapshots_are_the_fold(fresh, seed):
    """With the projection paused the tail grows, and states are kept: they are what a projection of the same script, which goes along, has.
    Reads go on from the kept state through appends, deletions of the document, a resume and a second pause."""
    fresh.restart(flags=("--state-snapshot-events", "3"))
    put_ok(fresh, "p", FOLD)
    put_ok(fresh, "plain", FOLD)
    fresh.post(path("p", "pause"))

    def change(s, dice, i):
        fresh.append_ok(s, [event(dice.choice(["Added", "Added", "Cleared", "Gone"]), {"amount": i}) for _ in range(dice.randint(1, 5))])
        if i in (40, 60):
            fresh.post(path("p", "resume" if i == 40 else "pause"))

    expect_states(fresh, ["s-1", "s-2", "s-3"], seed, 100, change)


def test_a_snapshot_ends_with_what_it_was_made_of(fresh):
    """A redaction or a truncation of events that were folded into a kept state, and another version: folded anew."""
    fresh.restart(flags=("--state-snapshot-events", "2"))
    put_ok(fresh, "p", LENIENT)
    fresh.append_ok("s", event("Added", {"amount": 1}))
    assert state(fresh, "s", "p").json["state"]["amounts"] == [1]
    wait_for(lambda: info(fresh, "p")["position"] >= 1 and info(fresh, "p")["lag_events"] == 0, 20, "the projection")
    fresh.post(path("p", "pause"))
    fresh.append_ok("s", [event("Added", {"amount": n}) for n in range(2, 8)])
    for _ in range(2):
        assert state(fresh, "s", "p").json["state"]["amounts"] == [1, 2, 3, 4, 5, 6, 7]
    known = {"If-None-Match": state(fresh, "s", "p").headers["ETag"]}
    assert state(fresh, "s", "p", known).status == 304
    assert fresh.post("/v1/streams/s/events/5/redact").status == 200
    assert state(fresh, "s", "p", known).json["state"]["amounts"] == [1, 2, 3, 4, 0, 6, 7]  # no 304, though the revision is the same
    fresh.append_ok("t", [event("Added", {"amount": n}) for n in range(6)])
    assert state(fresh, "t", "p").json["state"]["amounts"] == list(range(6))
    assert fresh.request("PATCH", "/v1/streams/t", {"truncate_before": 4}).status == 200
    assert state(fresh, "t", "p").json["state"]["amounts"] == [3, 4, 5]
    put_ok(fresh, "p", LENIENT.replace("n = 0", "n = 100"))
    fresh.post(path("p", "resume"))
    fresh.append_ok("u", [event("Added", {"amount": n}) for n in range(6)])
    wait_for(lambda: state(fresh, "u", "p").json["state"]["n"] == 106, 30, "the new version")


def test_a_long_tail_is_folded_in_parts(fresh):
    """What is kept is where the next fold begins: a stream that grows while the projection stands still stays cheap, beyond what one fold may do."""
    fresh.restart(flags=("--state-snapshot-events", "1000"))
    put_ok(fresh, "p", COUNTER)
    fresh.post(path("p", "pause"))
    n = 0
    for _ in range(11):
        fresh.append_ok("s", [event("Made", 1) for _ in range(10000)])
        n += 10000
        assert state(fresh, "s", "p").json["state"]["n"] == n

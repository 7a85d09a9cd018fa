"""GET /v1/streams/{stream}/state: the stored document and what came since, equal to a fold from the first event at all times."""
import threading

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

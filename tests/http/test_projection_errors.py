"""Events that were set aside: listed, tried again one by one or all, thrown away; exactly once, also when the server is killed."""
import random
import threading

import pytest

from support import event, problem, wait_for
from support_life import stream_path
from test_document_follow import follow, message
from test_documents import put_ok as put_lua
from test_projections import info, live, path, put_ok, rows

FAMILY = """CREATE TABLE parents (id TEXT PRIMARY KEY);
CREATE TABLE children (p INTEGER PRIMARY KEY, parent TEXT NOT NULL);
-- @on Parent
INSERT INTO parents VALUES (:entity);
-- @on Child
INSERT INTO children VALUES (:position, (SELECT id FROM parents WHERE id = :entity));
"""


def errors(server, name):
    found, after = [], 0
    while True:
        page = server.get(path(name, "errors") + f"?after={after}&limit=10").json
        found += page["errors"]
        after = page["next"]
        if page["end"]:
            return found


def retry(server, name, position):
    return server.post(path(name, "errors", str(position), "retry"))


def discard(server, name, position):
    return server.request("DELETE", path(name, "errors", str(position)))


def defined(server):
    put_ok(server, "p", FAMILY, "?on_error=set_aside")
    return live(server, "p")


def settled(server, name="p"):
    """Waits until the model has all there is."""
    rows(server, name, "SELECT 1", query=f"?min_position={server.position()}&wait=60s")


def test_one_is_tried_again_or_thrown_away(fresh):
    """It fails again and says why; after a fix it is taken, once, and is off the list; what is discarded is off it too. All survives a kill."""
    defined(fresh)
    first, second, third = (fresh.append_ok(f"f-{i}", event("Child"))["last_position"] for i in range(3))
    settled(fresh)
    assert [e["position"] for e in errors(fresh, "p")] == [first, second, third]
    answer = problem(retry(fresh, "p", first), 409, "retry-failed", "position").json
    assert "NOT NULL" in answer["detail"] and "line 6" in answer["detail"]
    assert [e["attempts"] for e in errors(fresh, "p")] == [2, 1, 1]
    fresh.append_ok("f-0", event("Parent"))
    settled(fresh)
    response = retry(fresh, "p", first)
    assert response.status == 200 and response.json == {"retried": 1, "discarded": 0, "failed": 0, "next": first, "end": True}
    problem(retry(fresh, "p", first), 404, "error-not-found", "position")
    response = discard(fresh, "p", second)
    assert response.status == 200 and response.json["discarded"] == 1
    problem(discard(fresh, "p", second), 404, "error-not-found", "position")
    for _ in range(2):
        assert rows(fresh, "p", "SELECT p FROM children") == [[first]]
        assert [e["position"] for e in errors(fresh, "p")] == [third]
        assert info(fresh, "p")["lag_events"] == 0
        fresh.restart(kill=True)


def test_all_are_tried_again(fresh):
    """Oldest first, over pages; one that fails again holds nobody up; what a user has skipped stays skipped."""
    defined(fresh)
    fresh.append_ok("f-1", [event("Child") for _ in range(120)])
    lost = fresh.append_ok("f-2", event("Child"))["last_position"]
    fresh.append_ok("f-1", [event("Child") for _ in range(120)])
    fresh.append_ok("f-1", event("Parent"))
    settled(fresh)
    assert len(errors(fresh, "p")) == 241
    retried, failed, after = 0, 0, 0
    while True:
        answer = fresh.post(path("p", "errors", "retry") + f"?after={after}").json
        retried, failed, after = retried + answer["retried"], failed + answer["failed"], answer["next"]
        if answer["failed"]:
            assert "NOT NULL" in answer["detail"]
        if answer["end"]:
            break
    assert (retried, failed) == (240, 1)
    assert [(e["position"], e["attempts"]) for e in errors(fresh, "p")] == [(lost, 2)]
    assert rows(fresh, "p", "SELECT count(*) FROM children") == [[240]]


def test_what_is_gone_or_was_skipped(fresh):
    """An event that is not in the log any more cannot be tried again, but taken off the list; one that was skipped can be, by itself."""
    defined(fresh)
    lost = fresh.append_ok("f-1", event("Child"))["last_position"]
    settled(fresh)
    assert fresh.request("DELETE", stream_path("f-1")).status == 200
    problem(retry(fresh, "p", lost), 404, "event-not-found", "position")
    assert fresh.post(path("p", "errors", "retry")).json["failed"] == 1
    assert discard(fresh, "p", lost).status == 200 and errors(fresh, "p") == []
    put_ok(fresh, "stops", FAMILY.replace("-- @on Child", "-- comment\n-- @on Child"))
    live(fresh, "stops")
    skipped = fresh.append_ok("f-3", event("Child"))["last_position"]
    wait_for(lambda: info(fresh, "stops")["state"] == "faulted", 60, "a fault")
    assert fresh.post(path("stops", "skip")).status == 200
    fresh.append_ok("f-3", event("Parent"))
    settled(fresh, "stops")
    assert fresh.post(path("stops", "errors", "retry")).json == {"retried": 0, "discarded": 0, "failed": 0, "next": skipped, "end": True}
    assert retry(fresh, "stops", skipped).status == 200
    assert rows(fresh, "stops", "SELECT p FROM children") == [[skipped]]


def test_asking_wrongly(server):
    """Names, positions and parameters are checked; what is built in takes no orders."""
    problem(retry(server, "nothing", 1), 404, "projection-not-found", "name")
    problem(server.post(path("nothing", "errors", "retry")), 404, "projection-not-found", "name")
    put_ok(server, "wrong", FAMILY)
    live(server, "wrong")
    problem(retry(server, "wrong", "x"), 400, "invalid-parameter", "position")
    problem(discard(server, "wrong", 0), 400, "invalid-parameter", "position")
    problem(server.post(path("wrong", "errors", "1", "retry") + "?after=1"), 400, "invalid-parameter")
    problem(retry(server, "wrong", 1 << 40), 404, "error-not-found", "position")
    problem(retry(server, "$counts", 1), 403, "reserved-name", "name")
    problem(server.get(path("wrong", "errors", "1", "retry")), 405, "method-not-allowed")


def test_a_document_is_folded_late(fresh):
    """What is tried again is folded into the document as it is now, after what came since; a new version of the script has it in order."""
    script = "return { on = { Add = function(s, e) if e.data.n == 2 and not s.open then error('shut') end s.order = s.order or array {} s.order[#s.order + 1] = e.data.n return s end, Open = function(s) s.open = true return s end } }"
    put_lua(fresh, "p", script, "?on_error=set_aside")
    live(fresh, "p")
    fresh.append_ok("s", [event("Add", {"n": n}) for n in (1, 2, 3)] + [event("Open")])
    settled(fresh)
    [bad] = errors(fresh, "p")
    assert "shut" in bad["detail"]
    with follow(fresh, "p", "s") as read:
        assert message(read)[1]["document"]["order"] == [1, 3]
        last = read.last_id
        assert retry(fresh, "p", bad["position"]).status == 200
        assert message(read)[1]["document"]["order"] == [1, 3, 2]
    with follow(fresh, "p", "s", after=last) as read:
        assert message(read)[1]["document"]["order"] == [1, 3, 2]
    put_lua(fresh, "p", script.replace("and not s.open", "and false"), "?on_error=set_aside")
    live(fresh, "p", 2)
    assert fresh.get(path("p", "documents", "s")).json["document"]["order"] == [1, 2, 3]
    assert errors(fresh, "p") == []


@pytest.mark.timeout_s(240)
def test_exactly_once_through_kills(fresh, seed):
    """While all are tried again the server is killed: each event is on the list or in the model, never in both, never in neither."""
    choose = random.Random(seed)
    defined(fresh)
    count = 60
    fresh.append_ok("f-1", [event("Child") for _ in range(count)])
    fresh.append_ok("f-1", event("Parent"))
    settled(fresh)
    for _ in range(4):
        server_lost = threading.Event()

        def retry_all():
            try:
                for e in errors(fresh, "p")[: choose.randrange(1, 15)]:
                    retry(fresh, "p", e["position"])
            except Exception:  # the server is killed under it
                pass
            server_lost.set()

        thread = threading.Thread(target=retry_all)
        thread.start()
        server_lost.wait(choose.random() * 0.05)
        fresh.kill9()
        thread.join()
        fresh.start()
        settled(fresh)
        taken = [p for p, in rows(fresh, "p", "SELECT p FROM children ORDER BY p")]
        left = [e["position"] for e in errors(fresh, "p")]
        assert sorted(taken + left) == list(range(2, count + 2))
    assert fresh.post(path("p", "errors", "retry")).json["failed"] == 0
    assert rows(fresh, "p", "SELECT count(*) FROM children") == [[count]] and errors(fresh, "p") == []

"""Read models against the log they come from: after kills at random moments, beside changes of their definitions, and where
events are hidden or wiped. DAYBOOK_PROJECTION_KILLS sets how often the server is killed."""
import os
import random
import threading
import time

import pytest

from support import SLOW, event, events_path, problem, wait_for
from support_life import stream_path
from test_projections import COUNTER, ask, info, live, path, put, put_ok, rows

KILLS = int(os.environ.get("DAYBOOK_PROJECTION_KILLS", "10"))
READS = int(os.environ.get("DAYBOOK_PROJECTION_READS", "1000"))
TABLE = """CREATE TABLE seen (position INTEGER PRIMARY KEY, stream TEXT NOT NULL, revision INTEGER NOT NULL, n INTEGER);
CREATE TABLE totals (stream TEXT PRIMARY KEY, events INTEGER NOT NULL, n INTEGER NOT NULL);
-- @on *
INSERT INTO seen VALUES (:position, :stream, :revision, :data ->> 'n');
INSERT INTO totals VALUES (:stream, 1, :data ->> 'n') ON CONFLICT DO UPDATE SET events = events + 1, n = n + excluded.n;
"""
DOCUMENT = """return {
  init = function() return {events = 0, n = 0} end,
  on = {["*"] = function(s, e) s.events = s.events + 1; s.n = s.n + e.data.n; return s end},
}
"""


def documents(server, name):
    found, after = {}, ""
    while True:
        page = server.get(path(name, "documents") + "?limit=100" + (f"&after={after}" if after else "")).json
        found |= {d["key"]: d["document"] for d in page["documents"]}
        if page["end"]:
            return found
        after = page["next"]


def fold(server):
    """What the models must be: the log, added up here."""
    seen, totals = [], {}
    for e in server.read_all():
        seen.append([e["position"], e["stream"], e["revision"], e["data"]["n"]])
        t = totals.setdefault(e["stream"], [0, 0])
        t[0] += 1
        t[1] += e["data"]["n"]
    return seen, totals


def pages(server, name, query):
    """The whole table `seen`, which may have more rows than one answer."""
    found, after = [], 0
    while True:
        page = rows(server, name, "SELECT * FROM seen WHERE position > ? ORDER BY position LIMIT 50000", [after], query=query)
        if not page:
            return found
        found += page
        after = page[-1][0]


def check(server, names):
    """Each model is what a fold of the log is; a rebuild of it is too."""
    position = server.position()
    seen, totals = fold(server)
    query = f"?min_position={position}&wait=60s"
    for name in names:
        live(server, name)
        assert pages(server, name, query) == seen
        assert rows(server, name, "SELECT * FROM totals ORDER BY stream", query=query) == [[s, *t] for s, t in sorted(totals.items())]
    events = dict(rows(server, "$counts", "SELECT stream, events FROM by_stream WHERE stream NOT LIKE '$%'", query=query))
    assert events == {s: t[0] for s, t in totals.items()}
    wait_for(lambda: info(server, "doc")["position"] >= position, 60 * SLOW, "the documents")
    assert documents(server, "doc") == {s: {"events": t[0], "n": t[1]} for s, t in totals.items()}


class Crowd:
    """Threads that append, and one that changes definitions, until they are stopped; a server that is away is no error."""

    def __init__(self, server, seed):
        self.server, self.stop = server, threading.Event()
        self.threads = [threading.Thread(target=self._append, args=(seed + i,)) for i in range(2)]
        self.threads.append(threading.Thread(target=self._order, args=(seed,)))
        for thread in self.threads:
            thread.start()

    def _append(self, seed):
        r = random.Random(seed)
        while not self.stop.is_set():
            try:
                self.server.append(f"s-{r.randrange(20)}", [event(data={"n": r.randrange(10)}) for _ in range(r.randrange(1, 6))])
            except (OSError, AssertionError, TypeError, ValueError, AttributeError):
                pass
            self.stop.wait(0.005)

    def _order(self, seed):
        r = random.Random(seed)
        while not self.stop.is_set():
            try:
                order = r.choice(["rebuild", "rollback", "pause", "resume", "put", "doc"])
                if order == "put":
                    put(self.server, "b", TABLE + f"-- {r.randrange(1000)}\n")
                elif order == "doc":
                    self.server.post(path("doc", "rebuild"))
                else:
                    self.server.post(path("b", order))
            except (OSError, AssertionError, TypeError, ValueError, AttributeError):
                pass
            self.stop.wait(r.random() * 0.1)

    def join(self):
        self.stop.set()
        for thread in self.threads:
            thread.join()


@pytest.mark.timeout_s(90 + 10 * KILLS)
def test_models_after_kills(fresh, seed):
    """The server is killed at random moments while models are built, swapped, paused and removed: then each is what the log says."""
    r = random.Random(seed)
    for name in ("a", "b"):
        put_ok(fresh, name, TABLE)
    response = fresh.request("PUT", path("doc"), DOCUMENT.encode(), {"Content-Type": "text/x-lua"})
    assert response.status == 201, response
    for round in range(KILLS):
        crowd = Crowd(fresh, seed + 10 * round)
        time.sleep(r.random() * 1.0)  # not a wait for something: the moment of the kill
        fresh.kill9()
        crowd.join()
        fresh.start()
        if round % 5 == 4 or round == KILLS - 1:
            fresh.post(path("b", "resume"))
            check(fresh, ["a", "b"])
    for name in ("a", "b"):
        fresh.post(path(name, "rebuild"))
        wait_for(lambda n=name: "building" not in info(fresh, n), 60 * SLOW, "a rebuild")
    check(fresh, ["a", "b"])


@pytest.mark.timeout_s(60 + READS // 10)
def test_every_read_after_an_append_has_it(fresh, seed):
    """Right after an append, a read with its position has it: every time, in tables, documents and counts."""
    put_ok(fresh, "a", TABLE)
    fresh.request("PUT", path("doc"), DOCUMENT.encode(), {"Content-Type": "text/x-lua"})
    live(fresh, "a")
    live(fresh, "doc")
    failures = []

    def run(n):
        stream = f"s-{n}"
        for i in range(1, READS // 4 + 1):
            at = f"?min_position={fresh.append_ok(stream, event(data={'n': 1}))['last_position']}&wait=30s"
            if rows(fresh, "a", "SELECT events, n FROM totals WHERE stream = ?", [stream], query=at) != [[i, i]]:
                failures.append(("table", n, i))
            if rows(fresh, "$counts", "SELECT events FROM by_stream WHERE stream = ?", [stream], query=at) != [[i]]:
                failures.append(("counts", n, i))
            if fresh.get(path("doc", "documents", stream) + at).json.get("document") != {"events": i, "n": i}:
                failures.append(("document", n, i))

    threads = [threading.Thread(target=run, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_what_is_hidden_or_wiped(fresh):
    """A model keeps what it has taken; a rebuild sees the log as it is then: without what was deleted or truncated, and without
    the data of what was redacted."""
    script = "CREATE TABLE t (position INTEGER PRIMARY KEY, stream, n);\n-- @on *\nINSERT INTO t VALUES (:position, :stream, :data ->> 'n');\n"
    for stream in ("kept-1", "gone-1", "cut-1", "wiped-1"):
        fresh.append_ok(stream, [event(data={"n": n}) for n in (1, 2, 3)])
    put_ok(fresh, "p", script)
    put_ok(fresh, "picky", script.replace("stream, n)", "stream, n NOT NULL)"))
    sql = "SELECT stream, n FROM t ORDER BY position"
    before = rows(fresh, "p", sql)
    assert len(before) == 12 and rows(fresh, "picky", sql) == before
    assert fresh.request("DELETE", stream_path("gone-1")).status == 200
    assert fresh.request("PATCH", stream_path("cut-1"), b'{"truncate_before":3}', {"Content-Type": "application/json"}).status == 200
    assert fresh.post(events_path("wiped-1") + "/2/redact").status == 200
    position = fresh.append_ok("gone-1", event(data={"n": 4}))["last_position"]
    at = f"?min_position={position}&wait=30s"
    assert rows(fresh, "p", sql, query=at) == [*before, ["gone-1", 4]]
    fresh.restart()
    assert rows(fresh, "p", sql, query=at) == [*before, ["gone-1", 4]]
    for name in ("p", "picky"):
        fresh.post(path(name, "rebuild"))
    live(fresh, "p", 2)
    now = [["kept-1", n] for n in (1, 2, 3)] + [["cut-1", 3], ["wiped-1", 1], ["wiped-1", None], ["wiped-1", 3], ["gone-1", 4]]
    assert rows(fresh, "p", sql, query=at) == now
    # A handler that cannot do without the data stands at the redacted event; the version that has it answers on.
    building = wait_for(lambda: (b := info(fresh, "picky").get("building", {})).get("state") == "faulted" and b, 30, "a fault")
    assert "NOT NULL" in building["error"]["detail"]
    assert rows(fresh, "picky", sql, query=at) == [*before, ["gone-1", 4]]
    # What it stands at is deleted too: nothing to try again, and nothing to skip.
    assert fresh.request("DELETE", stream_path("wiped-1")).status == 200
    assert fresh.post(path("picky", "skip")).status == 200
    live(fresh, "picky", 2)
    assert rows(fresh, "picky", sql, query=at) == [*now[:5], ["gone-1", 4]]


def test_deleting_while_queries_run(fresh):
    """Queries that run while their model is deleted, defined again, rebuilt and rolled back are answered whole, or say that it is gone."""
    fresh.append_ok("s", [event() for _ in range(2000)])
    stop, failures, good = threading.Event(), [], []

    def read():
        while not stop.is_set():
            response = ask(fresh, "p", "SELECT sum(a.n), count(*) FROM counts a, json_each('[1,2,3]')", query="?wait=10s")
            if response.status == 200:
                good.append(response.json["rows"])
            elif response.code not in ("projection-not-found", "not-caught-up"):
                failures.append(response)

    put_ok(fresh, "p", COUNTER)
    live(fresh, "p")
    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for i in range(20):
        fresh.post(path("p", ("rebuild", "rollback")[i % 2]))
        if i % 3 == 2:
            assert fresh.request("DELETE", path("p")).status == 200
            put_ok(fresh, "p", COUNTER)
        live(fresh, "p")
    wait_for(lambda: len(good) > 50, 30 * SLOW, "answers")
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == [] and all(answer == [[6000, 3]] for answer in good)
    open_models = {os.readlink(f"/proc/{fresh.process.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{fresh.process.pid}/fd")}
    assert not [f for f in open_models if "(deleted)" in f and "/models/" in f]


def test_there_may_be_so_many(launch):
    """Beyond projections-max a new one is refused; those that there are can be changed, and one that is deleted makes room."""
    server = launch("--projections-max", 2)
    put_ok(server, "a", COUNTER)
    put_ok(server, "b", COUNTER)
    problem(put(server, "c", COUNTER), 409, "too-many-projections", "name")
    assert put_ok(server, "a", COUNTER + "-- changed\n")["name"] == "a"
    assert server.request("DELETE", path("b")).status == 200
    put_ok(server, "c", COUNTER)
    server.restart()
    assert [p["name"] for p in server.get("/v1/projections").json["projections"]] == ["$counts", "a", "c"]

"""Following one document live: now and after every change, going on after a break, versions, deletion, slow readers, the end of the server."""
import json
import threading

from support import SLOW, event, problem, quote, wait_for
from support_follow import SSE, LiveRead
from test_documents import COUNTER, put_ok
from test_npm import Follower, node  # noqa: F401: a fixture
from test_projections import COUNTER as TABLE, info, live, path
from test_projections import put as put_table

LAST = "return { on = { Set = function(s, e) return e.data end, Gone = function() return nil end } }"
FAST = ["--heartbeat-s", 1, "--idle-timeout-s", 4]


def url(name, key):
    return path(name, "documents", quote(key))


def follow(server, name, key, **more):
    return LiveRead(server.port, url(name, key), SSE, **more)


def message(read, seconds=60):
    """The next message that is no heartbeat, as (name, what it says); "event" is a document."""
    while True:
        kind, one = read.next(seconds)
        if kind != "heartbeat":
            return kind, one


def until(read, document):
    """Reads messages until one is this document; those on the way."""
    seen = []
    while not seen or seen[-1]["document"] != document:
        seen.append(message(read)[1])
    return seen


def test_a_document_now_and_after_every_change(launch):
    """The document as it is, then each change, each at a position that a read with min_position agrees with; other streams say nothing."""
    server = launch(*FAST)
    put_ok(server, "p", COUNTER)
    first = server.append_ok("s/1", event())["last_position"]
    live(server, "p")
    with follow(server, "p", "s/1", min_position=first) as read:
        kind, one = message(read)
        assert (kind, one["key"], one["document"]) == ("event", "s/1", {"n": 1, "positions": first})
        assert one["position"] >= first and one["projection_version"] == 1 and read.retry == 1000
        assert read.headers["Content-Type"].startswith(SSE) and read.headers["Cache-Control"] == "no-store"
        total = first
        for n in range(2, 12):
            server.append_ok("other", event())
            position = server.append_ok("s/1", event())["last_position"]
            total += position
            kind, one = message(read)
            assert (kind, one["document"]) == ("event", {"n": n, "positions": total}), one
            assert one["position"] >= position and read.last_id == one["position"]
        position = server.append_ok("other", event())["last_position"]
        wait_for(lambda: read.next() == ("heartbeat", {"position": position}), 60, "a heartbeat at the head", step=0)
        assert server.get("/v1/status").json["position"] >= position


def test_what_is_not_there(launch):
    """A document that is not there yet is waited for; one that is deleted is said to be, and comes back."""
    server = launch(*FAST)
    put_ok(server, "p", LAST)
    live(server, "p")
    with follow(server, "p", "s") as read:
        kind, one = message(read)
        assert (kind, one["document"]) == ("deleted", None)
        server.append_ok("s", event("Set", {"a": "line\nbreak"}))
        assert message(read)[1]["document"] == {"a": "line\nbreak"}
        server.append_ok("s", event("Gone"))
        kind, one = message(read)
        assert (kind, one["document"], one["key"]) == ("deleted", None, "s")
        server.append_ok("s", event("Set", {"a": 2}))
        assert message(read) == ("event", {"key": "s", "document": {"a": 2}, "position": read.last_id, "projection_version": 1})


def test_going_on_after_a_break(launch):
    """With the id of its last message a client gets the document again only where it has changed since; `after` is the same; in doubt it comes."""
    server = launch(*FAST)
    put_ok(server, "p", COUNTER)
    live(server, "p")
    server.append_ok("s", event())
    with follow(server, "p", "s") as read:
        until(read, {"n": 1, "positions": server.position()})
        position = server.append_ok("other", event())["last_position"]
        wait_for(lambda: read.next() == ("heartbeat", {"position": position}), 60, "a heartbeat", step=0)
        last = read.last_id
    for more in ({"headers": {"Last-Event-ID": str(last)}}, {"after": last}, {"after": 1, "headers": {"Last-Event-ID": str(last)}}):
        with follow(server, "p", "s", **more) as read:
            assert read.next()[0] == "heartbeat"
    with follow(server, "p", "s", after=last) as read:
        assert read.next()[0] == "heartbeat"
        server.append_ok("s", event())
        assert message(read)[1]["document"]["n"] == 2
    with follow(server, "p", "s", after=last) as read:
        assert message(read)[1]["document"]["n"] == 2
    with follow(server, "p", "s", after=1 << 40) as read:  # of another life of the server
        assert message(read)[1]["document"]["n"] == 2
    server.restart()
    live(server, "p")
    with follow(server, "p", "s", after=last) as read:
        assert message(read)[1]["document"]["n"] == 2


def test_versions_are_swapped(launch):
    """When another version begins to serve its document comes, whole; so after a rollback; and to who comes back with an id of before."""
    server = launch(*FAST)
    put_ok(server, "p", COUNTER)
    live(server, "p")
    position = server.append_ok("s", event())["last_position"]
    with follow(server, "p", "s") as read:
        until(read, {"n": 1, "positions": position})
        last = read.last_id
        put_ok(server, "p", "return { on = { ['*'] = function(s) return { new = (s.new or 0) + 1 } end } }")
        assert until(read, {"new": 1})[-1]["projection_version"] == 2
        with follow(server, "p", "s", after=last) as again:
            assert message(again)[1]["document"] == {"new": 1}
        assert server.post(path("p", "rollback")).status == 200
        assert until(read, {"n": 1, "positions": position})[-1]["projection_version"] == 1
        # A version without documents, or none at all, ends the stream.
        assert put_table(server, "p", TABLE).status == 200
        wait_for(lambda: read.next(60) is None, 60, "the end of the stream", step=0)
    problem(server.get(url("p", "s"), accept=SSE), 400, "invalid-query", "name")


def test_a_projection_that_is_built_or_deleted(launch):
    """While none serves the stream waits, open; when the projection is deleted it ends whole, and there is nothing to come back to."""
    server = launch(*FAST)
    server.append_ok("s", [event() for _ in range(3000)])
    put_ok(server, "p", "return { on = { ['*'] = function(s) local x = 0 for i = 1, 20000 do x = x + i end s.n = (s.n or 0) + 1 return s end } }")
    with follow(server, "p", "s", min_position=3000) as read:
        read.start()
        assert read.status == 200
        assert message(read, 120)[1]["document"] == {"n": 3000}
        assert server.request("DELETE", path("p")).status == 200
        wait_for(lambda: read.next(60) is None, 60, "the end of the stream", step=0)
        assert read.whole
    problem(server.get(url("p", "s"), accept=SSE), 404, "projection-not-found")


def test_asking_wrongly(server):
    """Parameters that do not go together, ids that are no numbers and projections without documents are 4xx, before anything is streamed."""
    put_ok(server, "asking", COUNTER)
    live(server, "asking")
    at = url("asking", "s")
    problem(server.get(at + "?wait=1s", accept=SSE), 400, "invalid-parameter", "query.wait")
    problem(server.get(at + "?after=1"), 400, "invalid-parameter", "query.after")
    problem(server.get(at + "?after=x", accept=SSE), 400, "invalid-parameter", "query.after")
    problem(server.get(at, accept=SSE, headers={"Last-Event-ID": "x"}), 400, "invalid-parameter", "header.Last-Event-ID")
    problem(server.get(at + "?follow=true", accept="application/json"), 406, "not-acceptable")
    problem(server.get(url("$counts", "s"), accept=SSE), 400, "invalid-query", "name")
    problem(server.get(url("nothing", "s"), accept=SSE), 404, "projection-not-found")
    response = server.head(at + "?follow=true")
    assert response.status == 200 and response.headers["Content-Type"].startswith(SSE)


def test_a_slow_reader_gets_the_newest(launch):
    """Who takes nothing while a large document changes many times gets few of its states, the newest last, and costs no memory meanwhile."""
    server = launch("--heartbeat-s", 600, "--idle-timeout-s", 600)
    put_ok(server, "p", "return { on = { ['*'] = function(s, e) return { n = (s.n or 0) + 1, text = ('x'):rep(800000) } end } }")
    first = server.append_ok("s", event())["last_position"]
    with follow(server, "p", "s", min_position=first, receive_bytes=4096) as read:
        read.start()
        before = server.rss_bytes()
        changes = 80 if SLOW == 1 else 30
        for _ in range(changes):
            position = server.append_ok("s", event())["last_position"]
            assert server.get(url("p", "s") + f"?min_position={position}&wait=60s").status == 200
        if SLOW == 1:
            assert server.rss_bytes() - before < 55 << 20  # all of them would be more than 61 MiB
        seen = []
        while not seen or seen[-1] != changes + 1:
            seen.append(message(read)[1]["document"]["n"])
        assert seen == sorted(seen) and len(seen) < changes / 2


def test_many_follow_one_and_many_follow_many(launch):
    """A crowd on one document and one on each of many all end with what a read says, through a restart of the model's version."""
    server = launch("--heartbeat-s", 600)
    put_ok(server, "p", COUNTER)
    live(server, "p")
    keys = ["s-0"] * 20 + [f"s-{i}" for i in range(20)]
    reads = [follow(server, "p", key) for key in keys]
    for read in reads:
        message(read)
    for n in range(20):
        for i in range(20):
            server.append_ok(f"s-{i}", event())
        if n == 10:
            server.post(path("p", "rebuild"))
    live(server, "p", 2)
    for key, read in zip(keys, reads):
        expected = server.get(url("p", key) + f"?min_position={server.position()}&wait=60s").json["document"]
        assert expected["n"] == 20
        while (got := message(read)[1])["document"] != expected or got["projection_version"] != 2:
            pass
        read.close()


def test_the_end_of_the_server_and_connections(launch):
    """A stop ends the streams whole; each counts as a connection."""
    server = launch("--connections-max", 12)
    put_ok(server, "p", COUNTER)
    live(server, "p")
    reads = [follow(server, "p", "s").start() for _ in range(8)]
    for read in reads:
        assert message(read)[0] == "deleted"
    stopping = threading.Thread(target=server.stop)
    stopping.start()
    for read in reads:
        wait_for(lambda: read.next(60) is None, 60, "the end", step=0)
        assert read.whole
        read.close()
    stopping.join()


def test_an_eventsource_follows_a_document(node, fresh):  # noqa: F811
    """A browser's EventSource gets every state that it waits for, though the server is killed under it."""
    fresh.listen = f"127.0.0.1:{fresh.port}"
    put_ok(fresh, "p", COUNTER)
    fresh.append_ok("s", event())
    live(fresh, "p")
    follower = Follower(node("eventsource.js", fresh.url + url("p", "s")))
    try:
        def has(n):
            return any(json.loads(data)["document"] is not None and json.loads(data)["document"]["n"] == n for _, data in follower.of("message"))

        for n in range(1, 4):
            wait_for(lambda: has(n), 60, f"state {n}: {follower.lines[-3:]}")
            if n == 2:
                fresh.restart(kill=True)
            fresh.append_ok("s", event())
        wait_for(lambda: has(4), 60, f"the last state: {follower.lines[-3:]}")
        assert follower.of("closed") == []
        assert info(fresh, "p")["state"] == "live"
        counts = [json.loads(data)["document"]["n"] for _, data in follower.of("message")]
        assert counts == sorted(counts)
    finally:
        follower.close()

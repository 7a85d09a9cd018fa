"""Live reads: history, then what is committed, in every format; long polls; and how they end."""
import json
import os
import signal
import socket
import threading
import time

import pytest

from support import JSON, NDJSON, PROTOBUF, SANITIZER, SLOW, event, events_path, patience, problem, quote, wait_for
from support_follow import FORMATS, SSE, Cut, LiveRead
from test_read import without_time

TCP_REPAIR = 19  # of Linux; Python has no name for it
SERVER_FLAGS = ["--heartbeat-s", 1, "--idle-timeout-s", 3]


@pytest.fixture(params=sorted(FORMATS))
def accept(request):
    """Each format in turn."""
    return FORMATS[request.param]


def append(server, stream, n=1, **more):
    server.append_ok(stream, [event(data={"n": i}, **more) for i in range(n)])


def log_of(server, path="/v1/events", **query):
    """What a plain read says, in the form of a LiveRead's events."""
    response = server.get(path, NDJSON, query)
    assert response.status == 200, response
    return without_time(response.body)


def follow(server, path, accept, **more):
    return LiveRead(server.port, path, accept, **more)


def key(accept, one, of_stream):
    return one["revision" if of_stream else "position"]


# ---- history to live ------------------------------------------------------------------------------


@pytest.mark.parametrize("of_stream", [False, True], ids=["log", "stream"])
def test_follow_history_then_live(server, name, accept, of_stream):
    """What was there comes first, then `caught_up` once, then each event as it is committed."""
    stream = name()
    append(server, stream, 5)
    start = 0 if of_stream else server.position() - 5
    path = events_path(stream) if of_stream else "/v1/events"
    with follow(server, path, accept, after=start) as live:
        live.start()
        assert (live.status, live.headers["Content-Type"]) == (200, accept)
        assert live.headers["Connection"] == "close" and live.is_chunked
        assert int(live.headers["Daybook-Position"]) == server.position()
        found, numbers = live.caught_up()
        assert found == log_of(server, path, after=start)
        wanted = {"position": server.position()} | ({"revision": 5} if of_stream else {})
        assert numbers == wanted
        for _ in range(3):
            append(server, stream, 2)
            found += live.events(2)
        assert found == log_of(server, path, after=start)
        if accept == SSE:
            assert live.last_id == key(accept, found[-1], of_stream) and live.retry


@pytest.mark.parametrize("of_stream", [False, True], ids=["log", "stream"])
def test_follow_after_end(server, name, accept, of_stream):
    """after=end: only what comes from now on."""
    stream = name()
    append(server, stream, 3)
    with follow(server, events_path(stream) if of_stream else "/v1/events", accept, after="end") as live:
        assert live.caught_up()[0] == []
        append(server, stream)
        assert live.event()["revision"] == 4


def test_follow_last_event_id_wins(server, name):
    """A browser that connects again goes on after the last id it has seen, whatever the URL says."""
    stream = name()
    append(server, stream, 6)
    with follow(server, events_path(stream), SSE, headers={"Last-Event-ID": "4"}, after=1) as live:
        assert [e["revision"] for e in live.caught_up()[0]] == [5, 6]
    with follow(server, events_path(stream), SSE, headers={"Last-Event-ID": "4"}, after="end") as live:
        assert [e["revision"] for e in live.caught_up()[0]] == [5, 6]
    with follow(server, events_path(stream), SSE, headers={"Last-Event-ID": ""}, after=5) as live:
        assert [e["revision"] for e in live.caught_up()[0]] == [6]
    bad = server.get(events_path(stream), SSE, headers={"Last-Event-ID": "six"})
    problem(bad, 400, "invalid-parameter", "header.Last-Event-ID")


def test_follow_ahead_of_the_log(server, name):
    """A place that is not there yet is waited for: nothing up to it is sent."""
    stream = name()
    append(server, stream, 2)
    with follow(server, events_path(stream), NDJSON, after=4) as live:
        assert live.caught_up() == ([], {"position": server.position(), "revision": 4})
        append(server, stream, 4)
        assert [e["revision"] for e in live.events(2)] == [5, 6]


FILTERS = [
    {"type": ["Rare"]},
    {"type": ["Rare", "Other"]},
    {"category": ["{}"]},
    {"prefix": ["{}-1"]},
    {"tag": ["red"], "category": ["{}"]},
]


@pytest.mark.parametrize("filter", FILTERS, ids=lambda f: "+".join(f))
def test_follow_filters(server, name, accept, filter):
    """A filter holds for history and for what comes live."""
    category = name("f").replace("-", "_")
    filter = {k: [v.format(category) for v in values] for k, values in filter.items()}
    start = server.position()

    def append_all():
        for number in range(3):
            for type in ("Rare", "Other", "Third"):
                server.append_ok(f"{category}-{number}", [event(type, tags=["red"] if number else [])])
                server.append_ok(f"x{category}-{number}", [event("Third", tags=["red"])])

    append_all()
    with follow(server, "/v1/events", accept, after=start, **filter) as live:
        found, numbers = live.caught_up()
        assert numbers == {"position": server.position()}
        append_all()
        wanted = log_of(server, after=start, **filter)
        assert wanted and found == wanted[: len(found)]
        assert found + live.events(len(wanted) - len(found)) == wanted


def test_follow_type_of_a_stream(server, name, accept):
    """Of a stream only the types that were asked for."""
    stream = name()
    append(server, stream, type="A")
    with follow(server, events_path(stream), accept, type="B") as live:
        assert live.caught_up() == ([], {"position": server.position(), "revision": 1})
        append(server, stream, type="A")
        append(server, stream, type="B")
        assert live.event()["revision"] == 3


def test_follow_many_at_once(server, name):
    """Followers of the same and of different things, in all formats, each get all of theirs."""
    streams = [name() for _ in range(3)]
    for stream in streams:
        append(server, stream)
    start = server.position()
    lives = [(s, follow(server, events_path(s), a, after=1)) for s in streams for a in FORMATS.values() for _ in range(3)]
    lives += [(None, follow(server, "/v1/events", a, after=start)) for a in FORMATS.values() for _ in range(5)]
    for _, live in lives:
        live.caught_up()
    for i in range(20):
        append(server, streams[i % 3], 1 + i % 4)
    log = log_of(server, after=start)
    for stream, live in lives:
        wanted = [e for e in log if stream in (None, e["stream"])]
        assert live.events(len(wanted)) == wanted
        live.close()


# ---- the formats ----------------------------------------------------------------------------------


def test_follow_heartbeats(server, name, accept):
    """Where nothing matches, a heartbeat says how far the read has come, and a new one goes on from there."""
    category = name("none").replace("-", "_")
    with follow(server, "/v1/events", accept, category=category) as live:
        assert live.caught_up()[0] == []
        append(server, name(), 3)
        position = server.position()

        def reached():
            kind, numbers = live.next()
            assert kind == "heartbeat"
            return numbers["position"] >= position

        wait_for(reached, what="the heartbeat to reach the head", step=0)
        if accept == SSE:
            assert live.comments > 0 and live.last_id >= position


def test_follow_heartbeat_of_a_stream(server, name):
    """For a stream it is the revision that a client goes on with, and so it is the id."""
    stream = name()
    append(server, stream, 2)
    with follow(server, events_path(stream), NDJSON) as live:
        live.caught_up()
        assert live.next() == ("heartbeat", {"position": server.position(), "revision": 2})
    with follow(server, events_path(stream), SSE) as live:
        live.caught_up()
        assert live.next()[0] == "heartbeat" and live.last_id == 2


def test_follow_data_with_line_breaks(server, name, accept):
    """JSON that was sent with line breaks stays one message or line, and means the same."""
    stream = name()
    with follow(server, "/v1/events", accept, after="end") as live:
        live.caught_up()
        body = '{"events":[{"type":"T","data":{"a":\r\n[1,\n\n2]},"metadata":{\r"b":"x\\ny"}}]}'
        assert server.post(events_path(stream), body.encode(), {"Content-Type": JSON}).status == 201
        append(server, stream)
        first, second = live.events(2)
        assert first["data"] == {"a": [1, 2]} and first["metadata"] == {"b": "x\ny"}
        assert second["revision"] == 2


def test_follow_large_event(server, name, accept):
    """An event of the largest size, in a chunk of its own."""
    stream = name()
    with follow(server, "/v1/events", accept, after="end") as live:
        live.caught_up()
        server.append_ok(stream, [event(data={"pad": "x" * 1_000_000}), event(data={"n": 2})])
        one, two = live.events(2)
        assert len(one["data"]["pad"]) == 1_000_000 and two["data"] == {"n": 2}


def test_follow_limit(server, name, accept):
    """limit: the answer ends, whole, after so many events, be they history or live."""
    stream = name()
    append(server, stream, 3)
    with follow(server, events_path(stream), accept, limit=2) as live:
        assert [k for k, _ in live.rest()] == ["event", "event"] and live.whole
    with follow(server, events_path(stream), accept, limit=4) as live:
        live.caught_up()
        append(server, stream, 3)
        assert live.event()["revision"] == 4
        assert live.rest() == [] and live.whole


def test_follow_http_1_0(server, name, accept):
    """An HTTP/1.0 client gets the body as it is, up to the end of the connection."""
    stream = name()
    append(server, stream, 2)
    with follow(server, events_path(stream), accept, version="1.0", limit=3) as live:
        live.caught_up()
        append(server, stream)
        assert live.event()["revision"] == 3
        assert live.next() is None and not live.is_chunked and "Transfer-Encoding" not in live.headers


def test_follow_head(server, name, accept):
    """HEAD says what a GET would, and does not stay."""
    stream = name()
    append(server, stream)
    path = events_path(stream) + ("" if accept == SSE else "?follow=true")
    response = server.head(path, headers={"Accept": accept})
    assert (response.status, response.headers["Content-Type"], response.raw) == (200, accept, b"")
    assert server.get("/v1/status").status == 200  # on the same connection: no byte of a body was sent


def test_follow_default_format(server, name):
    """follow=true without a preference is NDJSON: curl works as it is."""
    append(server, name())
    with LiveRead(server.port, "/v1/events", accept=NDJSON, headers={"Accept": "*/*"}) as live:
        assert live.start().headers["Content-Type"] == NDJSON


REFUSED = [
    ({"follow": "true", "direction": "backward"}, NDJSON, 400, "query.direction"),
    ({"follow": "true", "before": "3"}, NDJSON, 400, "query.before"),
    ({"follow": "true", "until": "2030-01-01T00:00:00Z"}, NDJSON, 400, "query.until"),
    ({"until": "2030-01-01T00:00:00Z"}, SSE, 400, "query.until"),
    ({"wait": "1s", "until": "2030-01-01T00:00:00Z"}, JSON, 400, "query.until"),
    ({"direction": "backward"}, SSE, 400, "query.direction"),
    ({"follow": "true"}, JSON, 406, "header.Accept"),
    ({"follow": "yes"}, NDJSON, 400, "query.follow"),
    ({"wait": "10s"}, NDJSON, 400, "query.wait"),
    ({"wait": "10s"}, SSE, 400, "query.wait"),
    ({"wait": "10s", "follow": "true"}, PROTOBUF, 400, "query.wait"),
    ({"wait": "10s", "direction": "backward"}, JSON, 400, "query.direction"),
    ({"wait": "10"}, JSON, 400, "query.wait"),
    ({"wait": "s"}, JSON, 400, "query.wait"),
    ({"wait": "1h"}, JSON, 400, "query.wait"),
    ({"wait": "61s"}, JSON, 400, "query.wait"),
    ({"wait": "2m"}, JSON, 400, "query.wait"),
    ({"wait": "99999999999999999999ms"}, JSON, 400, "query.wait"),
    ({"wait": "-1s"}, JSON, 400, "query.wait"),
]


@pytest.mark.parametrize("query, media, status, field", REFUSED)
def test_follow_refused(server, query, media, status, field):
    """What cannot be meant is refused before anything is sent, naming the field."""
    code = "invalid-parameter" if status == 400 else "not-acceptable"
    problem(server.get("/v1/events", f"{media}, application/problem+json", query), status, code, field)


def test_follow_stream_that_is_not_there(server, name, accept):
    """404 like any read: a misspelt name does not wait for ever."""
    query = {} if accept == SSE else {"follow": "true"}
    problem(server.get(events_path(name()), accept, query), 404, "stream-not-found", None if accept == PROTOBUF else "stream")
    problem(server.get(events_path(name()), JSON, {"wait": "1s"}), 404, "stream-not-found", "stream")


def test_follow_request_log(launch, name):
    """A live read is one line in the request log when it ends, with its status and bytes."""
    server = launch("--log-requests")
    append(server, "log-1", 2)
    with follow(server, "/v1/events", NDJSON, limit=2) as live:
        body = live.start().rest()
    assert len(body) == 2
    line = wait_for(lambda: next((x for x in server.log().split("\n") if "path=/v1/events" in x and "GET" in x), None))
    assert "status=200" in line and int(line.split("bytes=")[1].split(" ")[0]) > 200 and "peer=127.0.0.1" in line


@pytest.mark.parametrize("method, query", [("DELETE", ""), ("DELETE", "?tombstone=true")], ids=["delete", "tombstone"])
def test_follow_stream_is_deleted(server, name, accept, method, query):
    """It ends, whole; to follow it again is 410 like any read of it."""
    stream = name()
    append(server, stream, 2)
    with follow(server, events_path(stream), accept) as live:
        assert len(live.caught_up()[0]) == 2
        assert server.request(method, f"/v1/streams/{quote(stream)}{query}").status == 200
        assert [kind for kind, _ in live.rest() if kind != "heartbeat"] == [] and live.whole
    again = {} if accept == SSE else {"follow": "true"}
    problem(server.get(events_path(stream), accept, again), 410, "stream-deleted")


# ---- long polls -----------------------------------------------------------------------------------


def in_background(function, *args):
    """Runs it in a thread; returns a function that waits for its result."""
    result = []
    thread = threading.Thread(target=lambda: result.append(function(*args)), daemon=True)
    thread.start()

    def wait():
        thread.join(30 * SLOW)
        assert result, "it did not come back"
        return result[0]

    return wait


def poll(server, path="/v1/events", **query):
    response = server.get(path, JSON, query)
    assert response.status == 200, response
    return response


@pytest.mark.parametrize("of_stream", [False, True], ids=["log", "stream"])
def test_wait_for_the_next_event(server, name, of_stream):
    """It comes back as soon as there is something, with all that the page would have."""
    stream = name()
    append(server, stream)
    path = events_path(stream) if of_stream else "/v1/events"
    started = time.monotonic()
    head = 1 if of_stream else server.position()
    wait = in_background(lambda: poll(server, path, after=head, wait="20s"))
    append(server, name())  # of another stream: wakes the log's poll only
    if of_stream:
        append(server, stream, 2)
    page = wait().json
    assert time.monotonic() - started < 10 * patience()
    assert len(page["events"]) == (2 if of_stream else 1) and page["end"]
    assert page["next"] == page["events"][-1]["revision" if of_stream else "position"]


def test_wait_not_where_there_is_something(server, name):
    """With an event to hand out it does not wait; and limit holds."""
    stream = name()
    append(server, stream, 5)
    page = poll(server, events_path(stream), after=2, wait="30s", limit=2).json
    assert [e["revision"] for e in page["events"]] == [3, 4] and not page["end"]


def test_wait_deadline(server, name):
    """At the deadline an empty page, whose `next` is as far as was looked."""
    stream = name()
    append(server, stream, 2)
    started = time.monotonic()
    response = poll(server, wait="300ms", after="end", type="Never")
    assert 0.3 <= time.monotonic() - started < 5 * patience()
    assert response.json == {"events": [], "next": server.position(), "end": True, "head": server.position()}
    assert poll(server, wait="0s", after="end").json["events"] == []


def test_wait_filtered(server, name):
    """What does not match does not wake it, and the next page goes on behind it."""
    category = name("w").replace("-", "_")
    head = server.position()
    wait = in_background(lambda: poll(server, after=head, wait="20s", category=category, type="B"))
    append(server, name(), 3)
    append(server, f"{category}-1", type="A")
    append(server, f"{category}-1", type="B")
    page = wait().json
    assert [(e["type"], e["revision"]) for e in page["events"]] == [("B", 2)]


def test_wait_keeps_the_connection(server, name):
    """A poll is an ordinary request: the connection serves the next one."""
    stream = name()
    append(server, stream)
    with server.raw() as raw:
        for _ in range(3):
            path = f"{events_path(stream)}?after=end&wait=50ms"
            raw.send(f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
            response = raw.response()
            assert response.status == 200 and response.json["events"] == []


def test_wait_peer_gone(fresh, name):
    """A poll whose client has gone does not stay until its deadline."""
    append(fresh, "s-1")
    raws = [fresh.raw() for _ in range(10)]
    for raw in raws:
        raw.send(b"GET /v1/events?after=end&wait=60s HTTP/1.1\r\nHost: test\r\n\r\n")
    wait_for(lambda: fresh.status()["followers"] == 10)
    for raw in raws:
        raw.socket.close()
    wait_for(lambda: fresh.status()["connections"] == 1, what="the connections to go")


# ---- how they end ---------------------------------------------------------------------------------


def test_follow_slow_reader(fresh, accept):
    """A reader that takes its time costs the server no memory, and gets everything."""
    pad = "x" * 100_000
    append(fresh, "s-1")
    with follow(fresh, "/v1/events", accept, receive_bytes=4096) as live:
        live.start()
        before = fresh.rss_bytes()
        for i in range(30):
            fresh.append_ok("s-1", [event(data={"n": n, "pad": pad}) for n in range(10)])
        grown = fresh.rss_bytes() - before
        found = []
        while len(found) < 301:
            kind, one = live.next()
            if kind == "event":
                found.append(one["position"])
        assert found == list(range(1, 302))
    limit = 400 << 20 if SANITIZER else 80 << 20  # the tail's 64 MiB, not what the reader has not taken
    assert grown < limit, f"{grown} bytes more"


def test_follow_reader_that_takes_nothing(server, name, accept):
    """One that takes nothing for idle-timeout-s while there is something for it is dropped, not ended."""
    stream = name()
    append(server, stream)
    start = server.position()
    before = server.status()["connections"]
    with follow(server, "/v1/events", accept, after=start, receive_bytes=4096) as live:
        live.caught_up()
        assert server.status()["connections"] == before + 1
        for i in range(10):
            server.append_ok(stream, [event(data={"pad": "x" * 900_000})])
        wait_for(lambda: server.status()["connections"] == before, what="the reader to be dropped")
        with pytest.raises(Cut):
            live.rest()


def test_follow_reader_that_takes_little(launch):
    """One that keeps reading is not dropped, however little it takes: less in idle-timeout-s than makes room in the socket."""
    server = launch("--idle-timeout-s", 2)
    for _ in range(12):
        assert server.append("s-1", [event(data={"pad": "x" * 900_000})]).status in (200, 201)
    with follow(server, "/v1/events", NDJSON, receive_bytes=32768) as live:
        until = time.monotonic() + 6
        while time.monotonic() < until:
            live.receive()
            wait = time.monotonic() + 0.3  # reading slowly is what it does, nothing waits for this
            wait_for(lambda: time.monotonic() > wait)
        assert server.status()["connections"] == 2
        assert len(live.caught_up()[0]) == 12


def test_follow_burst_after_silence(launch):
    """That nothing was sent for longer than idle-timeout-s is not held against a reader that then takes its time."""
    idle_s = 2 * SLOW
    server = launch("--idle-timeout-s", idle_s, "--heartbeat-s", 600)
    server.append_ok("s-1", [event()])
    with follow(server, "/v1/events", NDJSON, receive_bytes=32768) as live:
        live.caught_up()
        silent_until = time.monotonic() + idle_s + 0.5
        wait_for(lambda: time.monotonic() > silent_until)
        assert server.append("s-1", [event(data={"pad": "x" * 900_000}) for _ in range(8)]).status in (200, 201)
        read_from = time.monotonic() + 0.5
        wait_for(lambda: time.monotonic() > read_from)
        assert len(live.events(8)) == 8


def test_follow_peer_gone(fresh, accept):
    """The connections of followers that went away are closed at once, also where nothing is committed."""
    append(fresh, "s-1")
    lives = [follow(fresh, "/v1/events", accept) for _ in range(20)]
    for live in lives:
        live.caught_up()
    assert fresh.status()["connections"] == 21
    descriptors = len(os.listdir(f"/proc/{fresh.pid}/fd"))
    for live in lives:
        live.close()
    wait_for(lambda: fresh.status()["connections"] == 1, 5, "the connections to go")
    wait_for(lambda: len(os.listdir(f"/proc/{fresh.pid}/fd")) == descriptors - 20, 5, "the descriptors to go")


def test_follow_peer_vanished(server, name, accept):
    """A peer that is gone without a word, as after a power cut, is found by the heartbeat that it does not acknowledge."""
    stream = name()
    append(server, stream)
    before = server.status()["connections"]
    live = follow(server, events_path(stream), accept)
    live.caught_up()
    try:
        live.socket.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)  # now close() sends nothing
    except PermissionError:
        live.close()
        pytest.skip("needs CAP_NET_ADMIN")
    live.close()
    assert server.status()["connections"] == before + 1
    wait_for(lambda: server.status()["connections"] == before, what="the connection to go")


def test_follow_shutdown(launch, accept):
    """SIGTERM ends every live read whole, answers every poll, and does not wait for either."""
    server = launch("--heartbeat-s", 60)
    append(server, "s-1", 3)
    lives = [follow(server, "/v1/events", accept) for _ in range(10)]
    for live in lives:
        live.caught_up()
    polls = [server.raw() for _ in range(10)]
    for raw in polls:
        raw.send(b"GET /v1/events?after=end&wait=60s HTTP/1.1\r\nHost: test\r\n\r\n")
    wait_for(lambda: server.status()["followers"] == 20)
    append(server, "s-1")
    for live in lives:
        assert live.event()["revision"] == 4
    answers = [raw.response() for raw in polls]
    assert all(len(a.json["events"]) == 1 for a in answers)
    for raw in polls:
        raw.send(b"GET /v1/events?after=end&wait=60s HTTP/1.1\r\nHost: test\r\n\r\n")
    server.process.send_signal(signal.SIGTERM)
    started = time.monotonic()
    for live in lives:
        assert live.rest() == [] and live.whole
    for raw in polls:
        response = raw.response()
        assert response is None or response.status in (200, 503)
        raw.socket.close()
    server.wait_exit()
    assert time.monotonic() - started < 4 * patience()

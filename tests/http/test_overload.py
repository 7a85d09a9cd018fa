"""Too much to do: a full queue is said to be full, nothing that was acknowledged is lost, memory has its bound."""
import time

import pytest

from support import ENCODINGS, SLOW, event, events_path, problem, wait_for


def burst(server, count, stream, size=100):
    """Sends `count` appends on as many connections before it reads the first answer; returns all answers."""
    connections = [server.raw(timeout=20) for _ in range(count)]
    bodies = [ENCODINGS["json"].append([event(data="x" * size)]) for _ in connections]
    header = f"POST {events_path(stream)} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    for connection, body in zip(connections, bodies):
        connection.send(header.encode() % len(body))
    for connection, body in zip(connections, bodies):
        connection.send(body)
    answers = [connection.response() for connection in connections]
    for connection in connections:
        connection.socket.close()
    return answers


@pytest.mark.timeout_s(60)
def test_a_full_queue_is_503_with_retry_after(launch):
    """With room for one command in the queue, a crowd of writers gets 201 or 503 and nothing else; what got 201 is there,
    what got 503 is not, and the server takes writes again at once."""
    server = launch("--queue-commands-max", 1)
    committed, refused = 0, []

    def crowd():
        nonlocal committed
        answers = burst(server, 200, "s")
        assert {a.status for a in answers} <= {201, 503}
        committed += sum(a.status == 201 for a in answers)
        refused.extend(a for a in answers if a.status == 503)
        return refused

    wait_for(crowd, 30, "a refusal")
    for response in refused:
        problem(response, 503, "overloaded")
        assert int(response.headers["Retry-After"]) >= 1
        assert response.headers["Daybook-Position"]
    assert server.head_revision("s") == committed
    assert server.status()["queue_length_max"] == 1
    server.append_ok("s", event(), committed)
    server.restart(kill=True)
    assert len(server.read_all(events_path("s"))) == committed + 1


@pytest.mark.timeout_s(90)
def test_memory_has_a_bound(launch):
    """Many times more bytes than the queue and the tail may hold pass through, and private memory stays bounded."""
    server = launch("--queue-bytes-max", 1 << 20, "--tail-bytes-max", 4 << 20)
    peak = 0
    for n in range(12):
        answers = burst(server, 100, f"s-{n}", size=100_000)  # 10 MB a burst
        assert {a.status for a in answers} <= {201, 503}
        peak = max(peak, server.rss_bytes())
        if n == 3:
            early = peak
    if SLOW == 1:
        assert peak < early + (24 << 20), f"private memory grew from {early >> 20} to {peak >> 20} MiB"
    committed = sum(s["head_revision"] for s in server.get("/v1/streams").json["streams"])
    assert committed == server.position() == len(server.read_all())


def test_more_connections_than_allowed_harm_nobody(launch):
    """Connections over the limit are refused or wait; those that are there are served, and room that is freed is used."""
    server = launch("--connections-max", 20)
    connections = [server.raw(timeout=2) for _ in range(60)]
    served = 0
    for connection in connections:
        if connection.try_send(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"):
            try:
                response = connection.response()
            except TimeoutError:
                break
            if response is not None:
                assert response.status in (200, 503)
                served += response.status == 200
    assert 10 <= served <= 20
    for connection in connections:
        connection.socket.close()
    server.disconnect()
    start = time.monotonic()

    def served_again():
        try:
            return server.get("/healthz").status == 200
        except OSError:
            return False

    wait_for(served_again, 10, "room for a connection")
    assert time.monotonic() - start < 10 * SLOW


def test_reads_go_on_while_the_queue_is_full(launch):
    """Reads do not queue behind writes."""
    server = launch("--queue-commands-max", 1)
    server.append_ok("s", event())
    for _ in range(5):
        burst(server, 100, "busy")
        assert server.get(events_path("s")).status == 200


@pytest.mark.timeout_s(60)
def test_readers_that_do_not_read_harm_nobody(launch):
    """40 clients ask for a log of 40 MB and take nothing of it: others read and write as before, memory stays bounded, and
    the server still ends in time."""
    server = launch("--apply-interval-ms", 1)
    for n in range(40):
        server.append_ok(f"s-{n % 4}", [event(data="x" * 100_000) for _ in range(10)])
    wait_for(lambda: server.status()["tail_bytes"] < 4 << 20, 20, "the tail to be applied")
    before = server.rss_bytes()
    stuck = [server.raw() for _ in range(40)]
    for connection in stuck:
        connection.send(b"GET /v1/events HTTP/1.1\r\nHost: a\r\nAccept: application/x-ndjson\r\n\r\n")
    for n in range(50):
        server.append_ok("s-1", event())
        assert server.get("/v1/events", query={"direction": "backward", "limit": 1}).json["events"][0]["position"] == 401 + n
    if SLOW == 1:
        grown = server.rss_bytes() - before
        assert grown < 40 << 20, f"{grown >> 20} MiB for 40 readers"
    # One of them goes on after all and gets everything that was there when it asked.
    response = stuck[0].response()
    assert [e["position"] for e in response.body] == list(range(1, 401))
    server.stop()
    for connection in stuck:
        connection.socket.close()


def test_large_bodies_share_a_memory_budget(launch):
    """Bodies that arrive slowly on many connections hold no more memory than body-memory-max: the next one is refused with
    503, small requests go on, and what was held is free again when its connections are gone."""
    server = launch("--body-bytes-max", 1 << 20, "--body-memory-max", 1 << 20)
    header = f"POST {events_path('s')} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n"
    first, second = server.raw(), server.raw()
    first.send(header.encode() + b" " * 900_000)
    wait_for(lambda: server.rss_bytes() > 0 and server.get("/healthz").status == 200, 10, "an answer meanwhile")
    second.send(header.encode() + b" " * 900_000)
    response = second.response()
    problem(response, 503, "overloaded")
    assert int(response.headers["Retry-After"]) >= 1
    server.append_ok("s", event(), 0)
    first.socket.close()
    second.socket.close()
    big = ENCODINGS["json"].append([event(data="x" * 500_000)])
    wait_for(lambda: server.post(events_path("s"), big, {"Content-Type": "application/json"}).status == 201, 10, "room again")


@pytest.mark.timeout_s(60)
def test_a_filter_that_finds_little_is_read_in_portions(launch):
    """A prefix of many streams is checked event by event: a read that skips tens of thousands of them finds what is behind,
    a JSON page may end early with a place to go on from, and other clients are answered meanwhile."""
    server = launch()
    many = {"appends": [{"stream": f"c-{n}", "events": [{"type": "T"}]} for n in range(1, 100)]}
    assert server.post("/v1/events", many).status == 201
    for _ in range(5):
        assert server.post(events_path("c-x"), {"events": [{"type": "T", "data": 1}] * 9_000}).status == 201
    assert server.post(events_path("c-1"), {"events": [{"type": "Last"}]}).status == 201
    query = [("prefix", f"c-{n}") for n in range(1, 10)] + [("after", 99)]
    lines = server.get("/v1/events", "application/x-ndjson", query)
    assert [e["type"] for e in lines.body] == ["Last"]
    found, after, pages = [], 99, 0
    while True:
        page = server.get("/v1/events", query=query[:-1] + [("after", after)]).json
        assert page["next"] > after or page["end"]
        found += page["events"]
        after, pages = page["next"], pages + 1
        if page["end"]:
            break
    assert [e["type"] for e in found] == ["Last"] and pages > 1

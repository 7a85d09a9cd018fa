"""Queries as NDJSON: rows go out while the query runs; errors after the first row; slow readers, readers that go away, the end of the server."""
import json
import socket
import threading

from support import JSON, NDJSON, Raw, event, problem, wait_for
from test_projections import BOMB, COUNTER, ask, path, put_ok, rows

NUMBERS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
# One row, then none for a time beyond any test.
FIRST_THEN_NOTHING = f"SELECT 1 AS first UNION ALL SELECT i FROM (SELECT i FROM ({BOMB}) LIMIT 1 OFFSET 1000000000000)"


class Lines:
    """One query on a connection of its own, its answer taken apart as it comes."""

    def __init__(self, server, sql, name="$counts", receive_bytes=None):
        self.socket = socket.socket()
        if receive_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.settimeout(120)
        self.socket.connect(("127.0.0.1", server.port))
        body = json.dumps({"sql": sql}).encode()
        self.socket.sendall(f"POST {path(name, 'query')} HTTP/1.1\r\nHost: x\r\nAccept: {NDJSON}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        self.file = self.socket.makefile("rb")

    def start(self):
        self.status = int(self.file.readline().split()[1])
        assert self.status == 200, self.file.read(1000)
        self.headers = {}
        while (line := self.file.readline().strip()) != b"":
            key, value = line.decode().split(":", 1)
            self.headers[key.lower()] = value.strip()
        return self

    def chunks(self):
        """The pieces of a chunked body, to its proper end."""
        while True:
            size = int(self.file.readline(), 16)
            piece = self.file.read(size + 2)
            assert len(piece) == size + 2, "cut"
            if size == 0:
                return
            yield piece[:-2]

    def lines(self):
        return [json.loads(line) for line in b"".join(self.chunks()).splitlines()]

    def close(self):
        self.file.close()
        self.socket.close()


def test_small_answers_are_whole(server):
    """What fits into one piece has a length, keeps the connection, and fails with a status."""
    with Raw(server.port, 30) as raw:
        body = b'{"sql":"SELECT 1 AS a UNION ALL SELECT 2"}'
        for _ in range(2):
            raw.send(f"POST {path('$counts', 'query')} HTTP/1.1\r\nHost: x\r\nAccept: {NDJSON}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
            response = raw.response()
            assert response.status == 200 and response.headers["Content-Length"] == "16" and response.raw == b'{"a":1}\n{"a":2}\n'
            assert int(response.headers["Daybook-Position"]) >= 0
    assert ask(server, "$counts", "SELECT 1 WHERE 0", accept=NDJSON).raw == b""
    assert "syntax" in problem(ask(server, "$counts", "SELEC", accept=NDJSON), 400, "invalid-query", "sql").json["detail"]
    problem(server.post(path("$counts", "query"), b"[]", {"Accept": NDJSON}), 400, "invalid-field")
    problem(server.post(path("$counts", "query"), b"{", {"Accept": NDJSON}), 400, "invalid-json")
    problem(ask(server, "nothing", "SELECT 1", accept=NDJSON), 404, "projection-not-found", "name")
    problem(ask(server, "$counts", "SELECT 1", query="?min_position=1000000000", accept=NDJSON), 503, "not-caught-up", "query.min_position")


def test_large_answers_are_the_same_as_in_json(launch):
    """Many pieces, values of every kind, one row larger than a piece: the same values as in the other format."""
    server = launch("--query-bytes-max", "64MiB", "--query-time-ms", 120000)
    sql = f"{NUMBERS} SELECT i, i / 3.0 AS f, 'é' || i AS t, NULL AS n, x'00ff' AS b, CASE i WHEN 777 THEN hex(zeroblob(200000)) END AS large FROM n LIMIT 30000"
    whole = ask(server, "$counts", sql, query="").json
    read = Lines(server, sql).start()
    assert read.status == 200 and read.headers["transfer-encoding"] == "chunked" and read.headers["content-type"] == NDJSON
    assert [list(line.values()) for line in read.lines()] == whole["rows"]
    read.close()


def test_rows_go_out_while_the_query_runs(launch):
    """The first row is there though the query will not end for long; when the client goes away the only thread is free again."""
    server = launch("--query-threads", 1, "--query-time-ms", 3600000)
    read = Lines(server, FIRST_THEN_NOTHING).start()
    assert json.loads(next(read.chunks())) == {"first": 1}
    read.close()
    assert rows(server, "$counts", "SELECT 2") == [[2]]


def test_an_error_after_the_first_row(launch):
    """The answer has begun, so the problem is its last line; the answer is whole."""
    server = launch("--query-rows-max", 5000, "--query-time-ms", 120000)
    read = Lines(server, f"{NUMBERS} SELECT i, hex(zeroblob(100)) AS z FROM n").start()
    *good, last = read.lines()
    assert read.status == 200 and [line["i"] for line in good] == list(range(1, 5001))
    assert last["type"] == "urn:daybook:problem:query-limit" and last["status"] == 400 and "5000 rows" in last["detail"]
    read.close()
    server.restart(flags=["--query-time-ms", 1500])
    read = Lines(server, FIRST_THEN_NOTHING).start()
    first, last = read.lines()
    assert first == {"first": 1} and last["type"] == "urn:daybook:problem:query-limit" and "1500 ms" in last["detail"]
    read.close()


def test_a_slow_reader_holds_nobody_up(launch):
    """Who does not read holds the query no longer than its time; appends and the projection go on; what was read is told when he reads."""
    server = launch("--query-threads", 1, "--query-time-ms", 2000, "--query-rows-max", 10000000, "--query-bytes-max", "1GiB", "--idle-timeout-s", 3600)
    put_ok(server, "p", COUNTER)
    server.append_ok("s", [event() for _ in range(200)])
    rows(server, "p", "SELECT 1", query=f"?min_position={server.position()}&wait=60s")
    sql = f"{NUMBERS} SELECT i, (SELECT stream FROM counts) AS stream, hex(zeroblob(1000)) AS z FROM n LIMIT 1000000"
    read = Lines(server, sql, "p", receive_bytes=1 << 18).start()
    last = server.append_ok("s", event())["last_position"]
    assert rows(server, "p", "SELECT n FROM counts", query=f"?min_position={last}&wait=60s") == [[201]]
    *good, end = read.lines()
    assert [line["i"] for line in good] == list(range(1, len(good) + 1)) and 0 < len(good) < 1000000
    assert end["type"] == "urn:daybook:problem:query-limit" and "2000 ms" in end["detail"]
    read.close()


def test_what_is_left_is_sent_by_and_by(launch):
    """An answer that the buffer holds is over for the query at once, however slowly it is read; the only thread is free meanwhile."""
    server = launch("--query-threads", 1, "--query-time-ms", 3600000, "--idle-timeout-s", 3600)
    n = 3800
    read = Lines(server, f"{NUMBERS} SELECT i, hex(zeroblob(500)) AS z FROM n LIMIT {n}", receive_bytes=1 << 18).start()
    assert rows(server, "$counts", "SELECT 3") == [[3]]
    assert [line["i"] for line in read.lines()] == list(range(1, n + 1))
    read.close()


def test_many_at_once(launch):
    """More queries than threads, beside appends, all whole."""
    server = launch("--query-time-ms", 600000)
    put_ok(server, "p", COUNTER)
    for i in range(20):
        server.append_ok(f"s-{i}", event())
    assert rows(server, "p", "SELECT count(*) FROM counts", query=f"?min_position={server.position()}&wait=60s") == [[20]]
    found = []

    def one():
        read = Lines(server, f"SELECT n.i, c.stream FROM ({NUMBERS} SELECT i FROM n LIMIT 1000) n, counts c", "p").start()
        found.append(len(read.lines()))
        read.close()

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for _ in range(50):
        server.append_ok("s-0", event())
    for thread in threads:
        thread.join()
    assert found == [20000] * 8
    assert ask(server, "p", "SELECT 1", accept=JSON).status == 200


def test_the_server_stops_meanwhile(launch):
    """A stop ends a query that runs: its last line says so, or the answer is cut; the server ends in time."""
    server = launch("--query-time-ms", 3600000)
    reads = [Lines(server, FIRST_THEN_NOTHING).start() for _ in range(2)]
    pieces = [read.chunks() for read in reads]
    for piece in pieces:
        assert json.loads(next(piece)) == {"first": 1}
    stopping = threading.Thread(target=server.stop)
    stopping.start()
    for read, piece in zip(reads, pieces):
        try:
            assert json.loads(b"".join(piece))["type"] == "urn:daybook:problem:shutting-down"
        except (AssertionError, ValueError, ConnectionResetError) as e:
            assert "urn:" not in str(e), e
        read.close()
    stopping.join()
    wait_for(lambda: server.process is None, 60, "its end")

"""Bytes on the wire: whatever is ambiguous or forbidden gets 400 and a close, and the server goes on serving others."""
import random
import time

import pytest

from support import SLOW, patience, problem, wait_for

SERVER_FLAGS = ["--header-timeout-s", 1, "--body-timeout-s", 1, "--idle-timeout-s", 2]
BODY = b'{"events":[{"type":"T"}]}'
APPEND = b"POST /v1/streams/%s/events HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
GET = b"GET /healthz HTTP/1.1\r\nHost: a\r\n"


def append(stream, body=BODY, headers=b""):
    return APPEND % stream + headers + b"Content-Length: %d\r\n\r\n" % len(body) + body


@pytest.fixture(autouse=True)
def goes_on_serving(server):
    """Whatever one connection did, the next one is served."""
    yield
    assert server.get("/healthz").status == 200


# ---- the corpus of request smuggling --------------------------------------------------------------

CHUNKED = b"1\r\n{\r\n0\r\n\r\n"


def post(*headers, body=b"{}"):
    return b"POST /v1/events HTTP/1.1\r\nHost: a\r\n" + b"".join(h + b"\r\n" for h in headers) + b"\r\n" + body


def get(*headers):
    return b"GET /healthz HTTP/1.1\r\nHost: a\r\n" + b"".join(h + b"\r\n" for h in headers) + b"\r\n"


REFUSED = {
    "two Content-Length, different": post(b"Content-Length: 2", b"Content-Length: 3"),
    "two Content-Length, the same": post(b"Content-Length: 2", b"Content-Length: 2"),
    "Content-Length list": post(b"Content-Length: 2, 2"),
    "Content-Length list, different": post(b"Content-Length: 2, 3"),
    "Content-Length and chunked": post(b"Content-Length: 2", b"Transfer-Encoding: chunked", body=CHUNKED),
    "chunked and Content-Length": post(b"Transfer-Encoding: chunked", b"Content-Length: 2", body=CHUNKED),
    "Content-Length negative": post(b"Content-Length: -1"),
    "Content-Length with a plus": post(b"Content-Length: +2"),
    "Content-Length hexadecimal": post(b"Content-Length: 0x2"),
    "Content-Length a float": post(b"Content-Length: 2.0"),
    "Content-Length empty": post(b"Content-Length:"),
    "Content-Length a word": post(b"Content-Length: two"),
    "Content-Length of 2^64": post(b"Content-Length: 18446744073709551616"),
    "Content-Length of 40 digits": post(b"Content-Length: " + b"9" * 40),
    "Content-Length with a space inside": post(b"Content-Length: 2 2"),
    "gzip, chunked": post(b"Transfer-Encoding: gzip, chunked", body=CHUNKED),
    "xchunked": post(b"Transfer-Encoding: xchunked", body=CHUNKED),
    "chunked twice, one header": post(b"Transfer-Encoding: chunked, chunked", body=CHUNKED),
    "chunked twice, two headers": post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=CHUNKED),
    "chunked, identity": post(b"Transfer-Encoding: chunked, identity", body=CHUNKED),
    "identity": post(b"Transfer-Encoding: identity", b"Content-Length: 2"),
    "chunked with a space behind it": post(b"Transfer-Encoding: chunked ", body=CHUNKED),
    "chunked with a parameter": post(b"Transfer-Encoding: chunked;q=1", body=CHUNKED),
    "chunked after a vertical tab": post(b"Transfer-Encoding: \x0bchunked", body=CHUNKED),
    "Transfer-Encoding empty": post(b"Transfer-Encoding:", body=CHUNKED),
    "Transfer-Encoding of a GET": get(b"Transfer-Encoding: cow"),
    "chunked in HTTP/1.0": post(b"Transfer-Encoding: chunked", body=CHUNKED).replace(b"HTTP/1.1", b"HTTP/1.0"),
    "two Host": get(b"Host: b"),
    "two Host, the same": get(b"Host: a"),
    "no Host": b"GET /healthz HTTP/1.1\r\n\r\n",
    "NUL in a name": get(b"X\0Y: 1"),
    "NUL in a value": get(b"X: a\0b"),
    "control byte in a name": get(b"X\x01: 1"),
    "control byte in a value": get(b"X: a\x01b"),
    "DEL in a value": get(b"X: a\x7fb"),
    "bare CR in a value": get(b"X: a\rY: b"),
    "bare CR before the colon": get(b"X\r: a"),
    "space before the colon": get(b"X : 1"),
    "space before Content-Length's colon": post(b"Content-Length : 2"),
    "tab before the colon": get(b"X\t: 1"),
    "space in a name": get(b"X Y: 1"),
    "a name of other bytes": get(b"X\xe9: 1"),
    "a line without a colon": get(b"nonsense"),
    "an empty name": get(b": 1"),
    "a folded line": get(b"X: 1", b" folded"),
    "a folded line with a tab": get(b"X: 1", b"\tfolded"),
    "a folded Transfer-Encoding": post(b"Transfer-Encoding:", b" chunked", body=CHUNKED),
    "a folded first line": b"GET /healthz HTTP/1.1\r\n Host: a\r\n\r\n",
    "a chunk size that is none": post(b"Transfer-Encoding: chunked", body=b"x\r\n{}\r\n0\r\n\r\n"),
    "a chunk size, negative": post(b"Transfer-Encoding: chunked", body=b"-2\r\n{}\r\n0\r\n\r\n"),
    "a chunk size with 0x": post(b"Transfer-Encoding: chunked", body=b"0x2\r\n{}\r\n0\r\n\r\n"),
    "a chunk size that overflows": post(b"Transfer-Encoding: chunked", body=b"1" + b"0" * 16 + b"2\r\n{}\r\n0\r\n\r\n"),
    "a chunk longer than its size": post(b"Transfer-Encoding: chunked", body=b"1\r\n{}\r\n0\r\n\r\n"),
    "no target": b"GET  HTTP/1.1\r\nHost: a\r\n\r\n",
    "NUL in the target": b"GET /v1/\0events HTTP/1.1\r\nHost: a\r\n\r\n",
    "a tab for a space": b"GET\t/healthz HTTP/1.1\r\nHost: a\r\n\r\n",
    "HTTP/1.11": b"GET /healthz HTTP/1.11\r\nHost: a\r\n\r\n",
    "no version": b"GET /healthz\r\nHost: a\r\n\r\n",
    "http in lower case": b"GET /healthz http/1.1\r\nHost: a\r\n\r\n",
    "a control byte in the method": b"G\x01T /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
}
# A request that a fooled server would take for the next one and answer.
SMUGGLED = b"GET /v1/status HTTP/1.1\r\nHost: smuggled\r\n\r\n"


@pytest.mark.parametrize("attack", REFUSED.values(), ids=REFUSED.keys())
def test_ambiguous_framing_is_400_and_close(server, attack):
    """One refusal and a close, or a close alone; what followed is never taken as a request, and nothing changed."""
    before = server.position()
    with server.raw() as raw:
        raw.try_send(attack + SMUGGLED)
        raw.half_close()
        response = raw.response()
        while raw._more():
            pass
        assert b" 200 " not in raw.buffer, "the smuggled request was answered"
        if response is not None and response.media:
            problem(response, 400, "bad-request")
            assert raw.buffer == b""
        elif response is not None:
            # libmicrohttpd refuses some things before our code sees them, with a page of its own.
            assert response.status in (400, 413, 505), response
    assert server.position() == before


def test_a_space_in_the_target_is_refused(server):
    """A request line with a space too many is 400; where it ends is clear, so the connection may go on."""
    problem(server.exchange(b"GET /v1/events?type=a b HTTP/1.1\r\nHost: a\r\n\r\n"), 400, "bad-request")


@pytest.mark.parametrize("attack", ["two Content-Length, different", "Content-Length and chunked", "two Host", "space before the colon"])
def test_a_refusal_of_framing_is_a_problem_document(server, attack):
    """The refusals of our own say what is wrong, in the one error shape, with `Connection: close`."""
    response = problem(server.exchange(REFUSED[attack]), 400, "bad-request")
    assert response.headers["Connection"].lower() == "close"
    assert response.json["detail"] and response.headers["Daybook-Position"]


# ---- what is unusual but right --------------------------------------------------------------------

ACCEPTED = {
    "absolute target": b"GET http://a/healthz HTTP/1.1\r\nHost: a\r\n\r\n",
    "HTTP/1.0": b"GET /healthz HTTP/1.0\r\n\r\n",
    "no space after the colon": b"GET /healthz HTTP/1.1\r\nHost:a\r\n\r\n",
    "header name in capitals": b"GET /healthz HTTP/1.1\r\nHOST: a\r\n\r\n",
    "an empty value": b"GET /healthz HTTP/1.1\r\nHost: a\r\nX:\r\n\r\n",
    "a tab in a value": b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: a\tb\r\n\r\n",
    "high bytes in a value": b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: \xc3\xa9\r\n\r\n",
    "a body of a GET": b"GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}",
    "a query on healthz": b"GET /healthz? HTTP/1.1\r\nHost: a\r\n\r\n",
}


@pytest.mark.parametrize("request_", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_the_unusual_but_right_is_served(server, request_):
    """What RFC 9112 allows is answered."""
    assert server.exchange(request_).status == 200


@pytest.mark.parametrize("spelled", [b"chunked", b"Chunked", b"CHUNKED", b" \t chunked"])
def test_chunked_bodies_are_read(server, name, spelled):
    """One chunked transfer coding, in any case, with extensions and trailers, is a body."""
    stream = name().encode()
    chunks = b"".join(b"%X;ext=1\r\n%s\r\n" % (1, bytes([byte])) for byte in BODY)
    with server.raw() as raw:
        raw.send(APPEND % stream + b"Transfer-Encoding:" + spelled + b"\r\n\r\n" + chunks + b"0\r\nTrailer: x\r\n\r\n")
        assert raw.response().status == 201
        raw.send(GET + b"\r\n")
        assert raw.response().status == 200


# ---- time -----------------------------------------------------------------------------------------


def trickle(raw, byte, seconds):
    """Sends a byte every 50 ms for as long as the server listens; fails if it listens for too long."""
    deadline = time.monotonic() + seconds * SLOW
    raw.socket.settimeout(0.05)
    while raw.try_send(byte):
        assert time.monotonic() < deadline, "the server waits for ever"
        try:
            if not raw._more() or b"\r\n\r\n" in raw.buffer:
                break
        except TimeoutError:
            pass
    raw.socket.settimeout(seconds * SLOW)


@pytest.mark.parametrize("part", [b"", b"GET", GET, GET + b"X: y"], ids=["nothing", "a method", "a header", "half a header"])
@pytest.mark.parametrize("then", ["pause", "trickle"])
def test_a_slow_header_is_cut_off(server, part, then):
    """A connection whose header is not complete in time is closed, at most with a 408; a byte now and then does not help."""
    with server.raw(timeout=10) as raw:
        raw.try_send(part)
        if then == "trickle":
            trickle(raw, b"x", 10)
        response = raw.response()
        assert response is None or response.status in (400, 408)
        assert raw.closed()


@pytest.mark.parametrize("then", ["pause", "trickle"])
def test_a_slow_body_is_408(server, name, then):
    """A body that does not arrive in time is 408 and a close, and nothing was appended."""
    before = server.position()
    with server.raw(timeout=10) as raw:
        raw.send(APPEND % name().encode() + b"Content-Length: 1000\r\n\r\n{")
        if then == "trickle":
            trickle(raw, b" ", 10)
        problem(raw.response(), 408, "request-timeout")
        raw.socket.close()
    assert server.position() == before


def test_an_idle_connection_is_closed(server):
    """A kept connection without a request is closed after the idle timeout, without a word."""
    with server.raw() as raw:
        raw.send(GET + b"\r\n")
        assert raw.response().status == 200
        assert raw.closed()


def test_slow_clients_do_not_hold_up_others(server):
    """With 200 connections stuck in their headers and bodies, others are answered at once."""
    stuck = [server.raw() for _ in range(200)]
    for n, raw in enumerate(stuck):
        raw.try_send(GET if n % 2 else append(b"stuck")[:-3])
    start = time.monotonic()
    for _ in range(50):
        assert server.get("/healthz").status == 200
    assert time.monotonic() - start < 2 * patience()
    for raw in stuck:
        raw.socket.close()


# ---- pipelines and half-closed connections --------------------------------------------------------


def test_pipelined_requests_are_answered_in_order(server, name):
    """100 requests in one write, reads and writes mixed, get 100 answers in their order."""
    stream = name().encode()
    requests, check = [], []
    for n in range(50):
        body = b'{"expected_revision":%d,"events":[{"type":"T","data":%d}]}' % (n, n)
        requests += [append(stream, body), b"GET /v1/streams/%s HTTP/1.1\r\nHost: a\r\n\r\n" % stream]
        check += [(201, "last_revision", n + 1), (200, "head_revision", n + 1)]
    with server.raw(timeout=20) as raw:
        raw.send(b"".join(requests))
        for status, field, value in check:
            response = raw.response()
            assert (response.status, response.json[field]) == (status, value)


def test_a_pipeline_ends_at_a_bad_request(server, name):
    """What came before a refused request is answered, what follows it is not looked at."""
    good, bad = name().encode(), name().encode()
    with server.raw() as raw:
        raw.send(append(good) + REFUSED["two Content-Length, different"] + append(bad))
        assert raw.response().status == 201
        assert raw.response().status == 400
        raw.half_close()
        assert raw.closed()
    assert server.head_revision(good.decode()) == 1
    assert server.head_revision(bad.decode()) == 0


def test_a_half_closed_connection_gets_its_answer(server, name):
    """A client that has sent all it has to say may close its side and still read."""
    with server.raw() as raw:
        raw.send(append(name().encode()))
        raw.half_close()
        assert raw.response().status == 201
        assert raw.closed()


def test_a_client_that_goes_away_does_no_harm(server, name):
    """Appends whose clients do not wait for the answer are committed whole or not at all."""
    stream = name()
    for n in range(100):
        raw = server.raw()
        raw.send(append(stream.encode(), b'{"events":[{"type":"T"},{"type":"T"}]}'))
        raw.socket.close()
    wait_for(lambda: server.status()["connections"] <= 3, what="the connections to be gone")
    assert server.head_revision(stream) % 2 == 0


def test_a_body_that_never_ends_changes_nothing(server, name):
    """A connection closed in the middle of a body was no request."""
    stream = name()
    with server.raw() as raw:
        raw.send(append(stream.encode())[:-1])
        raw.half_close()
        response = raw.response()
        assert response is None or response.status in (400, 408)
    assert server.head_revision(stream) == 0


# ---- Expect, garbage, floods ----------------------------------------------------------------------


def test_expect_100_continue(server, name):
    """The interim answer comes before the body is sent, the final one after it."""
    request = append(name().encode(), headers=b"Expect: 100-continue\r\n")
    with server.raw() as raw:
        raw.send(request[: -len(BODY)])
        assert raw.response().status == 100
        raw.send(BODY)
        assert raw.response().status == 201


def test_expect_100_continue_is_refused_before_the_body(server):
    """A body that will not be taken is refused instead of being asked for."""
    with server.raw() as raw:
        raw.send(APPEND % b"a" + b"Expect: 100-continue\r\nContent-Length: 999999999999\r\n\r\n")
        problem(raw.response(), 413, "body-too-large")


def test_10000_headers_are_refused(server):
    """A flood of headers is cut off by the header's limit."""
    with server.raw() as raw:
        raw.try_send(GET + b"".join(b"X-%d: %d\r\n" % (n, n) for n in range(10_000)) + b"\r\n")
        response = raw.response()
        assert response is None or response.status == 431


def test_garbage_harms_nobody(server, seed):
    """300 connections that send random bytes, and requests with random bytes changed, get a 4xx, their answer, or a close."""
    random_ = random.Random(seed)
    good = append(b"garbage", headers=b"If-Match: *\r\n")
    for n in range(300):
        if n % 3 == 0:
            data = random_.randbytes(random_.randint(1, 2000)) + b"\r\n\r\n"
        else:
            changed = bytearray(good)
            for _ in range(random_.randint(1, 4)):
                changed[random_.randrange(len(changed))] = random_.randrange(256)
            data = bytes(changed)
        with server.raw() as raw:
            raw.try_send(data)
            try:
                raw.half_close()
            except OSError:
                continue
            response = raw.response()
            assert response is None or response.status in range(100, 500) or response.status == 505, (data, response)


HANG_UPS = {
    "after a request": GET + b"\r\n",
    "in a header": GET + b"X: ",
    "in a body": append(b"hang-up")[:-3],
    "after a pipeline": (GET + b"\r\n") * 20,
    "in a pipeline": (GET + b"\r\n") * 20 + GET,
}


def test_a_peer_that_sends_and_closes_is_not_kept(fresh):
    """A peer that closes its side with its last bytes gets its answers, and its connection is gone at once, not when the idle
    timeout (75 s) or the body's (60 s) is over."""
    peers = [(what, request, fresh.raw()) for what, request in HANG_UPS.items() for _ in range(20)]
    for _, request, raw in peers:
        raw.send(request)
        raw.half_close()
    for what, request, raw in peers:
        whole = 0 if b"POST" in request else request.count(b"\r\n\r\n")
        answers = [raw.response() for _ in range(max(whole, 1))]
        assert whole == 0 or {a.status for a in answers} == {200}, what
        raw.closed()
        raw.socket.close()
    wait_for(lambda: fresh.status()["connections"] <= 1, 8, "the connections to be gone")

"""Abuse: clients that are slow, idle, endless or sly. While each attack runs an honest client is served as before: every request of its
succeeds; the server's memory stays within a bound that is stated below; afterwards the attackers' connections are gone.

What the honest client's p99 was before and during each attack is printed (and appended to DAYBOOK_ABUSE_REPORT); it is asserted only
within wide bounds, since other things run on this machine. DAYBOOK_ABUSE_S is how long each attack goes on (default 1; make soak: 20).
"""
import contextlib
import os
import random
import resource
import shutil
import subprocess
import threading
import time

import pytest

from support import JSON, ROOT, SANITIZER, SLOW, Raw, event, events_path, problem, wait_for

ATTACK_S = float(os.environ.get("DAYBOOK_ABUSE_S", "1"))
REPORT = os.environ.get("DAYBOOK_ABUSE_REPORT")
HARD_LIMIT = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
IDLE = min(500 if SANITIZER else 5000, HARD_LIMIT - 1000)
MANY = 60 if SANITIZER else 300
# Private memory that an attack may cost; each has its reason at the test.
CONNECTION_BYTES = 64 << 10  # libmicrohttpd's pool of 24 KiB, ours, and the heap's waste
BASE_BYTES = 24 << 20  # what the honest client's work, its tail and the index, take meanwhile
HONEST_WAIT_S = 20  # the honest client's patience: no attack may hold it up for so long
CORPUS = ROOT / "tests" / "fuzz" / "corpus" / "http"


class Honest(threading.Thread):
    """Appends and reads, one request after the other, each checked; notes how long each took."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server, self.stream = server, f"honest-{random.getrandbits(40)}"
        self.took, self.error, self.appended, self.rss_peak = [], None, 0, 0
        self.over = threading.Event()

    def run(self):
        connection = self.server.connect(timeout=HONEST_WAIT_S)
        try:
            while not self.over.is_set():
                self.once(connection)
        except BaseException as error:  # shown by whoever ends it
            self.error = error
        finally:
            connection.close()

    def once(self, connection):
        for method, path, body, wanted in (
            ("POST", events_path(self.stream), b'{"events":[{"type":"T","data":{"n":1}}]}', 201),
            ("GET", events_path(self.stream) + f"?after={self.appended}", None, 200),
        ):
            start = time.monotonic()
            connection.request(method, path, body, {"Content-Type": JSON})
            answer = connection.getresponse()
            raw = answer.read()
            assert answer.status == wanted, f"an honest {method}: {answer.status} {raw[:300]!r}"
            self.took.append(time.monotonic() - start)
        self.appended += 1
        self.rss_peak = max(self.rss_peak, self.server.rss_bytes())

    def p99_ms(self):
        took = sorted(self.took)
        return took[len(took) * 99 // 100] * 1000 if took else 0.0


@contextlib.contextmanager
def honest_client(server, seconds=0.0):
    """An honest client for the time of the block, or at least so long."""
    client = Honest(server)
    start = time.monotonic()
    client.start()
    try:
        yield client
        wait_for(lambda: client.error or (time.monotonic() - start >= seconds and len(client.took) >= 20), seconds + 60, "honest requests")
    finally:
        client.over.set()
        client.join(HONEST_WAIT_S * SLOW + 10)
    assert client.error is None, client.error
    assert server.head_revision(client.stream) == client.appended


@contextlib.contextmanager
def attack(server, what, memory_bytes, seconds=None):
    """The block is the attack's beginning; it goes on while the honest client works. Then everything has to be as before."""
    with honest_client(server, 0.5) as before:
        pass
    rss = server.rss_bytes()
    with honest_client(server, ATTACK_S if seconds is None else seconds) as during:
        yield
    grown = during.rss_peak - rss
    line = (f"{what:28} p99 {before.p99_ms():7.2f} ms before, {during.p99_ms():7.2f} ms during ({len(during.took)} requests), "
            f"{grown / (1 << 20):6.1f} MiB more (at most {(memory_bytes + BASE_BYTES) >> 20})")  # fmt: skip
    print(line)
    if REPORT:
        with open(REPORT, "a") as file:
            file.write(line + "\n")
    if not SANITIZER:
        assert grown <= memory_bytes + BASE_BYTES, line


def all_gone(server):
    server.disconnect()
    wait_for(lambda: server.status()["connections"] <= 1, 60, "the connections to be gone")
    assert server.get("/healthz").status == 200


@pytest.fixture
def many_descriptors():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (HARD_LIMIT, HARD_LIMIT))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


class Drip(threading.Thread):
    """Sends a byte now and then on each of many connections, and takes nothing."""

    def __init__(self, server, count, start, byte):
        super().__init__(daemon=True)
        self.byte, self.over = byte, threading.Event()
        self.raws = [server.raw() for _ in range(count)]
        for raw in self.raws:
            raw.socket.settimeout(0.2)
            raw.try_send(start)

    def run(self):
        while not self.over.wait(0.1):
            for raw in self.raws:
                raw.try_send(self.byte)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join()
        for raw in self.raws:
            raw.socket.close()


# ---- slow and idle --------------------------------------------------------------------------------


@pytest.mark.timeout_s(120 + int(ATTACK_S))
def test_slow_headers(launch):
    """Slowloris: a byte of a header now and then, on many connections; each is over when its header's time is."""
    server = launch("--header-timeout-s", 2)
    with attack(server, f"{MANY} slow headers", MANY * CONNECTION_BYTES):
        with Drip(server, MANY, b"GET /v1/events HTTP/1.1\r\nHost: a\r\nX-", b"a") as drip:
            wait_for(lambda: server.status()["connections"] < MANY // 2, 30, "the slow to be cut off, whatever they send")
            assert drip.is_alive()
    all_gone(server)


@pytest.mark.timeout_s(120 + int(ATTACK_S))
def test_slow_bodies(launch):
    """R-U-Dead-Yet: a byte of a body now and then, on many connections; each is over when its body's time is."""
    server = launch("--body-timeout-s", 2)
    start = f"POST {events_path('slow')} HTTP/1.1\r\nHost: a\r\nContent-Type: {JSON}\r\nContent-Length: 100000\r\n\r\n{{".encode()
    with attack(server, f"{MANY} slow bodies", MANY * CONNECTION_BYTES):
        with Drip(server, MANY, start, b" "):
            wait_for(lambda: server.status()["connections"] < MANY // 2, 30, "the slow to be cut off")
    assert server.head_revision("slow") == 0
    all_gone(server)


@pytest.mark.timeout_s(120 + int(ATTACK_S))
def test_slow_readers(launch):
    """Clients that ask for a log of 20 MB in every form, follow it too, and take a byte now and then."""
    server = launch("--idle-timeout-s", 5)
    for _ in range(20):
        server.append_ok("big-1", [event(data="x" * 100_000) for _ in range(10)])
    forms = [b"/v1/events HTTP/1.1\r\nAccept: application/x-ndjson", b"/v1/events HTTP/1.1\r\nAccept: application/x-protobuf",
             b"/v1/events?limit=1000 HTTP/1.1\r\nAccept: application/json", b"/v1/events HTTP/1.1\r\nAccept: text/event-stream"]  # fmt: skip
    count = MANY // 3
    raws = [server.raw() for _ in range(count)]
    # A page is made whole before it is sent (2 MiB at most), a chunk of a stream is 64 KiB or one event.
    pages = (count + 3) // 4
    with attack(server, f"{count} slow readers", pages * (4 << 20) + count * (CONNECTION_BYTES + (256 << 10))):
        for n, raw in enumerate(raws):
            raw.send(b"GET " + forms[n % 4] + b"\r\nHost: a\r\n\r\n")
        for raw in raws[: count // 2]:
            assert raw.socket.recv(1)
    for raw in raws:
        raw.socket.close()
    all_gone(server)


@pytest.mark.timeout_s(180 + int(ATTACK_S))
def test_idle_connections(launch, many_descriptors):
    """Thousands of connections that say nothing, or said one thing: they are there, cost what is stated, and are closed when it is time."""
    server = launch("--connections-max", IDLE + 100, "--header-timeout-s", 3 * SLOW, "--idle-timeout-s", 3 * SLOW)
    with attack(server, f"{IDLE} idle connections", IDLE * CONNECTION_BYTES):
        raws = [Raw(server.port, 30) for _ in range(IDLE)]
        for raw in raws[::2]:
            raw.try_send(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
    all_gone(server)  # by the server alone: the clients still hold their ends
    for raw in raws:
        raw.socket.close()


# ---- too much -------------------------------------------------------------------------------------


def send_a_gigabyte(raw, piece, count):
    """Until the server will not have more."""
    with contextlib.suppress(OSError):  # our own end is closed meanwhile
        for _ in range(count):
            if not raw.try_send(piece):
                break


@pytest.mark.timeout_s(120 + int(ATTACK_S))
@pytest.mark.parametrize("form", ["content-length", "chunked"])
def test_bodies_of_a_gigabyte(launch, form):
    """A body of 1 GB is 413: by its length at once, in chunks when it has passed the limit; it is never in memory."""
    server = launch()
    start = f"POST {events_path('gb')} HTTP/1.1\r\nHost: a\r\nContent-Type: {JSON}\r\n".encode()
    mib = b"x" * (1 << 20)
    start += b"Content-Length: 1073741824\r\n\r\n" if form == "content-length" else b"Transfer-Encoding: chunked\r\n\r\n"
    piece = mib if form == "content-length" else b"100000\r\n" + mib + b"\r\n"
    raws = [server.raw(30) for _ in range(4)]
    # The default limit of a body is 16 MiB, of which a growing buffer may take twice as much for a moment.
    bound = 0 if form == "content-length" else len(raws) * (48 << 20)
    with attack(server, f"4 bodies of 1 GB, {form}", bound, 0):
        for raw in raws:
            raw.try_send(start)
        senders = [threading.Thread(target=send_a_gigabyte, args=(raw, piece, 1024), daemon=True) for raw in raws]
        for sender in senders:
            sender.start()
        for raw in raws:
            problem(raw.response(), 413, "body-too-large")
        for raw in raws:
            raw.socket.close()
        for sender in senders:
            sender.join(60 * SLOW)
            assert not sender.is_alive()
    assert server.head_revision("gb") == 0
    all_gone(server)


@pytest.mark.timeout_s(120 + int(ATTACK_S))
def test_a_hundred_thousand_headers(launch):
    """A header without an end is cut off by its limit of 16 KiB: 431 or a close, and nothing of it is kept."""
    server = launch()
    flood = b"GET /healthz HTTP/1.1\r\nHost: a\r\n" + b"".join(b"X-%d: %d\r\n" % (n, n) for n in range(100_000)) + b"\r\n"
    with attack(server, "20 x 100,000 headers", 20 * CONNECTION_BYTES, 0):
        for _ in range(20):
            with server.raw() as raw:
                raw.try_send(flood)
                response = raw.response()
                assert response is None or response.status == 431, response
    all_gone(server)


@pytest.mark.timeout_s(120 + int(ATTACK_S))
def test_pipelines_that_nobody_reads(launch):
    """Thousands of requests in one write, on many connections, of which no answer is read for a while: the server does not
    work ahead without bound, and whoever reads in the end has every answer in its order."""
    server = launch()
    requests, count = 1000, 20
    one = b"GET /v1/streams/never HTTP/1.1\r\nHost: a\r\n\r\n"
    raws = [server.raw(30) for _ in range(count)]
    with attack(server, f"{count} pipelines of {requests}", count * (CONNECTION_BYTES + (1 << 20))):
        for raw in raws:
            raw.socket.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                raw.socket.send(one * requests)
            raw.socket.settimeout(30 * SLOW)
    with server.raw(30) as raw:
        raw.send(one * 100 + b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert [raw.response().status for _ in range(101)] == [404] * 100 + [200]
        assert raw.closed()
    for raw in raws:
        problem(raw.response(), 404, "stream-not-found")
        raw.socket.close()
    all_gone(server)


# ---- sly ------------------------------------------------------------------------------------------

SLY = sorted(path.name for path in CORPUS.glob("smuggle_*"))


def test_smuggled_requests(launch):
    """Of each file of the corpus (tests/fuzz/corpus/http/smuggle_*) the last request must not be answered: a proxy in front may
    have taken it for a part of the one before. One refusal, or a close; and nothing changed."""
    server = launch()
    assert len(SLY) >= 90
    before = server.position()
    for name in SLY:
        with server.raw() as raw:
            raw.try_send((CORPUS / name).read_bytes())
            with contextlib.suppress(OSError):
                raw.half_close()
            while raw._more():
                pass
            assert b"store_id" not in raw.buffer, f"{name}: the smuggled request was answered"
            assert raw.buffer.count(b"HTTP/1.1 ") + raw.buffer.count(b"HTTP/1.0 ") <= 1, f"{name}: {raw.buffer[:2000]!r}"
            assert b" 200 " not in raw.buffer and b" 201 " not in raw.buffer, f"{name}: {raw.buffer[:500]!r}"
    assert server.position() == before
    all_gone(server)


# ---- slowhttptest ---------------------------------------------------------------------------------

MODES = {
    "slowloris": ["-H"],
    "r-u-dead-yet": ["-B", "-s", "65536", "-f", JSON],
    "range": ["-R"],
    "slow read": ["-X", "-w", "10", "-y", "20", "-z", "5", "-k", "3"],
}


@pytest.mark.timeout_s(240 + int(ATTACK_S) * 4)
@pytest.mark.skipif(shutil.which("slowhttptest") is None, reason="slowhttptest is not installed (scripts/deps --test)")
@pytest.mark.parametrize("modes", [[m] for m in MODES] if ATTACK_S > 5 else [list(MODES)], ids=" + ".join)
def test_slowhttptest(launch, modes):
    """Debian's slowhttptest, in all its modes (at once; one by one where there is time), does not keep others from being served."""
    server = launch("--header-timeout-s", 5, "--body-timeout-s", 5, "--idle-timeout-s", 5)
    server.append_ok("big-1", [event(data="x" * 100_000) for _ in range(10)])
    seconds, count = max(2, int(ATTACK_S)), 50 if SANITIZER else 100
    # What is asked for is a page of 1 MB, which is made whole, in a buffer that grows by doubling.
    memory = len(modes) * count * (CONNECTION_BYTES + (2 << 20))
    with attack(server, f"slowhttptest, {' + '.join(modes)}", memory, 0):
        running = [
            subprocess.Popen(
                ["slowhttptest", *MODES[mode], "-c", str(count), "-r", str(count), "-i", "1", "-l", str(seconds), "-p", "5", "-v", "1",
                 "-u", f"{server.url}/v1/streams/big-1/events"],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=server.home,
            )
            for mode in modes
        ]  # fmt: skip
        for mode, process in zip(modes, running, strict=True):
            said, _ = process.communicate(timeout=120 + seconds)
            assert process.returncode in (0, 1), f"{mode}: {process.returncode}\n{said[-2000:]}"
    all_gone(server)

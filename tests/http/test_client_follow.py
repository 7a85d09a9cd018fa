"""Following with the C client library: each event once and in order, whatever happens to the connection or the server.
client_follow.c is compiled and run with the real server."""
import contextlib
import random
import subprocess
import threading
import time

import pytest

from support import ROOT, SLOW, event, events_path, wait_for
from support_cli import Proxy, Stalling, check, compile_client

@pytest.fixture(scope="module")
def program(tmp_path_factory):
    home = tmp_path_factory.mktemp("follow")
    return compile_client(home, "client_follow", (ROOT / "tests" / "http" / "client_follow.c").read_text())


class Follower:
    """The program, running; its lines as they come."""

    def __init__(self, program, url, stream, count, *more):
        self.process = subprocess.Popen([program, url, stream, str(count), *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        text=True)
        self.lines = []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def wait_line(self, wanted, seconds=30):
        wait_for(lambda: any(line.startswith(wanted) for line in list(self.lines)), seconds, f"{wanted!r}, had {self.lines[-5:]}")

    def end(self, status=0, seconds=60):
        self.reader.join(seconds * SLOW)
        assert not self.reader.is_alive(), f"it still runs; the last lines: {self.lines[-5:]}"
        errors = self.process.stderr.read().encode()
        check(subprocess.CompletedProcess((), self.process.wait(10 * SLOW), b"", errors), status)
        return self.lines

    def events(self):
        return [line for line in self.lines if line.split(" ")[0].isdigit()]


def lines_of(server, stream=None, **query):
    """What the program prints for the events that there are."""
    path = "/v1/events" if stream is None else events_path(stream)
    key = "position" if stream is None else "revision"
    return [f"{e[key]} {e['stream']}@{e['revision']} {e['type']} {e['data']}" for e in server.read_all(path, **query)]


def fill(server, first, count, streams=("a-1", "a-2", "b-1")):
    for i in range(first, first + count, 20):
        appends = {}
        for n in range(i, min(i + 20, first + count)):
            appends.setdefault(streams[n % len(streams)], []).append(event("Even" if n % 2 == 0 else "Odd", n))
        assert server.append_many([(stream, None, events) for stream, events in appends.items()]).status == 201


class Appender(threading.Thread):
    """Appends until it is told to stop, over restarts of the server; the same event again where the answer was lost."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server, self.stopping, self.appended, self.error = server, threading.Event(), 0, None

    def run(self):
        try:
            while not self.stopping.is_set():
                one = event("Live", self.appended, id=f"00000000-0000-4000-8000-{self.appended:012d}")
                with contextlib.suppress(OSError, Exception):
                    if self.server.append(f"live-{self.appended % 3}", one).status in (200, 201):
                        self.appended += 1
        except BaseException as error:  # pylint: disable=broad-except
            self.error = error


# ---- history and live -----------------------------------------------------------------------------

WHAT = [
    ("everything", "", [], {}),
    ("a stream", "a-1", [], {}),
    ("a type", "", ["type=Even"], {"type": "Even"}),
    ("a type of a stream", "a-2", ["type=Odd"], {"type": "Odd"}),
    ("a category", "", ["category=a"], {"category": "a"}),
]


@pytest.mark.parametrize("_, stream, args, query", WHAT, ids=[w[0] for w in WHAT])
def test_history_then_live(program, fresh, _, stream, args, query):
    """What there was, caught_up, then what is appended, each event once and in order."""
    fill(fresh, 0, 1000)
    before = lines_of(fresh, stream or None, **query)
    with Follower(program, fresh.url, stream, 0, *args) as follower:
        follower.wait_line("caught_up")
        fill(fresh, 1000, 500)
        expected = lines_of(fresh, stream or None, **query)
        wait_for(lambda: len(follower.events()) >= len(expected), 30, "the live events")
        assert follower.events() == expected
        assert follower.lines[:len(before)] == before and follower.lines[len(before)].startswith("caught_up")
        assert sum(line.startswith("caught_up") for line in follower.lines) == 1


def test_from_the_end_and_after(program, fresh):
    """from_end gives nothing that was there, `after` only what is behind it; `limit` ends it."""
    fill(fresh, 0, 100)
    with Follower(program, fresh.url, "", 3, "end") as at_end, Follower(program, fresh.url, "", 0, "after=90", "limit=15") as after:
        at_end.wait_line("caught_up 100")
        after.wait_line("caught_up 100")
        fill(fresh, 100, 20)
        everything = lines_of(fresh)
        at_end.end()
        assert at_end.events() == everything[100:103]
        after.end()
        assert after.events() == everything[90:105] and after.lines[-1] == "end"


def test_heartbeats_move_on(program, launch):
    """Where a filter lets nothing through, heartbeats say how far it is; a new connection begins there."""
    server = launch("--heartbeat-s", 1)
    fill(server, 0, 50)
    with Proxy(server.port) as proxy, Follower(program, proxy.url, "", 1, "type=Rare", "heartbeat=1000") as follower:
        follower.wait_line("caught_up 50")
        fill(server, 50, 50)
        follower.wait_line("heartbeat 100")
        proxy.cut_all()
        follower.wait_line("waiting")
        wait_for(lambda: sum(line.startswith("caught_up") for line in follower.lines) == 2, 30, "the new connection")
        assert b"after=100" in proxy.requests[-1], proxy.requests[-1]
        server.append_ok("r", event("Rare", 7))
        follower.end()
        assert follower.events() == ["101 r@1 Rare 7"]


# ---- connections that are lost --------------------------------------------------------------------


@pytest.mark.timeout_s(120)
def test_lost_connections(program, fresh, seed):
    """Connections are cut anywhere, again and again: before the request, in the header, in an event."""
    rng = random.Random(seed)
    fill(fresh, 0, 2000)
    cuts = [rng.choice([-1, 0, rng.randrange(400), rng.randrange(3000), rng.randrange(60000)]) for _ in range(25)]
    with Proxy(fresh.port, cuts) as proxy, Follower(program, proxy.url, "", 2500) as follower:
        wait_for(lambda: len(follower.events()) > 1000 or not proxy.cuts, 60, "half of it")
        fill(fresh, 2000, 500)
        follower.end()
        assert follower.events() == lines_of(fresh)


def test_a_silent_connection(program, fresh):
    """A connection on which nothing comes any more is taken for lost after three heartbeats, and made anew."""
    fill(fresh, 0, 300)
    with Stalling(fresh.port, 9000) as proxy, Follower(program, proxy.url, "", 300, "heartbeat=100") as follower:
        follower.end()
        assert follower.events() == lines_of(fresh)
        assert "waiting" in follower.lines and proxy.connections > 1


def test_a_slower_heartbeat(program, launch):
    """A server whose heartbeats are further apart than was said is not given up again and again."""
    server = launch("--heartbeat-s", 2)
    fill(server, 0, 10)
    with Follower(program, server.url, "", 0, "heartbeat=300") as follower:
        follower.wait_line("heartbeat 10")
        waits = follower.lines.count("waiting")
        wait_for(lambda: follower.lines.count("heartbeat 10") == 3, 30, "more heartbeats")
        assert 1 <= waits <= 3 and follower.lines.count("waiting") == waits, follower.lines


@pytest.mark.timeout_s(180)
def test_restarts_in_the_middle(program, launch, seed):
    """The server is stopped, or killed, and started again while events are appended: the follower sees the log as it is."""
    rng = random.Random(seed)
    server = launch()
    server.restart(flags=[*server.flags, "--listen", f"127.0.0.1:{server.port}"])
    fill(server, 0, 500)
    server.append_ok("live-1", event("First", 0))
    appender = Appender(server)
    with Follower(program, server.url, "", 0) as everything, Follower(program, server.url, "live-1", 0) as stream:
        everything.wait_line("caught_up")
        stream.wait_line("caught_up")  # the first connection has a short patience
        appender.start()
        for _ in range(6):
            had = len(everything.events())
            wait_for(lambda: len(everything.events()) > had + rng.randrange(50), 30, "events to come")  # pylint: disable=cell-var-from-loop
            server.restart(kill=rng.random() < 0.5)
        appender.stopping.set()
        appender.join(30 * SLOW)
        assert appender.error is None
        expected, of_stream = lines_of(server), lines_of(server, "live-1")
        wait_for(lambda: len(everything.events()) >= len(expected), 30, "the last event")
        wait_for(lambda: len(stream.events()) >= len(of_stream), 30, "the stream's last event")
        assert everything.events() == expected and stream.events() == of_stream
        assert len(of_stream) > 10 and "waiting" in everything.lines


def test_retry_has_its_limit(program, launch):
    """Where a limit is given, a server that stays away is an error in the end."""
    server = launch()
    fill(server, 0, 10)
    with Follower(program, server.url, "", 0, "retry=300") as follower:
        follower.wait_line("caught_up")
        server.stop()
        begun = time.monotonic()
        lines = follower.end(1)
        assert lines[-1].startswith("the server cannot be reached: ") and time.monotonic() - begun < 10 * SLOW


# ---- how it ends ----------------------------------------------------------------------------------


def test_interrupt(program, fresh):
    """Another thread ends a follower that waits for events."""
    fill(fresh, 0, 10)
    with Follower(program, fresh.url, "", 0, "stop") as follower:
        assert follower.end(1)[-1] == "the call was interrupted: "


@pytest.mark.parametrize("query", ["", "?tombstone=true"], ids=["deleted", "tombstoned"])
def test_a_deleted_stream(program, fresh, query):
    """A follower of a stream that is deleted gets what there was and is told so."""
    fill(fresh, 0, 30)
    expected = lines_of(fresh, "a-1")
    with Follower(program, fresh.url, "a-1", 0) as follower:
        follower.wait_line("caught_up")
        assert fresh.request("DELETE", "/v1/streams/a-1" + query).status == 200
        assert follower.end(1)[-1].startswith("the stream was deleted: ")
        assert follower.events() == expected


def test_errors(program, fresh):
    """What is asked for wrongly, or of nobody, is an error and not tried for ever."""
    with Follower(program, fresh.url, "", 0, "category=" + "x" * 256) as follower:
        assert follower.end(1)[-1].startswith("a ")
    with Follower(program, "http://127.0.0.1:1", "", 0) as follower:
        assert follower.end(1)[-1].startswith("the server cannot be reached: ")

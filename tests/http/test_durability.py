"""What was acknowledged stays, whatever happens to the process; what is not the server's to open is refused."""
import glob
import os
import random
import subprocess
import threading
import time
import uuid

import pytest

import support
from support import SLOW, event, events_path, wait_for


class Writer(threading.Thread):
    """A client that appends one event after the other, remembers every answer, and never gives up an event that was
    not answered: it is what a careful application does."""

    def __init__(self, server, number, many):
        super().__init__(daemon=True)
        self.server, self.number, self.many = server, number, many
        self.acknowledged = []  # (position, stream, revision, id)
        self.pending = None  # sent, not answered
        self.stop = threading.Event()
        self.statuses = set()
        self.random = random.Random(number)

    def run(self):
        connection = self.server.connect(timeout=10)
        try:
            while not self.stop.is_set():
                self.send(connection)
        except (OSError, support.http.client.HTTPException):
            pass  # the server is gone; what is pending is sent again by `retry`
        finally:
            connection.close()

    def make(self):
        streams = [f"s-{self.random.randrange(20)}" for _ in range(self.random.randint(1, 3) if self.many else 1)]
        return [(s, "any", [event(data={"pad": "x" * self.random.randrange(300)}) for _ in range(self.random.randint(1, 3))])
                for s in streams]  # fmt: skip

    def send(self, connection):
        self.pending = self.pending or self.make()
        body = support.ENCODINGS["json"].append_many(self.pending)
        connection.request("POST", "/v1/events", body, {"Content-Type": support.JSON})
        answer = connection.getresponse()
        response = support.Response(answer.status, answer.headers, answer.read())
        self.statuses.add(response.status)
        if response.status == 503:
            assert response.code in ("shutting-down", "overloaded") and response.headers["Retry-After"]
            self.stop.set()
            return
        assert response.status in (200, 201), response
        for (stream, _, events), result in zip(self.pending, response.json["results"], strict=True):
            assert result["stream"] == stream
            for k, one in enumerate(events):
                self.acknowledged.append((result["first_position"] + k, stream, result["first_revision"] + k, one["id"]))
        self.pending = None

    def retry(self):
        if self.pending:
            connection = self.server.connect()
            self.send(connection)
            connection.close()


def start_writers(server, count=8):
    writers = [Writer(server, n, many=n % 2 == 0) for n in range(count)]
    for writer in writers:
        writer.start()
    return writers


def join(writers):
    for writer in writers:
        writer.stop.set()
    for writer in writers:
        writer.join()


def check_log(server, acknowledged):
    """The log has no gaps and no doubles, and every acknowledged event at the place that was promised."""
    log = server.read_all()
    assert [e["position"] for e in log] == list(range(1, len(log) + 1))
    places = {(e["position"], e["stream"], e["revision"], e["id"]) for e in log}
    lost = [a for a in acknowledged if a not in places]
    assert not lost, f"{len(lost)} acknowledged events are lost, the first is {lost[0]}"
    assert len({(e["stream"], e["id"]) for e in log}) == len(log), "an event is there twice"
    revisions = {}
    for one in log:
        revisions.setdefault(one["stream"], []).append(one["revision"])
    assert all(r == list(range(1, len(r) + 1)) for r in revisions.values())
    return log


@pytest.mark.timeout_s(90)
def test_acknowledged_appends_survive_kill_9(fresh, seed):
    """Eight rounds of kill -9 at random moments: what was answered is there, once, where it was said to be; what was not
    answered is retried with the same ids and is there once."""
    random_ = random.Random(seed)
    acknowledged = []
    for _ in range(8):
        writers = start_writers(fresh)
        wait_for(lambda: sum(len(w.acknowledged) for w in writers) > random_.randint(1, 800), what="some answers")
        fresh.kill9()
        join(writers)
        fresh.start()
        before = fresh.status()["position"]
        for writer in writers:
            acknowledged += writer.acknowledged
        assert before >= max(a[0] for a in acknowledged)
        check_log(fresh, acknowledged)
        for writer in writers:
            writer.acknowledged = []
            writer.retry()
            acknowledged += writer.acknowledged
    log = check_log(fresh, acknowledged)
    assert len(log) == len(set(acknowledged))
    assert fresh.post("/v1/admin/verify").json["ok"]


@pytest.mark.timeout_s(60)
def test_sigterm_drains(fresh):
    """SIGTERM under load: every request gets its answer or a 503 with Retry-After or a closed connection; the exit is clean
    and in time, and everything that was acknowledged is there afterwards."""
    writers = start_writers(fresh, 16)
    idle = fresh.connect()
    idle.request("GET", "/healthz")
    idle.getresponse().read()
    half = fresh.raw()
    half.send(b"POST /v1/events HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{")
    wait_for(lambda: sum(len(w.acknowledged) for w in writers) > 500, what="some answers")
    fresh.stop()
    join(writers)
    for writer in writers:
        assert writer.statuses <= {200, 201, 503}
    acknowledged = [a for w in writers for a in w.acknowledged]
    idle.close()
    half.socket.close()
    fresh.start()
    log = check_log(fresh, acknowledged)
    assert len(log) - len(acknowledged) <= 16 * 9  # at most each writer's last request was committed unanswered


def test_a_stopped_server_has_nothing_left_to_replay(fresh):
    """A clean stop applies the tail: the next start is ready with everything in place."""
    for n in range(50):
        fresh.append_ok(f"s-{n}", [event() for _ in range(20)])
    fresh.restart()
    status = fresh.status()
    assert status["position"] == status["applied_position"] == 1000
    assert status["streams"] == 50


def test_a_data_directory_in_use_is_refused(fresh):
    """A second server on the same directory ends at once with a message that says why, and harms the first in nothing."""
    fresh.append_ok("s", event())
    second = subprocess.run(fresh.command(), capture_output=True, text=True, timeout=20 * SLOW, cwd=fresh.home, env=fresh.env)
    assert second.returncode not in (0, -6, -11)
    message = second.stdout + second.stderr
    assert "in use" in message and fresh.data in message, message
    fresh.append_ok("s", event())


def test_a_killed_server_leaves_no_lock(fresh):
    """kill -9 and a start at once work: nothing has to be removed by hand."""
    for _ in range(5):
        fresh.append_ok("s", event())
        fresh.restart(kill=True)
    assert fresh.position() == 5


def test_a_restart_keeps_the_store_id(fresh):
    """The store's id is made once; another store has another one."""
    first = fresh.status()["store_id"]
    assert uuid.UUID(first)
    fresh.restart()
    assert fresh.status()["store_id"] == first
    fresh.restart(kill=True)
    assert fresh.status()["store_id"] == first


def test_positions_go_on_after_restarts(fresh):
    """Numbering continues where it was, over every kind of restart, with and without writes between."""
    for n in range(6):
        result = fresh.append_ok("s", event(), n)
        assert (result["first_position"], result["first_revision"]) == (n + 1, n + 1)
        fresh.restart(kill=n % 2 == 0)
        fresh.restart(kill=n % 3 == 0)


def test_another_format_is_refused(fresh):
    """A data directory of another format version is refused with a message that says so, and is left as it was."""
    fresh.append_ok("s", event())
    fresh.kill9()
    change_format_version(fresh.data)
    before = picture(fresh.data)
    second = subprocess.run(fresh.command(), capture_output=True, text=True, timeout=20 * SLOW, cwd=fresh.home, env=fresh.env)
    assert second.returncode not in (0, -6, -11)
    message = second.stdout + second.stderr
    assert "format" in message, message
    assert picture(fresh.data) == before


def change_format_version(data):
    """Raises the version in the header of every journal segment: a number behind the 8 bytes of magic (FORMAT.md)."""
    segments = glob.glob(data + "/journal/*.seg")
    assert segments
    for segment in segments:
        with open(segment, "r+b") as file:
            file.seek(8)
            version = int.from_bytes(file.read(4), "little")
            assert 0 < version < 100, "storage/FORMAT.md has changed: tell this test where the version is"
            file.seek(8)
            file.write((version + 1).to_bytes(4, "little"))


def picture(data):
    """Every file of a data directory, by content; lock files aside."""
    files = sorted(f for f in glob.glob(data + "/**", recursive=True) if os.path.isfile(f) and "lock" not in os.path.basename(f))
    return {f: open(f, "rb").read() for f in files}


def test_the_process_ends_in_time_with_nothing_to_do(launch):
    """An idle server ends within a second of SIGTERM. What else the machine does can hold up one of them, not each of ten."""
    limit = 1 * SLOW * (3 if support.SANITIZER else 1)
    took = []
    while not took or (min(took) >= limit and len(took) < 10):
        server = launch()
        start = time.monotonic()
        server.stop()
        took.append(time.monotonic() - start)
    assert min(took) < limit, took


def test_sigint_is_sigterm(launch):
    """Ctrl-C ends the server as cleanly."""
    server = launch()
    server.append_ok("s", event())
    server.process.send_signal(support.signal.SIGINT)
    server.wait_exit()
    server.start()
    assert len(server.read_all(events_path("s"))) == 1

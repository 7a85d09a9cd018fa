"""Ten thousand long polls, a thousand followers: woken in time, nothing leaked, gone at SIGTERM."""
import os
import random
import resource
import select
import signal
import socket
import time

import pytest

from support import SANITIZER, event, events_path, patience, wait_for

HARD_LIMIT = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
POLLS = min(300 if SANITIZER else 10_000, HARD_LIMIT - 700)
FOLLOWERS = 100 if SANITIZER else 1000
ROUNDS = 10
WOKEN_A_ROUND = POLLS // 50
GONE_A_ROUND = POLLS // 100
WAKE_S = 1.0
EXIT_S = 5.0


@pytest.fixture
def many_descriptors():
    """As many as may be; servers started meanwhile have them too."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (HARD_LIMIT, HARD_LIMIT))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture
def crowd_of():
    """Makes crowds, whose sockets are closed whatever becomes of the test: others need descriptors too."""
    made = []

    def make(server):
        made.append(Crowd(server))
        return made[-1]

    yield make
    for crowd in made:
        for number in list(crowd.polls):
            crowd.remove(number)
        crowd.epoll.close()


class Poll:
    """One connection with one poll on it, over and over."""

    def __init__(self, crowd, number, stream):
        self.crowd, self.number, self.stream, self.after = crowd, number, stream, 0
        self.socket = socket.create_connection(("127.0.0.1", crowd.server.port))
        self.socket.setblocking(False)
        self.buffer, self.answers, self.answered_at = b"", 0, 0.0

    def ask(self):
        path = events_path(self.stream) if self.stream else "/v1/events"
        after = self.after or "end"
        request = f"GET {path}?after={after}&wait=60s&limit=100 HTTP/1.1\r\nHost: test\r\nAccept: application/json\r\n\r\n"
        assert self.socket.send(request.encode()) == len(request)

    def receive(self):
        """Takes what has come; asks again where that is a whole answer. False when the server has closed."""
        try:
            data = self.socket.recv(1 << 20)
        except ConnectionResetError:
            data = b""
        self.buffer += data
        header, mark, body = self.buffer.partition(b"\r\n\r\n")
        size = int(header.lower().split(b"content-length: ")[1].split(b"\r\n")[0]) if mark else 0
        if mark and len(body) >= size:
            assert header.startswith(b"HTTP/1.1 200"), self.buffer
            assert len(body) == size
            self.after, self.buffer = int(body.rsplit(b'"next":', 1)[1].split(b",")[0]), b""
            if b'"events":[]' not in body:  # else its minute is over, or the server stops
                self.answers, self.answered_at = self.answers + 1, time.monotonic()
            if self.crowd.asks_again:
                self.ask()
        return bool(data)


class Crowd:
    """Every fiftieth poll is of the whole log, the others are of a stream each."""

    def __init__(self, server):
        self.server, self.epoll, self.polls, self.by_fd, self.asks_again = server, select.epoll(), {}, {}, True
        self.closed_by_server = 0

    def add(self, number):
        poll = Poll(self, number, None if number % 50 == 0 else f"s-{number}")
        self.polls[number] = self.by_fd[poll.socket.fileno()] = poll
        self.epoll.register(poll.socket, select.EPOLLIN)
        poll.ask()

    def remove(self, number):
        poll = self.polls.pop(number)
        del self.by_fd[poll.socket.fileno()]
        self.epoll.unregister(poll.socket)
        poll.socket.close()

    def turn(self, seconds):
        """Handles what has come, waiting up to so long for the first of it."""
        for fd, _ in self.epoll.poll(seconds, maxevents=4096):
            poll = self.by_fd[fd]
            if not poll.receive():
                self.closed_by_server += 1
                self.remove(poll.number)

    def run_until(self, condition, seconds, what):
        deadline = time.monotonic() + seconds * patience()
        while not condition():
            assert time.monotonic() < deadline, f"{what} took too long"
            self.turn(0.02)

    def fill(self):
        for number in range(POLLS):
            self.add(number)
            if number % 200 == 0:
                self.turn(0)
        self.run_until(lambda: self.server.status()["followers"] == POLLS, 30, "opening the polls")

    def empty(self):
        for number in list(self.polls):
            self.remove(number)
        wait_for(lambda: self.server.status()["connections"] == 1, 20, "the polls to go")


def descriptors(server):
    return len(os.listdir(f"/proc/{server.pid}/fd"))


def make_streams(server):
    for start in range(0, POLLS, 1000):
        names = [f"s-{n}" for n in range(start, min(start + 1000, POLLS))]
        assert server.append_many([(name, None, [event()]) for name in names]).status == 201


def wake_all(crowd):
    """Appends to every stream, until every poll has been answered and asks again with nothing left to tell."""
    before = {p: p.answers for p in crowd.polls.values()}
    make_streams(crowd.server)
    head = crowd.server.status()["position"]
    crowd.run_until(lambda: all(p.answers > n and (p.stream or p.after >= head) for p, n in before.items()), 30, "waking all")
    crowd.run_until(lambda: crowd.server.status()["followers"] == POLLS, 10, "asking again")


def wake_some(crowd, random_):
    """Appends to some streams in one request: their polls and those of the log come back in time."""
    numbers = random_.sample([n for n in range(POLLS) if n % 50 != 0], WOKEN_A_ROUND)
    waiting = [crowd.polls[n] for n in numbers] + [p for p in crowd.polls.values() if p.stream is None]
    before = {p: p.answers for p in waiting}
    appended_at = time.monotonic()
    assert crowd.server.append_many([(f"s-{n}", None, [event()]) for n in numbers]).status == 201
    crowd.run_until(lambda: all(p.answers > before[p] for p in waiting), WAKE_S, "waking")
    latest = max(p.answered_at for p in waiting) - appended_at
    assert latest < WAKE_S * patience(), f"a wake-up took {latest:.2f} s"
    others = [p for p in crowd.polls.values() if p not in before and p.answered_at > appended_at]
    assert not others, "a poll came back that nothing was appended for"


def leave_some(crowd, random_):
    """Some go away without a word, others come in their place."""
    numbers = random_.sample(sorted(crowd.polls), GONE_A_ROUND)
    for number in numbers:
        crowd.remove(number)
    for number in numbers:
        crowd.add(number)
    crowd.run_until(lambda: crowd.server.status()["followers"] == POLLS, 10, "coming and going")


@pytest.mark.timeout_s(150)
def test_wait_crowd(launch, many_descriptors, crowd_of, seed):
    """10,000 long polls (fewer where descriptors are few, or under a sanitizer), with appends and random disconnects, then
    SIGTERM: no wake-up later than 1 s, no leak of memory or descriptors, exit under 5 s."""
    random_ = random.Random(seed)
    server = launch("--connections-max", POLLS + 100)
    make_streams(server)
    idle_descriptors = descriptors(server)
    crowd = crowd_of(server)
    crowd.fill()
    wake_all(crowd)  # a connection takes what it needs for good with its first answer
    full_bytes = server.rss_bytes()
    assert descriptors(server) == idle_descriptors + POLLS
    crowd.empty()
    assert descriptors(server) == idle_descriptors
    crowd.fill()
    for _ in range(ROUNDS):
        wake_some(crowd, random_)
        leave_some(crowd, random_)
    wake_all(crowd)
    assert descriptors(server) == idle_descriptors + POLLS
    if not SANITIZER:
        grown = server.rss_bytes() - full_bytes
        assert grown < 16 << 20, f"{grown} bytes more than {full_bytes}, with the same number of polls"
    crowd.asks_again = False
    server.disconnect()
    started = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    crowd.run_until(lambda: not crowd.polls, EXIT_S, "ending the polls")
    server.wait_exit()
    assert time.monotonic() - started < EXIT_S * patience()


def count_events(body):
    return body.count(b'"position":')


@pytest.mark.timeout_s(120)
def test_follow_crowd(launch, many_descriptors):
    """1,000 followers of the whole log: each gets each event, one encoding serves them all, and SIGTERM ends them whole."""
    server = launch("--heartbeat-s", 600)
    server.append_ok("s-1", [event()])
    lives, epoll = {}, select.epoll()
    request = b"GET /v1/events?after=end HTTP/1.1\r\nHost: test\r\nAccept: text/event-stream\r\n\r\n"
    for _ in range(FOLLOWERS):
        live = socket.create_connection(("127.0.0.1", server.port))
        live.sendall(request)
        live.setblocking(False)
        lives[live.fileno()] = [live, b""]
        epoll.register(live, select.EPOLLIN)
    ended = set()

    def turn():
        for fd, _ in epoll.poll(0.05):
            data = lives[fd][0].recv(1 << 20)
            lives[fd][1] += data
            if not data:
                ended.add(fd)
                epoll.unregister(fd)

    def run_until(condition, seconds):
        deadline = time.monotonic() + seconds * patience()
        while not condition():
            assert time.monotonic() < deadline, "it took too long"
            turn()

    run_until(lambda: all(b"caught_up" in body for _, body in lives.values()), 20)
    before = server.rss_bytes()
    for i in range(200):
        server.append_ok(f"s-{i % 10}", [event(data={"n": i}) for _ in range(5)])
        turn()
    run_until(lambda: all(count_events(body) == 1001 for _, body in lives.values()), 20)
    bodies = {body.split(b"caught_up")[1].split(b"\r\n", 2)[2] for _, body in lives.values()}
    positions = {tuple(line for line in body.split(b"\n") if line.startswith(b"id: ")) for body in bodies}
    assert positions == {tuple(b"id: %d" % n for n in range(2, 1002))}, "events are missing, twice, or in another order"
    if not SANITIZER:
        assert server.rss_bytes() - before < 64 << 20
    server.disconnect()
    server.process.send_signal(signal.SIGTERM)
    run_until(lambda: len(ended) == FOLLOWERS, EXIT_S)
    server.wait_exit()
    assert all(body.endswith(b"0\r\n\r\n") for _, body in lives.values()), "an answer was cut"
    for live, _ in lives.values():
        live.close()

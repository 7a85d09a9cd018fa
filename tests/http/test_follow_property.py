"""Live reads against the log: whatever happens, a follower's concatenated view is the log."""
import random
import threading
import time

import pytest

from support import NDJSON, SANITIZER, SLOW, event, events_path, wait_for
from support_follow import FORMATS, SSE, Cut, LiveRead
from test_read import without_time

SERVER_FLAGS = ["--apply-interval-ms", 50, "--idle-timeout-s", 30]

TYPES = ["A", "B", "C", "Rare"]
EVENTS = 1500 if SANITIZER else 4000
WRITERS = 3
STREAMS = 6


# ---- the followers --------------------------------------------------------------------------------


class Follower(threading.Thread):
    """Follows one query in formats chosen at random, at a random speed; disconnects at random and goes on where its view
    ends. `view` is all that it was given, over all its connections."""

    def __init__(self, server, path, query, random_):
        super().__init__(daemon=True)
        self.server, self.path, self.query, self.random = server, path, query, random_
        self.key = "position" if path == "/v1/events" else "revision"
        self.view, self.reached, self.connections, self.error = [], 0, 0, None
        self.wanted = None  # how many events there are for it, once that is known
        self.is_slow = random_.random() < 0.3

    def run(self):
        try:
            while not self.is_done():
                self.connect_once()
        except Exception as error:  # told by the test, with the seed
            self.error = error

    def is_done(self):
        return self.wanted is not None and len(self.view) >= self.wanted

    def connect_once(self):
        accept = self.random.choice(list(FORMATS.values()))
        by_header = accept == SSE and self.random.random() < 0.5
        headers = {"Last-Event-ID": str(self.reached)} if by_header and self.reached else {}
        after = {} if headers else {"after": self.reached}
        leave_after = len(self.view) + self.random.choice([1, 3, 10, 50, 1000])
        self.connections += 1
        window = 4096 if self.is_slow else None
        with LiveRead(self.server.port, self.path, accept, headers, receive_bytes=window, **after, **self.query) as live:
            assert live.start().status == 200
            while len(self.view) < leave_after and not self.is_done():
                for kind, one in live.ready(0.2):
                    self.take(live, kind, one)
                if self.is_slow and self.random.random() < 0.05:
                    time.sleep(0.02)  # being slow is what it does, nothing waits for this

    def take(self, live, kind, one):
        if kind == "event":
            self.view.append(one)
            self.reached = one[self.key]
            return
        # What a control says is reached, it goes on after, as a client with a sparse filter would.
        assert one["position"] is not None
        reached = one.get(self.key, self.reached)
        assert reached >= self.reached, f"{kind} went back from {self.reached} to {reached}"
        self.reached = reached


QUERIES = [
    {},
    {"type": "Rare"},
    {"type": ["A", "Rare"]},
    {"category": "order"},
    {"prefix": ["order-1", "cart"]},
    {"tag": "t1"},
    {"category": "cart", "type": "B", "tag": ["t0", "t2"]},
]


def stream_name(number):
    return f"{('order', 'cart')[number % 2]}-{number}"


def write(server, random_, count):
    """One writer: appends `count` events, a few at a time, to streams at random."""
    while count > 0:
        n = min(count, random_.choice([1, 1, 2, 5, 40]))
        batch = [
            event(random_.choice(TYPES), {"n": i, "pad": "x" * random_.choice([0, 10, 3000])}, tags=[f"t{random_.randrange(4)}"])
            for i in range(n)
        ]
        response = server.append(stream_name(random_.randrange(STREAMS)), batch)
        assert response.status == 201, response
        count -= n


def wanted(log, path, query):
    """What a follower's view must be, from the whole log."""

    def values(name):
        value = query.get(name, [])
        return value if isinstance(value, list) else [value]

    def matches(one):
        return (
            (path == "/v1/events" or events_path(one["stream"]) == path)
            and (not values("type") or one["type"] in values("type"))
            and (not values("category") or one["stream"].split("-")[0] in values("category"))
            and (not values("prefix") or one["stream"].startswith(tuple(values("prefix"))))
            and (not values("tag") or set(values("tag")) & set(one["tags"]))
        )

    return [one for one in log if matches(one)]


def explain(found, expected, key):
    if found == expected:
        return None
    places = [e[key] for e in found]
    missing = sorted({e[key] for e in expected} - set(places))
    extra = sorted(set(places) - {e[key] for e in expected})
    if not missing and not extra and len(places) == len(expected):
        return "another order, or other content"
    return f"{len(missing)} missing {missing[:5]}, {len(extra)} too many {extra[:5]}, {len(places) - len(set(places))} twice"


@pytest.mark.timeout_s(150)
@pytest.mark.parametrize("heartbeat_s", [1, 3600])
def test_follow_views_equal_the_log(launch, seed, heartbeat_s):
    """Random appends; fast and slow followers of the log and of streams, filtered or not, in all formats, that disconnect and
    resume at random: each one's concatenated view equals the log exactly: no gap, no duplicate, in order. Without heartbeats
    too, since they come after a read and would hide a follower that was not woken."""
    server, random_ = launch("--heartbeat-s", heartbeat_s, *SERVER_FLAGS), random.Random(seed)
    for number in range(STREAMS):
        write_one = event("A", {"n": -1}, tags=["t0"])
        server.append_ok(stream_name(number), [write_one])
    followers = []
    for query in QUERIES:
        followers += [Follower(server, "/v1/events", query, random.Random(random_.random())) for _ in range(3)]
    for number in range(STREAMS):
        for query in ({}, {"type": ["A", "B"]}):
            path = events_path(stream_name(number))
            followers.append(Follower(server, path, query, random.Random(random_.random())))
    writers = [
        threading.Thread(target=write, args=(server, random.Random(random_.random()), EVENTS // WRITERS), daemon=True)
        for _ in range(WRITERS)
    ]
    for thread in followers + writers:
        thread.start()
    for thread in writers:
        thread.join()
    log = without_time(server.read_all("/v1/events", NDJSON))
    for follower in followers:
        follower.wanted = len(wanted(log, follower.path, follower.query))
    deadline = time.monotonic() + 90 * SLOW
    for follower in followers:
        follower.join(max(0, deadline - time.monotonic()))
        assert not follower.is_alive(), f"{follower.path} {follower.query} has {len(follower.view)} of {follower.wanted}"
    for follower in followers:
        if follower.error:
            raise follower.error
        wrong = explain(follower.view, wanted(log, follower.path, follower.query), follower.key)
        assert wrong is None, f"{follower.path} {follower.query} over {follower.connections} connections: {wrong}"
    assert sum(f.connections for f in followers) > len(followers) * 2


@pytest.mark.timeout_s(90)
def test_follow_through_restarts(launch, seed):
    """A follower that connects again whenever the server goes, by SIGTERM or kill -9, has the whole log in the end."""
    server, random_ = launch("--heartbeat-s", 1, *SERVER_FLAGS), random.Random(seed)
    views = {accept: [] for accept in FORMATS.values()}
    reached = dict.fromkeys(views, 0)
    for round in range(6):
        lives = {a: LiveRead(server.port, "/v1/events", a, after=reached[a]) for a in views}
        for live in lives.values():
            live.start()
        write(server, random_, 60)
        kill = random_.random() < 0.5
        if kill:
            server.kill9()
        else:
            server.stop()
        for accept, live in lives.items():
            try:
                items = live.rest()
            except Cut:
                assert kill, "SIGTERM ends a live read whole"
                items = live.got
            views[accept] += [one for kind, one in items if kind == "event"]
            reached[accept] = views[accept][-1]["position"] if views[accept] else 0
            live.close()
        server.start()
    log = without_time(server.read_all("/v1/events", NDJSON))
    for accept, view in views.items():
        with LiveRead(server.port, "/v1/events", accept, after=reached[accept]) as live:
            wrong = explain(view + live.caught_up()[0], log, "position")
        assert wrong is None, f"{accept}: {wrong}"


@pytest.mark.timeout_s(60)
def test_follow_catches_up_beside_others(fresh):
    """One that has far to go does not hold up one that has caught up, and both get all."""
    pad = "x" * 1000
    for _ in range(20 if not SANITIZER else 5):
        fresh.append_ok("s-1", [event(data={"pad": pad}) for _ in range(1000)])
    total = fresh.position()
    with LiveRead(fresh.port, "/v1/events", after="end") as fast:
        fast.caught_up()
        behind = [LiveRead(fresh.port, "/v1/events", accept) for accept in FORMATS.values()]
        threads = [threading.Thread(target=live.caught_up, daemon=True) for live in behind]
        for thread in threads:
            thread.start()
        for i in range(20):
            fresh.append_ok("s-2", [event(data={"n": i})])
            assert fast.event(5)["position"] == total + i + 1
        for thread in threads:
            thread.join(30 * SLOW)
            assert not thread.is_alive()
        for live in behind:
            live.close()

"""What the crash and fault harnesses share: clients that keep a ledger of what they were promised, and the checks of a log
against all ledgers.

Every event names its request (`r`: writer and number, `k` of `of`) and what the request was guarded by (`x`: expected
revision, `after`: consistency boundary), so that the log alone shows whether requests are whole and their guards were kept.
"""
import collections
import http.client
import json
import random
import threading

import support
from support import JSON, NDJSON, PROTOBUF, condition, event, events_path, quote

KINDS = ("single", "batch", "many", "expecting", "boundary")
STREAMS = 24
CONTESTED = 6  # streams, and tags, over which guarded writers race
PAD_MAX = 250  # bytes of most events' padding
TYPES = ("Opened", "Paid", "Moved", "Closed")

Promise = collections.namedtuple("Promise", "position stream revision id request")


class Ledger:
    """Of all writers and readers of one store, over all its lives."""

    def __init__(self):
        self.promises = []  # acknowledged
        self.refused = set()  # requests that were answered with a conflict: never in the log
        self.seen = {}  # position -> id: what a reader was shown
        self.counts = collections.Counter()


class Writer(threading.Thread):
    """Sends one request after the other until the server is gone or `stop` is set. What was sent and not answered stays in
    `pending`, to be sent again with the same ids."""

    def __init__(self, server, ledger, number, life, seed):
        super().__init__(daemon=True)
        self.server, self.ledger = server, ledger
        self.kind = KINDS[number % len(KINDS)]
        self.name = f"{life}.{number}"
        self.random = random.Random(f"{seed}.{self.name}")
        self.sent = 0
        self.pending = None
        self.stop = threading.Event()
        self.statuses = collections.Counter()
        self.error = None
        # What this writer believes; a conflict teaches it better.
        self.heads = collections.Counter()
        self.read_up_to = 0

    # making requests

    def _event(self, request, k, of, **more):
        size = 3000 if self.random.random() < 0.03 else self.random.randrange(PAD_MAX)
        data = {"r": request, "k": k, "of": of, "pad": "x" * size} | more
        tags = [f"t:{self.random.randrange(5)}"] + ([f"account:{more['account']}"] if "account" in more else [])
        return event(self.random.choice(TYPES), data, tags=tags)

    def make(self):
        """(body, [(stream, events)]) of a new request; its name is in every event."""
        self.sent += 1
        name, pick = f"{self.name}.{self.sent}", self.random.randrange
        checks, guard, more, expected = [], None, {}, "any"
        if self.kind == "many":
            streams = [f"s-{n}" for n in self.random.sample(range(STREAMS), pick(2, 5))]
            sizes = [pick(1, 4) for _ in streams]
            checks = [(f"never-{pick(9)}", "no_stream")] if pick(3) == 0 else []
        elif self.kind == "expecting":
            streams, sizes = [f"contested-{pick(CONTESTED)}"], [pick(1, 4)]
            expected = self.heads[streams[0]]
            more = {"x": expected}
        elif self.kind == "boundary":
            streams, sizes = [f"s-{pick(STREAMS)}"], [pick(1, 3)]
            more = {"account": pick(CONTESTED), "after": self.read_up_to}
            guard = condition({"tags": [f"account:{more['account']}"]}, after=self.read_up_to)
        else:
            streams, sizes = [f"s-{pick(STREAMS)}"], [1 if self.kind == "single" else pick(2, 40)]
        k, of, appends = 0, sum(sizes), []
        for stream, size in zip(streams, sizes, strict=True):
            appends.append((stream, expected, [self._event(name, k + n, of, **more) for n in range(size)]))
            k += size
        body = support.ENCODINGS["json"].append_many(appends, checks, guard)
        return name, body, [(stream, [e["id"] for e in events]) for stream, _, events in appends]

    # sending them

    def run(self):
        connection = self.server.connect(timeout=30)
        try:
            while not self.stop.is_set():
                self.send(connection)
        except (OSError, http.client.HTTPException):
            pass  # the server is gone
        except BaseException as error:  # shown by `join`
            self.error = error
        finally:
            connection.close()

    def send(self, connection):
        self.pending = self.pending or self.make()
        connection.request("POST", "/v1/events", self.pending[1], {"Content-Type": JSON})
        answer = connection.getresponse()
        return self.book(support.Response(answer.status, answer.headers, answer.read()))

    def retry(self):
        """Sends what was not answered once more; returns (request, response), or None where there is nothing."""
        if self.pending is None:
            return None
        name = self.pending[0]
        connection = self.server.connect()
        response = self.send(connection)
        connection.close()
        return name, response

    def book(self, response):
        """Puts an answer into the ledger. What was refused for the moment (503, 507) stays pending."""
        name, _, appends = self.pending
        self.statuses[response.status] += 1
        self.ledger.counts[response.status] += 1
        if response.status in (503, 507):
            self.stop.wait(0.02)
            return response
        if response.status == 409:
            self.learn(response)
            self.ledger.refused.add(name)
        else:
            assert response.status in (200, 201), response
            for (stream, ids), result in zip(appends, response.json["results"], strict=True):
                assert result["stream"] == stream
                assert result["last_revision"] - result["first_revision"] + 1 == len(ids)
                self.heads[stream] = result["last_revision"]
                self.read_up_to = max(self.read_up_to, result["last_position"])
                for k, id in enumerate(ids):
                    promise = Promise(result["first_position"] + k, stream, result["first_revision"] + k, id, name)
                    self.ledger.promises.append(promise)
        self.pending = None
        return response

    def learn(self, response):
        if self.kind == "expecting":
            assert response.code == "wrong-expected-revision", response
            for violation in response.json["violations"]:
                self.heads[violation["stream"]] = violation["actual"]
        else:
            assert self.kind == "boundary" and response.code == "condition-failed", response
            self.read_up_to = response.position


class Reader(threading.Thread):
    """Reads the log as it grows, page by page or as a follower (which ends with the server only), and remembers what it was shown."""

    def __init__(self, server, ledger, follows):
        super().__init__(daemon=True)
        self.server, self.ledger, self.follows = server, ledger, follows
        self.stop = threading.Event()
        self.error = None

    def run(self):
        connection = self.server.connect()
        try:
            self.follow(connection) if self.follows else self.poll(connection)
        except (OSError, http.client.HTTPException):
            pass  # the server is gone
        except BaseException as error:
            self.error = error
        finally:
            connection.close()

    def poll(self, connection):
        after = max(self.ledger.seen, default=0)
        while not self.stop.is_set():
            connection.request("GET", f"/v1/events?after={after}")
            for one in json.loads(connection.getresponse().read())["events"]:
                after += 1
                self.see(one, after)
            self.stop.wait(0.02)

    def follow(self, connection):
        after = max(self.ledger.seen, default=0)
        connection.request("GET", f"/v1/events?follow=true&after={after}", headers={"Accept": NDJSON})
        for line in connection.getresponse():
            if not line.endswith(b"\n"):
                return  # cut by the end of the server
            one = json.loads(line)
            if "control" not in one:
                after += 1
                self.see(one, after)
                self.ledger.counts["followed"] += 1

    def see(self, one, due):
        assert one["position"] == due, f"position {one['position']} was shown where {due} was due"
        self.ledger.seen[due] = one["id"]


def start(server, ledger, life, writers, seed, follows=False):
    """(writers, reader), started. A reader that follows has to be ended by ending the server."""
    threads = [Writer(server, ledger, n, life, seed) for n in range(writers)]
    reader = Reader(server, ledger, follows)
    for thread in [*threads, reader]:
        thread.start()
    return threads, reader


def join(writers, reader):
    for thread in [*writers, reader]:
        thread.stop.set()
    for thread in [*writers, reader]:
        thread.join()
        if thread.error is not None:
            raise thread.error


# ---- the log against the ledger -------------------------------------------------------------------


def check_log(log, ledger):
    """No gaps, no doubles, nothing lost, nothing half, every guard kept."""
    assert [e["position"] for e in log] == list(range(1, len(log) + 1)), "positions have gaps"
    assert len({(e["stream"], e["id"]) for e in log}) == len(log), "an event is there twice"
    assert all(a["time"] <= b["time"] for a, b in zip(log, log[1:], strict=False)), "time runs backward"
    for promise in ledger.promises:
        assert promise.position <= len(log), f"acknowledged and lost: {promise}"
        found = log[promise.position - 1]
        place = (found["stream"], found["revision"], found["id"], found["data"]["r"])
        assert place == promise[1:], f"acknowledged: {promise}, found: {found}"
    for position, id in ledger.seen.items():
        assert position <= len(log) and log[position - 1]["id"] == id, f"shown and lost: position {position}"
    heads = collections.Counter()
    for one in log:
        heads[one["stream"]] += 1
        assert one["revision"] == heads[one["stream"]], f"revisions have gaps: {one}"
    check_requests(log, ledger)
    return heads


def check_requests(log, ledger):
    """Each request is in the log once and whole, or not at all; what guarded it held when it was committed."""
    done, newest, at = set(), collections.Counter(), 0
    while at < len(log):
        first = log[at]
        name, of = first["data"]["r"], first["data"]["of"]
        events = log[at : at + of]
        assert [(e["data"]["r"], e["data"]["k"]) for e in events] == [(name, k) for k in range(of)], f"{name} is half there"
        assert name not in done, f"{name} is there twice"
        assert name not in ledger.refused, f"{name} was refused, and is there"
        done.add(name)
        if "x" in first["data"]:
            assert first["revision"] == first["data"]["x"] + 1, f"an expectation was not kept: {first}"
        if "account" in first["data"]:
            account = first["data"]["account"]
            assert newest[account] <= first["data"]["after"], f"a boundary was not kept: {first}"
            newest[account] = events[-1]["position"]
        at += of
    return done


# ---- every kind of read against the log -----------------------------------------------------------


def check_reads(server, log, heads, chosen):
    """Every kind of read tells the same. `chosen`: a random.Random that takes samples, or None for all streams."""
    brief = [(e["position"], e["id"]) for e in log]

    def same(query, wanted, path="/v1/events"):
        found = [(e["position"], e["id"]) for e in server.read_all(path, NDJSON, **query)]
        assert found == wanted, f"{path} {query}: {len(found)} events, {len(wanted)} in the log"

    same({"direction": "backward"}, brief[::-1])
    batch = server.get("/v1/events", PROTOBUF).message("EventBatch").events
    assert [e.position for e in batch] == [p for p, _ in brief]
    check_pages(server, brief)
    streams = list(heads) if chosen is None else chosen.sample(sorted(heads), min(4, len(heads)))
    for stream in streams:
        own = [(e["position"], e["id"]) for e in log if e["stream"] == stream]
        same({}, own, events_path(stream))
        same({"direction": "backward"}, own[::-1], events_path(stream))
    for type in TYPES:
        same({"type": type}, [(e["position"], e["id"]) for e in log if e["type"] == type])
    for tag in ("t:1", "account:1"):
        same({"tag": tag}, [(e["position"], e["id"]) for e in log if tag in e["tags"]])
    same({"category": "contested"}, [(e["position"], e["id"]) for e in log if e["stream"].startswith("contested-")])
    for one in (chosen or random).sample(log, min(5, len(log))):
        assert server.get(f"/v1/events/{one['position']}").json == one
        assert server.get(f"{events_path(one['stream'])}/{one['revision']}").json == one
    check_directory(server, log, heads)


def check_pages(server, brief):
    found, after = [], 0
    while True:
        page = server.get("/v1/events", query={"after": after, "limit": 1999}).json
        found += [(e["position"], e["id"]) for e in page["events"]]
        after = page["next"]
        if page["end"]:
            break
    assert found == brief, "pages differ from the log"


def check_directory(server, log, heads):
    listed = server.get("/v1/streams", query={"limit": 1000}).json["streams"]
    assert {s["stream"]: s["head_revision"] for s in listed} == dict(heads)
    assert server.status()["streams"] == len(heads)
    for stream in list(heads)[:2]:
        assert server.get(f"/v1/streams/{quote(stream)}").json["head_revision"] == heads[stream]
    types = {t["name"]: t["events"] for t in server.get("/v1/types").json["types"]}
    assert types == dict(collections.Counter(e["type"] for e in log))

"""Reads against a model: 5,000 random events, filtered, paged and turned round in a list of dicts."""
import datetime
import json
import os
import random
import re
import types
import uuid

import pytest

from support import JSON, NDJSON, PROTOBUF, Server, event, events_path, problem, quote, wait_for

EVENTS = 5000
TYPES = ["Opened", "Closed", "Renamed", "a type with spaces", "été", "Opened2"]
CATEGORIES = ["order", "orders", "cart", "user", "ünï", "lone", "order/line"]
TAGS = ["red", "blue", "sku:1", "sku:12", "Ω", "red blue"]


# ---- the model ------------------------------------------------------------------------------------


def make_events(seed):
    """The log that the server is filled with, as the contract says it must be read (times aside)."""
    random_ = random.Random(seed)
    log, heads = [], {}
    while len(log) < EVENTS:
        category = random_.choice(CATEGORIES)
        stream = category if category == "lone" else f"{category}-{random_.randrange(12)}"
        heads[stream] = heads.get(stream, 0) + 1
        one = {
            "position": len(log) + 1,
            "stream": stream,
            "revision": heads[stream],
            "id": f"{random_.getrandbits(128):032x}",
            "type": random_.choice(TYPES),
            "data": {"n": len(log), "pad": "x" * random_.randrange(200)},
            "content_type": JSON,
        }
        one["id"] = re.sub(r"(.{8})(.{4})(.{4})(.{4})(.{12})", r"\1-\2-\3-\4-\5", one["id"])
        if random_.random() < 0.5:
            one["tags"] = random_.sample(TAGS, random_.randint(1, 3))
        if random_.random() < 0.3:
            one["metadata"] = {"user": random_.randrange(9)}
        if random_.random() < 0.2:
            one["occurred_at"] = "2026-01-01T00:00:00+02:00"
        if random_.random() < 0.2:
            one["schema_version"] = random_.randint(1, 2**32 - 1)
        log.append(one)
    return log


def fill(server, log):
    """Appends the log in requests of up to 200 events, runs of one stream together."""
    sent = ("id", "type", "data", "metadata", "tags", "occurred_at", "schema_version")
    for start in range(0, len(log), 200):
        appends = []
        for one in log[start : start + 200]:
            new = {k: one[k] for k in sent if k in one}
            if appends and appends[-1][0] == one["stream"]:
                appends[-1][2].append(new)
            else:
                appends.append((one["stream"], one["revision"] - 1, [new]))
        assert server.append_many(appends).status == 201


def select(log, stream=None, type=(), category=(), prefix=(), tag=(), after=0, before=None, direction="forward"):
    """What a read must return, all pages together."""
    key = "revision" if stream else "position"
    rows = [
        e
        for e in log
        if (stream is None or e["stream"] == stream)
        and (not type or e["type"] in type)
        and (not category or e["stream"].split("-")[0] in category)
        and (not prefix or e["stream"].startswith(tuple(prefix)))
        and (not tag or set(tag) & set(e.get("tags", ())))
        and (direction == "backward" or e[key] > after)
        and (before is None or e[key] < before)
    ]
    return rows[::-1] if direction == "backward" else rows


def same(found, wanted, key="position"):
    """Asserts that two lists of events are equal, and says shortly where they are not."""
    if found == wanted:
        return
    places, wanted_places = [e[key] for e in found], [e[key] for e in wanted]
    missing, extra = sorted(set(wanted_places) - set(places)), sorted(set(places) - set(wanted_places))
    assert not missing and not extra, f"{len(missing)} missing: {missing[:5]}…, {len(extra)} too many: {extra[:5]}…"
    assert places == wanted_places, "another order, or an event twice"
    assert False, next(f"{a} is not {b}" for a, b in zip(found, wanted) if a != b)


# ---- reading in every encoding --------------------------------------------------------------------


def from_message(message):
    """An Event message as the JSON dict that stands for the same event."""
    one = {
        "position": message.position,
        "stream": message.stream,
        "revision": message.revision,
        "id": str(uuid.UUID(bytes=message.id)),
        "type": message.type,
        "data": None if message.redacted else json.loads(message.data),
        "content_type": message.content_type or JSON,
        "time_us": message.time_us,
    }
    if message.metadata:
        one["metadata"] = json.loads(message.metadata)
    if message.tags:
        one["tags"] = list(message.tags)
    for name in ("occurred_at", "schema_version", "redacted"):
        if getattr(message, name):
            one[name] = getattr(message, name)
    return one


def without_time(events):
    return [{k: v for k, v in e.items() if k not in ("time", "time_us")} for e in events]


def read(server, accept, path, query):
    """Every event that a query selects, whichever way the encoding hands them out."""
    if accept == JSON:
        return read_pages(server, path, query)
    response = server.get(path, accept, query)
    assert (response.status, response.media) == (200, accept), response
    if accept == NDJSON:
        return without_time(response.body)
    return without_time(map(from_message, response.message("EventBatch").events))


def read_pages(server, path, query):
    """Follows `next` until `end`; checks what holds of every page."""
    found, query, pages = [], dict(query), 0
    place = "before" if query.get("direction") == "backward" else "after"
    while True:
        response = server.get(path, JSON, query)
        assert response.status == 200, response
        page = response.json
        assert set(page) == {"events", "next", "end", "head"}
        assert len(page["events"]) <= query.get("limit", 1000)
        found += page["events"]
        pages += 1
        if page["end"]:
            return without_time(found)
        assert page["events"], "a page without events and without an end"
        assert page["next"] != query.get(place), "the next page is the same page"
        assert pages <= EVENTS, "paging does not end"
        query[place] = page["next"]


IN_MEMORY = ["--apply-interval-ms", 600_000]  # events stay in the tail
APPLIED = ["--apply-interval-ms", 1]  # they move to LMDB at once


def wait_applied(server):
    wait_for(lambda: server.status()["applied_position"] == server.position(), what="the tail to be applied")


def in_memory(server, log):
    fill(server, log)


def applied(server, log):
    server.restart(flags=APPLIED)
    fill(server, log)
    wait_applied(server)


def half_applied(server, log):
    applied(server, log[: EVENTS // 2])
    server.restart(flags=IN_MEMORY)
    fill(server, log[EVENTS // 2 :])


def after_sigterm(server, log):
    fill(server, log)
    server.restart()


def after_kill_9(server, log):
    fill(server, log)
    server.restart(kill=True)


@pytest.fixture(scope="module", params=[in_memory, applied, half_applied, after_sigterm, after_kill_9], ids=lambda f: f.__name__)
def stage(request):
    """A filled server, the events in each place where they can be."""
    seed = int(os.environ.get("DAYBOOK_TEST_SEED") or random.SystemRandom().randrange(2**32))
    print(f"DAYBOOK_TEST_SEED={seed}")
    server, log = Server(flags=IN_MEMORY), make_events(seed)
    try:
        request.param(server, log)
        yield types.SimpleNamespace(server=server, log=log, seed=seed)
    finally:
        server.close()


@pytest.fixture
def server(stage):
    return stage.server


@pytest.fixture
def log(stage):
    print(f"DAYBOOK_TEST_SEED={stage.seed}")
    return stage.log


accepts = pytest.mark.parametrize("accept", [JSON, NDJSON, PROTOBUF])
directions = pytest.mark.parametrize("direction", ["forward", "backward"])


# ---- the global log and streams -------------------------------------------------------------------


@accepts
@directions
def test_the_log_is_what_was_appended(server, log, accept, direction):
    """The whole log, in either direction and every encoding, is the model's, field by field."""
    query = {"direction": direction}
    same(read(server, accept, "/v1/events", query), select(log, **query))


@accepts
@directions
def test_every_stream_is_what_was_appended_to_it(server, log, accept, direction):
    """Each stream has exactly its events, in order."""
    for stream in sorted({e["stream"] for e in log}):
        found = read(server, accept, events_path(stream), {"direction": direction})
        same(found, select(log, stream=stream, direction=direction))


FILTERS = [
    {"type": ["Opened"]},
    {"type": ["Opened", "été"]},
    {"type": ["a type with spaces", "No such type"]},
    {"category": ["order"]},
    {"category": ["order", "ünï", "order/line"]},
    {"prefix": ["order"]},
    {"prefix": ["order-1"]},
    {"prefix": ["user-1", "ca", "ü"]},
    {"tag": ["red"]},
    {"tag": ["red blue", "Ω"]},
    {"type": ["Closed"], "category": ["cart", "user"]},
    {"type": ["Closed", "Renamed"], "tag": ["sku:1"]},
    {"category": ["orders"], "prefix": ["orders-1"], "tag": ["blue", "sku:12"], "type": ["Opened", "Opened2"]},
    {"category": ["order"], "prefix": ["cart"]},
    {"type": ["No such type"]},
    {"tag": ["No such tag"]},
    {"category": ["ord"]},
    {"prefix": ["zzz"]},
]


@accepts
@directions
@pytest.mark.parametrize("filter", FILTERS, ids=lambda f: " & ".join(f"{k}={'|'.join(v)}" for k, v in f.items()))
def test_filters_select_exactly_what_matches(server, log, accept, direction, filter):
    """OR inside one name, AND across names, in either direction and every encoding."""
    query = {**filter, "direction": direction}
    same(read(server, accept, "/v1/events", query), select(log, **query))


@accepts
def test_random_queries_agree_with_the_model(server, log, stage, accept):
    """100 random combinations of filters, places, directions and page sizes return what the model returns."""
    random_ = random.Random(stage.seed)
    streams = sorted({e["stream"] for e in log})
    for _ in range(100):
        query = {"direction": random_.choice(["forward", "backward"])}
        stream = random_.choice([None, random_.choice(streams)])
        pools = {"type": TYPES} if stream else {
            "type": TYPES, "category": CATEGORIES, "tag": TAGS, "prefix": ["o", "order-", "cart-1", "lone", "x"],
        }
        for name, pool in pools.items():
            if random_.random() < 0.4:
                query[name] = random_.sample(pool, random_.randint(1, 3))
        top = len(select(log, stream=stream)) + 3 if stream else EVENTS + 10
        if random_.random() < 0.7:
            query["before" if query["direction"] == "backward" else "after"] = random_.randint(1, top)
        want = select(log, stream=stream, **query)
        limit = random_.choice([1, 7, 100, 1000])
        if accept == JSON and limit > 1 or len(want) < 50:
            query["limit"] = limit
        path = events_path(stream) if stream else "/v1/events"
        if accept != JSON and "limit" in query:
            want = want[:limit]
        print(path, query)
        same(read(server, accept, path, query), want)


# ---- pages and places -----------------------------------------------------------------------------


def test_a_json_page_has_1000_events_unless_asked(server, log):
    """JSON pages default to 1000, say how to go on, and name the head."""
    page = server.get("/v1/events").json
    assert len(page["events"]) == 1000
    assert (page["next"], page["end"], page["head"]) == (1000, False, EVENTS)
    page = server.get("/v1/events", query={"direction": "backward", "limit": 10}).json
    assert [e["position"] for e in page["events"]] == list(range(EVENTS, EVENTS - 10, -1))
    assert (page["next"], page["end"], page["head"]) == (EVENTS - 9, False, EVENTS)


@accepts
def test_a_limit_holds_in_every_encoding(server, log, accept):
    """`limit` bounds streamed answers as it bounds pages."""
    response = server.get("/v1/events", accept, {"limit": 3, "after": 10})
    events = {
        JSON: lambda: response.json["events"],
        NDJSON: lambda: response.body,
        PROTOBUF: lambda: list(map(from_message, response.message("EventBatch").events)),
    }[accept]()
    assert without_time(events) == log[10:13]


@pytest.mark.parametrize("path", ["/v1/events", events_path("lone")], ids=["log", "stream"])
def test_past_the_end_is_an_empty_page(server, log, path):
    """Reading after the head, far after it, or after=end is an empty page and not an error."""
    head = EVENTS if path == "/v1/events" else len(select(log, stream="lone"))
    for after in (head, "end"):
        assert server.get(path, query={"after": after}).json == {"events": [], "next": head, "end": True, "head": head}
    page = server.get(path, query={"after": 2**62}).json
    assert (page["events"], page["end"], page["head"]) == ([], True, head)
    for accept in (NDJSON, PROTOBUF):
        response = server.get(path, accept, {"after": "end"})
        assert (response.status, response.media, response.raw) == (200, accept, b"")
    page = server.get(path, query={"direction": "backward", "before": 1}).json
    assert (page["events"], page["end"]) == ([], True)


def test_the_position_header_covers_the_answer(server, log):
    """Daybook-Position is the last committed position that the answer reflects."""
    for accept in (JSON, NDJSON, PROTOBUF):
        assert server.get("/v1/events", accept, {"limit": 1}).position == EVENTS
    assert server.get("/v1/events/7").position == EVENTS


def test_times_never_decrease(server, log):
    """The server's time is RFC 3339 in UTC with microseconds and never decreases along the log; both encodings agree."""
    lines = server.read_all()
    times = [e["time"] for e in lines]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", t) for t in times)
    assert times == sorted(times)
    def us(text):
        moment = datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%f%z")
        return (moment - datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)) // datetime.timedelta(microseconds=1)

    batch = server.get("/v1/events", PROTOBUF).message("EventBatch")
    assert [e.time_us for e in batch.events] == list(map(us, times))


# ---- single events --------------------------------------------------------------------------------


@pytest.mark.parametrize("position", [1, 2, EVENTS // 2, EVENTS])
def test_a_single_event_is_the_same_by_position_and_by_revision(server, log, position):
    """Both paths to an event give the model's event, in JSON and in protobuf, with one ETag."""
    want = log[position - 1]
    paths = [f"/v1/events/{position}", f"{events_path(want['stream'])}/{want['revision']}"]
    for path in paths:
        response = server.get(path)
        assert response.status == 200
        assert without_time([response.json]) == [want]
        message = server.get(path, PROTOBUF).message("Event")
        assert without_time([from_message(message)]) == [want]


@pytest.mark.parametrize("path", ["/v1/events/17", events_path("lone") + "/3"], ids=["log", "stream"])
def test_a_single_event_can_be_cached_for_ever(server, log, path):
    """A committed event never changes: a strong ETag, immutable caching, 304 for who has it."""
    response = server.get(path)
    etag = response.headers["ETag"]
    assert re.fullmatch(r'"[^"]+"', etag)
    assert "immutable" in response.headers["Cache-Control"]
    assert "accept" in response.headers.get("Vary", "").lower(), "a cache would give JSON to who wants protobuf"
    for value in (etag, f'"other", {etag}', "*", f"W/{etag}"):
        not_modified = server.get(path, headers={"If-None-Match": value})
        assert (not_modified.status, not_modified.raw, not_modified.headers["ETag"]) == (304, b"", etag), value
    assert server.get(path, headers={"If-None-Match": '"other"'}).status == 200


@pytest.mark.parametrize(
    "path, status, code",
    [
        (f"/v1/events/{EVENTS + 1}", 404, "event-not-found"),
        (f"/v1/events/{2**63 - 1}", 404, "event-not-found"),
        ("/v1/events/0", 404, "event-not-found"),
        (events_path("lone") + "/100000", 404, "event-not-found"),
        (events_path("no such stream"), 404, "stream-not-found"),
        (events_path("no such stream") + "/1", 404, "stream-not-found"),
        ("/v1/streams/" + quote("no such stream"), 404, "stream-not-found"),
    ],
)
def test_what_is_not_there_is_404(server, log, path, status, code):
    """What does not exist is 404 with the code that says which part does not."""
    problem(server.get(path), status, code)
    problem(server.get(path, PROTOBUF), status, code)


# ---- HEAD -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/v1/events", "/v1/events/1", events_path("lone"), "/v1/streams/lone", "/v1/streams", "/v1/status", "/v1/events/0"]
)
def test_head_is_get_without_a_body(server, log, path):
    """HEAD answers as GET does, without the body, and leaves the connection usable."""
    get, head = server.get(path), server.head(path)
    assert (head.status, head.raw) == (get.status, b"")
    for field in ("Content-Type", "ETag", "Cache-Control", "Daybook-Position"):
        assert head.headers[field] == get.headers[field]
    assert server.get(path).raw.startswith(b"{")


# ---- read your writes -----------------------------------------------------------------------------


def test_an_acknowledged_append_is_in_every_read_at_once(fresh):
    """There is no lag: after the 201, every kind of read has the event, on another connection too."""
    for n in range(1, 101):
        stream = f"cat{n}-1"
        fresh.append_ok(stream, event(f"Type{n}", {"n": n}, tags=[f"tag{n}"]))
        assert [e["data"]["n"] for e in fresh.get(events_path(stream)).json["events"]] == [n]
        for query in ({"type": f"Type{n}"}, {"category": f"cat{n}"}, {"tag": f"tag{n}"}, {"prefix": stream}, {"after": n - 1}):
            assert [e["position"] for e in fresh.get("/v1/events", query=query).json["events"]] == [n], query
        assert fresh.get(f"/v1/events/{n}").json["stream"] == stream
        assert fresh.get(f"/v1/streams/{stream}").json["head_revision"] == 1
    wait_for(lambda: fresh.status()["applied_position"] == 100, what="the tail to be applied")
    assert [e["position"] for e in fresh.read_all()] == list(range(1, 101))

"""Reads bounded by time: `since` and `until`, in every encoding, both ways, on the log and on streams."""
import datetime
import itertools

import pytest

from support import JSON, NDJSON, PROTOBUF, event, events_path, problem
from support_follow import FORMATS, LiveRead

ACCEPTS = [JSON, NDJSON, PROTOBUF]


def micros(text):
    """An RFC 3339 time as microseconds since 1970."""
    at = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    return (at - datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)) // datetime.timedelta(microseconds=1)


def text(us, offset_h=0):
    """The same the other way round, with an offset of so many hours."""
    zone = datetime.timezone(datetime.timedelta(hours=offset_h))
    at = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc) + datetime.timedelta(microseconds=us)
    return at.astimezone(zone).isoformat(timespec="microseconds")


def positions(server, accept, path, **query):
    """The positions that a read gives, in its order; a JSON page's `next` is followed."""
    found, place = [], "before" if query.get("direction") == "backward" else "after"
    while True:
        response = server.get(path, accept, query)
        assert response.status == 200, response
        if accept == NDJSON:
            return [e["position"] for e in response.body]
        if accept == PROTOBUF:
            return [e.position for e in response.message("EventBatch").events]
        page = response.json
        found += [e["position"] for e in page["events"]]
        if page["end"]:
            return found
        assert page["next"] != query.get(place)
        query[place] = page["next"]


@pytest.fixture(scope="module")
def log(module_server):
    """A server's log: 120 events of four streams, up to three with the same time; some in LMDB only after a restart."""
    for i in range(60):
        stream, type = f"s-{i % 4}", ["Rare", "Common"][min(i % 10, 1)]
        module_server.append_ok(stream, [event(type, tags=[f"t{i % 3}"]) for _ in range(1 + i % 3)])
        if i == 30:
            module_server.restart()
    return module_server.read_all()


def bounds(log):
    """Times at events, just before and behind them, and outside the log."""
    times = [micros(e["time"]) for e in log]
    picked = [times[0], times[0] - 1, times[0] + 1, times[len(times) // 2], times[-1], times[-1] + 1, times[-1] + 10**9, 10**15]
    return times, picked


@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize("accept", ACCEPTS)
@pytest.mark.parametrize("filtered", ["log", "stream", "type", "tag"])
def test_every_pair_of_bounds(server, log, accept, direction, filtered):
    """since <= time < until, whatever else is asked for: each pair of bounds gives what a list gives."""
    times, picked = bounds(log)
    path, query, keep = {
        "log": ("/v1/events", {}, lambda e: True),
        "stream": (events_path("s-2"), {}, lambda e: e["stream"] == "s-2"),
        "type": ("/v1/events", {"type": "Rare", "category": "s"}, lambda e: e["type"] == "Rare"),
        "tag": ("/v1/events", {"tag": ["t0", "t2"], "prefix": "s-1"},
                lambda e: e["tags"][0] in ("t0", "t2") and e["stream"] == "s-1"),
    }[filtered]  # fmt: skip
    for since, until in itertools.product([None, *picked], [None, *picked]):
        wanted = [
            e["position"]
            for e, time in zip(log, times)
            if keep(e) and (since is None or time >= since) and (until is None or time < until)
        ]
        asked = {**query, "direction": direction}
        asked.update({k: text(v) for k, v in [("since", since), ("until", until)] if v is not None})
        found = positions(server, accept, path, **asked)
        assert found == (wanted if direction == "forward" else wanted[::-1]), (since, until)


@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize("path, key", [("/v1/events", "position"), (events_path("s-2"), "revision")])
def test_pages_of_a_range(server, log, path, key, direction):
    """Small pages go on at `next` to the end of the range and say when it is reached; a place inside the range wins."""
    times, _ = bounds(log)
    since, until = times[20], times[90]
    rows = [e for e, t in zip(log, times) if since <= t < until and path in ("/v1/events", events_path(e["stream"]))]
    wanted = [e["position"] for e in (rows if direction == "forward" else rows[::-1])]
    query = {"since": text(since), "until": text(until, offset_h=-5), "direction": direction}
    for limit in (1, 2, 7, len(wanted), len(wanted) + 1):
        assert positions(server, JSON, path, limit=limit, **query) == wanted
    middle = rows[len(rows) // 2]
    place, keep = ("after", lambda n: n > middle[key]) if direction == "forward" else ("before", lambda n: n < middle[key])
    found = positions(server, NDJSON, path, **query, **{place: middle[key]})
    assert found == [e["position"] for e in (rows if direction == "forward" else rows[::-1]) if keep(e[key])]
    outside = {"after": rows[-1][key]} if direction == "forward" else {"before": rows[0][key]}
    for accept in ACCEPTS:
        assert positions(server, accept, path, **query, **outside) == []


def test_next_after_a_range(server, log):
    """A page that reaches the end of its range goes on at the end of the log: nothing later can match."""
    times, _ = bounds(log)
    page = server.get("/v1/events", query={"until": text(times[10])}).json
    assert page["end"] and page["next"] == page["head"] >= len(log)
    page = server.get("/v1/events", query={"since": text(times[-1] + 10**12)}).json
    assert page == {"events": [], "next": page["head"], "end": True, "head": page["head"]}
    page = server.get("/v1/events", query={"since": text(times[10]), "direction": "backward"}).json
    assert page["end"] and page["next"] == 1


def test_new_events_are_in_an_open_range(server, log):
    """`since` alone takes in what comes; a client that polls with it and `next` gets each event once."""
    since = server.append_ok("late-1", event())["last_position"]
    time = server.get(f"/v1/events/{since}").json["time"]
    page = server.get("/v1/events", query={"since": time, "category": "late"}).json
    assert [e["position"] for e in page["events"]] == [since]
    new = server.append_ok("late-1", [event(), event()])
    page = server.get("/v1/events", query={"since": time, "category": "late", "after": page["next"]}).json
    assert [e["position"] for e in page["events"]] == [new["first_position"], new["last_position"]]


@pytest.mark.parametrize("accept", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize("of_stream", [False, True], ids=["log", "stream"])
def test_live_reads_of_a_range(server, log, name, accept, of_stream):
    """A live read from a time on starts at that time's first event and goes on with what comes."""
    stream = name("live")
    path = events_path(stream) if of_stream else "/v1/events"
    server.append_ok(stream, event())
    at = server.append_ok(stream, event())["last_position"]
    time = server.get(f"/v1/events/{at}").json["time"]
    with (LiveRead(server.port, path, accept, since=time) as open_end,
          LiveRead(server.port, path, accept, since=text(micros(time) + 1)) as later):  # fmt: skip
        assert [e["position"] for e in open_end.caught_up()[0]] == [at]
        assert later.caught_up()[0] == []
        new = server.append_ok(stream, [event(), event()])["last_position"]
        for live in (open_end, later):
            assert [e["position"] for e in live.events(2)] == [new - 1, new]


def test_a_long_poll_of_a_range(server, name):
    """A page that waits is ended by an event of its range."""
    stream = name("poll")
    server.append_ok(stream, event())
    time = server.append_ok(stream, event()) and server.read_all(events_path(stream))[1]["time"]
    page = server.get(events_path(stream), query={"since": time, "wait": "20s"}).json
    assert [e["revision"] for e in page["events"]] == [2]
    page = server.get(events_path(stream), query={"since": text(micros(time) + 1), "wait": "50ms"}).json
    assert page["events"] == [] and page["end"]


def test_forms_of_a_time(server, log):
    """Any RFC 3339 form is the same instant; outside all events' times it bounds everything or nothing."""
    times, _ = bounds(log)
    middle = times[60]
    wanted = positions(server, JSON, "/v1/events", since=text(middle))
    for form in (text(middle, 2), text(middle, -7), text(middle).replace("+00:00", "Z"), text(middle).replace("+00:00", "000Z").replace("T", "t")):
        assert positions(server, JSON, "/v1/events", since=form) == wanted, form
    assert positions(server, JSON, "/v1/events", since="0001-01-01T00:00:00Z") == positions(server, JSON, "/v1/events")
    for early in ("0001-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "1970-01-01T00:00:00Z"):
        assert positions(server, JSON, "/v1/events", until=early) == []
    assert positions(server, JSON, "/v1/events", since="9999-12-31T23:59:59Z") == []


@pytest.mark.parametrize("path", ["/v1/events", events_path("s-1")])
@pytest.mark.parametrize("parameter", ["since", "until"])
@pytest.mark.parametrize(
    "value", ["", "now", "2026-01-01", "2026-01-01T00:00:00", "2026-13-01T00:00:00Z", "1700000000", "2026-01-01T00:00:00 02:00"]
)
def test_bad_times(server, log, path, parameter, value):
    """What is no RFC 3339 time is 400, naming the parameter."""
    response = problem(server.get(path, query={parameter: value}), 400, "invalid-parameter", f"query.{parameter}")
    assert ("%2B" in response.json["detail"]) == (" " in value)


def test_a_time_twice(server, log):
    """A bound is given once."""
    query = "?since=2026-01-01T00:00:00Z&since=2026-01-01T00:00:00Z"
    problem(server.get("/v1/events" + query), 400, "invalid-parameter", "query.since")

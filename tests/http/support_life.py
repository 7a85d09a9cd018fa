"""What the tests of deleting are written with: the writes in every form, and a model that says what every read must show."""
import collections
import json
import pathlib

from support import JSON, NDJSON, PROTOBUF, events_path, pb, problem, quote
from support_cli import daybook
from support_follow import FORMATS, LiveRead

NONE = object()  # a limit to be removed


# ---- the writes, by their routes and as commands ---------------------------------------------------


def stream_path(stream):
    return f"/v1/streams/{quote(stream)}"


def expect(message, expected):
    if isinstance(expected, str):
        message.expected_state = pb().StreamState.Value("STREAM_STATE_" + expected.upper())
    elif expected is not None:
        message.expected_revision = expected
    return message


def metadata_json(change, expected=None, stream=None):
    body = {k: None if v is NONE else v for k, v in change.items()}
    if expected is not None:
        body["expected_revision"] = expected
    if stream is not None:
        body["stream"] = stream
    return body


def metadata_message(change, expected=None, stream=None):
    message = expect(pb().SetMetadata(stream=stream or ""), expected)
    for name, value in change.items():
        if name == "custom":
            message.custom = b"" if value is NONE else json.dumps(value).encode()
        else:
            setattr(message, name, 0 if value is NONE else value)
    return message


def send(server, method, path, body=None, encoding="json", headers=None):
    """One write; the answer is asked for in the encoding of the body, which may be None."""
    media = PROTOBUF if encoding == "protobuf" else JSON
    headers = {"Accept": media, **({"Content-Type": media} if body is not None else {}), **(headers or {})}
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode() if encoding == "json" else body.SerializeToString()
    return server.request(method, path, body, headers)


def patch(server, stream, change, expected=None, encoding="json", headers=None, by="route"):
    make = metadata_json if encoding == "json" else metadata_message
    if by == "route":
        return send(server, "PATCH", stream_path(stream), make(change, expected), encoding, headers)
    return command(server, "set_metadata", make(change, expected, stream), encoding)


def delete(server, stream, tombstone=False, expected=None, encoding="json", headers=None, by="route"):
    if by == "route":
        query = [f"expected_revision={expected}"] * (expected is not None) + ["tombstone=true"] * tombstone
        path = stream_path(stream) + ("?" + "&".join(query) if query else "")
        return send(server, "DELETE", path, None, encoding, headers)
    if encoding == "json":
        body = metadata_json({"tombstone": tombstone}, expected, stream)
    else:
        body = expect(pb().DeleteStream(stream=stream, tombstone=tombstone), expected)
    return command(server, "delete_stream", body, encoding)


def redact(server, stream, revision, reason=None, encoding="json", headers=None, by="route"):
    if by == "route":
        body = None
        if reason is not None:
            body = {"reason": reason} if encoding == "json" else pb().Redact(reason=reason)
        return send(server, "POST", f"{events_path(stream)}/{revision}/redact", body, encoding, headers)
    if encoding == "json":
        body = {"stream": stream, "revision": revision} | ({"reason": reason} if reason else {})
    else:
        body = pb().Redact(stream=stream, revision=revision, reason=reason or "")
    return command(server, "redact", body, encoding)


def command(server, kind, body, encoding="json"):
    body = {kind: body} if encoding == "json" else pb().Command(**{kind: body})
    return send(server, "POST", "/v1/commands", body, encoding)


# ---- the model -------------------------------------------------------------------------------------


class Stream:
    def __init__(self):
        self.events = []  # all that were ever appended: [position, type, data, tags]
        self.floor, self.max_count = 1, 0
        self.deleted = self.tombstoned = False

    @property
    def head(self):
        return len(self.events)

    @property
    def first(self):
        return max(self.floor, self.head - self.max_count + 1 if self.max_count else 1)

    def freeze(self):
        self.floor = self.first


class Model:
    """What was done to a server, and so what it must show. Only this one client writes to it."""

    def __init__(self, server):
        self.server = server
        self.streams = collections.defaultdict(Stream)
        self.redacted = set()  # (stream, revision)

    # what is done

    def appended(self, stream, first_position, events):
        """events: (type, data, tags)"""
        s = self.streams[stream]
        s.deleted = False
        for i, (kind, data, tags) in enumerate(events):
            s.events.append([first_position + i, kind, data, list(tags)])

    def append(self, stream, events):
        bodies = [{"type": kind, "data": data, "tags": list(tags)} for kind, data, tags in events]
        response = self.server.append(stream, bodies, self.streams[stream].head)
        if self.streams[stream].tombstoned:
            problem(response, 410, "stream-deleted")
            return
        assert response.status == 201, response
        assert response.json["last_revision"] == self.streams[stream].head + len(events)
        self.appended(stream, response.json["first_position"], events)

    def limit(self, stream, max_count):
        s = self.streams[stream]
        response = patch(self.server, stream, {"max_count": max_count or NONE}, s.head)
        if s.tombstoned:
            problem(response, 410, "stream-deleted")
            return
        s.freeze()
        s.max_count = max_count
        assert (response.status, response.json["first_revision"]) == (200, s.first), response

    def truncate(self, stream, before):
        s = self.streams[stream]
        response = patch(self.server, stream, {"truncate_before": before})
        if s.tombstoned:
            problem(response, 410, "stream-deleted")
            return
        s.freeze()
        s.floor = max(s.floor, before)
        assert (response.status, response.json["first_revision"]) == (200, s.first), response

    def delete(self, stream, tombstone=False):
        s = self.streams[stream]
        response = delete(self.server, stream, tombstone)
        assert response.status == 200, response
        s.floor, s.deleted, s.tombstoned = s.head + 1, True, s.tombstoned or tombstone

    def redact(self, stream, revision):
        s = self.streams[stream]
        response = redact(self.server, stream, revision, "a test")
        if s.deleted:
            problem(response, 410, "stream-deleted")
        elif not s.first <= revision <= s.head:
            problem(response, 404, "event-not-found")
        else:
            assert response.status == 200, response
            assert response.json["duplicate"] == ((stream, revision) in self.redacted)
            self.redacted.add((stream, revision))

    # what is shown

    def row(self, stream, revision):
        position, kind, data, tags = self.streams[stream].events[revision - 1]
        gone = (stream, revision) in self.redacted
        return position, stream, revision, kind, None if gone else data, gone, tuple(tags)

    def rows(self, stream=None):
        names = self.streams if stream is None else [stream]
        found = [self.row(n, r) for n in names for r in range(self.streams[n].first, self.streams[n].head + 1)]
        return sorted(found)

    # what is compared

    def check(self, sample, full=True):
        """Every kind of read; not `full`: the log, and the sample. `sample`: streams that are looked at one by one."""
        rows = self.rows()
        assert [json_row(e) for e in self.server.read_all()] == rows
        if full:
            assert [json_row(e) for e in self.server.read_all(direction="backward")] == rows[::-1]
            batch = self.server.get("/v1/events", PROTOBUF).message("EventBatch").events
            assert [pb_row(e) for e in batch] == rows
            assert pages(self.server, "/v1/events", "after") == rows
            assert pages(self.server, "/v1/events", "before") == rows[::-1]
            self.check_filters(rows, sample)
            self.check_follow(rows)
        self.check_lists(sample)
        for stream in sample:
            self.check_stream(stream)

    def check_filters(self, rows, sample):
        kinds = sorted({e[1] for s in self.streams.values() for e in s.events})[:6]
        tags = sorted({t for s in self.streams.values() for e in s.events for t in e[3]})[:6]
        for kind in kinds:
            assert [json_row(e) for e in self.server.read_all(type=kind)] == [r for r in rows if r[3] == kind]
        for tag in tags:
            assert [json_row(e) for e in self.server.read_all(tag=tag)] == [r for r in rows if tag in r[6]]
        for stream in sample:
            of = [r for n in self.streams if n.startswith(stream) for r in self.rows(n)]
            found = self.server.read_all(prefix=stream, direction="backward")
            assert [json_row(e) for e in found] == sorted(of, reverse=True)
        for category in {s.split("-")[0] for s in sample} if len(rows) < 10_000 else ():
            found = self.server.read_all(category=category)
            assert [json_row(e) for e in found] == [r for r in rows if r[1].split("-")[0] == category]

    def check_follow(self, rows):
        """A live read from the beginning gives the same until it has caught up, in every format."""
        for accept in FORMATS.values() if len(rows) < 10_000 else ():
            with LiveRead(self.server.port, "/v1/events", accept).start() as live:
                found, _ = live.caught_up()
            assert [(e["position"], e["stream"], e["revision"], e["type"]) for e in found] == [r[:4] for r in rows]
            gone = [e["position"] for e in found if e.get("redacted")]
            assert gone == [r[0] for r in rows if r[5]]

    def check_lists(self, sample):
        listed, after = {}, {}
        while True:
            page = self.server.get("/v1/streams", query={"limit": 10_000, **after}).json
            listed |= {row["stream"]: row["head_revision"] for row in page["streams"]}
            if page["end"]:
                break
            after = {"after": page["next"]}
        assert listed == {n: s.head for n, s in self.streams.items() if not s.deleted and s.head}
        for stream in sample:
            query = {"category": stream.split("-")[0], "prefix": stream}
            found = [r["stream"] for r in self.server.get("/v1/streams", query=query).json["streams"]]
            assert (stream in found) == (not self.streams[stream].deleted), (stream, found)

    def check_stream(self, stream):
        s, path = self.streams[stream], events_path(stream)
        info = self.server.get(stream_path(stream)).json
        assert (info["head_revision"], info["first_revision"], info["deleted"]) == (s.head, s.first, s.deleted), stream
        assert (info["events"], info.get("tombstoned", False)) == (s.head - s.first + 1, s.tombstoned), stream
        if s.deleted:
            for accept in (JSON, NDJSON, PROTOBUF):
                problem(self.server.get(path, accept), 410, "stream-deleted", "stream")
        else:
            rows = self.rows(stream)
            assert [json_row(e) for e in self.server.read_all(path)] == rows
            assert [json_row(e) for e in self.server.read_all(path, direction="backward")] == rows[::-1]
            assert [json_row(e) for e in self.server.get(path, JSON, {"limit": 10_000}).json["events"]] == rows
            assert [pb_row(e) for e in self.server.get(path, PROTOBUF).message("EventBatch").events] == rows
        for revision in {1, s.first - 1, s.first, s.head} & set(range(1, s.head + 1)):
            self.check_event(stream, revision)

    def check_event(self, stream, revision):
        s = self.streams[stream]
        row = self.row(stream, revision)
        by_revision = self.server.get(f"{events_path(stream)}/{revision}")
        by_position = self.server.get(f"/v1/events/{row[0]}")
        if revision >= s.first:
            assert json_row(by_revision.json) == json_row(by_position.json) == row
            message = self.server.get(f"/v1/events/{row[0]}", PROTOBUF).message("Event")
            assert pb_row(message) == row
            return
        for response in (by_position, by_revision):
            problem(response, *((410, "stream-deleted") if s.deleted else (404, "event-not-found")))

    def check_export(self, path):
        daybook("export", path, server=self.server)
        lines = [json.loads(line) for line in pathlib.Path(path).read_bytes().splitlines()]
        want = [(r[1], r[3], r[4], r[5]) for r in self.rows()]
        assert [(e["stream"], e["type"], e["data"], e.get("redacted", False)) for e in lines] == want


def json_row(e):
    assert "data" in e and ("metadata" not in e or not e.get("redacted"))
    return (e["position"], e["stream"], e["revision"], e["type"], e["data"], e.get("redacted", False), tuple(e.get("tags", ())))


def pb_row(e):
    assert not (e.redacted and (e.data or e.metadata))
    data = None if e.redacted else json.loads(e.data)
    return (e.position, e.stream, e.revision, e.type, data, e.redacted, tuple(e.tags))


def pages(server, path, parameter):
    """All events by JSON pages, forward (after) or backward (before)."""
    found, query = [], {"limit": 9973 if server.position() > 10_000 else 97}
    query |= {"direction": "backward"} if parameter == "before" else {}
    while True:
        page = server.get(path, JSON, query).json
        found += [json_row(e) for e in page["events"]]
        if page["end"]:
            return found
        query[parameter] = page["next"]

"""The life of a stream: limits, truncation, deletion, tombstones, redaction. What is gone is gone from every read at once,
after restarts, after the index was built anew, and numbering goes on as if it were there."""
import json
import random

import pytest

import support_life as life
from support import ENCODINGS, JSON, NDJSON, PROTOBUF, event, events_path, problem, wait_for
from support_cli import daybook
from support_follow import FORMATS, LiveRead
from support_life import NONE, Model, delete, patch, redact, stream_path

ROUTES = pytest.mark.parametrize("by", ["route", "command"])


def parsed(response, message):
    """The body of an answer in either encoding as a dict."""
    return ENCODINGS["protobuf" if response.media == PROTOBUF else "json"].parse(response, message)


def info(server, stream):
    return server.get(stream_path(stream)).json


def revisions(server, stream):
    return [e["revision"] for e in server.read_all(events_path(stream))]


# ---- what each state makes of each write ------------------------------------------------------------


def written(server, stream):
    server.append_ok(stream, [event(data={"n": n}) for n in range(3)])


def limited(server, stream):
    written(server, stream)
    assert patch(server, stream, {"max_count": 2}).status == 200


def truncated(server, stream):
    written(server, stream)
    assert patch(server, stream, {"truncate_before": 3}).status == 200


def emptied(server, stream):
    written(server, stream)
    assert patch(server, stream, {"truncate_before": 4}).status == 200


def deleted(server, stream):
    written(server, stream)
    assert delete(server, stream).status == 200


def tombstoned(server, stream):
    written(server, stream)
    assert delete(server, stream, tombstone=True).status == 200


STATES = {"missing": lambda *_: None, "written": written, "limited": limited, "truncated": truncated, "emptied": emptied,
          "deleted": deleted, "tombstoned": tombstoned}  # fmt: skip
GONE, NO_STREAM, NO_EVENT = (410, "stream-deleted"), (404, "stream-not-found"), (404, "event-not-found")
CONFLICT, OK, MADE = (409, "wrong-expected-revision"), (200, None), (201, None)
# Columns: missing, written, limited (2 of 3), truncated (before 3), emptied, deleted, tombstoned.
MATRIX = {
    "append": [MADE, MADE, MADE, MADE, MADE, MADE, GONE],
    "append no_stream": [MADE, CONFLICT, CONFLICT, CONFLICT, CONFLICT, CONFLICT, GONE],
    "append stream_exists": [CONFLICT, MADE, MADE, MADE, MADE, MADE, GONE],
    "append 3": [CONFLICT, MADE, MADE, MADE, MADE, MADE, GONE],
    "append 0": [MADE, CONFLICT, CONFLICT, CONFLICT, CONFLICT, CONFLICT, GONE],
    "patch": [NO_STREAM, OK, OK, OK, OK, OK, GONE],
    "patch 3": [NO_STREAM, OK, OK, OK, OK, OK, GONE],
    "patch 2": [NO_STREAM, CONFLICT, CONFLICT, CONFLICT, CONFLICT, CONFLICT, CONFLICT],
    "delete": [NO_STREAM, OK, OK, OK, OK, OK, OK],
    "delete 3": [NO_STREAM, OK, OK, OK, OK, OK, OK],
    "delete 2": [NO_STREAM, CONFLICT, CONFLICT, CONFLICT, CONFLICT, CONFLICT, CONFLICT],
    "tombstone": [NO_STREAM, OK, OK, OK, OK, OK, OK],
    "redact 1": [NO_STREAM, OK, NO_EVENT, NO_EVENT, NO_EVENT, GONE, GONE],
    "redact 3": [NO_STREAM, OK, OK, OK, NO_EVENT, GONE, GONE],
    "redact 4": [NO_STREAM, NO_EVENT, NO_EVENT, NO_EVENT, NO_EVENT, GONE, GONE],
    "info": [NO_STREAM, OK, OK, OK, OK, OK, OK],
    "read": [NO_STREAM, OK, OK, OK, OK, GONE, GONE],
    "read 1": [NO_STREAM, OK, NO_EVENT, NO_EVENT, NO_EVENT, GONE, GONE],
    "read 3": [NO_STREAM, OK, OK, OK, NO_EVENT, GONE, GONE],
    "read 4": [NO_STREAM, NO_EVENT, NO_EVENT, NO_EVENT, NO_EVENT, GONE, GONE],
}
CELLS = [(w, s, MATRIX[w][i]) for w in MATRIX for i, s in enumerate(STATES)]


def perform(server, stream, what, encoding, by):
    verb, _, rest = what.partition(" ")
    number = int(rest) if rest.isdigit() else rest or None
    how = {"encoding": encoding, "by": by}
    if verb == "append":
        return server.append(stream, event(), number, encoding)
    if verb == "patch":
        return patch(server, stream, {"custom": {"a": 1}}, number, **how)
    if verb in ("delete", "tombstone"):
        return delete(server, stream, verb == "tombstone", number, **how)
    if verb == "redact":
        return redact(server, stream, number, **how)
    accept = PROTOBUF if encoding == "protobuf" else JSON
    path = stream_path(stream) if verb == "info" else events_path(stream) + (f"/{number}" if number else "")
    return server.get(path, accept)


@ROUTES
@pytest.mark.parametrize("what, state, want", CELLS, ids=[f"{w}-{s}" for w, s, _ in CELLS])
def test_matrix(server, name, encoding, by, what, state, want):
    """Each state of a stream × each operation: status and code; a refusal changes nothing."""
    stream = name()
    STATES[state](server, stream)
    before, position = server.get(stream_path(stream)), server.position()
    response = perform(server, stream, what, encoding, by)
    if want[1] is None:
        assert (response.status, response.code) == want, response
        return
    problem(response, *want)
    assert server.get(stream_path(stream)).raw == before.raw
    assert server.position() == position


# ---- what is answered -------------------------------------------------------------------------------


def test_patch_answers_what_is_known_of_the_stream(server, name, encoding):
    """The answer is that of GET, with the head revision as ETag; what is absent stays, null removes."""
    stream = name()
    written(server, stream)
    for change, metadata in (
        ({"max_count": 10}, {"max_count": 10}),
        ({"max_age_s": 3600, "custom": {"owner": "x", "n": [1.5]}}, {"max_count": 10, "max_age_s": 3600, "custom": {"owner": "x", "n": [1.5]}}),
        ({"max_count": NONE, "truncate_before": 2}, {"max_age_s": 3600, "truncate_before": 2, "custom": {"owner": "x", "n": [1.5]}}),
        ({"custom": {"b": None}}, {"max_age_s": 3600, "truncate_before": 2, "custom": {"b": None}}),
        ({"custom": NONE, "max_age_s": NONE}, {"truncate_before": 2}),
    ):  # fmt: skip
        response = patch(server, stream, change, encoding=encoding)
        assert (response.status, response.headers["ETag"]) == (200, '"3"'), response
        answer = parsed(response, "StreamInfo")
        if encoding == "protobuf":
            assert answer["max_count"] == metadata.get("max_count", 0)
            assert answer["max_age_s"] == metadata.get("max_age_s", 0)
            assert answer["truncate_before"] == metadata.get("truncate_before", 0)
            assert json.loads(answer["custom"] or "null") == metadata.get("custom")
            answer = json.loads(answer["metadata"])
        else:
            assert answer == info(server, stream)
            answer = answer["metadata"]
        assert answer == metadata
    assert revisions(server, stream) == [2, 3]
    assert info(server, stream)["first_revision"] == 2


def test_custom_is_kept_byte_for_byte(server, name):
    """It comes back as it was sent, by every route."""
    stream, custom = name(), b'{ "a" : 1.10, "b":[1e400 ,{"\\u0041":null}]}'
    written(server, stream)
    for path, body in ((stream_path(stream), b'{"custom":%s}' % custom),
                       ("/v1/commands", b'{"set_metadata":{"custom":%s,"stream":"%s"}}' % (custom, stream.encode()))):
        assert server.request("PATCH" if "streams" in path else "POST", path, body).status == 200
        assert custom in server.get(stream_path(stream)).raw
        assert server.get(stream_path(stream), PROTOBUF).message("StreamInfo").custom == custom
        patch(server, stream, {"custom": NONE})


@ROUTES
def test_delete_and_redact_answer_what_was_done(server, name, encoding, by):
    """Numbers, state, and whether it had been done before; then nothing is written."""
    stream = name()
    written(server, stream)
    how = {"encoding": encoding, "by": by}

    def answer(response):
        assert response.status == 200, response
        result = parsed(response, "LifeResult")
        position = result.pop("position")
        assert position == (0 if result["duplicate"] else server.position())
        assert result.pop("stream") == stream
        return result

    known = {"head_revision": 3, "first_revision": 1, "deleted": False, "tombstoned": False, "duplicate": False}
    no_revision = {"revision": 0} if encoding == "protobuf" else {}
    assert answer(redact(server, stream, 2, "asked for", **how)) == known | {"revision": 2}
    assert answer(redact(server, stream, 2, **how)) == known | {"revision": 2, "duplicate": True}
    known |= {"first_revision": 4, "deleted": True}
    assert answer(delete(server, stream, **how)) == known | no_revision
    assert answer(delete(server, stream, **how)) == known | no_revision | {"duplicate": True}
    assert answer(delete(server, stream, tombstone=True, **how)) == known | no_revision | {"tombstoned": True}
    again = answer(delete(server, stream, tombstone=True, **how))
    assert again == known | no_revision | {"tombstoned": True, "duplicate": True}


def test_bodies_that_are_not_there(server, name):
    """Whatever type a client gives to no body, it is none; the answer's ETag is the head revision, as everywhere."""
    stream = name()
    written(server, stream)
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    for method, path in (("POST", f"{events_path(stream)}/1/redact"), ("DELETE", stream_path(stream))):
        response = server.request(method, path, b"", headers)
        assert (response.status, response.headers["ETag"]) == (200, '"3"'), response
    assert "ETag" not in delete(server, stream, by="command").headers


def test_what_was_done_is_in_the_log(server, name):
    """Each change is an event of the system's, in the stream `$streams`, that says what and of which stream."""
    stream = name()
    written(server, stream)
    before = server.position()
    patch(server, stream, {"max_count": 2})
    redact(server, stream, 3, "why 'not'\n")
    delete(server, stream)
    delete(server, stream, tombstone=True)
    events = server.read_all(system="true", after=before)
    assert [e["type"] for e in events] == ["$metadata", "$redacted", "$deleted", "$tombstoned"]
    assert {e["stream"] for e in events} == {"$streams"}
    assert all(e["data"]["stream"] == stream for e in events)
    assert events[0]["data"]["max_count"] == 2 and events[1]["data"]["reason"] == "why 'not'\n"
    assert server.read_all(after=before) == []
    assert [e["position"] for e in events] == list(range(before + 1, before + 5))


# ---- guards -----------------------------------------------------------------------------------------

HEADERS = [({"If-Match": '"3"'}, 200), ({"If-Match": '"2"'}, 412), ({"If-Match": "*"}, 200), ({"If-None-Match": "*"}, 412)]


@pytest.mark.parametrize("headers, status", HEADERS)
def test_headers_guard(server, name, encoding, headers, status):
    """If-Match and If-None-Match guard PATCH and DELETE as they guard an append; a violation is 412 and named."""
    for write in (lambda s, **more: patch(server, s, {"max_count": 1}, **more), lambda s, **more: delete(server, s, **more)):
        stream = name()
        written(server, stream)
        response = write(stream, headers=headers, encoding=encoding)
        assert response.status == status, response
        if status == 412:
            answer = parsed(response, "Problem")
            assert answer["type"].endswith(":wrong-expected-revision")
            (violation,) = answer["violations"]
            assert (violation["stream"], violation["actual"]) == (stream, 3)
            assert revisions(server, stream) == [1, 2, 3]


def test_guards_that_contradict_or_do_not_fit(server, name):
    """Two guards that differ, a header where it guards nothing, a body where none is read: refused, not passed over."""
    stream = name()
    written(server, stream)
    problem(patch(server, stream, {"max_count": 1}, 3, headers={"If-Match": '"2"'}), 400, "invalid-field", "expected_revision")
    problem(delete(server, stream, expected=3, headers={"If-Match": '"2"'}), 400, "invalid-field", "expected_revision")
    problem(redact(server, stream, 1, headers={"If-Match": '"3"'}), 400, "invalid-field", "header.If-Match")
    problem(patch(server, stream, {"max_count": 1}, headers={"If-Match": "3"}), 400, "invalid-field", "header.If-Match")
    problem(life.send(server, "DELETE", stream_path(stream), {"expected_revision": 3}), 400, "invalid-field")
    assert revisions(server, stream) == [1, 2, 3]
    assert patch(server, stream, {"max_count": 2}, 3, headers={"If-Match": '"3"'}).status == 200
    assert delete(server, stream, expected="stream_exists").status == 200


# ---- what is refused --------------------------------------------------------------------------------

WRONG_NUMBERS = [b"0", b"-1", b"1.0", b"1e3", b"9223372036854775808", b"18446744073709551616", b'"5"', b"true", b"[]", b"{}"]
BAD_BODIES = [
    *((b'{"%s":%s}' % (f, v), "invalid-field", f.decode()) for f in (b"max_count", b"max_age_s", b"truncate_before") for v in WRONG_NUMBERS),
    (b'{"max_age_s":9223372036855}', "invalid-field", "max_age_s"),
    (b'{"truncate_before":5}', "invalid-field", "truncate_before"),
    (b'{"custom":[]}', "invalid-field", "custom"),
    (b'{"custom":"{}"}', "invalid-field", "custom"),
    (b'{"custom":{"a":"%s"}}' % (b"x" * (16385 - 8)), "invalid-field", "custom"),
    (b'{"custom":' + b'{"a":' * 200 + b"1" + b"}" * 201, "invalid-field", "custom"),
    (b'{"custom":{"a":1,}}', "invalid-json", ""),
    (b'{"max_count":1,"max_count":1}', "invalid-field", "max_count"),
    (b'{"max_counts":1}', "unknown-field", "max_counts"),
    (b'{"max_count":1,"expected_revision":-1}', "invalid-field", "expected_revision"),
    (b'{"max_count":1,"expected_revision":"new"}', "invalid-field", "expected_revision"),
    (b'{"max_count":1,"stream":"another"}', "invalid-field", "stream"),
    (b"{}", "missing-field", "max_count"),
    (b"[]", "invalid-field", ""),
    (b"", "invalid-json", ""),
]  # fmt: skip


@pytest.mark.parametrize("body, code, field", BAD_BODIES, ids=lambda v: v[:50] if isinstance(v, bytes) else None)
def test_bad_metadata(server, name, body, code, field):
    """What is wrong is named, and nothing changes."""
    stream = name()
    written(server, stream)
    before = server.get(stream_path(stream)).raw
    problem(server.request("PATCH", stream_path(stream), body, {"Content-Type": JSON}), 400, code, field)
    assert server.get(stream_path(stream)).raw == before


def test_bad_protobuf_metadata(server, name):
    """The same rules where the body is a message."""
    stream, message = name(), life.pb().SetMetadata
    written(server, stream)
    for body, code, field in (
        (message(max_count=2**63), "invalid-field", "max_count"), (message(max_age_s=2**63), "invalid-field", "max_age_s"),
        (message(truncate_before=2**64 - 1), "invalid-field", "truncate_before"), (message(truncate_before=5), "invalid-field", "truncate_before"),
        (message(custom=b"[]"), "invalid-field", "custom"), (message(custom=b"{"), "invalid-field", "custom"), (message(), "missing-field", "max_count"),
        (message(stream="other", max_count=1), "invalid-field", "stream"),
    ):  # fmt: skip
        problem(life.send(server, "PATCH", stream_path(stream), body, "protobuf"), 400, code, field)
    assert info(server, stream)["metadata"] == {}


def test_bad_requests(server, name):
    """Query, path, names, bodies of delete, redact and commands."""
    stream = name()
    written(server, stream)
    base = stream_path(stream)
    for query, field in (("tombstone=yes", "query.tombstone"), ("tombstone=true&tombstone=true", "query.tombstone"),
                         ("force=true", "query.force"), ("expected_revision=-1", "query.expected_revision"),
                         ("expected_revision=1.0", "query.expected_revision"), ("expected_revision=9223372036854775808", "query.expected_revision"),
                         ("expected_revision=", "query.expected_revision")):  # fmt: skip
        problem(server.request("DELETE", f"{base}?{query}"), 400, "invalid-parameter", field)
    problem(redact(server, stream, "x"), 400, "invalid-parameter", "path.revision")
    problem(redact(server, stream, "-1"), 400, "invalid-parameter", "path.revision")
    problem(redact(server, stream, 0), 404, "event-not-found")
    problem(redact(server, stream, 1, "x" * 1001), 400, "invalid-field", "reason")
    path = f"{events_path(stream)}/1/redact"
    for body, code, field in ((b'{"reason":5}', "invalid-field", "reason"), (b'{"why":"x"}', "unknown-field", "why"), (b"[]", "invalid-field", ""),
                              (b'{"revision":2}', "invalid-field", "revision"), (b'{"stream":"x"}', "invalid-field", "stream")):  # fmt: skip
        problem(server.post(path, body), 400, code, field)
    problem(server.post(path, b"x", {"Content-Type": "text/plain"}), 415, "unsupported-media-type")
    for body, code, field in (
        (b'{"redact":{"stream":"s"}}', "missing-field", "redact.revision"), (b'{"redact":{"revision":1}}', "missing-field", "redact.stream"),
        (b'{"set_metadata":{"stream":"s"}}', "missing-field", "set_metadata.max_count"), (b'{"delete_stream":{}}', "missing-field", "delete_stream.stream"),
        (b'{"delete_stream":{"stream":"s","tombstone":1}}', "invalid-field", "delete_stream.tombstone"),
        (b'{"delete_stream":{"stream":"s"},"redact":{}}', "invalid-field", "delete_stream"), (b"{}", "missing-field", "append"),
    ):  # fmt: skip
        problem(server.post("/v1/commands", body), 400, code, field)
    problem(server.post("/v1/commands", b'{"redact":{"stream":"%s","revision":9}}' % stream.encode()), 404, "event-not-found", "redact.revision")
    assert revisions(server, stream) == [1, 2, 3]


@ROUTES
@pytest.mark.parametrize("stream", ["$streams", "$x"])
def test_the_systems_streams(server, encoding, by, stream):
    """They can be neither deleted nor changed."""
    how = {"encoding": encoding, "by": by}
    for response in (patch(server, stream, {"max_count": 1}, **how), delete(server, stream, **how), redact(server, stream, 1, **how)):
        problem(response, 403, "reserved-name")


# ---- how it goes on ---------------------------------------------------------------------------------


def test_numbering_goes_on(server, name):
    """After a deletion the next event has the next revision, and only it is there."""
    stream = name()
    written(server, stream)
    delete(server, stream)
    result = server.append_ok(stream, event(data="new"), 3)
    assert (result["first_revision"], result["last_revision"]) == (4, 4)
    assert revisions(server, stream) == [4]
    now = info(server, stream)
    assert (now["head_revision"], now["first_revision"], now["events"], now["deleted"]) == (4, 4, 1, False)
    delete(server, stream)
    assert info(server, stream)["first_revision"] == 5


def test_hidden_once_is_hidden_for_ever(server, name):
    """Removing a limit brings nothing back."""
    stream = name()
    written(server, stream)
    patch(server, stream, {"max_count": 1})
    patch(server, stream, {"max_count": NONE})
    patch(server, stream, {"max_count": 100, "truncate_before": 1})
    patch(server, stream, {"truncate_before": NONE})
    assert revisions(server, stream) == [3]
    server.append_ok(stream, [event(), event()])
    assert revisions(server, stream) == [3, 4, 5]
    patch(server, stream, {"max_count": 2})
    assert revisions(server, stream) == [4, 5]
    server.append_ok(stream, event())
    assert revisions(server, stream) == [5, 6]


def test_ids_match_only_what_can_be_read(server, name):
    """The id of a deleted event is free again in its stream; that of a redacted one is not, whatever the data."""
    stream, old, kept = name(), event(data={"a": 1}), event(data={"b": 1})
    server.append_ok(stream, old)
    assert server.append(stream, old).status == 200
    delete(server, stream)
    assert server.append_ok(stream, old)["first_revision"] == 2
    server.append_ok(stream, kept)
    redact(server, stream, 3)
    response = server.append(stream, kept)
    assert (response.status, response.json["duplicate"], response.json["last_revision"]) == (200, True, 3)
    problem(server.append(stream, kept | {"type": "Other"}), 409, "id-reused")


def test_expiry_by_age(server, name):
    """What is older than max_age_s is gone from every read by itself; what is newer stays."""
    stream = name()
    written(server, stream)
    position = server.read_all(events_path(stream))[-1]["position"]
    response = patch(server, stream, {"max_age_s": 1})
    assert response.json["metadata"] == {"max_age_s": 1}
    wait_for(lambda: revisions(server, stream) == [], 20, "the events to expire")
    assert server.read_all(prefix=stream) == [] and server.read_all(prefix=stream, direction="backward") == []
    problem(server.get(f"{events_path(stream)}/3"), 404, "event-not-found")
    problem(server.get(f"/v1/events/{position}"), 404, "event-not-found")
    now = info(server, stream)
    assert (now["first_revision"], now["head_revision"], now["events"], now["deleted"]) == (4, 3, 0, False)
    patch(server, stream, {"max_age_s": NONE})
    assert revisions(server, stream) == []
    server.append_ok(stream, event(), 3)
    assert revisions(server, stream) == [4]


def test_a_redacted_event(server, name, pb):
    """Data and metadata are gone, its envelope stays; a client that has it under its tag gets the new one."""
    stream = name()
    whole = event("Secret", {"x": "s3cret"}, metadata={"m": "s3cret"}, tags=["t:1"], occurred_at="2026-01-01T00:00:00Z", schema_version=7)
    binary = {"type": "B", "content_type": "image/png", "data_base64": "AAEC", "tags": ["t:1"]}
    server.append_ok(stream, [whole, binary])
    before = [server.get(f"{events_path(stream)}/{r}") for r in (1, 2)]
    for revision in (1, 2):
        assert redact(server, stream, revision).status == 200
    for response, revision in zip(before, (1, 2)):
        old, path = response.json, f"{events_path(stream)}/{revision}"
        want = {k: v for k, v in old.items() if k not in ("metadata", "data", "data_base64")} | {"data": None, "redacted": True}
        assert server.get(path).json == want
        assert server.get(path, headers={"If-None-Match": response.headers["ETag"]}).json == want
        assert "immutable" not in server.get(path).headers["Cache-Control"]
        assert server.get(f"/v1/events/{old['position']}").json == want
        assert want in server.read_all(tag="t:1") and want in server.read_all(events_path(stream))
        assert want in server.get(events_path(stream), JSON).json["events"]
        message = server.get(path, PROTOBUF).message("Event")
        assert message.redacted and not message.data and not message.metadata
        assert (message.type, message.content_type) == (old["type"], "image/png" if revision == 2 else "")
    assert b"s3cret" not in server.get("/v1/events", NDJSON, {"system": "true"}).raw


def test_the_etag_of_a_changed_stream(server, name):
    """A stream whose metadata changed is not 304 for who has its state from before."""
    stream = name()
    written(server, stream)
    headers = {"If-None-Match": server.get(stream_path(stream)).headers["ETag"]}
    assert server.get(stream_path(stream), headers=headers).status == 304
    patch(server, stream, {"max_count": 2})
    assert server.get(stream_path(stream), headers=headers).json["first_revision"] == 2
    patch(server, stream, {"max_count": NONE})
    assert server.get(stream_path(stream), headers=headers).status == 200
    delete(server, stream)
    assert server.get(stream_path(stream), headers=headers).json["deleted"] is True
    assert server.head(stream_path(stream)).headers["ETag"] == '"3"'


@pytest.mark.parametrize("accept", FORMATS.values(), ids=FORMATS)
def test_live_reads(server, name, accept):
    """A follower of a stream that is deleted comes to a whole end, and another is 410 until there is something again; one of
    the log goes on, and is told of the deletion if it asks for the system's events."""
    stream = name()
    written(server, stream)
    with LiveRead(server.port, events_path(stream), accept).start() as live, \
            LiveRead(server.port, "/v1/events", accept, system="true", after="end").start() as log:  # fmt: skip
        assert [e["revision"] for e in live.caught_up()[0]] == [1, 2, 3]
        log.caught_up()
        delete(server, stream)
        deletion = log.event()
        assert (deletion["type"], deletion["data"]["stream"]) == ("$deleted", stream)
        with LiveRead(server.port, events_path(stream), accept).start() as refused:
            assert refused.status == 410
        problem(server.get(events_path(stream), JSON, {"wait": "1s"}), 410, "stream-deleted")
        assert [kind for kind, _ in live.rest()] in ([], ["heartbeat"])
        server.append_ok(stream, event(data="new"))
        assert log.event()["data"] == "new"
    with LiveRead(server.port, events_path(stream), accept).start() as live:
        assert [e["revision"] for e in live.caught_up()[0]] == [4]


# ---- everything at random, against a model -----------------------------------------------------------


def step(rng, model, streams):
    """One write."""
    stream = rng.choice(streams)
    s = model.streams[stream]
    choice = rng.random()
    if s.head == 0 or choice < 0.5:
        kinds, tags = ["A", "B", "C"], ["x", "y", "z"]
        model.append(stream, [(rng.choice(kinds), rng.randrange(1000), sorted(rng.sample(tags, rng.randrange(3)))) for _ in range(rng.randrange(1, 6))])
    elif choice < 0.62:
        model.limit(stream, rng.choice([0, 1, 3, 10]))
    elif choice < 0.74:
        model.truncate(stream, rng.randrange(1, s.head + 2))
    elif choice < 0.86:
        model.redact(stream, rng.randrange(1, s.head + 2))
    else:
        model.delete(stream, tombstone=rng.random() < 0.15)


@pytest.mark.timeout_s(120)
def test_random(launch, seed, tmp_path):
    """Random appends, limits, truncations, deletions and redactions: every read equals the model, from memory, from LMDB,
    after SIGTERM, kill -9 and reindex, and verify finds nothing."""
    rng, server = random.Random(seed), launch("--apply-interval-ms", "20")
    streams = [f"{category}-{n}" for category in ("order", "loan") for n in range(4)] + ["order", "orders-1"]
    model = Model(server)
    for turn in range(6):
        for _ in range(25):
            step(rng, model, streams)
        model.check([s for s in streams if s in model.streams])
        if turn % 3 == 2:
            server.stop()
            assert daybook("reindex", "--data", server.data).returncode == 0
            assert daybook("verify", "--data", server.data).stdout.startswith(b"verify: ok: ")
            server.start()
        else:
            server.restart(kill=turn % 3 == 0)
        model.check([s for s in streams if s in model.streams], full=False)
    model.check_export(tmp_path / "out")
    assert server.post("/v1/admin/verify").json["findings"] == []

"""/v1/streams/{stream}/snapshot: a state that a client keeps, what becomes of it when its stream changes, and reading on from it."""
import base64
import json
import os
import random
import threading

import pytest

from support import JSON, NDJSON, PROTOBUF, event, problem, quote, wait_for

SERVER_FLAGS = ("--snapshot-bytes-max", "64KiB")


def path(stream, rest="/snapshot"):
    return f"/v1/streams/{quote(stream)}{rest}"


def put(server, stream, body, **more):
    raw = body if isinstance(body, (bytes, str)) else json.dumps(body)
    return server.request("PUT", path(stream), raw.encode() if isinstance(raw, str) else raw,
                          {"Content-Type": JSON, **more.pop("headers", {})}, **more)


def put_ok(server, stream, revision, data=None, status=(200, 201), **fields):
    answer = put(server, stream, {"revision": revision, "data": {"n": revision} if data is None else data, **fields})
    assert answer.status in ((status,) if isinstance(status, int) else status), answer.raw
    return answer.json


def get(server, stream, headers=None):
    return server.get(path(stream), headers=headers)


def revision_of(server, stream):
    answer = get(server, stream)
    return answer.json["revision"] if answer.status == 200 else None


def fill(server, stream, n=5):
    server.append_ok(stream, [event("Added", {"i": i}) for i in range(n)])
    return stream


def test_put_get_delete(server, name):
    """What was put comes back byte for byte, with its numbers; deleted it is gone; deleting again is no error."""
    s = fill(server, name())
    raw = '{"revision": 3, "data": {"b":1.10, "a":[1e400, 9223372036854775808]}, "name":"Order", "schema_version":7}'
    answer = put(server, s, raw)
    assert answer.status == 201 and answer.json["replaced"] is False and answer.json["revision"] == 3
    assert answer.json["stream"] == s and answer.headers["ETag"]
    found = get(server, s)
    assert found.status == 200 and found.headers["ETag"] == answer.headers["ETag"]
    assert int(found.headers["Daybook-Position"]) > 0
    assert b'"data":{"b":1.10, "a":[1e400, 9223372036854775808]}' in found.raw
    document = json.loads(found.raw)
    assert {k: document[k] for k in ("stream", "revision", "name", "schema_version", "content_type", "time")} == {
        "stream": s, "revision": 3, "name": "Order", "schema_version": 7, "content_type": JSON, "time": answer.json["time"]}
    assert put_ok(server, s, 4, status=200)["replaced"] is True
    gone = server.request("DELETE", path(s))
    assert gone.status == 204 and gone.raw == b"" and "Daybook-Position" in gone.headers
    problem(get(server, s), 404, "snapshot-not-found", "stream")
    assert server.request("DELETE", path(s)).status == 204


def test_protobuf(server, name, pb):
    """The same in protobuf; data that is no JSON is base64 in JSON."""
    s = fill(server, name())
    data = bytes(range(256))
    body = pb.PutSnapshot(revision=5, data=data, content_type="application/octet-stream", schema_version=2, name="é")
    headers = {"Content-Type": PROTOBUF, "Accept": PROTOBUF}
    answer = put(server, s, body.SerializeToString(), headers=headers)
    assert answer.status == 201 and answer.message("SnapshotResult").revision == 5
    found = get(server, s, {"Accept": PROTOBUF})
    message = found.message("Snapshot")
    assert (message.stream, message.revision, message.data, message.content_type, message.schema_version, message.name) == (
        s, 5, data, "application/octet-stream", 2, "é")
    as_json = get(server, s).json
    assert base64.b64decode(as_json["data_base64"]) == data and "data" not in as_json
    assert put(server, s, {"revision": 5, "data_base64": as_json["data_base64"], "content_type": "image/png"}).status == 200
    answer = put(server, s, pb.PutSnapshot(revision=2, data=b"1").SerializeToString(), headers=headers)
    message = answer.message("Problem")
    assert answer.status == 409 and message.type.endswith("snapshot-stale") and message.stored_revision == 5


def test_stale_and_same_revision(server, name):
    """A lower revision never replaces a higher one; the same replaces, and its tag is another."""
    s = fill(server, name(), 9)
    put_ok(server, s, 5, {"v": 1}, status=201)
    before = get(server, s)
    answer = problem(put(server, s, {"revision": 4, "data": 1}), 409, "snapshot-stale", "revision").json
    assert answer["stored_revision"] == 5 and "revision 5" in answer["detail"]
    assert get(server, s).raw == before.raw
    put_ok(server, s, 5, {"v": 2}, status=200)
    after = get(server, s)
    assert after.json["data"] == {"v": 2} and after.headers["ETag"] != before.headers["ETag"]


def test_etag(server, name):
    """A known tag is 304, in lists and weak too; HEAD has no body."""
    s = fill(server, name())
    put_ok(server, s, 3)
    tag = get(server, s).headers["ETag"]
    for value in (tag, f'"x", {tag}', f"W/{tag}", "*"):
        answer = get(server, s, {"If-None-Match": value})
        assert answer.status == 304 and answer.raw == b"" and answer.headers["ETag"] == tag, value
    put_ok(server, s, 4)
    assert get(server, s, {"If-None-Match": tag}).status == 200
    head = server.request("HEAD", path(s))
    assert head.status == 200 and head.raw == b""


@pytest.mark.parametrize("body, status, code, field", [
    ('{"revision":1,"data":', 400, "invalid-json", None),
    ("[]", 400, "invalid-field", None),
    ("{}", 400, "missing-field", "revision"),
    ('{"data":1}', 400, "missing-field", "revision"),
    ('{"revision":1}', 400, "missing-field", "data"),
    ('{"revision":0,"data":1}', 400, "invalid-field", "revision"),
    ('{"revision":-1,"data":1}', 400, "invalid-field", "revision"),
    ('{"revision":1.0,"data":1}', 400, "invalid-field", "revision"),
    ('{"revision":"1","data":1}', 400, "invalid-field", "revision"),
    ('{"revision":99999999999999999999,"data":1}', 400, "invalid-field", "revision"),
    ('{"revision":6,"data":1}', 400, "invalid-field", "revision"),
    ('{"revision":1,"data":1,"data":2}', 400, "invalid-field", "data"),
    ('{"revision":1,"data":1,"data_base64":"MQ=="}', 400, "invalid-field", "data_base64"),
    ('{"revision":1,"data_base64":"MQ"}', 400, "invalid-field", "data_base64"),
    ('{"revision":1,"data_base64":"e30="}', 201, None, None),
    ('{"revision":1,"data_base64":"e3o="}', 400, "invalid-field", "data_base64"),
    ('{"revision":1,"data":1,"content_type":"text/plain"}', 400, "invalid-field", "data"),
    ('{"revision":1,"content_type":"text/plain"}', 400, "missing-field", "data_base64"),
    ('{"revision":1,"data":1,"content_type":"nonsense"}', 400, "invalid-field", "content_type"),
    ('{"revision":1,"data":1,"schema_version":4294967296}', 400, "invalid-field", "schema_version"),
    ('{"revision":1,"data":1,"schema_version":4294967295}', 201, None, None),
    ('{"revision":1,"data":1,"name":"a\\u0007"}', 400, "invalid-field", "name"),
    ('{"revision":1,"data":1,"name":"%s"}' % ("x" * 256), 400, "invalid-field", "name"),
    ('{"revision":1,"data":1,"nme":"x"}', 400, "unknown-field", "nme"),
    ('{"revision":1,"data":1,"stream":"other"}', 400, "invalid-field", "stream"),
    ('{"revision":1,"data":null,"name":null,"stream":null}', 201, None, None),
    ('{"revision":1,"data":"%s"}' % ("x" * 65534), 201, None, None),
    ('{"revision":1,"data":"%s"}' % ("x" * 65535), 413, "snapshot-too-large", "data"),
    ('{"revision":1,"data":%s}' % ("[" * 200 + "]" * 200), 400, "invalid-json", None),
])
def test_bodies(server, name, body, status, code, field):
    """Every wrong body is told by its field and changes nothing."""
    s = fill(server, name())
    answer = put(server, s, body)
    if code is None:
        assert answer.status == status, answer.raw
        return
    problem(answer, status, code, field)
    problem(get(server, s), 404, "snapshot-not-found", "stream")


def test_other_requests(server, name, pb):
    """Media types, parameters, names, unknown fields of protobuf, methods."""
    s = fill(server, name())
    problem(put(server, s, b"x", headers={"Content-Type": "text/plain"}), 415, "unsupported-media-type")
    problem(put(server, s, b"\xff\xff", headers={"Content-Type": PROTOBUF}), 400, "invalid-protobuf")
    unknown = pb.PutSnapshot(revision=1, data=b"1").SerializeToString() + b"\xf8\x01\x01"
    problem(put(server, s, unknown, headers={"Content-Type": PROTOBUF}), 400, "unknown-field", "#31")
    problem(put(server, s, pb.PutSnapshot(revision=1).SerializeToString(), headers={"Content-Type": PROTOBUF}), 400, "missing-field", "data")
    problem(server.get(path(s) + "?x=1"), 400, "invalid-parameter", "query.x")
    problem(get(server, s, {"Accept": "text/html"}), 406, "not-acceptable", "header.Accept")
    problem(put(server, "$streams", {"revision": 1, "data": 1}), 403, "reserved-name", "stream")
    assert server.request("DELETE", path(s), b"{}", {"Content-Type": JSON}).status == 400
    assert server.request("POST", path(s), b"{}", {"Content-Type": JSON}).status == 405
    for method in ("PUT", "GET", "DELETE"):
        body = b'{"revision":1,"data":1}' if method == "PUT" else None
        problem(server.request(method, path(name("none")), body, {"Content-Type": JSON} if body else {}), 404, "stream-not-found", "stream")


def redact(server, stream, revision):
    answer = server.post(path(stream, f"/events/{revision}/redact"))
    assert answer.status == 200, answer.raw


@pytest.mark.parametrize("tombstone", [False, True])
def test_deleting_the_stream(server, name, tombstone):
    """A deletion of the stream takes its snapshot with it, for good: not even a late PUT brings it back."""
    s = fill(server, name())
    put_ok(server, s, 5, {"secret": 1})
    assert server.request("DELETE", path(s, "") + ("?tombstone=true" if tombstone else "")).status == 200
    problem(get(server, s), 410, "stream-deleted", "stream")
    problem(put(server, s, {"revision": 5, "data": 1}), 410, "stream-deleted", "stream")
    problem(server.request("DELETE", path(s)), 410, "stream-deleted", "stream")
    problem(server.get(path(s, "/events?after=snapshot")), 410, "stream-deleted", "stream")
    if not tombstone:
        fill(server, s, 2)
        problem(get(server, s), 404, "snapshot-not-found", "stream")
        answer = problem(put(server, s, {"revision": 5, "data": 1}), 400, "invalid-field", "revision").json
        assert "deleted at revision 5" in answer["detail"]
        assert server.get(path(s, "/events?after=snapshot")).json["after"] == 0
        put_ok(server, s, 6, status=201)
        assert revision_of(server, s) == 6


def test_truncation_leaves_it_and_redaction_does_not(server, name):
    """What is truncated away is what a snapshot is for; a redacted event may be in it, so it goes, unless it is older."""
    s = fill(server, name(), 9)
    put_ok(server, s, 5)
    answer = server.request("PATCH", path(s, ""), b'{"truncate_before":8}', {"Content-Type": JSON})
    assert answer.status == 200 and revision_of(server, s) == 5
    put_ok(server, s, 5, status=200)
    redact(server, s, 8)
    assert revision_of(server, s) == 5
    put_ok(server, s, 8)
    redact(server, s, 9)
    assert revision_of(server, s) == 8
    put_ok(server, s, 9)
    redact(server, s, 9)  # it was already: nothing is written
    assert revision_of(server, s) == 9
    other = fill(server, name(), 9)
    put_ok(server, other, 5)
    redact(server, other, 5)
    problem(get(server, other), 404, "snapshot-not-found", "stream")
    assert server.get(path(other, "/events?after=snapshot")).json["after"] == 0
    put_ok(server, other, 5, status=201)


def data_file(server):
    return os.path.join(server.data, "state", "data.mdb")


@pytest.mark.parametrize("how", ["delete", "redact", "replaced"])
def test_bytes_are_wiped(fresh, how):
    """After a redaction or a deletion the snapshot's bytes are gone from the file, also those of one that was replaced."""
    secret = b"SECRET-" + os.urandom(8).hex().encode()
    fill(fresh, "s")
    fill(fresh, "t")
    put_ok(fresh, "t", 1)
    put_ok(fresh, "s", 3, {"x": secret.decode()})
    with open(data_file(fresh), "rb") as file:
        assert secret in file.read()
    if how == "replaced":
        put_ok(fresh, "s", 3, {"x": "nothing"})
    if how == "delete":
        assert fresh.request("DELETE", path("s", "")).status == 200
    else:
        redact(fresh, "s", 2)

    def is_wiped():
        with open(data_file(fresh), "rb") as file:
            return secret not in file.read()

    wait_for(is_wiped, 30, "the bytes to go")
    assert revision_of(fresh, "t") == 1


def events_after(answer):
    return [e["revision"] for e in answer.json["events"]]


def test_after_snapshot(server, name):
    """The read begins after the snapshot and says where that is: all of the stream where there is none."""
    s = fill(server, name(), 6)
    url = path(s, "/events?after=snapshot")
    answer = server.get(url)
    assert answer.headers["Daybook-After"] == "0" and answer.json["after"] == 0 and events_after(answer) == [1, 2, 3, 4, 5, 6]
    put_ok(server, s, 4)
    answer = server.get(url)
    assert answer.headers["Daybook-After"] == "4" and answer.json["after"] == 4 and events_after(answer) == [5, 6]
    assert answer.json["end"] is True and answer.json["next"] == 6
    first = server.get(url + "&limit=1").json
    assert first["after"] == 4 and first["next"] == 5 and "after" not in server.get(path(s, "/events?after=5")).json
    lines = server.get(url, headers={"Accept": NDJSON})
    assert lines.headers["Daybook-After"] == "4" and [json.loads(x)["revision"] for x in lines.raw.splitlines()] == [5, 6]
    batch = server.get(url, headers={"Accept": PROTOBUF})
    assert batch.headers["Daybook-After"] == "4" and [e.revision for e in batch.message("EventBatch").events] == [5, 6]
    put_ok(server, s, 6)
    assert events_after(server.get(url)) == []
    problem(server.get(path(name("none"), "/events?after=snapshot")), 404, "stream-not-found", "stream")
    for url in (path(s, "/events?after=snap"), path(s, "/events?after=Snapshot"), "/v1/events?after=snapshot"):
        problem(server.get(url), 400, "invalid-parameter", "query.after")
    problem(server.get(path(s, "/events?after=snapshot&direction=backward")), 400, "invalid-parameter", "query.after")


def test_after_snapshot_waits(server, name):
    """A long poll after the snapshot is answered by the next event, and says where it began."""
    s = fill(server, name(), 3)
    put_ok(server, s, 3)
    answers = []
    thread = threading.Thread(target=lambda: answers.append(server.get(path(s, "/events?after=snapshot&wait=20s"))))
    thread.start()
    server.append_ok(s, event())
    thread.join()
    assert events_after(answers[0]) == [4] and answers[0].json["after"] == 3 and answers[0].headers["Daybook-After"] == "3"


def test_kill_right_after_the_answer(launch):
    """An answered PUT or DELETE survives kill -9, each time."""
    server = launch()
    fill(server, "s", 30)
    for revision in range(1, 13):
        deleted = revision % 4 == 0
        put_ok(server, "s", revision, {"v": revision}, name="n", schema_version=revision)
        if deleted:
            assert server.request("DELETE", path("s")).status == 204
        server.kill9()
        server.start()
        if deleted:
            problem(get(server, "s"), 404, "snapshot-not-found", "stream")
            continue
        found = get(server, "s").json
        assert (found["revision"], found["data"], found["schema_version"]) == (revision, {"v": revision}, revision)


def test_kill_right_after_a_deletion(launch):
    """What the log has ended stays ended, though the process dies before the snapshot was taken away."""
    server = launch()
    for i in range(6):
        s = fill(server, f"s-{i}")
        put_ok(server, s, 4, {"secret": i})
        if i % 2 == 0:
            redact(server, s, 1)
        else:
            assert server.request("DELETE", path(s, "")).status == 200
        fill(server, s, 1)
        server.kill9()
        server.start()
        problem(get(server, s), 404, "snapshot-not-found", "stream")
        put_ok(server, s, 6, status=201)
        server.kill9()
        server.start()
        assert revision_of(server, s) == 6


@pytest.mark.timeout_s(60)
def test_stale_race(server, name, seed):
    """20 clients put random revisions at once: what is there never goes back, and the highest of all wins."""
    s = fill(server, name(), 200)
    failures, highest = [], [0] * 20
    stop = threading.Event()

    def write(i):
        dice = random.Random(seed + i)
        for _ in range(15):
            revision = dice.randint(1, 200)
            answer = put(server, s, {"revision": revision, "data": {"of": revision}})
            if answer.status in (200, 201):
                highest[i] = max(highest[i], revision)
            elif answer.status != 409 or answer.json["stored_revision"] <= revision:
                failures.append(answer.raw)

    def watch():
        last = 0
        while not stop.is_set():
            answer = get(server, s)
            if answer.status == 404:
                continue
            if answer.json["revision"] < last or answer.json["data"] != {"of": answer.json["revision"]}:
                failures.append((last, answer.raw))
            last = answer.json["revision"]

    watcher = threading.Thread(target=watch)
    writers = [threading.Thread(target=write, args=(i,)) for i in range(20)]
    for thread in [watcher, *writers]:
        thread.start()
    for thread in writers:
        thread.join()
    stop.set()
    watcher.join()
    assert failures == []
    assert revision_of(server, s) == max(highest)


def test_no_room(launch):
    """All snapshots together have a limit: 507 that names it; replacing and deleting make room."""
    server = launch("--snapshots-bytes-max", "64KiB")
    for i in range(17):
        fill(server, f"s-{i}", 2)
    for i in range(16):
        put_ok(server, f"s-{i}", 1, status=201)
    answer = problem(put(server, "s-16", {"revision": 1, "data": 1}), 507, "insufficient-storage").json
    assert "snapshots-bytes-max" in answer["detail"]
    put_ok(server, "s-3", 2, status=200)
    assert server.request("DELETE", path("s-0")).status == 204
    put_ok(server, "s-16", 1, status=201)
    assert server.request("DELETE", path("s-1", "")).status == 200
    put_ok(server, "s-0", 1, status=201)
    server.stop()
    server.start()
    problem(put(server, "s-1", {"revision": 1, "data": 1}), 410, "stream-deleted", "stream")
    problem(put(server, fill(server, "s-17", 1), {"revision": 1, "data": 1}), 507, "insufficient-storage")


def test_nearly_full_disk(launch):
    """Below disk-free-min-bytes snapshots are refused, and can be read and deleted."""
    server = launch()
    fill(server, "s")
    put_ok(server, "s", 1)
    server.stop()
    free = os.statvfs(server.data)
    more = free.f_bavail * free.f_frsize * 2
    if more > 1 << 40:
        pytest.skip("the disk has more than disk-free-min-bytes can name")
    server.flags = (*server.flags, "--disk-free-min-bytes", str(more))
    server.start()
    problem(put(server, "s", {"revision": 2, "data": 1}), 507, "insufficient-storage")
    assert revision_of(server, "s") == 1
    assert server.request("DELETE", path("s")).status == 204

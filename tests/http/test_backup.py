"""Backup and restore: a drill under load, at every position, through kills, bit flips and cuts; what must not be in a backup."""
import os
import random
import socket
import struct
import subprocess
import threading
import zlib

import pytest

from support import DAYBOOK, DAYBOOKD, NDJSON, SLOW, event, events_path, problem, wait_for

SQL = "application/sql"
COUNTER = """CREATE TABLE counts (stream TEXT PRIMARY KEY, n INTEGER);
-- @on *
INSERT INTO counts VALUES (:stream, 1) ON CONFLICT DO UPDATE SET n = n + 1;
"""
HEADER_BYTES = HEAD_BYTES = 40


def daybook(*args, url=None, timeout=60, **more):
    env = {k: v for k, v in os.environ.items() if not k.startswith("DAYBOOK_")}
    command = [DAYBOOK, *(["--url", url] if url else []), *map(str, args)]
    return subprocess.run(command, capture_output=True, timeout=timeout * SLOW, env=env, check=False, **more)


def url(server):
    return f"http://127.0.0.1:{server.port}"


def backup(server, path):
    done = daybook("backup", path, url=url(server))
    assert done.returncode == 0, done.stderr
    assert not os.path.exists(f"{path}.part")
    return path


def restore(path, data, *more):
    done = daybook("restore", path, data, *more)
    assert done.returncode == 0, done.stderr
    check = daybook("verify", "--data", data)
    assert check.returncode == 0, check.stdout
    return data


def verified(path):
    """The last position of a sound backup."""
    done = daybook("verify", path)
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split(b"up to position ")[1].split(b",")[0])


def log(server, position=None):
    """Every event that can be read, byte for byte, up to a position."""
    lines = server.get("/v1/events?system=true", NDJSON).lines
    return [line for line in lines if position is None or int(line.split(b'"position":')[1].split(b",")[0]) <= position]


def payloads(path):
    """What the frames hold, unpacked."""
    data = open(path, "rb").read()
    at, out = HEADER_BYTES, []
    while at < len(data):
        kind, size = struct.unpack_from("<I", data, at)[0], struct.unpack_from("<I", data, at + 32)[0]
        payload = data[at + HEAD_BYTES : at + HEAD_BYTES + size]
        out.append(zlib.decompress(payload) if kind == 0x31434552 else payload)
        at += HEAD_BYTES + size
    return b"".join(out)


# ---- the drill ------------------------------------------------------------------------------------


@pytest.mark.timeout_s(120)
def test_drill(fresh, launch, tmp_path):
    """Under write load: every event up to the backup's position is in the restored store, byte for byte; both go on."""
    stop, written = threading.Event(), [0]
    assert fresh.request("PUT", "/v1/projections/counter", COUNTER.encode(), {"Content-Type": SQL}).status == 201

    def write():
        i = 0
        while not stop.is_set():
            i += 1
            fresh.append_ok(f"s-{i % 37}", [event("T", {"i": i, "text": "x" * (i % 700)}, tags=["a"]) for _ in range(20)])
            written[0] += 20

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    try:
        wait_for(lambda: written[0] > 1000, 60, "the first events")
        path = backup(fresh, tmp_path / "b")
        at_end = written[0]
        wait_for(lambda: written[0] > at_end, 60, "appends to go on")
    finally:
        stop.set()
        thread.join()
    position = verified(path)
    assert 1000 < position <= fresh.position()
    copy = launch(data=restore(path, tmp_path / "r"))
    assert log(copy) == log(fresh, position)
    assert copy.status()["store_id"] == fresh.status()["store_id"]
    copy.append_ok("s-1", event())
    assert copy.position() == position + 1
    assert copy.post("/v1/admin/verify").json["ok"]
    sql = b'{"sql":"SELECT sum(n) AS n FROM counts"}'
    answer = copy.post("/v1/projections/counter/query?wait=30s&min_position=" + str(position), sql, {"Content-Type": "application/json"})
    assert answer.status == 200, answer


def test_what_was_taken_away_is_not_in_it(fresh, launch, tmp_path):
    """Deleted, truncated, redacted events' bytes are in no backup, though reclaim has not been there; what is shown is the same."""
    fresh.append_ok("gone", [event("T", {"v": "SECRET-deleted"})])
    fresh.append_ok("cut", [event("T", {"v": f"SECRET-cut-{i}" if i < 5 else "kept"}) for i in range(10)])
    fresh.append_ok("wiped", [event("T", {"v": "SECRET-wiped"}, metadata={"m": "SECRET-metadata"}), event("T", {"v": "kept"})])
    fresh.append_ok("few", [event("T", {"v": f"SECRET-few-{i}" if i < 8 else "kept"}) for i in range(10)])
    assert fresh.request("DELETE", "/v1/streams/gone").status == 200
    assert fresh.request("PATCH", "/v1/streams/cut", b'{"truncate_before":6}', {"Content-Type": "application/json"}).status == 200
    assert fresh.request("PATCH", "/v1/streams/few", b'{"max_count":2}', {"Content-Type": "application/json"}).status == 200
    assert fresh.post(events_path("wiped") + "/1/redact").status == 200
    path = backup(fresh, tmp_path / "b")
    held = payloads(path)
    assert b"kept" in held and b"SECRET" not in held
    copy = launch(data=restore(path, tmp_path / "r"))
    assert log(copy) == log(fresh)
    problem(copy.get(events_path("gone")), 410, "stream-deleted")
    for stream in ("gone", "cut", "wiped", "few"):
        assert copy.get(f"/v1/streams/{stream}").json == fresh.get(f"/v1/streams/{stream}").json


def test_every_position(fresh, launch, tmp_path, seed):
    """A store of an earlier position has the events up to there, but not those that were deleted since; it is another store."""
    rng = random.Random(seed)
    for i in range(60):
        fresh.append_ok(f"s{rng.randrange(6)}", [event("T", {"i": i}) for _ in range(rng.randrange(1, 4))])
    cut = fresh.position() - 20
    all_before = log(fresh, cut)
    fresh.append_ok("s0", event())
    revision = fresh.get("/v1/streams/s0").json["head_revision"]
    fresh.request("PATCH", "/v1/streams/s0", f'{{"truncate_before":{revision}}}'.encode(), {"Content-Type": "application/json"})
    fresh.request("DELETE", "/v1/streams/s1")
    path = backup(fresh, tmp_path / "b")
    for n, to in enumerate([rng.randrange(1, cut), cut]):
        data = restore(path, tmp_path / f"r{n}", "--to-position", to)
        copy = launch(data=data)
        mine = [line for line in all_before if b'"stream":"s0"' not in line and b'"stream":"s1"' not in line]
        assert log(copy, to) == [line for line in mine if int(line.split(b'"position":')[1].split(b",")[0]) <= to]
        assert copy.status()["store_id"] != fresh.status()["store_id"]
        assert copy.position() >= to
        copy.append_ok("s1", event())
        assert copy.post("/v1/admin/verify").json["ok"]
    done = daybook("restore", path, tmp_path / "beyond", "--to-position", fresh.position() + 1)
    assert done.returncode != 0 and f"the backup ends at position {fresh.position()}".encode() in done.stderr


def test_an_empty_store(fresh, launch, tmp_path):
    """Nothing is a backup too."""
    path = backup(fresh, tmp_path / "b")
    verified(path)
    copy = launch(data=restore(path, tmp_path / "r"))
    assert log(copy) == log(fresh)
    copy.append_ok("a", event())


def test_groups_begin_anew(fresh, launch, tmp_path):
    """A group's definition is in the log, how far it is is not in a backup: events come again, none is missed. Nor are client snapshots."""
    json = {"Content-Type": "application/json"}
    fresh.append_ok("a", [event() for _ in range(3)])
    assert fresh.request("PUT", "/v1/groups/g", b"{}", json).status in (200, 201)
    lease = fresh.post("/v1/groups/g/fetch", b'{"max":1}', json).json["events"][0]["lease"]
    assert fresh.post("/v1/groups/g/ack", f'{{"leases":["{lease}"]}}'.encode(), json).status == 200
    assert fresh.request("PUT", "/v1/streams/a/snapshot", b'{"revision":2,"data":{}}', json).status in (200, 201)
    copy = launch(data=restore(backup(fresh, tmp_path / "b"), tmp_path / "r"))
    assert copy.post("/v1/groups/g/fetch", b'{"max":1}', json).json["events"][0]["event"]["position"] == 1
    assert copy.get("/v1/streams/a/snapshot").status == 404
    assert [e["revision"] for e in copy.get(events_path("a") + "?after=snapshot").json["events"]] == [1, 2, 3]


def test_through_pipes(fresh, launch, tmp_path):
    """Standard output and input do as well as files."""
    fresh.append_ok("a", [event() for _ in range(100)])
    made = daybook("backup", "-", "--quiet", url=url(fresh))
    assert made.returncode == 0 and made.stderr == b""
    done = daybook("restore", "-", tmp_path / "r", input=made.stdout)
    assert done.returncode == 0, done.stderr
    assert log(launch(data=tmp_path / "r")) == log(fresh)


# ---- damage ---------------------------------------------------------------------------------------


def test_flips_and_cuts_are_found(fresh, tmp_path, seed):
    """Any bit changed, byte missing or added is found by verify, which names the place, and by restore."""
    rng = random.Random(seed)
    fresh.append_ok("a", [event("T", {"x": rng.randbytes(300).hex()}) for _ in range(2000)])
    whole = open(backup(fresh, tmp_path / "b"), "rb").read()
    bad = tmp_path / "bad"
    places = [0, 8, 36, HEADER_BYTES, HEADER_BYTES + 4, HEADER_BYTES + 32, len(whole) - 1] + [rng.randrange(len(whole)) for _ in range(12)]
    variants = [whole[:p] + bytes([whole[p] ^ 1 << rng.randrange(8)]) + whole[p + 1 :] for p in places]
    variants += [whole[: rng.randrange(len(whole))] for _ in range(4)] + [whole[:-1], whole + b"\0", b"", whole + whole]
    for variant in variants:
        bad.write_bytes(variant)
        done = daybook("verify", bad)
        assert done.returncode == 1, (len(variant), done.stdout)
        assert any(word in done.stderr for word in (b"byte", b"no backup of Daybook")), done.stderr
    done = daybook("restore", bad, tmp_path / "r")
    assert done.returncode == 1 and b"nothing was restored" in done.stderr
    assert daybook("verify", tmp_path / "none").returncode == 2


@pytest.mark.timeout_s(60)
def test_killed_in_the_middle_of_a_restore(fresh, tmp_path):
    """What is left says that it is not whole: no server takes it for a store, no restore for an empty directory."""
    fresh.append_ok("a", [event("T", {"x": os.urandom(500).hex()}) for _ in range(3000)])
    whole = open(backup(fresh, tmp_path / "b"), "rb").read()
    data = tmp_path / "r"
    process = subprocess.Popen([DAYBOOKD, "--restore", "-", "--data", str(data)], stdin=subprocess.PIPE)
    process.stdin.write(whole[: len(whole) * 2 // 3])
    process.stdin.flush()
    wait_for(lambda: (data / "store" / "data.mdb").exists(), 30, "the restore to begin")
    process.kill()
    process.wait()
    process.stdin.close()
    for command in ([], ["--verify"], ["--reindex"]):
        done = subprocess.run([DAYBOOKD, *command, "--data", data, "--listen", "127.0.0.1:0"], capture_output=True, timeout=30 * SLOW, check=False)
        assert done.returncode != 0 and b"did not finish" in done.stderr, done.stderr
    assert b"is not empty" in daybook("restore", tmp_path / "b", data).stderr


# ---- what can go wrong while it is made -----------------------------------------------------------


def test_no_file_where_it_fails(fresh, tmp_path):
    """A server that is not there, a place that cannot be written: exit 1, nothing is left."""
    path = tmp_path / "b"
    port = fresh.port
    assert daybook("backup", tmp_path / "no" / "b", url=url(fresh)).returncode == 1
    fresh.stop()
    done = daybook("backup", path, url=f"http://127.0.0.1:{port}")
    assert done.returncode == 1 and done.stderr
    assert os.listdir(tmp_path) == []


def stuck(server):
    """A client that has asked for a backup, has its first bytes, and takes no more."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(30 * SLOW)
    client.connect(("127.0.0.1", server.port))
    client.sendall(b"POST /v1/admin/backup HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
    assert client.recv(12) == b"HTTP/1.1 200"
    return client


@pytest.mark.timeout_s(90)
def test_one_at_a_time(fresh):
    """A client that takes nothing holds up the next backup only, and a stop ends it at once."""
    for _ in range(16):
        fresh.append_ok("a", [event("T", {"x": os.urandom(250_000).hex()}) for _ in range(2)])
    with stuck(fresh):
        problem(fresh.post("/v1/admin/backup"), 503, "overloaded")
        fresh.append_ok("a", event())
    wait_for(lambda: fresh.post("/v1/admin/backup").status == 200, 30, "the first to be over")
    assert fresh.post("/v1/admin/backup?x=1").status == 400
    with stuck(fresh):
        fresh.stop()

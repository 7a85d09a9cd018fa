"""Deleting on a larger scale: the real data set, space that is used again, appends that are not stalled, bytes that leave the
disk."""
import collections
import concurrent.futures
import gzip
import json
import os
import pathlib
import random
import threading
import time
import uuid

import pytest

from support import NDJSON, ROOT, event, patience, wait_for
from support_cli import daybook
from support_life import Model, delete, json_row, patch, redact, stream_path

LOANS = pathlib.Path(os.environ.get("DAYBOOK_DATA_DIR", ROOT.parent / "shared" / "data")) / "loans.ndjson.gz"
needs_loans = pytest.mark.skipif(not LOANS.exists(), reason=f"{LOANS} is not there")


def loans():
    """(stream, type, data) of every line of the file."""
    with gzip.open(LOANS, "rb") as file:
        for line in file:
            fields = json.loads(line)
            yield fields["stream"], fields["type"], fields["data"]


@needs_loans
@pytest.mark.timeout_s(400)
def test_the_real_data(launch, seed, tmp_path):
    """262,200 events; then 600 deletions, truncations, limits, expiries and redactions at random over 13,087 streams: every
    read agrees with what the file says, before and after a restart, reclaim and reindex; export has nothing that is gone."""
    rng, server = random.Random(seed), launch()
    model = Model(server)
    daybook("import", LOANS, server=server, timeout=120)
    for position, (stream, kind, data) in enumerate(loans(), 1):
        model.streams[stream].events.append([position, kind, data, []])
    touched = rng.sample(sorted(model.streams), 600)
    expired = touched[500:]
    for i, stream in enumerate(touched[:500]):
        s = model.streams[stream]
        if i % 5 == 0:
            model.delete(stream, tombstone=i % 10 == 0)
        elif i % 5 == 1:
            model.truncate(stream, rng.randrange(1, s.head + 2))
        elif i % 5 == 2:
            model.limit(stream, rng.randrange(1, s.head + 2))
        elif i % 5 == 3:
            model.redact(stream, rng.randrange(1, s.head + 1))
        else:
            model.delete(stream)
            model.append(stream, [("Reopened", {"n": i}, ["again"])])
    for stream in expired:
        assert patch(server, stream, {"max_age_s": 1}).status == 200
    for stream in expired:
        wait_for(lambda s=stream: server.get(stream_path(s)).json["events"] == 0, 60, "the events to expire")
        model.streams[stream].floor = model.streams[stream].head + 1
    sample = rng.sample(touched, 30) + rng.sample(sorted(model.streams), 10)
    model.check(sample)
    model.check_export(tmp_path / "out")
    log = server.get("/v1/events", NDJSON).raw
    server.restart(kill=True)
    check_same(server, model, log, sample)
    server.stop()
    daybook("reindex", "--data", server.data, timeout=120)
    assert daybook("verify", "--data", server.data, timeout=120).stdout.startswith(b"verify: ok: ")
    server.start()
    check_same(server, model, log, sample)
    assert server.post("/v1/admin/verify").json["findings"] == []
    stream = next(s for s in sample if not model.streams[s].tombstoned and s not in expired)
    model.append(stream, [("After", {}, [])])
    model.check_stream(stream)
    assert server.read_all(type="After")[0]["stream"] == stream


def check_same(server, model, log, sample):
    """The log is the same bytes as before, and its only category; the sample is what the model says."""
    assert server.get("/v1/events", NDJSON).raw == log
    assert server.get("/v1/events", NDJSON, {"category": "loan"}).raw == log
    for stream in sample:
        model.check_stream(stream)


# ---- space ------------------------------------------------------------------------------------------


def store_bytes(server):
    return sum(f.stat().st_size for f in pathlib.Path(server.data).rglob("*") if f.is_file() and "journal" not in str(f))


@pytest.mark.timeout_s(240)
def test_freed_space_is_used_again(launch):
    """Appending and deleting 4 MB again and again, the data file stops growing, though reclaim runs behind."""
    server = launch("--apply-interval-ms", "50")
    sizes = []
    for turn in range(100):
        for n in range(4):
            stream = f"s-{turn}-{n}"
            for _ in range(5):
                server.append_ok(stream, [event(data="x" * 2000) for _ in range(100)])
            assert delete(server, stream).status == 200
        wait_for(lambda: is_applied(server), 60, "everything to be applied")
        sizes.append(store_bytes(server))
        if turn > 10 and sizes[-1] <= sizes[-6] * 1.02:
            break
    else:
        raise AssertionError(f"it still grows: {sizes}")
    assert server.read_all() == []
    assert server.post("/v1/admin/verify").json["findings"] == []


def is_applied(server):
    status = server.status()
    return status["applied_position"] == status["position"]


def turns(model, me, rng, until):
    """Random writes to this client's own streams, each followed by reads that must show exactly what is left."""
    streams, n = [f"t{me}-{i}" for i in range(4)], 0
    while time.monotonic() < until:
        stream = rng.choice(streams)
        s, choice = model.streams[stream], rng.randrange(6)
        if choice < 3 and not s.tombstoned:
            model.append(stream, [(f"T{me}", n, [f"tag{me}"]) for _ in range(rng.randrange(1, 60))])
        elif s.head and choice == 3 and not s.tombstoned:
            model.truncate(stream, rng.randrange(1, s.head + 2))
        elif s.head and choice == 4:
            model.redact(stream, rng.randrange(1, s.head + 1))
        elif s.head:
            model.delete(stream, tombstone=rng.random() < 0.1)
        if s.tombstoned:
            streams[streams.index(stream)] = f"t{me}-{len(streams) + n}"
        n += 1
        if s.head:
            model.check_stream(stream)
        rows = model.rows()
        for query in ({"type": f"T{me}"}, {"category": f"t{me}", "direction": "backward"}, {"tag": f"tag{me}"}):
            found = [json_row(e) for e in model.server.read_all(**query)]
            assert found == (rows[::-1] if "direction" in query else rows)
    return n


@pytest.mark.timeout_s(120)
def test_many_at_once(launch, seed):
    """Eight clients, each on streams of its own, while space is freed behind them: each sees its own writes, and nothing that it
    has deleted, at once in every read."""
    server = launch("--apply-interval-ms", "5", "--segment-bytes", "256KiB", "--reclaim-interval-s", "1")
    models = [Model(server) for _ in range(8)]
    until = time.monotonic() + 6
    with concurrent.futures.ThreadPoolExecutor(len(models)) as pool:
        counts = list(pool.map(lambda i: turns(models[i], i, random.Random(seed + i), until), range(len(models))))
    assert min(counts) >= 3, counts
    everything = Model(server)
    for model in models:
        everything.streams |= model.streams
        everything.redacted |= model.redacted
    everything.check(some(seed, everything.streams, 10))
    server.restart(kill=True)
    everything.check(some(seed, everything.streams, 10), full=False)
    assert server.post("/v1/admin/verify").json["findings"] == []


def some(seed, streams, n):
    written = sorted(name for name, s in streams.items() if s.head)
    return random.Random(seed).sample(written, min(n, len(written)))


@pytest.mark.timeout_s(240)
def test_reclaim_does_not_stall_appends(launch):
    """While the events of large streams are being freed, appends are neither refused nor slow."""
    server = launch("--apply-interval-ms", "50")
    for n in range(30):
        for _ in range(2):
            server.append_ok(f"big-{n}", [event(data="y" * 300) for _ in range(1000)])
    wait_for(lambda: is_applied(server), 60, "everything to be applied")
    waits, stop = [], threading.Event()

    def append():
        while not stop.is_set():
            before = time.monotonic()
            assert server.append("small", event()).status == 201
            waits.append(time.monotonic() - before)

    thread = threading.Thread(target=append)
    thread.start()
    try:
        for n in range(30):
            assert delete(server, f"big-{n}", tombstone=n % 2 == 0).status == 200
        count = len(waits)
        wait_for(lambda: len(waits) >= count + 1000, 60, "appends")
    finally:
        stop.set()
        thread.join()
    waits.sort()
    assert waits[-1] < 2 * patience() and waits[len(waits) // 2] < 0.1 * patience(), (waits[len(waits) // 2], waits[-1])
    assert {e["stream"] for e in server.read_all()} == {"small"}


@pytest.mark.timeout_s(120)
def test_the_smallest_journal_segments(launch):
    """Every write of a stream's life fits into them, with the largest custom metadata and reason, before and after kill -9."""
    server = launch("--segment-bytes", "64KiB", "--apply-interval-ms", "20")
    custom = {"a": "é" * ((16384 - 8) // 2)}
    assert len(json.dumps(custom, ensure_ascii=False, separators=(",", ":")).encode()) == 16384
    body = b'{"custom":%s}' % json.dumps(custom, ensure_ascii=False, separators=(",", ":")).encode()
    for n in range(40):
        stream = f"s-{n}"
        server.append_ok(stream, [event(), event()])
        assert server.request("PATCH", stream_path(stream), body).status == 200
        assert redact(server, stream, 1, "\u0001" * 1000).status == 200
        assert delete(server, stream, tombstone=n % 2 == 0).status == 200
    for kill in (True, False):
        server.restart(kill=kill)
        for n in range(40):
            info = server.get(stream_path(f"s-{n}")).json
            assert info["deleted"] and info["metadata"] == {"custom": custom}
    assert server.post("/v1/admin/verify").json["findings"] == []


# ---- bytes ------------------------------------------------------------------------------------------


def files_with(server, secrets):
    """Names of files under the data directory that hold any of the byte strings."""
    found = collections.Counter()
    for path in pathlib.Path(server.data).rglob("*"):
        try:
            content = path.read_bytes() if path.is_file() else b""
        except FileNotFoundError:
            continue
        for secret in secrets:
            if secret in content:
                found[path.name] += 1
    return found


@pytest.mark.timeout_s(240)
@pytest.mark.parametrize("applied", [True, False], ids=["from LMDB", "from memory"])
@pytest.mark.parametrize("restart", [False, True], ids=["running", "after kill -9"])
def test_redacted_bytes_leave_the_disk(launch, applied, restart):
    """No file under the data directory holds a redacted event's data or metadata, once reclaim has been there; other events of
    the same streams keep theirs."""
    server = launch("--apply-interval-ms", "20" if applied else "2000")
    secrets = [uuid.uuid4().hex for _ in range(6)]
    kept = uuid.uuid4().hex
    for i, secret in enumerate(secrets):
        size = 10 if i % 2 else 20_000  # in a page of its own or among others
        server.append_ok(f"s-{i}", [event(data=kept), event(data=secret + "." * size, metadata={"m": secret[::-1]}), event()])
    if applied:
        wait_for(lambda: is_applied(server), 60, "everything to be applied")
    for i in range(len(secrets)):
        assert redact(server, f"s-{i}", 2, "asked for").status == 200
    if restart:
        server.restart(kill=True)
    wanted = [s.encode() for secret in secrets for s in (secret, secret[::-1])]
    try:
        wait_for(lambda: not files_with(server, wanted), 90, "the bytes to be gone", step=0.5)
    except AssertionError:
        raise AssertionError(f"still there: {files_with(server, wanted)}") from None
    assert files_with(server, [kept.encode()])
    assert [e["data"] for e in server.read_all(prefix="s-")] == [kept, None, {}] * len(secrets)
    assert server.post("/v1/admin/verify").json["findings"] == []
    server.restart()
    assert not files_with(server, wanted)
    assert [e["data"] for e in server.read_all(prefix="s-")] == [kept, None, {}] * len(secrets)


@pytest.mark.timeout_s(120)
def test_kills_while_space_is_freed(launch, seed, tmp_path):
    """kill -9 at random moments of deleting and freeing: nothing that was answered is lost, nothing that is gone comes back."""
    rng, server = random.Random(seed), launch("--apply-interval-ms", "5", "--segment-bytes", "1MiB")
    model = Model(server)
    for turn in range(8):
        for n in range(6):
            stream = f"s-{rng.randrange(8)}"
            if not model.streams[stream].tombstoned:
                model.append(stream, [("T", "z" * rng.randrange(3000), ["t"]) for _ in range(rng.randrange(1, 120))])
            s = model.streams[stream]
            choice = rng.randrange(4)
            if choice == 0:
                model.delete(stream, tombstone=rng.random() < 0.2)
            elif choice == 1 and not s.tombstoned:
                model.truncate(stream, rng.randrange(1, s.head + 2))
            elif choice == 2 and not s.tombstoned:
                model.redact(stream, rng.randrange(1, s.head + 1))
        until = time.monotonic() + rng.random() * 0.1
        wait_for(lambda until=until: time.monotonic() > until, 5, "a moment")
        server.restart(kill=True)
        model.check(sorted(model.streams), full=turn % 4 == 3)
    model.check_export(tmp_path / "out")
    assert server.post("/v1/admin/verify").json["findings"] == []

"""`daybook import` and `daybook export`: order, bytes, repetition, bad lines, servers that go away; and the real data."""
import base64
import collections
import contextlib
import gzip
import json
import os
import pathlib
import pty
import re
import signal
import subprocess
import threading

import pytest

from support import DAYBOOK, NDJSON, PROTOBUF, ROOT, SLOW, event, events_path, wait_for
from support_cli import Proxy, Stalling, daybook, error_of

LOANS = pathlib.Path(os.environ.get("DAYBOOK_DATA_DIR", ROOT.parent / "shared" / "data")) / "loans.ndjson.gz"


def summary(done):
    """(appended, duplicates, streams)"""
    words = done.stdout.decode().split()
    assert words[1:3] == ["events", "appended,"] and words[4] == "duplicates," and words[6] == "streams,", done.stdout
    return int(words[0]), int(words[3]), int(words[5])


def lines_of(n, streams=7, **more):
    """n lines over some streams, each different."""
    return [json.dumps({"stream": f"s-{i * i % streams}", "type": "T", "data": {"n": i}, **more}).encode() for i in range(n)]


def text(lines):
    return b"".join(line + b"\n" for line in lines)


def log(server):
    """The log without what only the server knows, as plain tuples."""
    batch = server.get("/v1/events", PROTOBUF).message("EventBatch")
    return [(e.stream, e.revision, e.id, e.type, e.data, e.content_type, e.metadata, tuple(e.tags), e.occurred_at,
             e.schema_version) for e in batch.events]


# ---- what a line becomes --------------------------------------------------------------------------


def test_import_fields_and_bytes(fresh):
    """Every field arrives; data and metadata are the bytes of the line; the order is the file's."""
    lines = [
        b' { "data" : {"a":1.10,"b":1e400,"c":9223372036854775809,"a":2} , "stream":"a-1", "type":"T" } ',
        b'{"stream":"b-1","type":"U","time":"2011-10-01T00:38:44.546+02:00","data":null,"tags":["x","y"],'
        b'"metadata":{ "m" : 1.0 },"id":"0192F0C0-aaaa-7000-8000-00000000000f","schema_version":7}',
        b'{"stream":"a-1","type":"T","data_base64":"AP8K","content_type":"image/png","time":"2011-10-01T00:00:00Z",'
        b'"occurred_at":"2012-10-01T00:00:00Z"}',
        b'{"stream":"a-1","type":"T\\u00e9","position":99,"revision":98,"data":"\\ud83d\\ude00 \xc3\xa9"}',
    ]
    assert summary(daybook("import", "-", server=fresh, stdin=b"\xef\xbb\xbf" + b"\r\n\n".join(lines))) == (4, 0, 2)
    events = fresh.get("/v1/events", PROTOBUF).message("EventBatch").events
    assert [(e.stream, e.revision) for e in events] == [("a-1", 1), ("b-1", 1), ("a-1", 2), ("a-1", 3)]
    assert [e.data for e in events] == [
        b'{"a":1.10,"b":1e400,"c":9223372036854775809,"a":2}', b"null", b"\x00\xff\n", b'"\\ud83d\\ude00 \xc3\xa9"'
    ]
    assert events[1].metadata == b'{ "m" : 1.0 }' and list(events[1].tags) == ["x", "y"]
    assert events[1].id.hex() == "0192f0c0aaaa7000800000000000000f" and events[1].schema_version == 7
    assert [e.occurred_at for e in events[:3]] == ["", "2011-10-01T00:38:44.546+02:00", "2012-10-01T00:00:00Z"]
    assert events[2].content_type == "image/png" and events[3].type == "Té"


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("piped", [False, True], ids=["file", "stdin"])
def test_import_twice_adds_none(fresh, tmp_path, packed, piped):
    """A file that is imported again adds nothing, however it comes and whatever the size of a batch; equal lines are
    events of their own."""
    lines = lines_of(500) + lines_of(100) + [b'{"stream":"same","type":"T","data":1}'] * 50
    data = gzip.compress(text(lines)) if packed else text(lines)
    path = tmp_path / "any.name"
    path.write_bytes(data)

    def run(*args):
        return daybook("import", "-" if piped else path, *args, server=fresh, stdin=data if piped else None)

    assert summary(run("--batch-events", 64)) == (650, 0, 5)
    before = log(fresh)
    assert [json.loads(e[4]) for e in before] == [json.loads(line)["data"] for line in lines]
    for batch in (64, 1, 7, 1000, 10000):
        assert summary(run("--batch-events", batch)) == (0, 650, 5)
    assert log(fresh) == before


def test_import_of_a_longer_file(fresh):
    """Of a file that has grown only what is new is appended, in order, whatever the bounds of the batches are; and the same
    where the store has holes of what an earlier import left out."""
    lines = lines_of(3000)
    assert summary(daybook("import", "-", server=fresh, stdin=text(lines[:1234])))[:2] == (1234, 0)
    assert summary(daybook("import", "-", server=fresh, stdin=text(lines)))[:2] == (3000 - 1234, 1234)
    assert [json.loads(e[4])["n"] for e in log(fresh)] == list(range(3000))


def test_import_of_a_part_that_is_there(fresh):
    """Events that are there already, anywhere in the file, count as duplicates; the others are appended in order."""
    lines = lines_of(1000)
    daybook("import", "-", server=fresh, stdin=text(lines[100:110] + lines[500:700:2]))
    assert summary(daybook("import", "-", server=fresh, stdin=text(lines)))[:2] == (1000 - 110, 110)
    assert collections.Counter(json.loads(e[4])["n"] for e in log(fresh)) == collections.Counter(range(1000))
    new = [json.loads(e[4])["n"] for e in log(fresh)][110:]
    assert new == sorted(new)


def test_import_of_one_id_twice(fresh):
    """A line whose id comes again with the same content is a duplicate, in one batch as in two."""
    line = b'{"stream":"s","type":"T","data":1,"id":"0192f0c0-aaaa-7000-8000-00000000000f"}'
    other = b'{"stream":"s","type":"T","data":2}'
    assert summary(daybook("import", "-", server=fresh, stdin=text([line, other, line])))[:2] == (2, 1)
    assert [e[4] for e in log(fresh)] == [b"1", b"2"]


def test_import_dry_run_and_quiet(fresh):
    lines = text(lines_of(20))
    done = daybook("import", "-", "--dry-run", server="http://127.0.0.1:1", stdin=lines)
    assert done.stdout == b"20 events in 4 streams; nothing was sent\n"
    done = daybook("import", "-", "--quiet", server=fresh, stdin=lines)
    assert (done.stdout, done.stderr) == (b"", b"") and fresh.position() == 20


def test_import_progress():
    """On a terminal one line of progress is rewritten and taken away at the end; without one there is none."""
    lines = text(lines_of(200_000))
    master, slave = pty.openpty()
    process = subprocess.Popen([DAYBOOK, "import", "-", "--dry-run"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=slave)
    os.close(slave)
    out, _ = process.communicate(lines)
    shown = os.read(master, 65536)
    os.close(master)
    assert process.returncode == 0 and out == b"200000 events in 4 streams; nothing was sent\n"
    assert re.match(rb"\r\d+ events, \d+/s\x1b\[K\r", shown) and shown.endswith(b"\r\x1b[K"), shown
    assert daybook("import", "-", "--dry-run", stdin=lines).stderr == b""


# ---- bad lines ------------------------------------------------------------------------------------

BAD_LINES = [
    (b"{", "it is not valid JSON, at byte 1"),
    (b"[1]", "it is not a JSON object"),
    (b'{"stream":"s","type":"T","data":{"a":}}', "it is not valid JSON, at byte 38"),
    (b'{"type":"T"}', "stream is missing"),
    (b'{"stream":"s","data":1}', "type is missing"),
    (b'{"stream":"s","type":"T","Data":1}', "there is no field Data"),
    (b'{"stream":"s","type":"T","id":"x"}', "id is not a UUID"),
    (b'{"stream":"s","type":"T","data":"\xff"}', "it is not valid JSON"),
    (b'{"stream":"s","type":"T","time":"yesterday"}', "a field has a wrong type or value"),  # from here on the server says so
    (b'{"stream":"%s","type":"T"}' % (b"x" * 256), "a name is not valid"),
    (b'{"stream":"$s","type":"T"}', "names that start with '$' belong to the system"),
    (b'{"stream":"s","type":"T","data":"%s"}' % (b"x" * (1 << 20)), "an event is over the limit"),
]


@pytest.mark.parametrize("bad, message", BAD_LINES, ids=[m + f" {i}" for i, (_, m) in enumerate(BAD_LINES)])
@pytest.mark.parametrize("at", [1, 30, 64, 65, 200])
def test_import_bad_line(fresh, bad, message, at):
    """A bad line is named with its number and the reason; what is before it is in the store, nothing after it is."""
    lines = lines_of(200)
    lines.insert(at - 1, bad)
    said = error_of("import", "-", "--batch-events", 64, server=fresh, stdin=text(lines))
    assert said.startswith(f"line {at}: {message}"), said
    assert [json.loads(e[4])["n"] for e in log(fresh)] == list(range(at - 1))


def test_import_refused_line(fresh):
    """What the server refuses is said as a field of the line, and that running the same import again is no help."""
    done = daybook("import", "-", server=fresh, stdin=text([*lines_of(5), b'{"stream":"s","type":"T","tags":["a",""]}']), status=1)
    said = done.stderr.decode()
    assert said.startswith("daybook: line 6: ") and "(tags[1])" in said.splitlines()[0] and "appends[" not in said, said
    assert "mend this line" in said and "run the import again to go on" not in said
    # With another reason it is.
    done = daybook("import", "-", "--retry-s", 0, server="http://127.0.0.1:1", stdin=text(lines_of(5)), status=1)
    assert "run the import again to go on" in done.stderr.decode()


def test_import_unreadable(fresh, tmp_path):
    """A file that is not there, and one that was cut short: what could be read is in the store."""
    assert error_of("import", tmp_path / "none", server=fresh).endswith("cannot be opened: No such file or directory")
    assert error_of("import", tmp_path, server=fresh).endswith("cannot be opened: Is a directory")
    packed = gzip.compress(text(lines_of(20000)))
    said = error_of("import", "-", server=fresh, stdin=packed[: len(packed) // 2])
    assert "the gzip data is cut short" in said
    assert int(said.split(":")[0].removeprefix("line ")) == fresh.position() + 1 > 1000


# ---- servers that go away -------------------------------------------------------------------------


def test_import_without_a_server():
    """Says at which line it stopped, and does not wait when it is told so."""
    said = error_of("import", "-", "--retry-s", 0, server="http://127.0.0.1:1", stdin=text(lines_of(10)))
    assert said.startswith("line 1: the server cannot be reached")


def test_import_over_lost_connections(fresh):
    """Connections that are lost before, in and behind an answer change nothing in the store, and are waited over."""
    lines = lines_of(1000)
    with Proxy(fresh.port, cuts=[-1, 0, 50, 1000, 1500, 3000, -1, 5]) as proxy:
        done = daybook("import", "-", "--batch-events", 50, server=proxy.url, stdin=text(lines))
        assert proxy.connections == 9
    appended, duplicates, _ = summary(done)
    assert appended + duplicates == 1000 and b"waiting up to 30 s for the server" in done.stderr
    assert [json.loads(e[4])["n"] for e in log(fresh)] == list(range(1000))


@pytest.mark.timeout_s(60)
@pytest.mark.parametrize("kill", [False, True], ids=["SIGTERM", "kill -9"])
def test_import_over_a_restart(launch, kill):
    """The server is restarted in the middle of an import, which goes on by itself."""
    server = launch()
    flags = [*server.flags]
    server.restart(flags=[*flags, "--listen", f"127.0.0.1:{server.port}"])
    with start_import(server) as process:
        feed(process, server, lines_of(20000))
        server.restart(kill=kill)
        assert finish(process)[:2] != (0, 0)
    assert [json.loads(e[4])["n"] for e in log(server)] == list(range(20000))


def start_import(server, *args):
    return subprocess.Popen([DAYBOOK, "import", "-", "--batch-events", "100", *args], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | {"DAYBOOK_URL": server.url})


def feed(process, server, lines):
    """Writes half of the lines, waits until some are in the store, writes the rest in the background."""
    half = text(lines[: len(lines) // 2])
    rest = text(lines[len(lines) // 2:])
    process.stdin.write(half)
    process.stdin.flush()
    wait_for(lambda: server.position() > 1000, what="the import to begin")
    process.feeder = threading.Thread(target=lambda: (process.stdin.write(rest), process.stdin.close()), daemon=True)
    process.feeder.start()


def finish(process):
    process.feeder.join(30 * SLOW)
    out, err = process.stdout.read(), process.stderr.read()
    assert process.wait(30 * SLOW) == 0, err
    return summary(subprocess.CompletedProcess((), 0, out, err))


# ---- Ctrl-C ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_import_interrupted(fresh, number):
    """Ctrl-C says what was done and at which line it stopped; from there the same import goes on."""
    lines = lines_of(20000)
    with start_import(fresh) as process:
        process.stdin.write(text(lines[:15000]))
        process.stdin.flush()
        wait_for(lambda: fresh.position() >= 1000, 30, what="the import to begin")
        process.send_signal(number)
        said = process.stderr.read().decode()
        assert process.wait(30 * SLOW) == 128 + number
    line, done = interrupted(said)
    assert line == done + 1 == fresh.position() + 1
    assert summary(daybook("import", "-", server=fresh, stdin=text(lines)))[:2] == (20000 - done, done)


def interrupted(said):
    """(line, appended)"""
    found = re.match(r"daybook: interrupted at line (\d+): (\d+) events appended, 0 duplicates so far\nhint: ", said)
    assert found, said
    return int(found.group(1)), int(found.group(2))


def test_import_interrupted_while_it_waits(fresh):
    """Ctrl-C ends an import whose server has gone away, at once, and says what is in the store."""
    with start_import(fresh, "--retry-s", "1000") as process:
        feeder = threading.Thread(target=feed_until_it_ends, args=(process, text(lines_of(200_000))))
        feeder.start()
        wait_for(lambda: fresh.position() >= 1000, 30, what="the import to begin")
        fresh.kill9()
        assert process.stderr.readline().startswith(b"waiting up to 1000 s for the server")
        process.send_signal(signal.SIGINT)
        said = process.stderr.read().decode()
        assert process.wait(30 * SLOW) == 130
        feeder.join(30 * SLOW)
    line, done = interrupted(said)
    assert line == done + 1
    assert fresh.start().position() - done in (0, 100)  # the last request's answer may have been lost


def feed_until_it_ends(process, data):
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(data)
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()


# ---- export ---------------------------------------------------------------------------------------


def varied(server):
    """A store with every kind of event there is."""
    binary = base64.b64encode(bytes(range(256))).decode()
    raw = [
        b'{"type":"Plain","data":{"a":1.10,"b":1e400,"a":2}}',
        b'{"type":"Broken lines","data":{\n "a":\r\n [1,\n2]\n}}',
        b'{"type":"Null"}',
        b'{"type":"T\\"\\u0020\xc3\xa9\\\\","data":"\\ud800 \\u0000 \xf0\x9f\x98\x80"}',
        b'{"type":"Tags","data":[],"tags":["a","b \xc3\xa9"],"metadata":{"m" : 1.0},"schema_version":9}',
        b'{"type":"Time","data":0,"occurred_at":"2011-10-01T00:38:44.546+02:00"}',
        b'{"type":"Binary","data_base64":"%s","content_type":"image/png"}' % binary.encode(),
        b'{"type":"Empty","data_base64":"","content_type":"text/plain; charset=utf-8"}',
        b'{"type":"Vendor","data":{},"content_type":"application/vnd.x+json"}',
    ]
    for i, stream in enumerate(["a-1", "b/ \xe9?", "a-1", "c"]):
        body = b'{"events":[' + b",".join(raw[i:] + raw[:i]) + b"]}"
        assert server.post(events_path(stream), body).status == 201


def test_export_is_the_inverse_of_import(launch, tmp_path):
    """What was exported and imported into an empty store is equal in everything but the server's times; occurred_at is
    then the time that was exported."""
    one, two = launch(), launch()
    varied(one)
    path = tmp_path / "out.gz"
    daybook("export", path, "--gzip", server=one)
    assert not list(tmp_path.glob("*.part")) and path.read_bytes()[:2] == b"\x1f\x8b"
    assert summary(daybook("import", path, server=two))[1] == 0
    times = [e["time"] for e in one.read_all()]
    assert log(two) == [(*e[:8], e[8] or time, e[9]) for e, time in zip(log(one), times, strict=True)]
    assert gzip.decompress(path.read_bytes()) == daybook("export", "-", server=one).stdout
    assert daybook("export", server=two).stdout == daybook("export", server=one).stdout
    assert summary(daybook("import", path, server=two))[0] == 0


def test_export_lines(fresh):
    """The members of a line, and which of them are left out."""
    varied(fresh)
    lines = [json.loads(line) for line in daybook("export", "--stream", "a-1", "--limit", 9, server=fresh).stdout.splitlines()]
    events = fresh.read_all(events_path("a-1"))
    for line, e in zip(lines, events, strict=False):
        assert list(line)[:3] == ["stream", "type", "time"] and line["id"] == e["id"]
        assert line["time"] == e.get("occurred_at", e["time"])
        assert line.get("content_type", "application/json") == e["content_type"]
        assert line.get("tags") == e.get("tags") and line.get("metadata") == e.get("metadata")
        assert set(line) <= {"stream", "type", "time", "data", "data_base64", "id", "content_type", "metadata", "tags",
                             "schema_version"}
    assert base64.b64decode(lines[1]["data_base64"]) == b'{\n "a":\r\n [1,\n2]\n}'


def test_export_filters(fresh):
    varied(fresh)
    def types(*args):
        return [json.loads(line)["type"] for line in daybook("export", *args, server=fresh).stdout.splitlines()]
    assert types("--type", "Plain") == ["Plain"] * 4
    assert types("--category", "c", "--limit", 2) == ["T\" é\\", "Tags"]
    assert types("--after", 35) == types()[35:] and types("--tag", "a") == ["Tags"] * 4
    assert types("--backward") == types()[::-1]


def test_export_cut_short(fresh, tmp_path):
    """An export that fails leaves no file, and leaves the one that was there as it was."""
    path = tmp_path / "out"
    path.write_bytes(b"old")
    fresh.append_ok("s-1", event())
    said = error_of("export", path, "--stream", "nothing", server=fresh)
    assert said.startswith("export: the stream does not exist")
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]
    assert "cannot be written" in error_of("export", tmp_path / "no" / "x", server=fresh)
    assert "cannot be written" in error_of("export", "/dev/full", server=fresh)
    daybook("export", "/dev/null", server=fresh)


# ---- the real data --------------------------------------------------------------------------------

needs_loans = pytest.mark.skipif(not LOANS.exists(), reason=f"{LOANS} is not there")


def expected_loans():
    """(stream, type, data, time) of every line, data as its bytes, by a parser of its own."""
    rows = []
    with gzip.open(LOANS, "rb") as file:
        for line in file:
            head, data = line.rstrip(b"\n").split(b',"data":', 1)
            fields = json.loads(head + b"}")
            rows.append((fields["stream"], fields["type"], data[:-1], fields["time"]))
    return rows


def check_loans(server, pb):
    """The log is the file, in order and byte for byte."""
    events = server.get("/v1/events", PROTOBUF).message("EventBatch").events
    rows = expected_loans()
    assert [(e.stream, e.type, e.data, e.occurred_at) for e in events] == rows
    assert [e.position for e in events] == list(range(1, 262_201))
    heads = collections.Counter()
    for e in events:
        heads[e.stream] += 1
        assert e.revision == heads[e.stream]
    assert len(heads) == 13_087 and collections.Counter(e.type for e in events)["A_SUBMITTED"] == 13_087


@needs_loans
@pytest.mark.timeout_s(120)
def test_loans(launch, pb, tmp_path):
    """262,200 events in 13,087 streams; again adds none; export equals input."""
    server = launch()
    assert summary(daybook("import", LOANS, server=server)) == (262_200, 0, 13_087)
    check_loans(server, pb)
    assert summary(daybook("import", LOANS, server=server)) == (0, 262_200, 13_087)
    assert server.position() == 262_200
    daybook("export", tmp_path / "out", server=server)
    with open(tmp_path / "out", "rb") as out, gzip.open(LOANS, "rb") as original:
        for mine, line in zip(out, original, strict=True):
            assert mine.split(b',"id":"')[0] == line.rstrip(b"}\n") + b"}"
    assert daybook("verify", server=server).stdout.startswith(b"ok: 262200 events")


@needs_loans
@pytest.mark.timeout_s(180)
def test_loans_with_kills(launch, pb):
    """kill -9 during the import, again and again; each time the import that follows fills up what is missing."""
    server = launch()
    for batch, until in ((1000, 40_000), (300, 90_000), (2000, 150_000)):
        process = subprocess.Popen([DAYBOOK, "import", LOANS, "--batch-events", str(batch), "--retry-s", "0"],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | {"DAYBOOK_URL": server.url})
        wait_for(lambda: server.position() >= until, 60, f"{until} events")
        server.kill9()
        out, err = process.communicate(timeout=30 * SLOW)
        assert process.returncode == 1 and err.startswith(b"daybook: line "), (out, err)
        server.start()
        assert until <= server.position() < 262_200
    done = server.position()
    assert summary(daybook("import", LOANS, server=server)) == (262_200 - done, done, 13_087)
    check_loans(server, pb)


def test_export_interrupted(fresh, tmp_path):
    """Ctrl-C leaves no file that looks whole, and says how far it came."""
    daybook("import", "-", server=fresh, stdin=text(lines_of(20000)))
    fifo, path = tmp_path / "fifo", tmp_path / "out"
    os.mkfifo(fifo)
    for target in (fifo, path):
        with Stalling(fresh.port, 200_000) as proxy:
            process = subprocess.Popen([DAYBOOK, "export", str(target)], stderr=subprocess.PIPE,
                                       env=os.environ | {"DAYBOOK_URL": proxy.url})
            reader = open(fifo, "rb") if target == fifo else None
            if reader:
                threading.Thread(target=reader.read, daemon=True).start()
            assert proxy.stalled.wait(60 * SLOW)
            process.send_signal(signal.SIGINT)
            said = process.communicate(timeout=30 * SLOW)[1].decode()
            assert process.returncode == 130
        found = re.match(r"daybook: interrupted after (\d+) events; (.*)\n", said)
        assert found and int(found.group(1)) < 20000, said
        assert found.group(2) == ("the output is cut short" if target == fifo else "no file was written")
    assert sorted(os.listdir(tmp_path)) == ["fifo"]

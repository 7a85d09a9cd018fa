"""The command line: every command with the real server, its results, its errors, its exit status. Import and export are
in test_cli_import.py."""
import json
import os
import pty
import signal
import subprocess

import pytest

from support import DAYBOOK, NDJSON, SLOW, Server, event, events_path, quote, wait_for
from support_cli import Proxy, daybook, error_of

COMMANDS = ["append", "read", "tail", "streams", "info", "delete", "truncate", "redact", "metadata", "projection", "query", "group", "consume", "import", "export", "verify", "reindex", "bench", "version"]


def rows(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


# ---- help and wrong calls -------------------------------------------------------------------------


def test_help_lists_every_command():
    """`help`, --help and each command's --help print to standard output and succeed."""
    text = daybook("help").stdout.decode()
    for command in COMMANDS:
        assert f"\n  {command} " in text
        assert daybook(command, "--help").stdout.decode().startswith(f"usage: daybook {command}")
        assert daybook("help", command).stdout == daybook(command, "--help").stdout
    assert daybook("--help").stdout.decode() == text


WRONG_CALLS = [
    ([], "no command was given"),
    (["nonsense"], "there is no command nonsense"),
    (["help", "nonsense"], "there is no command nonsense"),
    (["--url"], "--url needs a value"),
    (["append"], "an argument is missing"),
    (["append", "s"], "--type is missing"),
    (["append", "s", "t", "--type", "T"], "one argument too many: t"),
    (["append", "s", "--type"], "--type needs a value: T"),
    (["append", "s", "--type", "T", "--typ", "U"], "unknown option: --typ"),
    (["append", "s", "--type", "T", "-x"], "unknown option: -x"),
    (["append", "s", "--type", "T", "--json=1"], "--json takes no value"),
    (["append", "s", "--type", "T", "--id", "7"], "--id must be a UUID, not 7"),
    (["append", "s", "--type", "T", "--expect", "new"],
     "--expect must be any, no_stream, stream_exists or a revision, not new"),
    (["append", "s", "--type", "T", "--expect", "-1"],
     "--expect must be any, no_stream, stream_exists or a revision, not -1"),
    (["append", "s", "--ndjson", "-", "--type", "T"],
     "with --ndjson the lines say what the events are: only --expect goes with it"),
    (["read", "--limit", "many"], "--limit must be a whole number, not many"),
    (["read", "--limit", "18446744073709551616"], "--limit must be a whole number, not 18446744073709551616"),
    (["read", "--before", "5"], "--before goes with --backward"),
    (["read", "--after", "5", "--backward"], "--after does not go with --backward"),
    (["read", "s", "--tag", "t"], "--category, --prefix and --tag are for the whole log, not for one stream"),
    (["tail", "-n"], "-n needs a value: N"),
    (["tail", "-n", "x"], "-n must be a whole number, not x"),
    (["tail", "--n", "3"], "unknown option: --n"),
    (["tail", "-max", "3"], "unknown option: -max"),
    (["tail", "--from", "now"], "--from must be start, end or a number, not now"),
    (["tail", "--from", "1", "-n", "3"], "-n says where to begin: --from and --since do not go with it"),
    (["tail", "s", "--category", "c"], "--category, --prefix and --tag are for the whole log, not for one stream"),
    (["import"], "an argument is missing"),
    (["import", "x", "--batch-events", "0"], "--batch-events must be between 1 and 10000"),
    (["bench", "append", "--condition"],
     "--condition is for append-tagged, with at least as many streams as connections"),
    (["bench", "follow", "--followers", "0"], "--followers must be 1 to 10000, not 0"),
    (["bench", "follow", "--feed", "csv"], "--feed must be ndjson or sse, not csv"),
    (["bench", "follow", "--from", "1"], "--from must be start or end, not 1"),
    (["bench", "append", "--rate", "1000001"], "--rate must be 0 to 1000000, not 1000001"),
    (["bench", "append-tagged", "--batch", "2"], "append-tagged takes no --batch, --encoding, --expect and --ids"),
    (["reindex"], "reindex works on a data directory, not on a running server"),
]


@pytest.mark.parametrize("args, message", WRONG_CALLS, ids=lambda v: " ".join(v) if isinstance(v, list) else None)
def test_wrong_calls(args, message):
    """What is called wrongly says why on one line, sends nothing, and exits with 2."""
    assert error_of(*args, status=2, server="http://127.0.0.1:1") == message


@pytest.mark.parametrize("url", ["", "localhost:7407", "ftp://x"])
def test_a_wrong_address(url):
    assert error_of("info", "--url", url) == f"not the address of a server: {url}"


def test_no_server():
    """A server that is not there is said in one line, soon."""
    message = error_of("info", "--url", "http://127.0.0.1:1")
    assert message.startswith("info: the server cannot be reached: http://127.0.0.1:1: ")


def test_another_server():
    """An answer that is none of ours is not taken for one."""
    import http.server
    import threading

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", "5")
            self.end_headers()
            self.wfile.write(b"hello")

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        message = error_of("info", "--url", f"http://127.0.0.1:{other.server_port}")
        other.shutdown()
    assert message == "info: the answer is not one of a Daybook server: HTTP status 200 with Content-Type text/html"


def test_the_url(server, name):
    """--url goes before DAYBOOK_URL, stands anywhere, and may end in a slash."""
    stream = name()
    daybook("--url", server.url + "/", "append", stream, "--type", "T", server="http://127.0.0.1:1")
    daybook("append", f"--url={server.url}", stream, "--type", "T", server="http://127.0.0.1:1")
    daybook("append", stream, "--type", "T", server=server, env={"http_proxy": "http://127.0.0.1:1"})
    assert server.head_revision(stream) == 3


def test_version(server):
    own, theirs = daybook("version", server=server).stdout.decode().splitlines()
    assert own.split()[0] == "daybook" and theirs == f"daybookd {server.status()['version']} at {server.url}"
    assert "not reached" in daybook("--version", server="http://127.0.0.1:1").stdout.decode()


# ---- append ---------------------------------------------------------------------------------------


def test_append_every_field(server, name, tmp_path):
    """Each option arrives in the event as it was given."""
    stream, id = name("h é/?#%"), "0192f0c0-aaaa-7000-8000-00000000000f"
    data = b'{"a":1.10,"b":1e400,"c":9223372036854775809,"a":2}'
    done = daybook("append", stream, "--type", "It em", "--data", data.decode(), "--metadata", '{"user": "7"}', "--tag",
                   "x:1", "--tag", "y", "--id", id, "--occurred-at", "2026-01-01T01:00:00+01:00", "--json", server=server)
    result = json.loads(done.stdout)
    assert (result["stream"], result["first_revision"], result["last_revision"]) == (stream, 1, 1)
    assert result["duplicate"] is False
    line = server.get(events_path(stream), NDJSON).lines[0]
    assert b'"data":' + data in line and b'"metadata":{"user": "7"}' in line
    (read,) = server.read_all(events_path(stream))
    assert {k: read[k] for k in ("type", "id", "tags", "occurred_at", "content_type", "position")} == {
        "type": "It em", "id": id, "tags": ["x:1", "y"], "occurred_at": "2026-01-01T01:00:00+01:00",
        "content_type": "application/json", "position": result["first_position"],
    }


def test_append_data_sources(server, name, tmp_path):
    """Data comes from the command line, a file or standard input; binary data is kept byte for byte."""
    stream, binary = name(), bytes(range(256)) * 500
    (tmp_path / "data").write_bytes(binary)
    daybook("append", stream, "--type", "T", "--content-type", "image/png", "--data", f"@{tmp_path}/data", server=server)
    daybook("append", stream, "--type", "T", "--data", "-", server=server, stdin=b"[1,\n 2]")
    daybook("append", stream, "--type", "T", server=server)
    events = pb_events(server, stream)
    assert [e.data for e in events] == [binary, b"[1,\n 2]", b"null"]
    assert events[0].content_type == "image/png"
    assert "cannot be opened" in error_of("append", stream, "--type", "T", "--data", "@/nonexistent", server=server)


def pb_events(server, stream):
    return server.get(events_path(stream), "application/x-protobuf").message("EventBatch").events


def test_append_retry(server, name):
    """The same id again is a duplicate with the original numbers; with other data it is refused."""
    stream, id = name(), ("--id", "0192f0c0-aaaa-7000-8000-0000000000ab")
    first = daybook("append", stream, "--type", "T", *id, server=server).stdout.decode()
    again = daybook("append", stream, "--type", "T", *id, server=server).stdout.decode()
    assert first.startswith(f"{stream}: revision 1, position ")
    assert again == first.rstrip("\n") + " (it was there already)\n"
    message = error_of("append", stream, "--type", "T", "--data", "1", *id, server=server)
    assert message.startswith("append: an event id was used before for another event")


@pytest.mark.parametrize("expect, exists, ok", [
    ("any", False, True), ("any", True, True), ("no_stream", False, True), ("no_stream", True, False),
    ("stream_exists", False, False), ("stream_exists", True, True), ("0", False, True), ("0", True, False),
    ("1", True, True), ("2", True, False),
])
def test_append_expect(server, name, expect, exists, ok):
    """Every form of --expect; a conflict names the stream, what was expected and what is."""
    stream = name()
    if exists:
        server.append_ok(stream, event())
    done = daybook("append", stream, "--type", "T", "--expect", expect, server=server, status=0 if ok else 1)
    if not ok:
        assert done.stderr.decode().startswith(
            "daybook: append: a stream is not at the expected revision: "
            f"stream {stream}: expected {expect}, its head revision is {int(exists)}\nhint: ")
    assert server.head_revision(stream) == exists + ok


def test_append_ndjson(server, name):
    """Lines become one append, all or nothing."""
    stream = name()
    lines = b'{"type":"A","data":{"n": 1}}\n\n{"stream":"%s","type":"B","data":2}\n' % stream.encode()
    done = daybook("append", stream, "--ndjson", "-", "--expect", "0", server=server, stdin=lines)
    assert done.stdout.decode().startswith(f"{stream}: revisions 1 to 2, positions ")
    assert [(e["type"], e["data"]) for e in server.read_all(events_path(stream))] == [("A", {"n": 1}), ("B", 2)]
    for bad, message in [
        (b'{"type":"A"}\n{"typ":"A"}\n', "line 2: there is no field typ"),
        (b'{"type":"A","stream":"other"}\n', "line 1: it is for the stream other"),
        (b"\n", "there are no events in it"),
        (b'{"type":"A"}\n' * 10001, "line 10001: at most 10000 events can be appended at once"),
    ]:
        assert error_of("append", stream, "--ndjson", "-", server=server, stdin=bad) == message
    message = error_of("append", stream, "--ndjson", "-", server=server, stdin=b'{"type":"A"}\n\n{"type":"B","tags":[""]}\n')
    assert message.startswith("line 3: ") and message.endswith("(tags[0])"), message
    assert server.head_revision(stream) == 2


def test_append_refused(server, name):
    """What the server refuses is said with its reason, its field and its hint."""
    done = daybook("append", name(), "--type", "T", "--data", "{", server=server, status=1)
    assert b"events[0].data" in done.stderr and b"\nhint: " in done.stderr
    assert error_of("append", "$sys", "--type", "T", server=server).startswith("append: names that start with '$'")


def test_append_lost_answer(server, name):
    """The connection is lost before the answer: it is tried again and the event is there once."""
    stream = name()
    with Proxy(server.port, cuts=[-1, 0, 10]) as proxy:
        daybook("append", stream, "--type", "T", server=proxy.url)
        assert proxy.connections == 4
    assert server.head_revision(stream) == 1


# ---- read -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def filled():
    """A server with events in three streams of two categories and nothing else."""
    server = Server()
    for i in range(1, 41):
        stream = ["order-1", "order-2", "cart-1"][i % 3]
        server.append_ok(stream, event("TypeA" if i % 4 else "Type B", {"n": i}, tags=[f"mod:{i % 5}", "all é"]))
    yield server
    server.close()


READS = [
    ([], "/v1/events", {}),
    (["order-1"], "/v1/streams/order-1/events", {}),
    (["order-1", "--after", "3", "--limit", "4"], "/v1/streams/order-1/events", {"after": 3, "limit": 4}),
    (["order-1", "--backward"], "/v1/streams/order-1/events", {"direction": "backward"}),
    (["order-1", "--backward", "--before", "5", "--limit=2"], "/v1/streams/order-1/events",
     {"direction": "backward", "before": 5, "limit": 2}),
    (["order-1", "--type", "Type B"], "/v1/streams/order-1/events", {"type": "Type B"}),
    (["--type", "Type B", "--type", "TypeA", "--category", "order"], "/v1/events",
     {"type": ["Type B", "TypeA"], "category": "order"}),
    (["--prefix", "order-2", "--prefix", "cart", "--backward", "--limit", "9"], "/v1/events",
     {"prefix": ["order-2", "cart"], "direction": "backward", "limit": 9}),
    (["--tag", "mod:3"], "/v1/events", {"tag": "mod:3"}),
    (["order-1", "--after", "1000"], "/v1/streams/order-1/events", {"after": 1000}),
    (["--since", "AT", "--limit", "5"], "/v1/events", {"since": "AT", "limit": 5}),
    (["order-2", "--since=1970-01-01T00:00:00Z", "--until", "AT"], "/v1/streams/order-2/events", {"until": "AT"}),
]


@pytest.mark.parametrize("args, path, query", READS, ids=lambda v: " ".join(v) if isinstance(v, list) else None)
def test_read_json_is_the_servers_ndjson(filled, args, path, query):
    """read --json prints byte for byte what the server's NDJSON has, for every option."""
    at = filled.get("/v1/events/20").json["time"]  # what AT stands for
    args, query = [at if a == "AT" else a for a in args], {k: at if v == "AT" else v for k, v in query.items()}
    expected = filled.get(path, NDJSON, query).raw
    assert expected or "1000" in args
    assert daybook("read", *args, "--json", server=filled).stdout == expected
    assert daybook("read", *args, server=filled).stdout == expected  # the default where there is no terminal


def test_read_what_is_no_time(filled):
    """The server says what it does not take."""
    said = error_of("read", "--since", "yesterday", server=filled)
    assert "since" in said and "RFC 3339" in said


def test_read_lost_connection(filled):
    """A connection that is lost in the middle is made anew, and nothing is read twice or not at all."""
    for args in ([], ["--backward"], ["--limit", "30"], ["order-1", "--after", "2"], ["order-1", "--backward"]):
        expected = daybook("read", *args, server=filled).stdout
        for cut in (-1, 0, 150, 1000, 1500, 2000):
            with Proxy(filled.port, cuts=[cut, cut, 400]) as proxy:
                assert daybook("read", *args, server=proxy.url).stdout == expected
                assert proxy.connections > 1 or cut > 500


def test_read_large_events(server, name):
    """Events up to the server's limit come whole, small and large in turn, in both directions."""
    stream = name()
    for size in (10, 1 << 20, 5, 700_000, 1 << 20, 3):
        server.append_ok(stream, event(data="x" * (size - 2)))
    expected = server.get(events_path(stream), NDJSON).lines
    assert daybook("read", stream, server=server).stdout.split(b"\n")[:-1] == expected
    assert daybook("read", stream, "--backward", server=server).stdout.split(b"\n")[:-1] == expected[::-1]


def test_read_not_there(server, name):
    stream = name()
    done = daybook("read", stream, server=server, status=1)
    assert done.stderr.decode().startswith(f"daybook: {stream}: the stream does not exist") and done.stdout == b""


def test_read_pretty_is_safe(server, name):
    """No control character of an event reaches a terminal raw, nor does a mark that turns the direction of writing."""
    stream = name()
    evil = "\x1b[31m\x07\x7f\x9b31m\u202e\u2028\r\n\t"
    raw = b"[ \"" + "\x7f\x9b31m\u202e\u2028".encode() + b"\",\n\t1]"
    server.append_ok(stream, event(data=evil))
    daybook("append", stream, "--type", "T", "--data", "-", server=server, stdin=raw)
    daybook("append", stream, "--type", "T", "--content-type", "text/plain", "--data", "-", server=server,
            stdin=evil.encode() + b"\xff\x00")
    daybook("append", stream, "--type", "T", "--content-type", "image/png", "--data", "-", server=server, stdin=b"\x1b")
    for output in (daybook("read", stream, "--pretty", server=server).stdout, on_terminal("read", stream, server=server)):
        lines = output.replace(b"\r\n", b"\n").decode().splitlines()
        assert len(lines) == 4
        for i, line in enumerate(lines, 1):
            assert f"  {stream}@{i}  " in line
            assert not any(ord(c) < 32 or 127 <= ord(c) < 160 or c in "\u202e\u2028" for c in line), line
        assert "\\x1b[31m\\x07\\x7f\\xc2\\x9b31m\\xe2\\x80\\xae\\xe2\\x80\\xa8\\r\\n\\t\\xff\\x00" in lines[2]
        assert lines[3].endswith("<1 bytes of image/png>")


def on_terminal(*args, server):
    """What `daybook` writes when its standard output is a terminal."""
    master, slave = pty.openpty()
    process = subprocess.Popen([DAYBOOK, *args], stdout=slave, stdin=subprocess.DEVNULL,
                               env=os.environ | {"DAYBOOK_URL": server.url})
    os.close(slave)
    output = b""
    try:
        while data := os.read(master, 65536):
            output += data
    except OSError:
        pass  # the other end was closed
    os.close(master)
    assert process.wait(10 * SLOW) == 0
    return output


def test_read_pretty_cuts_long_data(server, name):
    stream = name()
    server.append_ok(stream, event(data="é" * 5000))
    line = daybook("read", stream, "--pretty", server=server).stdout.decode()
    assert "é ... (" in line and line.endswith(" bytes more)\n") and len(line) < 1200


# ---- streams, info, verify ------------------------------------------------------------------------


def test_streams(launch):
    """All pages are listed, in byte order of the names, with every option."""
    server = launch()
    names = [f"{c}-{i}" for c in ("b", "a\u00e9", "B") for i in range(900)] + ["x y/z?"]
    for i in range(0, len(names), 900):
        assert server.append_many([(n, None, [event()]) for n in names[i:i + 900]]).status == 201
    names.sort(key=str.encode)
    listed = rows(daybook("streams", "--json", server=server))
    assert listed == [{"stream": n, "category": n.split("-")[0], "head_revision": 1} for n in names]
    pretty = daybook("streams", server=server).stdout.decode().splitlines()
    assert [line.split(maxsplit=1) for line in pretty] == [["1", n] for n in names]

    def list_names(*args):
        return [s["stream"] for s in rows(daybook("streams", "--json", *args, server=server))]

    assert list_names("--prefix", "b-1") == [n for n in names if n.startswith("b-1")]
    assert list_names("--category", "a\u00e9") == [n for n in names if n.startswith("a\u00e9-")]
    assert list_names("--limit", 1500) == names[:1500]
    assert list_names("--after", names[99], "--limit", 3) == names[100:103]
    assert list_names("--prefix", "nothing") == []


def test_info_stream(server, name):
    stream = name("h é/?")
    server.append_ok(stream, [event(), event()])
    expected = server.get(f"/v1/streams/{quote(stream)}").json
    assert json.loads(daybook("info", stream, "--json", server=server).stdout) == expected
    pretty = dict(line.split(maxsplit=1) for line in daybook("info", stream, server=server).stdout.decode().splitlines())
    assert pretty["stream"] == stream and pretty["head_revision"] == "2"
    assert "the stream does not exist" in error_of("info", name(), server=server)


def test_info_server(server):
    expected = server.status()
    info = json.loads(daybook("info", "--json", server=server).stdout)
    assert info.keys() == expected.keys()
    assert (info["store_id"], info["position"]) == (expected["store_id"], expected["position"])
    assert f"position          {expected['position']}\n" in daybook("info", server=server).stdout.decode()


def test_verify_and_reindex(launch, tmp_path):
    """verify by the server, verify and reindex of a directory without one."""
    server = launch(data=tmp_path / "data")
    server.append_ok("s-1", [event(), event()])
    assert daybook("verify", server=server).stdout.decode().startswith("ok: 2 events in ")
    assert daybook("verify", "--data", server.data, status=None).returncode != 0  # it is in use
    server.stop()
    for command in ("verify", "reindex", "verify"):
        daybook(command, "--data", server.data)
    server.start()
    assert len(server.read_all()) == 2


# ---- bench ----------------------------------------------------------------------------------------


def test_bench_interrupted(server):
    """Ctrl-C ends a measurement with what was measured until then."""
    process = subprocess.Popen([DAYBOOK, "bench", "append", "--connections", "2", "--streams", "10", "--seconds", "600", "--warmup-ms", "0",
                                "--json"],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | {"DAYBOOK_URL": server.url})
    position = server.position()
    wait_for(lambda: server.position() > position + 1000, 30, what="the bench to run")
    process.send_signal(signal.SIGINT)
    out, said = process.communicate(timeout=30 * SLOW)
    assert process.returncode == 130 and said.startswith(b"daybook: interrupted"), said
    result = json.loads(out)
    assert result["failed"] == 0 and 0 < result["seconds"] < 600


@pytest.mark.parametrize("feed", ["sse", "ndjson"])
def test_bench_follow(fresh, feed):
    """From an append's answer to its delivery; many followers that all get all; catching up with what there is."""
    one = json.loads(daybook("bench", "follow", "--requests", 50, "--feed", feed, "--json", server=fresh).stdout)
    assert (one["requests"], one["events"], one["failed"], fresh.position()) == (50, 50, 0, 50)
    assert one["delivery_us"]["max"] >= one["delivery_us"]["p50"]
    two = daybook("bench", "follow", "--connections", 3, "--followers", 20, "--requests", 50, "--feed", feed, "--json", server=fresh)
    assert json.loads(two.stdout)["events"] == 50 * 20
    caught_up = daybook("bench", "follow", "--connections", 0, "--from", "start", "--until-caught-up", "--feed", feed, "--json", server=fresh)
    assert json.loads(caught_up.stdout)["events"] == 100
    process = subprocess.Popen([DAYBOOK, "bench", "follow", "--connections", "0", "--followers", "30", "--events", "40", "--feed", feed,
                                "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | {"DAYBOOK_URL": fresh.url})
    assert process.stderr.readline() == b"30 followers have caught up\n"
    daybook("bench", "append", "--rate", 500, "--requests", 40, "--connections", 2, "--warmup-ms", 0, "--json", server=fresh)
    out, said = process.communicate(timeout=30 * SLOW)
    assert process.returncode == 0 and json.loads(out)["events"] == 30 * 40, said


def test_bench_rate(fresh):
    """A rate is kept: not more, and what is late is caught up with."""
    got = json.loads(daybook("bench", "append", "--rate", 200, "--requests", 100, "--connections", 4, "--warmup-ms", 0, "--json",
                             server=fresh).stdout)
    assert got["requests"] == 100 and got["failed"] == 0 and got["seconds"] >= 99 / 200


def test_bench_append_tagged(fresh):
    """Each event has its stream's tag and another; every condition holds, for each looks behind its stream's last answer, also
    in a second run on the same store."""
    for run in (1, 2):
        out = daybook("bench", "append-tagged", "--condition", "--connections", "4", "--streams", "40", "--warmup-ms", "0",
                      "--requests", "300", "--json", server=fresh).stdout
        assert (json.loads(out)["failed"], json.loads(out)["events"]) == (0, 300)
        events = fresh.read_all(type="OrderPlaced")
        assert len(events) == 300 * run
    assert all(e["tags"] == ["order:" + e["stream"][6:], "region:" + e["stream"][-1]] for e in events)

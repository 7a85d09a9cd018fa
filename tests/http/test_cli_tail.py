"""`daybook tail`: what there was, what comes, how it looks on a terminal, and what it does when the server or the reader goes
away."""
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import termios

import pytest

from support import DAYBOOK, NDJSON, SLOW, event, events_path
from support_cli import check, daybook, error_of


class Tail:
    """`daybook tail`, running. Its output is a pipe, or a terminal of so many columns."""

    def __init__(self, server, *args, columns=None, env=None):
        environment = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "TERM")}
        environment |= {"DAYBOOK_URL": server.url, "LC_ALL": "C.UTF-8"} | (env or {})
        self.output, out = pty.openpty() if columns else os.pipe()
        if columns:
            fcntl.ioctl(out, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.process = subprocess.Popen([DAYBOOK, "tail", *map(str, args)], stdout=out, stderr=subprocess.PIPE,
                                        stdin=subprocess.DEVNULL, env=environment)
        os.close(out)
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stderr.close()
        if self.output is not None:
            os.close(self.output)

    def line(self):
        """The next line; the test's timeout is its deadline."""
        while b"\n" not in self.buffer:
            assert self._more(), f"it ended: {self.process.stderr.read()}"
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line.rstrip(b"\r").decode()

    def lines(self, n):
        return [self.line() for _ in range(n)]

    def rest(self):
        while self._more():
            pass
        return self.buffer.decode().splitlines()

    def _more(self):
        try:
            data = os.read(self.output, 65536)
        except OSError:  # a terminal whose other end was closed
            data = b""
        self.buffer += data
        return data != b""

    def end(self, status=0, number=None):
        if number is not None:
            self.process.send_signal(number)
        rest = self.rest()
        said = self.process.stderr.read()
        check(subprocess.CompletedProcess((), self.process.wait(20 * SLOW), b"", said), status)
        return rest, said.decode()


def append(server, first, count, stream=lambda n: f"order-{n % 3}", kind=lambda n: "TypeA" if n % 4 else "TypeB"):
    for n in range(first, first + count):
        server.append_ok(stream(n), event(kind(n), {"n": n}, tags=[f"mod:{n % 5}"]))


def numbers(lines):
    return [json.loads(line)["data"]["n"] for line in lines]


def ndjson(server, path="/v1/events", **query):
    return server.get(path, NDJSON, query).raw.decode().splitlines()


# ---- where it begins ------------------------------------------------------------------------------


def test_the_newest_then_live(fresh):
    """Ten events that were there, as the server's NDJSON has them, then each that is appended, at once."""
    append(fresh, 1, 30)
    with Tail(fresh) as tail:
        assert tail.lines(10) == ndjson(fresh, after=20)
        for n in range(31, 36):
            append(fresh, n, 1)
            assert tail.line() == ndjson(fresh, after=n - 1)[0]
        assert tail.end(130, signal.SIGINT) == ([], "")


BEGINNINGS = [
    (["-n", "3"], [], range(28, 31)),
    (["-n", "0"], [], []),
    (["-n", "1000"], [], range(1, 31)),
    (["--from", "start"], [], range(1, 31)),
    (["--from", "end"], [], []),
    (["--from", "25"], [], range(25, 31)),
    (["--from=1"], [], range(1, 31)),
    (["--from", "0", "--max", "4"], [], range(1, 5)),
    (["--max", "4"], [], range(27, 31)),
    (["-n", "2", "--type", "TypeB"], [], [24, 28]),
    (["--category", "order", "--type", "TypeB", "--from", "20"], [], [20, 24, 28]),
    (["--category", "none"], [], []),
    (["--prefix", "order-1", "--prefix", "order-2", "-n", "3"], [], [26, 28, 29]),
    (["--tag", "mod:1", "--tag", "mod:2", "-n", "3"], [], [22, 26, 27]),
    (["-n", "2"], ["order-1"], [25, 28]),
    (["--from", "9"], ["order-1"], [25, 28]),
    (["--from", "9", "--since", "1h", "--max", "1"], ["order-1"], [25]),
    (["--type", "TypeB"], ["order-1"], [4, 16, 28]),
]


@pytest.fixture(scope="module")
def filled(module_server):
    append(module_server, 1, 30)
    return module_server


@pytest.mark.parametrize("args, stream, expected", BEGINNINGS, ids=[" ".join(b[0] + b[1]) for b in BEGINNINGS])
def test_where_it_begins(filled, args, stream, expected):
    """Every way to say where to begin and what to show, to where there is no more."""
    done = daybook("tail", *stream, *args, "--until-caught-up", server=filled)
    assert numbers(done.stdout.splitlines()) == list(expected) and done.stderr == b""


def test_since(launch):
    """From a time on, of the server's clock, as a time or as how long ago; then live. What is no time is said so."""
    server = launch()
    append(server, 1, 3)
    time = json.loads(ndjson(server)[1])["time"]
    with Tail(server, "--since", time) as tail:
        assert numbers(tail.lines(2)) == [2, 3]
        append(server, 4, 1)
        assert numbers(tail.lines(1)) == [4]
    for ago in ("1d", "2h", "30m", "999s"):
        assert numbers(daybook("tail", "--since", ago, "--until-caught-up", server=server).stdout.splitlines()) == [1, 2, 3, 4]
    assert daybook("tail", "order-1", "--since", "2100-01-01T00:00:00Z", "--until-caught-up", server=server).stdout == b""
    for wrong in ("yesterday", "10x", "m", "1d2"):
        assert "(query.since)" in error_of("tail", "--since", wrong, server=server)


def test_filters_hold_live(fresh):
    """What comes later is filtered as what was there."""
    append(fresh, 1, 10)
    with Tail(fresh, "--type", "TypeB", "--tag", "mod:4", "--tag", "mod:0", "--max", 4) as tail:
        assert numbers(tail.lines(1)) == [4]
        append(fresh, 11, 50)
        rest, said = tail.end()
        assert numbers(rest) == [20, 24, 40] and said == ""


def test_a_stream_live(fresh):
    append(fresh, 1, 6)
    with Tail(fresh, "order-2", "-n", 1) as tail:
        assert numbers(tail.lines(1)) == [5]
        append(fresh, 7, 6)
        assert tail.lines(2) == ndjson(fresh, events_path("order-2"), after=2)


# ---- how it looks ---------------------------------------------------------------------------------

SGR = re.compile(r"\x1b\[[0-9]*m")


def test_pretty_without_a_terminal(filled):
    """A whole line without colours."""
    lines = daybook("tail", "-n", 2, "--pretty", "--until-caught-up", server=filled).stdout.decode().splitlines()
    times = [json.loads(line)["time"] for line in ndjson(filled, after=28)]
    assert lines == [f'{times[0]}  order-2@10  TypeA  {{"n": 29}}', f'{times[1]}  order-0@10  TypeA  {{"n": 30}}']


@pytest.mark.parametrize("columns", [20, 30, 41, 60, 100, 500])
def test_pretty_is_cut_to_the_terminal(fresh, columns):
    """No line is wider than the terminal, in columns and not in bytes; a line that is cut says so."""
    data = "é漢" * 100
    fresh.append_ok("s-1", event("Type", data))
    fresh.append_ok("s-1", event("Type", 1))
    with Tail(fresh, "--until-caught-up", columns=columns, env={"TERM": "xterm"}) as tail:
        rest, _ = tail.end()
    shown = [SGR.sub("", line) for line in rest]
    width = [sum(2 if c == "漢" else 1 for c in line) for line in shown]
    assert len(shown) == 2
    for i, text in enumerate((f'"{data}"', "1")):
        time = json.loads(ndjson(fresh)[i])["time"]
        line = f"{time}  s-1@{i + 1}  Type  {text}"
        if sum(2 if c == "漢" else 1 for c in line) <= columns:
            assert shown[i] == line
        else:
            assert shown[i][-1] == "…" and line.startswith(shown[i][:-1]) and columns - 1 <= width[i] <= columns


COLOURS = [({"TERM": "xterm"}, True), ({"TERM": "xterm", "NO_COLOR": ""}, True), ({"TERM": "xterm", "NO_COLOR": "1"}, False),
           ({"TERM": "dumb"}, False), ({}, False)]


@pytest.mark.parametrize("env, coloured", COLOURS, ids=[" ".join(f"{k}={v}" for k, v in c[0].items()) for c in COLOURS])
def test_colours(filled, env, coloured):
    """Only on a terminal that has them, and not where NO_COLOR is set; none is left on at a line's end."""
    with Tail(filled, "-n", 1, "--until-caught-up", columns=200, env=env) as tail:
        (line,), _ = tail.end()
    assert bool(SGR.search(line)) == coloured
    assert SGR.findall(line)[1::2] == ["\x1b[0m"] * (len(SGR.findall(line)) // 2)


def test_pretty_is_safe(fresh):
    """No control character of an event reaches a terminal."""
    fresh.append_ok("s-1", event("T\u202e", "\x1b[31m\x07\u2028"))
    daybook("append", "s-1", "--type", "T", "--content-type", "text/plain", "--data", "-", server=fresh, stdin=b"\x1b[31m\xff\x00")
    with Tail(fresh, "--until-caught-up", columns=200) as tail:
        rest, _ = tail.end()
    assert len(rest) == 2 and not any(ord(c) < 32 or c in "\u202e\u2028" for line in rest for c in line), rest


# ---- what goes away -------------------------------------------------------------------------------


@pytest.mark.parametrize("kill", [False, True], ids=["SIGTERM", "kill -9"])
def test_a_restart(launch, kill):
    """A server that is restarted is waited for, which is said once; no event is printed twice or left out."""
    server = launch()
    server.restart(flags=[*server.flags, "--listen", f"127.0.0.1:{server.port}"])
    append(server, 1, 5)
    with Tail(server) as tail:
        tail.lines(5)
        server.restart(kill=kill)
        append(server, 6, 20)
        assert numbers(tail.lines(20)) == list(range(6, 26))
        rest, said = tail.end(143, signal.SIGTERM)
        assert rest == [] and re.fullmatch(r"waiting for the server: [^\n]+\nthe server is there again\n", said), said


def test_interrupted_while_the_server_is_away(launch):
    server = launch()
    append(server, 1, 1)
    with Tail(server) as tail:
        tail.line()
        server.stop()
        assert tail.process.stderr.readline().startswith(b"waiting for the server: ")
        assert tail.end(130, signal.SIGINT) == ([], "")


@pytest.mark.parametrize("live", [False, True], ids=["at once", "live"])
def test_the_reader_goes_away(fresh, live):
    """A reader that has seen enough ends it without a word."""
    append(fresh, 1, 100)
    with Tail(fresh, "--from", "start") as tail:
        tail.lines(100 if live else 1)
        os.close(tail.output)
        tail.output = None
        append(fresh, 101, 1)
        assert tail.process.wait(20 * SLOW) == -signal.SIGPIPE and tail.process.stderr.read() == b""


def test_no_server():
    said = error_of("tail", server="http://127.0.0.1:1")
    assert said.startswith("tail: the server cannot be reached: ")


def test_what_the_server_refuses(fresh):
    assert error_of("tail", "--type", "x" * 256, server=fresh).startswith("tail: ")

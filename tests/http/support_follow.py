"""Live reads as tests see them: one connection, its bytes taken apart as they come, in every format.

A `LiveRead` yields items: ("event", event), ("caught_up", numbers), ("heartbeat", numbers). Events are dicts without their
time, the same whatever the format, so that views in different formats compare.
"""
import http.client
import json
import select
import socket
import time
import urllib.parse

from support import NDJSON, PROTOBUF, SLOW, pb
from test_read import from_message, without_time

SSE = "text/event-stream"
FORMATS = {"ndjson": NDJSON, "protobuf": PROTOBUF, "sse": SSE}


class Cut(Exception):
    """The connection ended, and the answer was not whole."""


class LiveRead:
    def __init__(self, port, path, accept=NDJSON, headers=None, version="1.1", receive_bytes=None, **query):
        self.socket = socket.socket()
        if receive_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.settimeout(30 * SLOW)
        self.socket.connect(("127.0.0.1", port))
        if accept != SSE:
            query.setdefault("follow", "true")
        target = path + ("?" + urllib.parse.urlencode(query, doseq=True) if query else "")
        lines = [f"GET {target} HTTP/{version}", "Host: test", f"Accept: {accept}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        self.socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        self.path = path
        self.accept, self.raw, self.body, self.whole = accept, b"", b"", False
        self.last_id, self.retry, self.comments = None, None, 0
        self.is_chunked = None
        self.status = self.headers = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def fileno(self):
        return self.socket.fileno()

    # bytes

    def _read_header(self):
        header, mark, rest = self.raw.partition(b"\r\n\r\n")
        if not mark:
            return False
        status_line, *lines = header.decode("latin-1").split("\r\n")
        self.status = int(status_line.split(" ")[1])
        self.headers = http.client.HTTPMessage()
        for line in lines:
            name, value = line.split(":", 1)
            self.headers[name] = value.strip()
        self.is_chunked = self.headers.get("Transfer-Encoding") == "chunked"
        self.raw = rest
        return True

    def _unwrap(self):
        """Moves what is whole in `raw` to `body`."""
        if self.status is None and not self._read_header():
            return
        if not self.is_chunked:
            self.body, self.raw = self.body + self.raw, b""
        while self.is_chunked and not self.whole and b"\r\n" in self.raw:
            line, rest = self.raw.split(b"\r\n", 1)
            size = int(line, 16)
            if len(rest) < size + 2:
                return
            assert rest[size : size + 2] == b"\r\n", rest[:80]
            self.body, self.raw, self.whole = self.body + rest[:size], rest[size + 2 :], size == 0

    def receive(self, seconds=30):
        """Some more bytes; False at the end of the connection."""
        self.socket.settimeout(seconds * SLOW)
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError:
            raise Cut from None
        self.raw += data
        self._unwrap()
        if not data and self.is_chunked and not self.whole:
            raise Cut
        return bool(data)

    def start(self):
        """Waits for the response's header."""
        while self.status is None:
            assert self.receive(), "closed without an answer"
        return self

    # items

    def _next(self):
        if self.accept == NDJSON:
            return self._next_line()
        return self._next_field() if self.accept == PROTOBUF else self._next_message()

    def _next_line(self):
        line, mark, rest = self.body.partition(b"\n")
        if not mark:
            return None
        self.body = rest
        one = json.loads(line)
        kind = one.pop("control", None)
        return (kind, one) if kind else ("event", without_time([one])[0])

    def _next_field(self):
        size, shift, at = 0, 0, 1
        while True:
            if at >= len(self.body):
                return None
            size |= (self.body[at] & 0x7F) << shift
            shift, at = shift + 7, at + 1
            if self.body[at - 1] < 0x80:
                break
        if len(self.body) < at + size:
            return None
        tag, message, self.body = self.body[0], self.body[at : at + size], self.body[at + size :]
        if tag == 0x0A:
            return "event", without_time([from_message(pb().Event.FromString(message))])[0]
        assert tag == 0x12, tag
        control = pb().Control.FromString(message)
        numbers = {"position": control.position} | ({"revision": control.revision} if control.revision else {})
        return pb().ControlKind.Name(control.kind).removeprefix("CONTROL_KIND_").lower(), numbers

    def _next_message(self):
        """One message, as the HTML standard has it; those without data fire no event."""
        message, mark, rest = self.body.partition(b"\n\n")
        if not mark:
            return None
        self.body = rest
        name, data, comment = "event", [], False
        for line in message.decode().split("\n"):
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if field == "":
                comment = True
                self.comments += 1
            elif field == "id":
                self.last_id = int(value)
            elif field == "event":
                name = value
            elif field == "data":
                data.append(value)
            elif field == "retry":
                self.retry = int(value)
            else:
                raise AssertionError(f"a line that is no field: {line!r}")
        if not data:
            assert comment
            number = "revision" if "/streams/" in self.path else "position"
            return "heartbeat", {"position": self.last_id, number: self.last_id}
        one = json.loads("\n".join(data))
        return (name, one) if name != "event" else ("event", without_time([one])[0])

    def ready(self, seconds=0):
        """What has come, after waiting up to so long for the first of it, as a list."""
        poll = select.poll()  # not select, which takes no descriptor over 1023
        poll.register(self.socket, select.POLLIN)
        if poll.poll(seconds * 1000):
            assert self.receive(), "the answer ended"
        items = []
        while (item := self._next()) is not None:
            items.append(item)
        return items

    def next(self, seconds=30):
        """The next item; None at the end of a whole answer."""
        deadline = time.monotonic() + seconds * SLOW
        while (item := self._next()) is None:
            left = deadline - time.monotonic()
            assert left > 0, "nothing came in time"
            if not self.receive(left):
                assert self.body == b"" and self.raw == b"", (self.body[:200], self.raw[:200])
                return None
        return item

    def event(self, seconds=30):
        """The next event; heartbeats before it are skipped."""
        while True:
            item = self.next(seconds)
            assert item is not None, "the answer ended"
            kind, one = item
            if kind != "heartbeat":
                assert kind == "event", item
                return one

    def events(self, n):
        return [self.event() for _ in range(n)]

    def caught_up(self):
        """Every event up to `caught_up`, and its numbers."""
        found = []
        while True:
            kind, one = self.next()
            if kind == "caught_up":
                return found, one
            if kind == "event":
                found.append(one)

    def rest(self):
        """Everything up to the end of the answer. Where that is cut: Cut, and `got` is what came before."""
        self.got = []
        while (item := self.next()) is not None:
            self.got.append(item)
        return self.got

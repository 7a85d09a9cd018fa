"""What the black-box tests are written with: a real daybookd as an object, HTTP at two levels, both encodings.

Nothing in here knows how the server works inside; it follows the contract and `proto/` only.
"""
import base64
import functools
import http.client
import importlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import types
import urllib.parse
import uuid

from google.protobuf import json_format

ROOT = pathlib.Path(__file__).resolve().parents[2]
DAYBOOKD = os.environ.get("DAYBOOKD", str(ROOT / "build" / "daybookd"))
DAYBOOK = os.environ.get("DAYBOOK", str(ROOT / "build" / "daybook"))
SANITIZER = os.environ.get("DAYBOOK_SANITIZER", "")
# Sanitizers make everything slower; every deadline below is multiplied by this.
SLOW = 4 if SANITIZER else 1

JSON = "application/json"
NDJSON = "application/x-ndjson"
PROTOBUF = "application/x-protobuf"
PROBLEM_JSON = "application/problem+json"

REPORTS = re.compile(
    r"(AddressSanitizer|LeakSanitizer|ThreadSanitizer|MemorySanitizer|runtime error:|"
    r"Assertion .* failed|stack smashing|double free|corrupted size)"
)


def patience():
    """How much slower than alone everything is: sanitizers, and what else runs on this machine."""
    return SLOW * max(1.0, os.getloadavg()[0] / os.cpu_count())


# ---- waiting --------------------------------------------------------------------------------------


def wait_for(condition, seconds=10, what="the condition", step=0.01):
    """Polls until `condition()` is true and returns its value; fails at the deadline."""
    deadline = time.monotonic() + seconds * SLOW
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds * SLOW} s for {what}")
        time.sleep(step)


# ---- the model, generated from proto/ -------------------------------------------------------------


@functools.lru_cache(maxsize=None)
def pb():
    """All messages and enums of proto/*/v1 as one namespace: pb().Event, pb().CloudEvent, …"""
    out = tempfile.mkdtemp(prefix="daybook-proto-")
    files = sorted((ROOT / "proto").glob("*/v1/*.proto"))
    subprocess.run(
        ["protoc", f"--proto_path={ROOT / 'proto'}", f"--python_out={out}", *map(str, files)], check=True
    )
    sys.path.insert(0, out)
    names = types.SimpleNamespace()
    for file in files:
        module = importlib.import_module(f"{file.parts[-3]}.v1.{file.stem}_pb2")
        for name, value in vars(module).items():
            if not name.startswith("_"):
                setattr(names, name, value)
    sys.path.remove(out)
    shutil.rmtree(out)
    return names


def plain(message):
    """A protobuf message as dicts, lists and numbers, defaults included."""
    result = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if field.label == field.LABEL_REPEATED:
            value = [plain(v) if field.message_type else v for v in value]
        elif field.message_type:
            value = plain(value) if message.HasField(field.name) else None
        result[field.name] = value
    return result


# ---- the two encodings ----------------------------------------------------------------------------


class JsonEncoding:
    name, media = "json", JSON

    def append(self, events, expected=None, stream=None):
        return self._dump(self._append(events, expected, stream))

    def append_many(self, appends, checks=(), condition=None):
        """appends: (stream, expected, events); checks: (stream, expected); condition: see `condition`."""
        body = {"appends": [self._append(e, x, s) for s, x, e in appends]}
        if checks:
            body["checks"] = [self._append(None, x, s) for s, x in checks]
        if condition is not None:
            body["condition"] = condition
        return self._dump(body)

    def parse(self, response, message):
        """The body as dicts; `message` is the protobuf name of what is expected, unless it is a problem."""
        media = response.media
        assert media in (JSON, PROBLEM_JSON), f"{response.status} {media}: {response.raw[:200]!r}"
        assert (media == PROBLEM_JSON) == (response.status >= 400)
        return response.json

    @staticmethod
    def _append(events, expected, stream):
        body = {}
        if stream is not None:
            body["stream"] = stream
        if expected is not None:
            body["expected_revision"] = expected
        if events is not None:
            body["events"] = events
        return body

    @staticmethod
    def _dump(body):
        return json.dumps(body, ensure_ascii=False).encode()


class ProtobufEncoding:
    name, media = "protobuf", PROTOBUF

    def append(self, events, expected=None, stream=None):
        return self._append(events, expected, stream).SerializeToString()

    def append_many(self, appends, checks=(), condition=None):
        many = pb().AppendMany()
        if condition is not None:
            many.condition.SetInParent()
            json_format.ParseDict(condition, many.condition)
        for stream, expected, events in appends:
            many.appends.append(self._append(events, expected, stream))
        for stream, expected in checks:
            self._expect(many.checks.add(stream=stream), expected)
        return many.SerializeToString()

    def parse(self, response, message):
        assert response.media == PROTOBUF, f"{response.status} {response.media}: {response.raw[:200]!r}"
        if response.status >= 400:
            problem = plain(response.message("Problem"))
            for violation in problem["violations"]:
                if violation["expected"].isdigit():  # JSON: a number where it was one
                    violation["expected"] = int(violation["expected"])
            return problem
        return plain(response.message(message))

    def _append(self, events, expected, stream):
        append = pb().Append(stream=stream or "", events=[new_event(e) for e in events])
        self._expect(append, expected)
        return append

    @staticmethod
    def _expect(message, expected):
        if isinstance(expected, str):
            message.expected_state = pb().StreamState.Value("STREAM_STATE_" + expected.upper())
        elif expected is not None:
            message.expected_revision = expected


ENCODINGS = {"json": JsonEncoding(), "protobuf": ProtobufEncoding()}


def new_event(event):
    """A JSON-style event dict as a NewEvent message."""
    message = pb().NewEvent(type=event.get("type", ""))
    if "id" in event:
        message.id = uuid.UUID(event["id"]).bytes
    if "data" in event:
        message.data = json.dumps(event["data"], ensure_ascii=False).encode()
    if "data_base64" in event:
        message.data = base64.b64decode(event["data_base64"])
    if "metadata" in event:
        message.metadata = json.dumps(event["metadata"], ensure_ascii=False).encode()
    message.tags.extend(event.get("tags", []))
    for name in ("content_type", "occurred_at", "schema_version"):
        if name in event:
            setattr(message, name, event[name])
    return message


def event(type="Happened", data=None, id=None, **more):
    """A JSON-style event with an id, so that tests can retry it."""
    return {"id": id or str(uuid.uuid4()), "type": type, "data": data if data is not None else {}, **more}


def condition(*items, after=0):
    """A JSON-style consistency boundary; an item is {"types": […], "tags": […]}."""
    return {"fail_if_events_match": {"items": list(items)}, "after": after}


def quote(name):
    """A stream's name as one path segment; takes text or raw bytes."""
    return urllib.parse.quote(name, safe="")


def events_path(stream):
    return f"/v1/streams/{quote(stream)}/events"


# ---- responses ------------------------------------------------------------------------------------


class Response:
    def __init__(self, status, headers, raw):
        self.status, self.headers, self.raw = status, headers, raw

    @property
    def media(self):
        return (self.headers.get("Content-Type") or "").split(";")[0].strip()

    @property
    def json(self):
        return json.loads(self.raw)

    @property
    def lines(self):
        """An NDJSON body's lines as bytes."""
        assert self.raw == b"" or self.raw.endswith(b"\n")
        return self.raw.split(b"\n")[:-1]

    @property
    def body(self):
        if self.media in (JSON, PROBLEM_JSON):
            return self.json
        if self.media == NDJSON:
            return [json.loads(line) for line in self.lines]
        return self.raw

    @property
    def position(self):
        return int(self.headers["Daybook-Position"])

    @property
    def code(self):
        """The stable code of a problem document, in either encoding; None where it is not one."""
        if self.media == PROBLEM_JSON:
            kind = self.json["type"]
        elif self.media == PROTOBUF and self.status >= 400:
            kind = self.message("Problem").type
        else:
            return None
        assert kind.startswith("urn:daybook:problem:"), kind
        return kind.rsplit(":", 1)[1]

    @property
    def field(self):
        """The field at fault that a problem names, "" where it names none."""
        if self.media == PROBLEM_JSON:
            return self.json.get("field", "")
        return self.message("Problem").field

    def message(self, name):
        return getattr(pb(), name).FromString(self.raw)

    def __repr__(self):
        return f"<{self.status} {self.media} {self.raw[:300]!r}>"


def problem(response, status, code, field=None):
    """Asserts that the response is the problem `code` with `status`, about `field` if that is given."""
    assert (response.status, response.code) == (status, code), response
    if field is not None:
        assert response.field == field, response
    return response


# ---- sockets --------------------------------------------------------------------------------------


class Raw:
    """One TCP connection on which a test decides about every byte."""

    def __init__(self, port, timeout=10):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout * SLOW)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def try_send(self, data):
        """Sends what the server takes; false when it has closed already (which a refusal may do)."""
        try:
            self.socket.sendall(data)
            return True
        except (BrokenPipeError, ConnectionResetError):
            return False

    def half_close(self):
        self.socket.shutdown(socket.SHUT_WR)

    def _more(self):
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError:
            data = b""
        self.buffer += data
        return bool(data)

    def _until(self, mark):
        while mark not in self.buffer:
            if not self._more():
                return None
        line, self.buffer = self.buffer.split(mark, 1)
        return line

    def _exactly(self, n):
        while len(self.buffer) < n:
            if not self._more():
                raise AssertionError(f"the body was cut: {len(self.buffer)} of {n} bytes")
        data, self.buffer = self.buffer[:n], self.buffer[n:]
        return data

    def response(self, head=False):
        """The next final or interim response, None where the server has closed without one."""
        header = self._until(b"\r\n\r\n")
        if header is None:
            assert self.buffer == b"", f"a cut response: {self.buffer[:200]!r}"
            return None
        status_line, *lines = header.decode("latin-1").split("\r\n")
        status = int(status_line.split(" ")[1])
        headers = http.client.HTTPMessage()
        for line in lines:
            name, value = line.split(":", 1)
            headers[name] = value.strip()
        body = b""
        if head or status in (204, 304) or status < 200:
            pass
        elif headers.get("Transfer-Encoding", "").lower() == "chunked":
            chunks = []
            while not chunks or chunks[-1]:
                size = int(self._until(b"\r\n").split(b";")[0], 16)
                chunks.append(self._exactly(size + 2)[:-2])
            body = b"".join(chunks)
        elif "Content-Length" in headers:
            body = self._exactly(int(headers["Content-Length"]))
        else:
            while self._more():
                pass
            body, self.buffer = self.buffer, b""
        return Response(status, headers, body)

    def closed(self):
        """Waits for the server to close; fails on bytes that come first."""
        while self._more():
            pass
        assert self.buffer == b"", f"bytes after the last response: {self.buffer[:200]!r}"
        return True


# ---- the server -----------------------------------------------------------------------------------


class Server:
    """A daybookd of the test's own, on a free port of the loopback interface."""

    running = set()  # for the report of a failed test

    def __init__(self, data=None, flags=(), env=None):
        self.home = tempfile.mkdtemp(prefix="daybook-test-")
        self.data = str(data) if data else os.path.join(self.home, "data")
        self.flags = [str(f) for f in flags]
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("DAYBOOK_")} | (env or {})
        self.listen = "127.0.0.1:0"
        self.log_path = os.path.join(self.home, "log")
        self.process = self.port = None
        self.local = threading.local()
        self.start()

    # life

    def command(self):
        return [DAYBOOKD, "--data", self.data, "--listen", self.listen, *self.flags]

    def start(self, wait=True):
        assert self.process is None
        with open(self.log_path, "ab") as log:
            self.log_start = log.tell()
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.env, cwd=self.home
            )
        Server.running.add(self)
        self.port = None
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self):
        def ready():
            assert self.process.poll() is None, f"daybookd ended: {self.process.returncode}\n{self.log()}"
            found = re.search(r"127\.0\.0\.1:(\d+)|\bport=(\d+)", self.log(self.log_start))
            if not found:
                return False
            self.port = int(found.group(1) or found.group(2))
            return True

        wait_for(ready, 20, "the ready line of daybookd")
        wait_for(lambda: self.get("/readyz", check=False).status == 200, 20, "readyz")

    def log(self, start=0):
        with open(self.log_path, "rb") as log:
            log.seek(start)
            return log.read().decode("utf-8", "replace")

    @property
    def pid(self):
        return self.process.pid

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def stop(self, expect=0):
        """SIGTERM: must end in time, with exit status 0 and no sanitizer report."""
        if self.process is None:
            return
        self.disconnect()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.wait_exit(expect)

    def wait_exit(self, expect=0):
        process = self.process
        try:
            status = process.wait(20 if SANITIZER else 5)
        except subprocess.TimeoutExpired:
            self.kill9()
            raise AssertionError(f"daybookd did not end in time after SIGTERM\n{self.log()[-3000:]}") from None
        self._ended()
        self.check_log()
        assert status == expect, f"daybookd ended with {status}\n{self.log()[-3000:]}"

    def kill9(self):
        """Power off."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self._ended()
            self.check_log()

    def _ended(self):
        self.process = None
        Server.running.discard(self)

    def restart(self, kill=False, flags=None):
        self.kill9() if kill else self.stop()
        if flags is not None:
            self.flags = [str(f) for f in flags]
        return self.start()

    def check_log(self):
        report = REPORTS.search(self.log())
        assert report is None, f"daybookd's stderr has a report:\n{self.log()[-6000:]}"

    def close(self):
        """The end of a test: stop, check, remove every trace."""
        try:
            self.stop()
        finally:
            self.kill9()
            shutil.rmtree(self.home, ignore_errors=True)

    # requests

    def connect(self, timeout=30):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout * SLOW)

    def disconnect(self):
        connection = getattr(self.local, "connection", None)
        if connection:
            connection.close()
        self.local = threading.local()

    def request(self, method, path, body=None, headers=None, check=True):
        """One request on this thread's connection. Every answer must carry Daybook-Position."""
        headers = dict(headers or {})
        if isinstance(body, (dict, list)):
            body = json.dumps(body).encode()
        if body is not None and not any(h.lower() == "content-type" for h in headers):
            headers["Content-Type"] = JSON
        kept, self.local.connection = getattr(self.local, "connection", None), None
        if kept is not None and kept.port == self.port:
            try:
                response = self._exchange(kept, method, path, body, headers, check)
                self.local.connection = kept
                return response
            except (http.client.RemoteDisconnected, ConnectionError):
                kept.close()  # a kept connection may have timed out meanwhile; once more on a new one
        connection = self.connect()
        response = self._exchange(connection, method, path, body, headers, check)
        self.local.connection = connection
        return response

    @staticmethod
    def _exchange(connection, method, path, body, headers, check):
        connection.request(method, path, body=body, headers=headers)
        answer = connection.getresponse()
        response = Response(answer.status, answer.headers, answer.read())
        if check:
            assert response.headers["Daybook-Position"], f"{method} {path}: no Daybook-Position"
        return response

    def get(self, path, accept=None, query=None, headers=None, **more):
        headers = dict(headers or {})
        if accept:
            headers["Accept"] = accept
        if query:
            path += "?" + urllib.parse.urlencode(query, doseq=True)
        return self.request("GET", path, headers=headers, **more)

    def head(self, path, **more):
        return self.request("HEAD", path, **more)

    def post(self, path, body=None, headers=None, **more):
        return self.request("POST", path, body, headers, **more)

    def append(self, stream, events, expected=None, encoding="json", headers=None):
        """POST to a stream; `events` is one event or a list of them (see `event`)."""
        events = [events] if isinstance(events, dict) else events
        encoding = ENCODINGS[encoding]
        headers = {"Content-Type": encoding.media, "Accept": encoding.media, **(headers or {})}
        return self.post(events_path(stream), encoding.append(events, expected), headers)

    def append_ok(self, stream, events, expected=None, **more):
        response = self.append(stream, events, expected, **more)
        assert response.status == 201, response
        return response.json

    def append_many(self, appends, checks=(), encoding="json", path="/v1/events", condition=None):
        encoding = ENCODINGS[encoding]
        headers = {"Content-Type": encoding.media, "Accept": encoding.media}
        return self.post(path, encoding.append_many(appends, checks, condition), headers)

    def status(self):
        return self.get("/v1/status").json

    def position(self):
        return self.status()["position"]

    def head_revision(self, stream):
        response = self.get(f"/v1/streams/{quote(stream)}")
        return response.json["head_revision"] if response.status == 200 else 0

    def read_all(self, path="/v1/events", accept=NDJSON, **query):
        """Every event of the log or of a stream in one streamed answer, as JSON dicts."""
        response = self.get(path, accept, query)
        assert response.status == 200, response
        return response.body

    def raw(self, timeout=10):
        return Raw(self.port, timeout)

    def exchange(self, data, timeout=10):
        """Sends bytes on a connection of its own and returns the one response (None: closed without)."""
        with self.raw(timeout) as connection:
            connection.try_send(data)
            return connection.response()

    def rss_bytes(self):
        fields = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"RssAnon:\s+(\d+)", fields).group(1)) * 1024

"""Groups with a webhook: signed CloudEvents to a real receiver, which is slow, fails, redirects, hangs, lies."""
import base64
import hashlib
import hmac
import http.server
import json
import threading
import types

import pytest

from support import SLOW, event, problem, wait_for

SERVER_FLAGS = ("--push-private", "true")
SECRET = "whsec_" + base64.b64encode(b"a secret of thirty-two bytes, 123").decode()


class Receiver:
    """An HTTP server of ours; `answer` is called with each request and says (status, headers, body) or does something else to it."""

    def __init__(self, answer=None):
        self.answer, self.got, self.lock = answer or (lambda _: (204, {}, b"")), [], threading.Lock()
        self.at_once = self.most = 0
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                self.body = self.rfile.read(int(self.headers["Content-Length"]))
                with outer.lock:
                    outer.at_once += 1
                    outer.most = max(outer.most, outer.at_once)
                    outer.got.append(types.SimpleNamespace(headers=self.headers, body=self.body))  # the handler is its connection's
                told = outer.answer(self)
                with outer.lock:
                    outer.at_once -= 1
                if told is not None:
                    status, headers, body = told
                    self.send_response(status)
                    for name, value in headers.items():
                        self.send_header(name, value)
                    if "Content-Length" not in headers:
                        self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()

    def events(self):
        with self.lock:
            return [json.loads(r.body) for r in self.got]

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def receivers():
    made = []

    def make(answer=None):
        made.append(Receiver(answer))
        return made[-1]

    yield make
    for r in made:
        r.close()


def define(server, name, url, status=201, category=None, **settings):
    push = {"url": url, "secret": SECRET, "timeout_s": 5 * SLOW} | settings.pop("push", {})
    body = {"filter": {"category": category or "c" + name.replace("-", "")}, "ack_timeout_s": 60 * SLOW, "backoff": {"initial_s": 0, "max_s": 0},
            "push": push, **settings}
    answer = server.request("PUT", f"/v1/groups/{name}", body)
    assert answer.status == status, answer.raw
    return answer.json


def info(server, name):
    return server.get(f"/v1/groups/{name}").json


def settled(server, name):
    return wait_for(lambda: (i := info(server, name))["lag_events"] == 0 and i["position"] > 0 and i, 30, "the group to be done")


def fill(server, name, streams=1, events=3):
    for s in range(streams):
        server.append_ok(f"c{name.replace('-', '')}-{s}", [event("Made", {"n": n + 1}) for n in range(events)])


def test_every_event_signed_and_in_order(server, name, receivers):
    """Each event as one CloudEvent, in order per stream, with a signature that holds; 2xx acknowledges; the secret is never told."""
    n, r = name(), receivers()
    fill(server, n, 3, 4)
    told = define(server, n, r.url)
    assert told["push"]["url"] == r.url and "secret" not in json.dumps(told) and SECRET not in json.dumps(server.get("/v1/groups").json)
    log = json.dumps(server.get("/v1/streams/$groups/events?system=true").json)
    assert SECRET not in log
    fill(server, n, 3, 2)
    settled(server, n)
    for s in range(3):
        got = [e for e in r.events() if e["stream"].endswith(f"-{s}")]
        assert [e["data"]["n"] for e in got] == [1, 2, 3, 4, 1, 2], got
        assert {(e["specversion"], e["type"]) for e in got} == {("1.0", "Made")}
    for q in r.got:
        key = base64.b64decode(SECRET[6:])
        signed = f"{q.headers['webhook-id']}.{q.headers['webhook-timestamp']}.".encode() + q.body
        expected = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        assert q.headers["webhook-signature"] == expected
        assert q.headers["Content-Type"].startswith("application/cloudevents+json") and q.headers["Daybook-Group"] == n
    assert len({q.headers["webhook-id"] for q in r.got}) == len(r.got) == 18
    assert info(server, n)["push_status"]["sent"] == 18


def test_failures_go_back_and_are_parked(server, name, receivers):
    """A receiver that fails gets the event again, and after max_attempts it is parked; its stream waits, others go on."""
    n = name()
    r = receivers(lambda q: (500, {}, b"no") if json.loads(q.body)["stream"].endswith("-0") else (200, {}, b"ok"))
    fill(server, n, 2, 2)
    define(server, n, r.url, max_attempts=3, push={"concurrency": 1})
    wait_for(lambda: info(server, n)["parked"] == 1, 30, "the event to be parked")
    wait_for(lambda: len([e for e in r.events() if e["stream"].endswith("-1")]) == 2, 30, "the other stream")
    assert [q.headers["Daybook-Attempt"] for q in r.got if json.loads(q.body)["stream"].endswith("-0")] == ["1", "2", "3"]
    parked = server.get(f"/v1/groups/{n}/parked").json["parked"]
    assert parked[0]["reason"] == "the receiver answered 500" and parked[0]["consumer"] == "push"


def test_circuit(server, name, receivers):
    """After five failures in a row it is left alone, tried with one event, and goes on when that is taken."""
    n, broken = name(), threading.Event()
    broken.set()
    r = receivers(lambda _: (502, {}, b"") if broken.is_set() else (200, {}, b""))
    fill(server, n, 20, 1)
    define(server, n, r.url, max_attempts=1000, push={"concurrency": 4})
    told = wait_for(lambda: (s := info(server, n)["push_status"])["circuit"] == "open" and s, 30, "the circuit to open")
    assert told["failed"] >= 5 and told["last_error"] == "the receiver answered 502" and told["retry_at"]
    broken.clear()
    settled(server, n)
    assert info(server, n)["push_status"]["circuit"] == "closed" and r.most <= 4


def test_retry_after(server, name, receivers):
    """429 with Retry-After: nothing more for that long."""
    n, first = name(), []
    def answer(_):
        first.append(1)
        return (429, {"Retry-After": "1"}, b"") if len(first) == 1 else (200, {}, b"")
    r = receivers(answer)
    times = []
    r_answer = r.answer
    r.answer = lambda q: (times.append(float(q.headers["webhook-timestamp"])), r_answer(q))[1]
    fill(server, n, 1, 2)
    define(server, n, r.url, push={"concurrency": 1})
    settled(server, n)
    assert times[1] - times[0] >= 1 and len(times) == 3


def test_redirects_hangs_and_lies(server, name, receivers):
    """A redirect is not followed, a receiver that hangs is given up, a body that is cut is no success; another group is not affected."""
    trap = receivers()
    hang, groups = threading.Event(), {}

    def lie(q):
        q.send_response(200)
        q.send_header("Content-Length", "100")
        q.end_headers()
        q.wfile.write(b"short")
        q.close_connection = True

    behaviours = {"redirect": lambda _: (302, {"Location": trap.url}, b""), "hang": lambda _: hang.wait(60) and None, "lie": lie}
    try:
        good = receivers()
        for what, behaviour in behaviours.items():
            n = groups[what] = name()
            r = receivers(behaviour)
            fill(server, n, 1, 1)
            define(server, n, r.url, max_attempts=2, push={"timeout_s": 0.5})
        n = name()
        fill(server, n, 5, 5)
        define(server, n, good.url)
        settled(server, n)
        assert len(good.got) == 25
        for what, g in groups.items():
            wait_for(lambda g=g: info(server, g)["parked"] == 1, 60, f"{what} to be parked")
        reasons = {w: server.get(f"/v1/groups/{g}/parked").json["parked"][0]["reason"] for w, g in groups.items()}
        assert reasons["redirect"] == "the receiver answered 302" and trap.got == []
        assert "imeout" in reasons["hang"] and reasons["lie"] != ""
    finally:
        hang.set()


def test_settings_and_changes(server, name, receivers):
    """A moved receiver gets the rest; removed or deleted, nothing more is sent; faults of the settings are named."""
    n, first, second = name(), receivers(), receivers()
    fill(server, n, 1, 2)
    define(server, n, first.url)
    settled(server, n)
    define(server, n, second.url, status=200)
    fill(server, n, 1, 1)
    settled(server, n)
    assert (len(first.got), len(second.got)) == (2, 1)
    assert "push" not in server.request("PATCH", f"/v1/groups/{n}", {"push": None}).json
    fill(server, n, 1, 1)
    assert wait_for(lambda: server.request("POST", f"/v1/groups/{n}/fetch", {}).json["events"], 30, "the event for others")
    assert len(second.got) == 1
    for push, field in (({}, "push.url"), ({"url": "ftp://a/"}, "push.url"), ({"url": "http://u:p@a/"}, "push.url"), ({"url": "http://"}, "push.url"),
                        ({"url": "http://a b/"}, "push.url"), ({"url": "http://a/", "timeout_s": 301}, "push.timeout_s"),
                        ({"url": "http://a/", "concurrency": 101}, "push.concurrency"), ({"url": "http://a/", "secret": "x" * 257}, "push.secret"),
                        ({"url": "http://a/", "method": "PUT"}, "push.method"), (1, "push")):
        answer = server.request("PUT", f"/v1/groups/{name()}", {"push": push})
        assert answer.status == 400 and answer.json["field"] == field, answer.raw


@pytest.mark.timeout_s(60)
def test_survives_kill9_and_refuses_private_addresses(fresh, receivers):
    """Without push-private nothing is sent to loopback, whatever the name; after kill -9 pushing goes on, with the secret."""
    r = receivers()
    fill(fresh, "g", 1, 3)
    # What is under way when the server is killed stays leased for so long.
    define(fresh, "g", r.url.replace("127.0.0.1", "localhost"), max_attempts=1000, ack_timeout_s=3 * SLOW, push={"timeout_s": 2 * SLOW})
    told = wait_for(lambda: (s := info(fresh, "g")["push_status"])["failed"] > 0 and s, 30, "a refusal")
    assert "not public" in told["last_error"] and r.got == []
    fresh.restart(kill=True, flags=SERVER_FLAGS)
    settled(fresh, "g")
    assert [json.loads(q.body)["data"]["n"] for q in r.got] == [1, 2, 3] and all(q.headers["webhook-signature"] for q in r.got)

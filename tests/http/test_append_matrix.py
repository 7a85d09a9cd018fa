"""Every form of an expectation × every state of the stream × every kind of retry, in both encodings, before and after
restarts. The table below says what must happen; `Case` carries it out."""
import dataclasses
import typing

import pytest

from support import ENCODINGS, Server, event, events_path

HEAD = 3  # head revision of a stream that exists
BATCH = 2  # events of each case's append


@dataclasses.dataclass(frozen=True)
class Form:
    """One way to say what is expected of a stream, by a writer that has seen the head revision `seen`."""

    name: str
    met: typing.Callable  # (seen, actual head) -> accepted?
    body: typing.Callable = lambda seen: None  # expected_revision in the body
    header: typing.Callable = lambda seen: {}
    said: typing.Callable = None  # `expected` of a violation


FORMS = [
    Form("absent", lambda seen, head: True),
    Form("any", lambda seen, head: True, lambda seen: "any"),
    Form("no_stream", lambda seen, head: head == 0, lambda seen: "no_stream", said=lambda seen: "no_stream"),
    Form("stream_exists", lambda seen, head: head > 0, lambda seen: "stream_exists", said=lambda seen: "stream_exists"),
    Form("zero", lambda seen, head: head == 0, lambda seen: 0, said=lambda seen: 0),
    Form("exact", lambda seen, head: head == seen, lambda seen: seen, said=lambda seen: seen),
    Form("too high", lambda seen, head: head == seen + 2, lambda seen: seen + 2, said=lambda seen: seen + 2),
    Form("too low", lambda seen, head: head == seen - 1, lambda seen: seen - 1, said=lambda seen: seen - 1),
    Form("If-Match exact", lambda seen, head: head == seen, header=lambda seen: {"If-Match": f'"{seen}"'},
         said=lambda seen: seen),
    Form("If-Match too high", lambda seen, head: head == seen + 9, header=lambda seen: {"If-Match": f'"{seen + 9}"'},
         said=lambda seen: seen + 9),
    Form("If-Match *", lambda seen, head: head > 0, header=lambda seen: {"If-Match": "*"},
         said=lambda seen: "stream_exists"),
    Form("If-None-Match *", lambda seen, head: head == 0, header=lambda seen: {"If-None-Match": "*"},
         said=lambda seen: "no_stream"),
]

# What a client sends after its first request, given that request's events, and what must come of it:
# "as new": the expectation decides; a slice: 200 with the original numbers of those events; a code: 409 with it.
RETRIES = {
    "none": (lambda sent: [event(), event()], "as new"),
    "full": (lambda sent: sent, slice(0, BATCH)),
    "full after others": (lambda sent: sent, slice(0, BATCH)),
    "a part alone": (lambda sent: sent[1:], slice(1, BATCH)),
    "partial, new last": (lambda sent: [*sent, event()], "partial-duplicate"),
    "partial, new first": (lambda sent: [event(), *sent], "partial-duplicate"),
    "other order": (lambda sent: sent[::-1], "partial-duplicate"),
    "changed data": (lambda sent: [sent[0], {**sent[1], "data": {"n": 99}}], "id-reused"),
    "changed type": (lambda sent: [{**sent[0], "type": "Other"}, sent[1]], "id-reused"),
    "one id twice": (lambda sent: [sent[0], sent[0]], "id-reused"),
}


class Case:
    """One stream's story: made in a state, appended to with a form, perhaps a restart, then retried."""

    def __init__(self, form, head, retry):
        self.form, self.head, self.retry = form, head, retry
        self.name = f"{form.name}, {'exists' if head else 'never existed'}, {retry}"
        self.stream = f"case-{self.name}"
        self.sent = [event(data={"n": i}) for i in range(BATCH)]
        self.accepted = form.met(head, head)

    def first(self, server, encoding):
        if self.head:
            server.append_ok(self.stream, [event("Before") for _ in range(self.head)])
        position = server.position()
        response = self.send(server, encoding, self.sent)
        if self.accepted:
            self.result = self.check_committed(response, encoding, self.head, position)
        else:
            self.check_violation(response, encoding, self.head)
            assert server.position() == position
        if self.retry == "full after others":
            server.append_ok(self.stream, event("Later"))

    def again(self, server, encoding):
        make, outcome = RETRIES[self.retry]
        before = self.picture(server)
        head = server.head_revision(self.stream)
        response = self.send(server, encoding, make(self.sent))
        if not self.accepted and not (self.retry == "one id twice" and response.code == outcome):
            outcome = "as new"  # the first request was refused, so this is no retry
        if outcome == "as new" and self.form.met(self.head, head):
            self.check_committed(response, encoding, head, before[0])
            return
        if outcome == "as new":
            self.check_violation(response, encoding, head)
        elif isinstance(outcome, slice):
            self.check_duplicate(response, encoding, outcome.start)
        else:
            body = ENCODINGS[encoding].parse(response, "AppendResult")
            assert (response.status, response.code, body["status"]) == (409, outcome, 409), response
            assert body["field"].startswith("events["), response
        assert self.picture(server) == before

    def send(self, server, encoding, events):
        return server.append(
            self.stream, events, self.form.body(self.head), encoding, headers=self.form.header(self.head)
        )

    def picture(self, server):
        """What a rejected request or a duplicate may not change."""
        stream = server.get(events_path(self.stream))
        return server.position(), stream.status, stream.status == 200 and stream.raw

    def check_committed(self, response, encoding, head, position):
        assert response.status == 201, response
        body = ENCODINGS[encoding].parse(response, "AppendResult")
        assert body == {
            "stream": self.stream,
            "first_revision": head + 1,
            "last_revision": head + BATCH,
            "first_position": position + 1,
            "last_position": position + BATCH,
            "duplicate": False,
        }
        assert response.position >= body["last_position"]
        return body

    def check_duplicate(self, response, encoding, start):
        assert response.status == 200, response
        assert ENCODINGS[encoding].parse(response, "AppendResult") == {
            **self.result,
            "first_revision": self.result["first_revision"] + start,
            "first_position": self.result["first_position"] + start,
            "duplicate": True,
        }

    def check_violation(self, response, encoding, head):
        status = 412 if self.form.header(self.head) else 409
        body = ENCODINGS[encoding].parse(response, "AppendResult")
        assert (response.status, response.code, body["status"]) == (status, "wrong-expected-revision", status), response
        expected = self.form.said(self.head)
        assert body["violations"] == [{"stream": self.stream, "expected": expected, "actual": head}]


def cases():
    for form in FORMS:
        for head in (0, HEAD):
            if head == 0 and form.name == "too low":
                continue  # there is nothing below 0
            for retry in RETRIES:
                yield Case(form, head, retry)


NAMES = [case.name for case in cases()]
RESTARTS = {"running": None, "SIGTERM": False, "kill -9": True}


@pytest.fixture(scope="module", params=[(e, r) for e in ENCODINGS for r in RESTARTS], ids=lambda p: f"{p[0]}, {p[1]}")
def stage(request):
    """A server on which every case's first request was answered as it must be, and which was then restarted or not."""
    encoding, restart = request.param
    server = Server()
    try:
        stories = {case.name: case for case in cases()}
        for story in stories.values():
            story.first(server, encoding)
        if RESTARTS[restart] is not None:
            server.restart(kill=RESTARTS[restart])
        yield server, encoding, stories
    finally:
        server.close()


@pytest.mark.parametrize("case", NAMES)
def test_a_retry_is_answered_as_the_table_says(stage, case):
    """The second request of each story is answered by the table, and a rejected one or a duplicate changes nothing."""
    server, encoding, stories = stage
    stories[case].again(server, encoding)


@pytest.mark.parametrize("first, second", [("json", "protobuf"), ("protobuf", "json")])
def test_a_retry_in_the_other_encoding_is_a_duplicate(server, name, first, second):
    """The same event is the same in both encodings, so a retry may change the encoding."""
    stream, sent = name(), event(data={"n": 1})
    # The bytes must be equal, and Python writes JSON with a space after the colon in both helpers.
    original = ENCODINGS[first].parse(server.append(stream, sent, encoding=first), "AppendResult")
    response = server.append(stream, sent, encoding=second)
    assert response.status == 200
    assert ENCODINGS[second].parse(response, "AppendResult") == {**original, "duplicate": True}


def test_an_id_belongs_to_its_stream(server, name, encoding):
    """The same id on another stream is another event."""
    sent = event()
    assert server.append(name(), sent, encoding=encoding).status == 201
    assert server.append(name(), sent, encoding=encoding).status == 201


def test_the_spelling_of_data_is_part_of_an_event(server, name):
    """Equal JSON in other bytes is another payload: data is bytes here."""
    body = b'{"events":[{"id":"0192f0c0-0000-7000-8000-000000000001","type":"T","data":%s}]}'
    path = events_path(name())
    assert server.post(path, body % b'{"a":1}').status == 201
    assert server.post(path, body % b'{"a":1}').status == 200
    assert server.post(path, body % b'{"a": 1}').code == "id-reused"


@pytest.mark.parametrize(
    "id", ["0192F0C0-AAAA-7000-8000-00000000000F", "0192f0c0-aaaa-7000-8000-00000000000f"], ids=["upper", "lower"]
)
def test_the_case_of_an_id_does_not_matter(server, id):
    """An id is 16 bytes, however it is spelled, and comes back in lower case."""
    response = server.append("case-of-ids", event(id=id))
    assert response.status in (200, 201)
    assert server.read_all(events_path("case-of-ids"))[0]["id"] == id.lower()

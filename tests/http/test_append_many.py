"""POST /v1/events and POST /v1/commands: many streams, all or nothing."""
import random

import pytest

from support import ENCODINGS, event, events_path, problem


def results(response, encoding, status=201):
    assert response.status == status, response
    return ENCODINGS[encoding].parse(response, "AppendResults")["results"]


def violations(response, encoding):
    problem(response, 409, "wrong-expected-revision")
    found = ENCODINGS[encoding].parse(response, "AppendResults")["violations"]
    return [(v["stream"], v["expected"], v["actual"]) for v in found]


def numbers(result):
    return tuple(result[k] for k in ("stream", "first_revision", "last_revision", "first_position", "last_position"))


def test_positions_follow_request_order(server, name, encoding):
    """Each append gets consecutive positions, in the order of the request, and is at once in every read."""
    a, b, c = name("a"), name("b"), name("c")
    server.append_ok(b, [event(), event()])
    start = server.position()
    response = server.append_many(
        [(a, "no_stream", [event(), event()]), (b, 2, [event()]), (c, None, [event(), event(), event()])],
        encoding=encoding,
    )
    got = results(response, encoding)
    assert [numbers(r) for r in got] == [
        (a, 1, 2, start + 1, start + 2),
        (b, 3, 3, start + 3, start + 3),
        (c, 1, 3, start + 4, start + 6),
    ]
    assert not any(r["duplicate"] for r in got)
    assert response.position >= start + 6
    read = server.read_all(after=start)
    assert [(e["stream"], e["revision"], e["position"]) for e in read] == [
        (a, 1, start + 1), (a, 2, start + 2), (b, 3, start + 3), (c, 1, start + 4), (c, 2, start + 5), (c, 3, start + 6),
    ]
    assert [e["revision"] for e in server.read_all(events_path(c))] == [1, 2, 3]


def test_all_violations_are_listed_and_nothing_is_written(server, name, encoding):
    """A request that fails names every expectation that was not met, of appends and of checks, and changes nothing."""
    good, old, none, guard = name("good"), name("old"), name("none"), name("guard")
    server.append_ok(good, event())
    server.append_ok(old, [event(), event()])
    before = server.position()
    response = server.append_many(
        [(good, 1, [event()]), (old, 1, [event()]), (none, "stream_exists", [event()])],
        checks=[(good, 1), (guard, 4), (old, "no_stream")],
        encoding=encoding,
    )
    assert sorted(violations(response, encoding), key=str) == sorted(
        [(old, 1, 2), (none, "stream_exists", 0), (guard, 4, 0), (old, "no_stream", 2)], key=str
    )
    assert server.position() == before
    assert server.head_revision(good) == 1
    assert server.get(events_path(none)).code == "stream-not-found"


@pytest.mark.parametrize(
    "expected, passes", [("any", True), ("stream_exists", True), (2, True), ("no_stream", False), (0, False), (1, False), (3, False)]
)
def test_a_check_guards_a_stream_that_is_not_written(server, name, encoding, expected, passes):
    """The append happens exactly if the guard's expectation is met."""
    written, guard = name(), name()
    server.append_ok(guard, [event(), event()])
    response = server.append_many([(written, None, [event()])], checks=[(guard, expected)], encoding=encoding)
    if passes:
        assert numbers(results(response, encoding)[0])[:3] == (written, 1, 1)
    else:
        assert violations(response, encoding) == [(guard, expected, 2)]
    assert server.head_revision(written) == (1 if passes else 0)
    assert server.head_revision(guard) == 2


def test_a_stream_may_come_up_more_than_once(server, name, encoding):
    """Later expectations see the earlier appends of the same request; checks see the state before it."""
    a, b = name(), name()
    response = server.append_many(
        [(a, 0, [event(), event()]), (b, "no_stream", [event()]), (a, 2, [event()]), (a, "stream_exists", [event()])],
        checks=[(a, "no_stream")],
        encoding=encoding,
    )
    got = [numbers(r)[:3] for r in results(response, encoding)]
    assert got == [(a, 1, 2), (b, 1, 1), (a, 3, 3), (a, 4, 4)]


def test_a_later_expectation_of_the_same_request_can_fail(server, name, encoding):
    """An expectation that the request itself makes untrue is a violation, and nothing is written."""
    a = name()
    before = server.position()
    response = server.append_many([(a, 0, [event()]), (a, 0, [event()])], encoding=encoding)
    found = violations(response, encoding)
    assert [v[:2] for v in found] == [(a, 0)]
    assert server.position() == before


def test_a_full_retry_is_a_duplicate(server, name, encoding):
    """The same request again answers 200 with the original numbers, even after others have written, whatever was expected."""
    a, b = name(), name()
    appends = [(a, "no_stream", [event(), event()]), (b, 0, [event()])]
    first = results(server.append_many(appends, encoding=encoding), encoding)
    server.append_ok(a, event())
    again = results(server.append_many(appends, encoding=encoding), encoding, status=200)
    assert again == [{**r, "duplicate": True} for r in first]
    server.restart(kill=True)
    again = results(server.append_many(appends, encoding=encoding), encoding, status=200)
    assert again == [{**r, "duplicate": True} for r in first]


@pytest.mark.parametrize(
    "change, code",
    [
        (lambda a, b, new: [(a[0], None, a[2]), (new, None, [event()])], "partial-duplicate"),
        (lambda a, b, new: [(a[0], None, a[2] + [event()]), b], "partial-duplicate"),
        (lambda a, b, new: [(a[0], None, [{**e, "data": {"other": 1}} for e in a[2]]), b], "id-reused"),
        (lambda a, b, new: [(a[0], None, [{**e, "type": "Other"} for e in a[2]]), b], "id-reused"),
        (lambda a, b, new: [(new, None, [event()] + a[2] + a[2])], "id-reused"),
    ],
    ids=["one append new", "one event new", "changed data", "changed type", "one id twice"],
)
def test_a_changed_retry_is_refused(server, name, encoding, change, code):
    """A retry that is not the same request is refused by its code and changes nothing."""
    a, b = (name(), None, [event(), event()]), (name(), None, [event()])
    results(server.append_many([a, b], encoding=encoding), encoding)
    before = server.position()
    problem(server.append_many(change(a, b, name()), encoding=encoding), 409, code)
    assert server.position() == before


def test_one_id_on_two_streams_is_two_events(server, name, encoding):
    """An id belongs to its stream, within one request too."""
    same = event()
    results(server.append_many([(name(), None, [same]), (name(), None, [same])], encoding=encoding), encoding)


@pytest.mark.parametrize("kind", ["append", "append_many"])
def test_a_command_is_any_write(server, name, encoding, pb, kind):
    """POST /v1/commands takes one Command and answers what the write's own route answers."""
    stream, sent = name(), event(data={"n": 1})
    if encoding == "json":
        append = {"stream": stream, "expected_revision": 0, "events": [sent]}
        body = {kind: append if kind == "append" else {"appends": [append]}}
        headers = {}
    else:
        message = ENCODINGS[encoding].append([sent], 0, stream)
        command = pb.Command()
        (command.append if kind == "append" else command.append_many.appends.add()).MergeFromString(message)
        body = command.SerializeToString()
        headers = {"Content-Type": ENCODINGS[encoding].media, "Accept": ENCODINGS[encoding].media}
    for status, duplicate in ((201, False), (200, True)):
        response = server.post("/v1/commands", body, headers)
        if kind == "append":
            assert response.status == status, response
            answer = ENCODINGS[encoding].parse(response, "AppendResult")
        else:
            (answer,) = results(response, encoding, status)
        assert (numbers(answer)[:3], answer["duplicate"]) == ((stream, 1, 1), duplicate)


@pytest.mark.timeout_s(60)
def test_random_requests_agree_with_a_model(fresh, seed):
    """400 random requests over few streams give the verdicts, numbers and log that a model of the contract gives."""
    random_ = random.Random(seed)
    streams, log = {}, []  # stream -> events so far; the global log
    for _ in range(400):
        encoding = random_.choice(list(ENCODINGS))
        appends = []
        for _ in range(random_.randint(1, 4)):
            stream = f"s-{random_.randrange(12)}"
            head = len(streams.get(stream, ()))
            expected = random_.choice([None, "any", head, head, head + random_.randint(0, 1), "stream_exists", "no_stream"])
            sent = [event(random_.choice("ABC"), {"n": random_.random()}) for _ in range(random_.randint(1, 3))]
            appends.append((stream, expected, sent))
        heads = {s: len(e) for s, e in streams.items()}
        met = True
        for stream, expected, sent in appends:
            head = heads.get(stream, 0)
            met &= {None: True, "any": True, "no_stream": head == 0, "stream_exists": head > 0}.get(expected, head == expected)
            heads[stream] = head + len(sent)
        response = fresh.append_many(appends, encoding=encoding)
        if not met:
            problem(response, 409, "wrong-expected-revision")
            continue
        for result, (stream, _, sent) in zip(results(response, encoding), appends, strict=True):
            events = streams.setdefault(stream, [])
            assert numbers(result) == (stream, len(events) + 1, len(events) + len(sent), len(log) + 1, len(log) + len(sent))
            for one in sent:
                events.append(one)
                log.append((len(log) + 1, stream, len(events), one["id"], one["type"], one["data"]))
    keys = ("position", "stream", "revision", "id", "type", "data")
    assert [tuple(e[k] for k in keys) for e in fresh.read_all()] == log
    fresh.restart(kill=True)
    assert [tuple(e[k] for k in keys) for e in fresh.read_all()] == log

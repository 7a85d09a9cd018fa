"""POST /v1/events with a condition: dynamic consistency boundaries."""
import json
import random
import threading

import pytest

from support import ENCODINGS, PROTOBUF, SLOW, condition, event, events_path, problem, pb
from test_race import run_clients

RACERS = 20
ROUNDS = 1000 if SLOW == 1 else 100


def item(types=(), tags=()):
    return {"types": list(types), "tags": list(tags)}


def violations(response, encoding, code="condition-failed"):
    """The condition's violations as (item, position)."""
    problem(response, 409, code)
    found = ENCODINGS[encoding].parse(response, "AppendResults")["condition_violations"]
    return [(v["item"], v["position"]) for v in found]


def guarded(server, stream, events, *items, after=0, encoding="json", **more):
    """One append under a condition."""
    return server.append_many(
        [(stream, None, events)], encoding=encoding, condition=condition(*items, after=after), **more
    )


# ---- what a condition says ------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v1/events", "/v1/commands"])
def test_types_are_any_and_tags_are_all(server, name, encoding, path):
    """An item matches an event of one of its types that has all of its tags; the first position after `after` is named,
    and a request that fails writes nothing."""
    stream, a, b = name(), name("a"), name("b")
    one, two, three = (
        server.append_ok(stream, event(type, tags=tags))["first_position"]
        for type, tags in [("Opened", [a]), ("Paid", [a, b]), ("Closed", [b])]
    )

    def send(*items, after=0):
        body = ENCODINGS[encoding].append_many([(stream, None, [event("New")])], condition=condition(*items, after=after))
        media = ENCODINGS[encoding].media
        if path == "/v1/commands" and encoding == "json":
            body = b'{"append_many":' + body + b"}"
        elif path == "/v1/commands":
            body = pb().Command(append_many=pb().AppendMany.FromString(body)).SerializeToString()
        return server.post(path, body, {"Content-Type": media, "Accept": media})

    before = server.position()
    assert violations(send(item(tags=[a])), encoding) == [(0, one)]
    assert violations(send(item(tags=[a]), after=one), encoding) == [(0, two)]
    assert violations(send(item(tags=[b, a])), encoding) == [(0, two)]
    assert violations(send(item(["Closed", "Paid"], [b]), after=two), encoding) == [(0, three)]
    assert violations(send(item(["None"], [a]), item(["Closed"], [b]), item(tags=[a])), encoding) == [(1, three), (2, one)]
    assert server.position() == before
    for holds in [item(tags=[b, a]), item(["Opened"], [a])]:
        response = send(holds, after=two)
        assert response.status == 201, response
    assert send(item(["Closed"], [a])).status == 201
    assert send(item(["Opened"], [a, name("unknown")])).status == 201
    assert send(item(tags=[a, b]), after=10**15).status == 201  # nothing is after it
    assert server.head_revision(stream) == 8


def test_the_problem_in_json(server, name):
    """Both lists of violations, and a detail that names the first event."""
    stream, tag = name(), name("t")
    at = server.append_ok(stream, event("Seen", tags=[tag]))["first_position"]
    response = guarded(server, name(), [event()], item(["Seen"], [tag]))
    assert response.json["type"] == "urn:daybook:problem:condition-failed"
    assert response.json["status"] == 409
    assert response.json["condition_violations"] == [{"item": 0, "position": at}]
    assert "violations" not in response.json
    assert str(at) in response.json["detail"] and response.json["hint"]


def test_conditions_and_expectations_together(server, name, encoding):
    """All that is violated comes back at once: of streams, of checks and of the condition. Nothing is written."""
    written, guard, tag = name(), name(), name("t")
    at = server.append_ok(written, event(tags=[tag]))["first_position"]
    before = server.position()

    def send(expected, check, *items):
        return server.append_many(
            [(written, expected, [event(tags=[tag])])], [(guard, check)], encoding, condition=condition(*items)
        )

    for expected, check, streams in [(0, "no_stream", 1), (1, "stream_exists", 1), (5, 2, 2)]:
        response = send(expected, check, item(tags=["none-" + tag]), item(tags=[tag]))
        assert violations(response, encoding, "wrong-expected-revision") == [(1, at)]
        assert len(ENCODINGS[encoding].parse(response, "AppendResults")["violations"]) == streams
        response = send(expected, check, item(tags=["none-" + tag]))
        problem(response, 409, "wrong-expected-revision")
        assert not ENCODINGS[encoding].parse(response, "AppendResults").get("condition_violations")
    assert violations(send(1, "no_stream", item(tags=[tag])), encoding) == [(0, at)]
    assert server.position() == before
    assert send(1, "no_stream", item(tags=["none-" + tag])).status == 201


def test_a_retry_is_answered_as_before(server, name, encoding):
    """The same ids again are a duplicate, though their own events violate the condition by now: also after a kill."""
    stream, tag = name(), name("username")
    same = [event("Registered", tags=[tag]), event("Welcomed", tags=[tag])]
    first = guarded(server, stream, same, item(["Registered"], [tag]), encoding=encoding)
    assert first.status == 201, first
    for _ in range(2):
        again = guarded(server, stream, same, item(["Registered"], [tag]), encoding=encoding)
        assert again.status == 200, again
        (was,), (now,) = (ENCODINGS[encoding].parse(r, "AppendResults")["results"] for r in (first, again))
        assert now == {**was, "duplicate": True}
        other = guarded(server, stream, [event("Registered", tags=[tag])], item(["Registered"], [tag]), encoding=encoding)
        assert violations(other, encoding) == [(0, was["first_position"])]
        server.restart(kill=True)
    assert server.head_revision(stream) == 2


def test_every_event_counts_wherever_it_is_stored(launch, encoding):
    """In memory, in LMDB, after a kill and after a clean stop the verdict is the same."""
    server = launch("--apply-interval-ms", "20")
    positions = {}
    for i in range(200):
        tags = [f"odd:{i % 2}", f"third:{i % 3}"]
        positions[i] = server.append_ok(f"s-{i % 7}", event(f"T{i % 5}", tags=tags))["first_position"]
    for kill in (True, False, None):
        for i in (0, 1, 77, 150):
            first = next(k for k in range(i, 200) if (k % 2, k % 3, k % 5) == (1, 2, 3))
            response = guarded(
                server, "x", [event()], item(["T3"], ["third:2", "odd:1"]), after=positions[i] - 1, encoding=encoding
            )
            assert violations(response, encoding) == [(0, positions[first])]
        assert guarded(server, "x", [event()], item(["T3"], ["third:2", "odd:1", "none"]), encoding=encoding).status == 201
        if kill is not None:
            server.restart(kill=kill)


# ---- races ----------------------------------------------------------------------------------------


@pytest.mark.timeout_s(120)
def test_one_racer_wins(fresh):
    """20 racers send events under one condition at once, 1,000 rounds: exactly one commits, and every other is told where
    the winner's event is."""
    barrier = threading.Barrier(RACERS)
    answers = [[] for _ in range(ROUNDS)]

    def racer(n):
        for round_ in range(ROUNDS):
            tag = f"username:{round_}"
            body = json.dumps({
                "appends": [{"stream": f"user-{n}", "events": [{"type": "Registered", "data": round_, "tags": [tag, f"by:{n}"]}]}],
                "condition": condition({"types": ["Registered"], "tags": [tag]}, after=0 if n % 2 else max(0, round_ - 3)),
            }).encode()  # fmt: skip
            barrier.wait()
            answers[round_].append(fresh.post("/v1/events", body))

    run_clients(RACERS, racer)
    for round_, responses in enumerate(answers):
        won = [r.json["results"][0]["first_position"] for r in responses if r.status == 201]
        assert won == [round_ + 1], f"round {round_}: {won}"
        lost = [r.json for r in responses if r.status != 201]
        assert len(lost) == RACERS - 1
        assert all(r["type"].endswith(":condition-failed") for r in lost), lost
        assert all(r["condition_violations"] == [{"item": 0, "position": round_ + 1}] for r in lost), lost
    assert [e["data"] for e in fresh.read_all()] == list(range(ROUNDS))


@pytest.mark.timeout_s(120)
def test_disjoint_tags_never_fail_each_other(fresh):
    """Racers whose conditions have no event in common all commit, though they share a type and one of two tags."""
    barrier = threading.Barrier(RACERS)
    rounds = ROUNDS // 5

    def racer(n):
        after = 0
        for round_ in range(rounds):
            barrier.wait()
            mine = {"types": ["Enrolled"], "tags": [f"course:{n}", "term:1"]}
            response = guarded(fresh, f"racer-{n}", [event("Enrolled", tags=mine["tags"])], mine, after=after)
            assert response.status == 201, response
            after = response.json["results"][0]["last_position"]

    run_clients(RACERS, racer)
    assert fresh.position() == RACERS * rounds


def test_racers_keep_an_invariant(fresh, seed):
    """A course takes 3 students, a student 2 courses: racers that read, decide and append under the tags they have read
    never break it, and fill what can be filled."""
    courses, students = 4, 10

    def enrolled(tag):
        page = fresh.get("/v1/events", query={"tag": tag, "type": "Enrolled"}).json
        return [e["tags"] for e in page["events"]], page["head"]

    def racer(n):
        random_ = random.Random(seed + n)
        for _ in range(12):
            course, student = f"course:{random_.randrange(courses)}", f"student:{random_.randrange(students)}"
            in_course, after = enrolled(course)
            of_student, _ = enrolled(student)
            if len(in_course) >= 3 or len(of_student) >= 2 or [course, student] in in_course:
                continue
            response = guarded(
                fresh, f"racer-{n}", [event("Enrolled", tags=[course, student])],
                item(["Enrolled"], [course]), item(["Enrolled"], [student]), after=after,
            )  # fmt: skip
            assert response.status in (201, 409), response

    run_clients(8, racer)
    pairs = [tuple(e["tags"]) for e in fresh.read_all(type="Enrolled")]
    assert pairs and len(set(pairs)) == len(pairs)
    assert all(sum(c == f"course:{i}" for c, _ in pairs) <= 3 for i in range(courses))
    assert all(sum(s == f"student:{i}" for _, s in pairs) <= 2 for i in range(students))


# ---- what is refused ------------------------------------------------------------------------------


QUERY = "condition.fail_if_events_match"
MANY = [f"n{i}" for i in range(65)]


@pytest.mark.parametrize(
    "value, status, code, field",
    [
        ({}, 400, "missing-field", QUERY),
        ({"after": 3}, 400, "missing-field", QUERY),
        ({"fail_if_events_match": {}}, 400, "missing-field", QUERY + ".items"),
        (condition(), 400, "missing-field", QUERY + ".items"),
        (condition(item()), 400, "invalid-field", QUERY + ".items[0]"),
        (condition(item(["T"]), {}), 400, "invalid-field", QUERY + ".items[1]"),
        (condition(*[item(["T"])] * 33), 400, "invalid-field", QUERY + ".items"),
        (condition(item(MANY)), 400, "invalid-field", QUERY + ".items[0].types"),
        (condition(item(["T"]), item([], MANY[:33])), 400, "invalid-field", QUERY + ".items[1].tags"),
        (condition(item(["T"], ["a", "b", ""])), 400, "invalid-name", QUERY + ".items[0].tags[2]"),
        (condition(item(["T", "x" * 256])), 400, "invalid-name", QUERY + ".items[0].types[1]"),
        (condition(item(["$deleted"])), 403, "reserved-name", QUERY + ".items[0].types[0]"),
        (condition(item(["T"]), after=2**63), 400, "invalid-field", "condition.after"),
    ],
)
def test_bad_conditions(server, name, encoding, value, status, code, field):
    """Each is refused by its code and field, in both encodings; nothing is written."""
    stream = name()
    response = server.append_many([(stream, None, [event()])], encoding=encoding, condition=value)
    problem(response, status, code, field)
    assert server.head_revision(stream) == 0


def test_a_condition_alone_writes_nothing(server, encoding):
    """Without an append there is nothing to guard."""
    response = server.append_many([], [("s-1", 0)], encoding, condition=condition(item(["T"])))
    problem(response, 400, "missing-field", "appends")


def test_the_largest_condition(server, name, encoding):
    """32 items of 64 types and 32 tags, each a name of 255 bytes, are decided."""
    tags = [f"{i:03}" + encoding[0] * 252 for i in range(32)]
    items = [item([f"{k:02}{i:03}" + "n" * 250 for i in range(64)], tags) for k in range(32)]
    assert guarded(server, name(), [event()], *items, encoding=encoding).status == 201
    at = server.append_ok(name(), event(items[7]["types"][63], tags=tags))["first_position"]
    assert violations(guarded(server, name(), [event()], *items, encoding=encoding), encoding) == [(7, at)]


def test_a_condition_belongs_to_post_events(server, name):
    """One stream's events are guarded by its revision; a condition there is an unknown field, not an ignored one."""
    body = {"events": [event()], "condition": condition(item(["T"]))}
    problem(server.post(events_path(name()), body), 400, "unknown-field", "condition")


@pytest.mark.timeout_s(90)
def test_a_condition_that_is_too_broad(fresh, encoding):
    """Two long lists without a common event are not walked from the start of the log: 422, which names `after`, at once;
    from near the end it is decided."""
    events = [event("T", tags=["even" if i % 2 else "odd"]) for i in range(10000)]
    for i in range(10):
        for e in events:
            e["id"] = e["id"][:-2] + f"{i:02}"
        fresh.append_ok("s", events)
    both = item(["T"], ["odd", "even"])
    problem(guarded(fresh, "s", [event()], both, encoding=encoding), 422, "condition-too-broad", "condition.after")
    assert guarded(fresh, "s", [event()], both, after=99_000, encoding=encoding).status == 201


def test_the_problem_in_protobuf(server, name):
    """The message has both lists, as numbers."""
    tag = name("t")
    at = server.append_ok(name(), event(tags=[tag]))["first_position"]
    response = guarded(server, name(), [event()], item(tags=["none"]), item(tags=[tag]), encoding="protobuf")
    assert response.media == PROTOBUF
    found = response.message("Problem").condition_violations
    assert [(v.item, v.position) for v in found] == [(1, at)]

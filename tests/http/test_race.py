"""Many clients at once: one winner, one order, no gaps."""
import random
import threading
import uuid

import pytest

from support import event, events_path

CLIENTS = 64
ROUNDS = 20


def run_clients(count, work):
    """Runs work(client number) on `count` threads; the first failure is the test's."""
    failures = []

    def body(n):
        try:
            work(n)
        except BaseException as failure:  # noqa: B902: carried to the test's thread
            failures.append(failure)

    threads = [threading.Thread(target=body, args=(n,), daemon=True) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


@pytest.mark.timeout_s(60)
@pytest.mark.parametrize("kind", ["exact", "If-Match", "no_stream"])
def test_one_revision_has_one_winner(server, name, kind):
    """64 clients race for one revision, 20 rounds: exactly one 201 each, every other a conflict that names the new head."""
    base = name()
    barrier = threading.Barrier(CLIENTS)
    answers = [[] for _ in range(ROUNDS)]

    def client(n):
        for round_ in range(ROUNDS):
            stream = f"{base}-{round_}" if kind == "no_stream" else base
            expected = {"exact": round_, "no_stream": "no_stream"}.get(kind)
            headers = {"If-Match": f'"{round_}"'} if kind == "If-Match" else {}
            barrier.wait()
            response = server.append(stream, event(data={"client": n}), expected, headers=headers)
            answers[round_].append((response, n))

    run_clients(CLIENTS, client)
    winners = []
    for round_, responses in enumerate(answers):
        won = [(r.json, n) for r, n in responses if r.status == 201]
        assert len(won) == 1, f"round {round_}: {len(won)} winners"
        winners.append(won[0])
        lost = [r for r, _ in responses if r.status != 201]
        head = 1 if kind == "no_stream" else round_ + 1
        for response in lost:
            assert response.status == (412 if kind == "If-Match" else 409)
            assert response.code == "wrong-expected-revision"
            assert [v["actual"] for v in response.json["violations"]] == [head]
    log = server.read_all(prefix=base)
    assert [(e["position"], e["data"]["client"]) for e in log] == [(r["first_position"], n) for r, n in winners]


def test_one_event_sent_by_many_is_appended_once(server, name):
    """64 clients send the same event: one 201, the others 200 with the same numbers."""
    stream, same = name(), event()
    barrier = threading.Barrier(CLIENTS)
    answers = []

    def client(_):
        barrier.wait()
        answers.append(server.append(stream, same, "no_stream"))

    run_clients(CLIENTS, client)
    assert sorted(r.status for r in answers) == [200] * (CLIENTS - 1) + [201]
    assert {(r.json["first_revision"], r.json["first_position"]) for r in answers} == {(1, server.position())}
    assert server.head_revision(stream) == 1


@pytest.mark.timeout_s(60)
def test_every_answer_agrees_with_one_total_order(fresh, seed):
    """16 clients append to shared streams, alone and many at once: positions and revisions have no gaps, each answer
    names the place at which its events are, and times never decrease."""
    answers = []
    per_client = 100

    def client(n):
        random_ = random.Random(seed + n)
        for _ in range(per_client):
            wanted = [(f"s-{random_.randrange(8)}", [str(uuid.UUID(int=random_.getrandbits(128))) for _ in range(random_.randint(1, 3))])
                      for _ in range(random_.choice([1, 1, 3]))]  # fmt: skip
            if len(wanted) == 1:
                stream, ids = wanted[0]
                response = fresh.append(stream, [event(id=i) for i in ids])
                results = [response.json]
            else:
                response = fresh.append_many([(s, "any", [event(id=i) for i in ids]) for s, ids in wanted])
                results = response.json["results"]
            assert response.status == 201, response
            for (stream, ids), result in zip(wanted, results, strict=True):
                for k, id in enumerate(ids):
                    answers.append((result["first_position"] + k, stream, result["first_revision"] + k, id))
            # Read-your-writes: the answer's own events are in the next read.
            last = results[-1]
            (read,) = fresh.read_all(events_path(last["stream"]), after=last["last_revision"] - 1, limit=1)
            assert read["position"] == last["last_position"]

    run_clients(16, client)
    log = fresh.read_all()
    assert [e["position"] for e in log] == list(range(1, len(log) + 1))
    assert [(e["position"], e["stream"], e["revision"], e["id"]) for e in log] == sorted(answers)
    heads = {}
    for one in log:
        heads[one["stream"]] = heads.get(one["stream"], 0) + 1
        assert one["revision"] == heads[one["stream"]]
    assert [e["time"] for e in log] == sorted(e["time"] for e in log)


def test_readers_see_whole_requests_while_others_write(fresh):
    """A read never sees a part of an atomic append, and a reader that pages on never misses or doubles an event."""
    stop = threading.Event()
    appends = 300

    def work(n):
        if n < 2:
            for k in range(appends):
                fresh.append_many([(f"w-{n}", "any", [event(), event()]), ("shared", "any", [event(data={"by": [n, k]})])])
            stop.set()
            return
        seen = 0
        while True:
            done = stop.is_set()
            page = fresh.get("/v1/events", query={"after": seen}).json
            positions = [e["position"] for e in page["events"]]
            assert positions == list(range(seen + 1, seen + 1 + len(positions)))
            seen += len(positions)
            assert page["next"] == seen
            if page["end"]:
                assert seen % 3 == 0, "a part of an atomic append was visible"
                if done:
                    return

    run_clients(4, work)
    assert fresh.position() == 2 * appends * 3

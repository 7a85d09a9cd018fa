"""Canaries of history.py: a small history that happened is taken, and each way in which it could not have happened is seen."""
import copy

import history
from history import FOREVER, Violation


def an_event(log, request, k, of, stream, type="T", tags=()):
    revision = sum(e["stream"] == stream for e in log) + 1
    position = len(log) + 1
    return {"position": position, "stream": stream, "revision": revision, "id": f"id{position}", "type": type,
            "tags": list(tags), "data": {"r": request, "k": k, "of": of}}  # fmt: skip


class Story:
    """Requests one after the other, each in a window of ten: invoked at 10n, done by 10n + 9."""

    def __init__(self):
        self.log, self.history = [], []
        self.now = 0

    def window(self):
        self.now += 10
        return {"inv": self.now, "res": self.now + 9}

    def append(self, request, *streams, expected="any", answered=True, types=("T",), tags=(), condition=None, checks=()):
        appends, results = [], []
        for k, stream in enumerate(streams):
            one = an_event(self.log, request, k, len(streams), stream, types[k % len(types)], tags)
            self.log.append(one)
            appends.append((stream, expected, [one["id"]]))
            results.append({"stream": stream, "first_revision": one["revision"], "first_position": one["position"]})
        op = {"kind": "append", "request": request, **self.window(), "appends": appends, "checks": list(checks),
              "condition": condition, "end": FOREVER, "status": 201, "answer": {"results": results}}  # fmt: skip
        if not answered:
            op |= {"res": None, "status": None, "answer": None}
        self.history.append(op)
        return op

    def refused(self, request, stream, expected, condition=None, **answer):
        op = {"kind": "append", "request": request, **self.window(), "appends": [(stream, expected, ["no"])], "checks": [],
              "condition": condition, "end": FOREVER, "status": 409, "answer": answer}  # fmt: skip
        self.history.append(op)
        return op

    def lost(self, request, stream, end=FOREVER):
        """Not answered, and not done."""
        op = {"kind": "append", "request": request, **self.window(), "res": None, "appends": [(stream, "any", ["no"])],
              "checks": [], "condition": None, "end": end, "status": None, "answer": None}  # fmt: skip
        self.history.append(op)
        return op

    def again(self, op, status, answer):
        self.history.append({**copy.deepcopy(op), **self.window(), "status": status, "answer": answer})
        return self.history[-1]

    def read(self, **what):
        events = history.Log(self.log).read(what, len(self.log))
        op = {"kind": "read", **self.window(), "what": what, "status": 200, "position": len(self.log), "events": events}
        self.history.append(op)
        return op

    def seen(self, position):
        self.history.append({"kind": "seen", **self.window(), "position": position, "id": self.log[position - 1]["id"]})


ITEM = {"types": ["Paid"], "tags": ["a:1"]}


def a_story():
    s = Story()
    s.append("r1", "s-1", expected="no_stream")  # position 1
    s.append("r2", "s-1", "s-2", types=("T", "Paid"), tags=("a:1",))  # 2, 3
    s.read()
    s.append("r3", "s-2", expected=1, answered=False)  # 4, never answered
    s.refused("x1", "s-1", 1, violations=[{"stream": "s-1", "expected": 1, "actual": 2}])
    s.read(stream="s-2", backward=True)
    s.seen(3)
    s.append("r4", "s-3", condition={"items": [ITEM], "after": 3}, types=("Paid",), tags=("a:1",))  # 5
    s.refused("x2", "s-1", "any", {"items": [{"types": ["Not"]}, ITEM], "after": 3}, condition_violations=[{"item": 1, "position": 5}])
    s.append("r5", "s-1", expected=2, checks=[("s-9", "no_stream")])  # 6
    s.lost("l1", "s-1")
    s.read(tag="a:1", after=2)
    s.read(after=3, limit=2)
    s.seen(6)
    unanswered = next(op for op in s.history if op["kind"] == "append" and op["request"] == "r3")
    place = {"stream": "s-2", "first_revision": 2, "first_position": 4}
    s.again(unanswered, 200, {"results": [place]})
    return s


def op_of(s, request):
    return next(op for op in s.history if op.get("request") == request)


def reads(s):
    return [op for op in s.history if op["kind"] == "read"]


# ---- what could not have happened -----------------------------------------------------------------


def stale_read(s):
    """r2 was acknowledged before the read began, which shows the state before it."""
    reads(s)[0].update(position=1, events=[(1, "id1")])


def stale_read_of_a_stream(s):
    reads(s)[1].update(position=1, events=[], status=404)


def read_of_the_future(s):
    """It shows what was invoked after it was answered."""
    reads(s)[0].update(position=5, events=[(p, f"id{p}") for p in range(1, 6)])


def torn_read(s):
    """Half of a request on two streams."""
    reads(s)[0].update(position=2, events=[(1, "id1"), (2, "id2")])


def read_with_a_hole(s):
    del reads(s)[0]["events"][1]


def read_out_of_order(s):
    reads(s)[0]["events"].reverse()


def read_that_hides_a_stream(s):
    reads(s)[1].update(status=404, events=[])


def reads_that_go_back(s):
    """Each could be true of r3, which has no end, but the later one shows less."""
    s.history[:] = [op for op in s.history if op["kind"] != "seen"]
    early, late = reads(s)[1:3]
    del s.history[s.history.index(op_of(s, "r4")) :]
    s.history.append(late | {"what": {}, "position": 3, "events": [(p, f"id{p}") for p in (1, 2, 3)]})
    del s.log[4:]
    assert early["position"] == 4


def lost_append(s):
    s.log.pop()


def another_place(s):
    op_of(s, "r5")["answer"]["results"][0]["first_position"] = 5


def another_revision(s):
    op_of(s, "r5")["answer"]["results"][0]["first_revision"] = 4


def reordered(s):
    """r4 and r5 in the log the other way round, though r5 began after r4's answer."""
    s.log[4], s.log[5] = s.log[5] | {"position": 5}, s.log[4] | {"position": 6}
    op_of(s, "r4")["answer"]["results"][0]["first_position"] = 6
    op_of(s, "r5")["answer"]["results"][0]["first_position"] = 5
    s.history[:] = [op for op in s.history if op["kind"] == "append" and op["request"] != "x2"]


def duplicate(s):
    s.log.append(s.log[-1] | {"position": 7, "revision": 4})


def duplicate_under_another_id(s):
    s.log.append(s.log[-1] | {"position": 7, "revision": 4, "id": "id7"})


def unanswered_twice(s):
    s.log.append(s.log[3] | {"position": 7, "revision": 3, "id": "id7"})


def done_twice(s):
    """A retry says that it did what was done."""
    s.history[-1]["status"] = 201
    s.history[-1]["answer"]["results"][0].update(first_position=4)


def duplicate_of_nothing(s):
    s.history.append(op_of(s, "l1") | {"res": s.now, "status": 200, "answer": {"results": []}})


def half_a_request(s):
    s.log[2:] = [e | {"position": e["position"] - 1} for e in s.log[3:]]


def between_a_request(s):
    s.log[2], s.log[3] = s.log[3] | {"position": 3}, s.log[2] | {"position": 4}


def refused_and_done(s):
    s.log.append(an_event(s.log, "x1", 0, 1, "s-1"))


def refused_without_reason(s):
    """The expectation held in every state that there was between invocation and answer."""
    op_of(s, "x1").update(appends=[("s-1", 2, ["no"])])


def refused_too_early(s):
    """What is said to have been there came later."""
    op_of(s, "x1")["answer"]["violations"][0]["actual"] = 3


def refused_too_late(s):
    """What is said to have been there was over."""
    op_of(s, "x1").update(appends=[("s-1", 5, ["no"])])
    op_of(s, "x1")["answer"]["violations"][0]["actual"] = 1


def refused_in_part(s):
    """Another expectation was violated too, in all states, and is not named."""
    op_of(s, "x1")["checks"].append(("s-2", "no_stream"))


def condition_refused_without_reason(s):
    op_of(s, "x2")["condition"]["after"] = 5
    op_of(s, "x2")["answer"]["condition_violations"] = [{"item": 1, "position": 6}]


def condition_with_another_position(s):
    op_of(s, "x2")["condition"]["after"] = 2


def condition_refused_in_part(s):
    op_of(s, "x2")["condition"]["items"][0] = {"tags": ["a:1"]}


def condition_not_kept(s):
    op_of(s, "r4")["condition"]["after"] = 2


def expectation_not_kept(s):
    op_of(s, "r5")["appends"][0] = ("s-1", 1, ["id6"])


def check_not_kept(s):
    op_of(s, "r5")["checks"][0] = ("s-2", "no_stream")


def from_nobody(s):
    s.log.append(an_event(s.log, "nobody", 0, 1, "s-9"))


def done_after_the_end(s):
    """Its server was gone before others were done that come before it in the log."""
    op_of(s, "r3")["end"] = 15


def shown_and_lost(s):
    s.seen(6)
    s.history[-1]["id"] = "id0"


def shown_too_early(s):
    s.history.append({"kind": "seen", "inv": 5, "res": 15, "position": 6, "id": "id6"})


def overloaded_and_done(s):
    op_of(s, "r5").update(status=503)


def a_server_error(s):
    op_of(s, "x1").update(status=500)


PLANTED = [
    stale_read, stale_read_of_a_stream, read_of_the_future, torn_read, read_with_a_hole, read_out_of_order,
    read_that_hides_a_stream, reads_that_go_back, lost_append, another_place, another_revision, reordered, duplicate,
    duplicate_under_another_id, unanswered_twice, done_twice, duplicate_of_nothing, half_a_request, between_a_request,
    refused_and_done, refused_without_reason, refused_too_early, refused_too_late, refused_in_part,
    condition_refused_without_reason, condition_with_another_position, condition_refused_in_part, condition_not_kept,
    expectation_not_kept, check_not_kept, from_nobody, done_after_the_end, shown_and_lost, shown_too_early,
    overloaded_and_done, a_server_error,
]  # fmt: skip


def may_happen():
    """What looks odd and is right: overlapping requests in any order, an answer that comes late, a lost request done late."""
    s = a_story()
    for op in s.history:
        op["inv"] -= 30
        op["res"] = None if op["res"] is None else op["res"] + 30
    stale_read(s)
    history.check(s.log, s.history)
    s = a_story()
    op_of(s, "r4")["res"], op_of(s, "r5")["inv"] = op_of(s, "r4")["res"] + 30, op_of(s, "r4")["inv"]
    reordered(s)
    history.check(s.log, s.history)


def run():
    """Fails where the checker does not see a planted violation, or sees one that is none. Returns how many there are."""
    counts = history.check(a_story().log, a_story().history)
    assert counts[201] == 4 and counts[409] == 2 and counts["read"] == 4 and counts["seen"] == 2, counts
    may_happen()
    for plant in PLANTED:
        s = a_story()
        plant(s)
        try:
            history.check(s.log, s.history)
        except Violation:
            continue
        raise SystemExit(f"the checker does not see: {plant.__name__}")
    return len(PLANTED)


if __name__ == "__main__":
    print(f"{run()} planted violations, all seen")

"""Is a history linearizable? A checker of what clients of a Daybook saw, against the log that was there in the end.

A committed request has its places in the log, so the order in which writes took effect is known, and nothing has to be searched:
there are states 0 (nothing) to N (after the N-th request of the log), and what is asked is whether there are moments T1 <= T2 <= ...
TN at which they began, such that
  - a request that was answered began its state between its invocation and its answer; one that was not answered, after its
    invocation and before its server's end, or never;
  - whatever else was answered (a read, a refusal, a duplicate) is true in some state that was there between invocation and answer.
What is true is so in one run of states j..k, since positions, revisions and matches of a condition only grow. So each operation says
`Tj <= answer` and `Tk+1 >= invocation`: bounds of single moments, and there are such moments just where the running maximum of
the lower bounds never passes the running minimum, from behind, of the upper ones. That is one pass: linear time, no false alarm,
nothing missed.

A history is a list of dicts, with times of one clock. All have `inv` and `res` (None: not answered):
  append   request (a name, which all its events carry as data.r, with data.k of data.of), appends [(stream, expected, [ids])],
           checks [(stream, expected)], condition {"items", "after"} or None, `end` (its server was gone by then), status and answer
  read     what {"after", "limit", "backward", one of "stream", "type", "tag"}, status, position (Daybook-Position), events [(position, id)]
  seen     a follower was shown position, id
"""
import bisect
import collections

FOREVER = float("inf")


class Violation(AssertionError):
    """The history cannot have happened."""


def fail(what, *facts):
    raise Violation(what + "".join(f"\n  {fact}" for fact in facts))


class Log:
    """The events in the end, as states."""

    def __init__(self, events):
        self.events = events
        self.requests = {}  # name -> state that it began
        self.ends = [0]  # of each state: its last position
        self.heads = collections.defaultdict(lambda: ([0], [0]))  # stream -> (states, revision of the head from then on)
        self.postings = collections.defaultdict(list)  # (what, name) -> its events
        self._cut()

    def _cut(self):
        heads, at, ids = collections.Counter(), 0, set()
        while at < len(self.events):
            name, of = (self.events[at]["data"][key] for key in ("r", "of"))
            own = self.events[at : at + of]
            if [(e["data"]["r"], e["data"]["k"]) for e in own] != [(name, k) for k in range(of)]:
                fail(f"request {name} is half there, or others are between its events, at position {at + 1}")
            if name in self.requests:
                fail(f"request {name} is there twice", self.events[self.ends[self.requests[name]] - 1], own[0])
            state = self.requests[name] = len(self.ends)
            self.ends.append(at + of)
            for k, one in enumerate(own):
                heads[one["stream"]] += 1
                if one["position"] != at + k + 1 or one["revision"] != heads[one["stream"]] or (one["stream"], one["id"]) in ids:
                    fail("a position or revision is left out, or an event is there twice", one)
                ids.add((one["stream"], one["id"]))
                for key in [None, ("stream", one["stream"]), ("type", one["type"]), *(("tag", t) for t in one.get("tags", ()))]:
                    self.postings[key].append(one)
            for stream in {e["stream"] for e in own}:
                self.heads[stream][0].append(state)
                self.heads[stream][1].append(heads[stream])
            at += of

    @property
    def states(self):
        return len(self.ends)

    def of(self, state):
        """The events that a state's request appended."""
        return self.events[self.ends[state - 1] : self.ends[state]]

    def state_of(self, position):
        """The state that ends at a position; None: the position is inside of a request, or not there."""
        at = bisect.bisect_left(self.ends, position)
        return at if at < len(self.ends) and self.ends[at] == position else None

    def state_with(self, position):
        """The first state that has a position."""
        return bisect.bisect_left(self.ends, position)

    def head(self, stream, state):
        states, revisions = self.heads[stream]
        return revisions[bisect.bisect_right(states, state) - 1]

    def where_head(self, stream, low, high):
        """The run of states in which low <= head <= high: (first, last), first > last where there is none."""
        states, revisions = self.heads[stream]
        first, after = bisect.bisect_left(revisions, low), bisect.bisect_right(revisions, high)
        start = states[first] if first < len(states) else self.states
        return start, (states[after] - 1 if after < len(states) else self.states - 1)

    def where_expected(self, stream, expected):
        """The run of states in which an expectation holds."""
        low, high = {"any": (0, FOREVER), "no_stream": (0, 0), "stream_exists": (1, FOREVER)}.get(expected, (expected, expected))
        return self.where_head(stream, low, high)

    def match(self, item, after):
        """The first position behind `after` that an item of a condition matches; FOREVER: none."""
        types, tags = item.get("types", ()), item.get("tags", ())
        among = self.postings[("tag", tags[0]) if tags else None]
        for one in among[bisect.bisect_right(among, after, key=position_of) :]:
            if (not types or one["type"] in types) and set(tags) <= set(one.get("tags", ())):
                return one["position"]
        return FOREVER

    def read(self, what, position):
        """What a read gets in the state at a position."""
        key = next(((k, what[k]) for k in ("stream", "type", "tag") if what.get(k)), None)
        number = "revision" if what.get("stream") else "position"
        among = self.postings[key]
        start = bisect.bisect_right(among, what.get("after", 0), key=lambda e: e[number])
        found = among[start : bisect.bisect_right(among, position, key=position_of)]
        if what.get("backward"):
            found.reverse()
        return [(e["position"], e["id"]) for e in found[: what.get("limit")]]


def position_of(event):
    return event["position"]


class Checker:
    def __init__(self, events, history):
        self.log = Log(events)
        self.history = history
        # Of each state's beginning: the bounds, and the operations that set them.
        self.low = [(0, None)] * (self.log.states + 1)
        self.high = [(FOREVER, None)] * (self.log.states + 1)
        self.counts = collections.Counter()

    def check(self):
        attempts = collections.defaultdict(list)
        for op in self.history:
            if op["kind"] == "append":
                attempts[op["request"]].append(op)
            elif op["kind"] == "read":
                self.check_read(op)
            else:
                self.check_seen(op)
        for name in self.log.requests:
            if name not in attempts:
                fail(f"the log has request {name}, which nobody sent")
        for name, ops in attempts.items():
            self.check_request(name, ops)
        self.check_moments()
        return self.counts

    # bounds

    def after(self, state, op):
        """The state began after the invocation of `op`."""
        if op["inv"] > self.low[state][0]:
            self.low[state] = (op["inv"], op)

    def before(self, state, time, op):
        if time < self.high[state][0]:
            self.high[state] = (time, op)

    def need(self, op, first, last):
        """One of the states first..last was there between invocation and answer."""
        if first > last:
            fail("no state of the log justifies this answer", op)
        if first > 0:
            self.before(first, op["res"], op)
        if last + 1 < self.log.states:
            self.after(last + 1, op)

    def check_moments(self):
        lows, low = [], (0, None)
        for bound in self.low[: self.log.states]:
            low = max(low, bound, key=lambda b: b[0])
            lows.append(low)
        high = (FOREVER, None)
        for state in range(self.log.states - 1, 0, -1):
            high = min(high, self.high[state], key=lambda b: b[0])
            if lows[state][0] > high[0]:
                fail(
                    f"state {state} (position {self.log.ends[state]}) began after {lows[state][0]} and before {high[0]}",
                    lows[state][1],
                    high[1],
                )

    # appends

    def check_request(self, name, ops):
        """All attempts to do one thing: at most one did it."""
        state = self.log.requests.get(name)
        done = [op for op in ops if op["status"] == 201]
        lost = [op for op in ops if op["res"] is None]
        for op in ops:
            self.counts[op["status"]] += 1
            if op["status"] in (200, 201):
                self.check_promise(op, state)
            elif op["status"] in (409, 412):
                self.check_refusal(op)
            elif op["status"] not in (None, 503, 507):
                fail("an answer that no such request may get", op)
        if state is None:
            return
        self.check_guards(ops[0], state)
        if len(done) > 1 or not (done or lost):
            fail(f"request {name} is in the log: it was answered 201 {len(done)} times and {len(lost)} times not at all", *ops)
        if done:
            self.after(state, done[0])
            self.before(state, done[0]["res"], done[0])
        else:
            self.after(state, min(lost, key=lambda op: op["inv"]))
            last = max(lost, key=lambda op: op["end"])
            self.before(state, last["end"], last)
        if any(op["status"] in (409, 412) for op in ops):
            fail(f"request {name} was refused, and is there", *ops)

    def check_promise(self, op, state):
        """What was answered 200 or 201 is there, at its place."""
        if state is None:
            fail("acknowledged, and not in the log", op)
        at = iter(self.log.of(state))
        for (stream, _, ids), result in zip(op["appends"], op["answer"]["results"], strict=True):
            for k, id in enumerate(ids):
                one = next(at)
                place = (stream, id, result["first_revision"] + k, result["first_position"] + k)
                if (one["stream"], one["id"], one["revision"], one["position"]) != place:
                    fail(f"acknowledged as {place}, found {one}", op)
        if op["status"] == 200:
            self.need(op, state, self.log.states - 1)

    def check_guards(self, op, state):
        """What guarded a request that was done held in the state before it."""
        for stream, expected, *_ in [*op["appends"], *op["checks"]]:
            first, last = self.log.where_expected(stream, expected)
            if not first <= state - 1 <= last:
                fail(f"expected {expected} of {stream}, whose head was {self.log.head(stream, state - 1)}", op)
        if op["condition"] is not None:
            for item in op["condition"]["items"]:
                if self.log.match(item, op["condition"]["after"]) <= self.log.ends[state - 1]:
                    fail(f"{item} had a match, and the request was done", op)

    def check_refusal(self, op):
        """A refusal names all that is violated, and nothing else is: in one state."""
        violated = {v["stream"]: v for v in op["answer"].get("violations", ())}
        matched = {v["item"]: v["position"] for v in op["answer"].get("condition_violations", ())}
        if not violated and not matched:
            fail("a refusal without a reason", op)
        first, last = 0, self.log.states - 1
        for stream, expected, *_ in [*op["appends"], *op["checks"]]:
            run = self.log.where_expected(stream, expected)
            if stream in violated:
                actual = violated[stream]["actual"]
                holds, run = run, self.log.where_head(stream, actual, actual)
                if run[0] >= holds[0] and run[1] <= holds[1]:
                    fail(f"{stream} was as expected, and the request was refused", op)
            first, last = max(first, run[0]), min(last, run[1])
        items = op["condition"]["items"] if op["condition"] is not None else []
        for number, item in enumerate(items):
            match = self.log.match(item, op["condition"]["after"])
            if number in matched:
                if matched[number] != match:
                    fail(f"{item} was said to match {matched[number]} first, it is {match}", op)
                first = max(first, self.log.state_with(match))
            elif match != FOREVER:
                last = min(last, self.log.state_with(match) - 1)
        self.need(op, first, last)

    # reads

    def check_read(self, op):
        """Exactly what the state at Daybook-Position has."""
        if op["status"] == 503:  # the server ends
            return
        self.counts["read"] += 1
        state = self.log.state_of(op["position"])
        if state is None:
            fail("a read of a state that never was", op)
        wanted = self.log.read(op["what"], op["position"])
        if op["what"].get("stream") and self.log.head(op["what"]["stream"], state) == 0:
            if op["status"] != 404:
                fail("a read of a stream that was not there yet", op)
        elif op["status"] != 200 or op["events"] != wanted:
            fail(f"the state at {op['position']} has {wanted[:5]}… ({len(wanted)})", op)
        self.need(op, state, state)

    def check_seen(self, op):
        self.counts["seen"] += 1
        at = op["position"] - 1
        if at >= len(self.log.events) or self.log.events[at]["id"] != op["id"]:
            fail("a follower was shown what is not there", op)
        self.need(op, self.log.state_with(op["position"]), self.log.states - 1)


def check(events, history):
    """Raises Violation; returns what was checked, counted."""
    return Checker(events, history).check()

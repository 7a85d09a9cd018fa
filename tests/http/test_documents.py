"""Document projections in Lua: from script to document, keys, paging, what survives the way, hostile scripts, real data."""
import gzip
import json
import threading

import pytest

from support import event, problem, quote, wait_for
from test_projections import LOANS, LOAN_TOTALS, ask, info, live, path, rows, send_loans

LUA = "text/x-lua"
COUNTER = """return {
  init = function() return {n = 0, positions = 0} end,
  on = { ["*"] = function(state, event)
    state.n = state.n + 1
    state.positions = state.positions + event.position
    return state
  end },
}
"""


def put(server, name, script, query=""):
    return server.request("PUT", path(name) + query, script.encode(), {"Content-Type": LUA})


def put_ok(server, name, script, query=""):
    response = put(server, name, script, query)
    assert response.status in (200, 201), response
    return response.json


def document(server, name, key, query="?wait=20s"):
    return server.get(path(name, "documents", quote(key)) + query)


def test_a_script_becomes_documents(fresh):
    """Documents by stream: read by key, listed by prefix in pages, queried with SQL; a read with a position has what was written."""
    for i in range(12):
        fresh.append_ok(f"order-{i:02}", event("Placed", {"amount": i}))
    fresh.append_ok("cart/ä 1", event("Placed", {"amount": 99}))
    assert put(fresh, "p", COUNTER).status == 201
    assert info(fresh, "p")["kind"] == "document"
    position = fresh.append_ok("order-03", event("Paid"))["last_position"]
    answer = document(fresh, "p", "order-03", f"?min_position={position}&wait=20s")
    assert answer.json == {"key": "order-03", "document": {"n": 2, "positions": 4 + position}, "position": answer.position}
    assert document(fresh, "p", "cart/ä 1").json["document"]["n"] == 1
    problem(document(fresh, "p", "nothing"), 404, "document-not-found", "key")
    keys, after = [], ""
    while True:
        page = fresh.get(path("p", "documents"), query={"prefix": "order-", "limit": 5, **({"after": after} if after else {})}).json
        keys += [d["key"] for d in page["documents"]]
        after = page["next"]
        if page["end"]:
            break
    assert keys == [f"order-{i:02}" for i in range(12)]
    assert len(fresh.get(path("p", "documents")).json["documents"]) == 13
    assert rows(fresh, "p", "SELECT sum(document ->> 'n') FROM documents") == [[14]]
    problem(fresh.get(path("$counts", "documents")), 400, "invalid-query", "name")
    problem(fresh.get(path("p", "documents") + "?limit=100000"), 400, "invalid-parameter", "query.limit")
    fresh.restart(kill=True)
    assert document(fresh, "p", "order-03").json["document"]["n"] == 2


def test_values_survive(fresh):
    """Numbers beyond 2^53 and 2^63, null, empty arrays and objects come out of a document as they went in, also after a restart."""
    value = '{"big":9007199254740993,"bigger":18446744073709551616,"decimal":1.10,"empty":[],"huge":1e400,"none":null,"object":{},"text":"\\u00e4"}'
    script = 'return { on = { Set = function(s, e) s.v = e.data return s end, Touch = function(s, e) s.touched = true return s end } }'
    put_ok(fresh, "p", script)
    fresh.post("/v1/streams/s/events", b'{"events":[{"type":"Set","data":' + value.encode() + b"}]}")
    fresh.restart()
    position = fresh.append_ok("s", event("Touch"))["last_position"]
    raw = document(fresh, "p", "s", f"?min_position={position}&wait=20s").raw.decode()
    assert '"touched":true' in raw
    for part in ('"big":9007199254740993', '"bigger":18446744073709551616', '"decimal":1.1,', '"empty":[]', '"huge":1e400', '"none":null', '"object":{}', '"text":"ä"'):
        assert part in raw, (part, raw)


def test_keys_of_the_script(fresh):
    """key(event) chooses the documents; nil skips; a list fans out; nil from a handler deletes."""
    put_ok(fresh, "p", """return {
      key = function(event) return event.data.users end,
      on = { Joined = function(s, e) s.rooms = s.rooms or array {} s.rooms[#s.rooms + 1] = e.entity return s end,
             Left = function(s, e) return nil end } }""")
    fresh.append_ok("room-1", [event("Joined", {"users": ["ann", "bob"]}), event("Joined", {})])
    fresh.append_ok("room-2", [event("Joined", {"users": "ann"}), event("Left", {"users": "bob"})])
    page = fresh.get(path("p", "documents"), query={"min_position": fresh.position(), "wait": "20s"}).json
    assert page["documents"] == [{"key": "ann", "document": {"rooms": ["1", "2"]}}]


@pytest.mark.parametrize("script,detail", [
    ("", "must return a table"), ("return 1", "must return a table"), ("x = = 1", "line 1"), ("while true do end", "more steps"),
    ("local s = 'x' while true do s = s .. s end", "more memory"), ("\x1bLua", "binary chunk"), ("os.exit()", "global 'os'"),
    ("load('x')", "global 'load'"), ("getmetatable('')", "global 'getmetatable'"), ("setmetatable({}, {__gc = print})", "global 'setmetatable'"),
    ("rawset(string, 'rep', nil)", "global 'rawset'"), ("string.dump(function() end)", "'dump'"), ("pcall(error)", "global 'pcall'"),
    ("coroutine.wrap(function() while true do end end)()", "global 'coroutine'"), ("require 'os'", "global 'require'"), ("debug.sethook()", "global 'debug'"), ("local s = ('a'):rep(10000) s:find('.-.-.-.-b')", "pattern"),
])
def test_bad_scripts(server, script, detail):
    """A script that is not valid, or does not end, is refused with the reason."""
    assert detail in problem(put(server, "bad", script), 400, "invalid-projection", "body").json["detail"]


def test_hostile_handlers_hurt_only_themselves(fresh):
    """Loops, memory, recursion and bombs in handlers fault their own projection; others and appends go on."""
    bodies = {"loop": "while true do end", "memory": "local t = {} for i = 1, 1 << 40 do t[i] = {i} end", "recursion": "local function f() return 1 + f() end return f()",
              "string": "local s = 'x' while true do s = s .. s end", "pattern": "return (('a'):rep(9999)):find('.-.-.-.-b')",
              "insert": "local t = {} for i = 1, 1 << 40 do table.insert(t, 1, i) end", "nothing": "s.n = 1"}
    put_ok(fresh, "good", COUNTER)
    for name, body in bodies.items():
        put_ok(fresh, name, "return { on = { Bad = function(s, e)\n%s\nend } }" % body)
    position = fresh.append_ok("s", [event("Bad"), event("Good")])["last_position"]
    assert document(fresh, "good", "s", f"?min_position={position}&wait=28s").json["document"]["n"] == 2
    for name in bodies:
        status = wait_for(lambda: (s := info(fresh, name))["state"] == "faulted" and s, 25, f"a fault of {name}")
        assert status["error"]["position"] == position - 1, status
    assert fresh.append("s", event()).status == 201


def test_errors_found_when_writing(fresh):
    """What cannot be written as JSON is set aside as the event that made it so, and only that one."""
    put_ok(fresh, "p", "return { on = { ['*'] = function(s, e) s.n = e.data.zero and 0/0 or (s.n or 0) + 1 return s end } }", "?on_error=set_aside")
    fresh.append_ok("s", [event(data={"zero": i == 4} if i == 4 else {}) for i in range(9)])
    position = fresh.position()
    assert document(fresh, "p", "s", f"?min_position={position}&wait=20s").json["document"] == {"n": 8}
    errors = fresh.get(path("p", "errors")).json["errors"]
    assert len(errors) == 1 and "not finite" in errors[0]["detail"]


@pytest.mark.timeout_s(120)
def test_kills(fresh):
    """After kills the documents equal the log."""
    put_ok(fresh, "p", COUNTER)
    for round_number in range(8):
        for stream in range(3):
            fresh.append_ok(f"s-{stream}", [event() for _ in range(50 + 97 * round_number)])
        fresh.restart(kill=True)
        expected = {}
        for e in fresh.read_all():
            n, positions = expected.get(e["stream"], (0, 0))
            expected[e["stream"]] = (n + 1, positions + e["position"])
        page = fresh.get(path("p", "documents"), query={"min_position": fresh.position(), "wait": "25s"}).json
        assert {d["key"]: (d["document"]["n"], d["document"]["positions"]) for d in page["documents"]} == expected


def test_readers_beside_the_writer(fresh):
    """While events come in each read of a document is whole: its two numbers always fit."""
    put_ok(fresh, "p", "return { init = function() return {a = 0, b = 0} end, on = { ['*'] = function(s) s.a = s.a + 1 s.b = s.b + 1 return s end } }")
    fresh.append_ok("s", event())
    live(fresh, "p")
    stop, failures = threading.Event(), []

    def read():
        while not stop.is_set():
            found = document(fresh, "p", "s")
            if found.status != 200 or found.json["document"]["a"] != found.json["document"]["b"]:
                failures.append(found)

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(200):
        fresh.append_ok("s", event())
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []


LOAN_SCRIPT = """return {
  category = "loan",
  init = function() return {status = "undecided"} end,
  on = {
    A_SUBMITTED = function(s, e) s.amount_requested = e.data.amount_requested return s end,
    A_APPROVED = function(s) s.status = "approved" return s end,
    A_DECLINED = function(s) s.status = "declined" return s end,
    A_CANCELLED = function(s) s.status = "cancelled" return s end,
  },
}
"""


@pytest.mark.timeout_s(240)
@pytest.mark.skipif(not LOANS.exists(), reason="the loan log is not here")
def test_loans(fresh):
    """The published figures, from documents: by SQL over them and by adding up what the list answers."""
    with gzip.open(LOANS, "rt") as lines:
        batch, n = {}, 0
        for line in lines:
            e = json.loads(line)
            if e["type"].startswith("A_"):
                batch.setdefault(e["stream"], []).append(event(e["type"], e["data"]))
                n += 1
                if n % 8000 == 0:
                    send_loans(fresh, batch)
                    batch = {}
        send_loans(fresh, batch)
    put_ok(fresh, "loans", LOAN_SCRIPT)
    answer = ask(fresh, "loans", "SELECT document ->> 'status', count(*), sum(document ->> 'amount_requested') FROM documents GROUP BY 1", query="?wait=60s")
    totals = {status: n for status, n, _ in answer.json["rows"]}
    assert totals == LOAN_TOTALS and sum(row[2] for row in answer.json["rows"]) == 177634511
    page = fresh.get(path("loans", "documents"), query={"limit": 10000}).json
    rest = fresh.get(path("loans", "documents"), query={"limit": 10000, "after": page["next"]}).json
    documents = [d["document"] for d in page["documents"] + rest["documents"]]
    assert len(documents) == 13087 and sum(d["amount_requested"] for d in documents) == 177634511

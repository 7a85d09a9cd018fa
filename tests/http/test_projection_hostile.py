"""Queries and scripts that mean harm: each ends in a clear error within its budget, and nobody else is disturbed."""
import random
import socket
import sqlite3
import threading
import time

import pytest

from support import SANITIZER, SLOW, event, problem, wait_for
from test_projections import COUNTER, ask, info, live, path, put, put_ok, rows

BIG = "hex(zeroblob(8000000))"
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "


def doubling(body, n=45):
    """Each table expression names the one before twice: a kilobyte of text that expands to 2^n of them."""
    return "WITH c0 AS (SELECT 1 x)" + "".join(f", c{i} AS ({body.format(i - 1)})" for i in range(1, n)) + f" SELECT * FROM c{n - 1}"


# Name, text, code and a word of the detail.
FORBIDDEN = [
    ("ATTACH 'x' AS y", "ATTACH"), ("DETACH main", "DETACH"), ("PRAGMA journal_mode = DELETE", "PRAGMA"), ("PRAGMA query_only = OFF", "PRAGMA"),
    ("PRAGMA writable_schema = ON", "PRAGMA"), ("PRAGMA cache_size = 1000000", "PRAGMA"), ("SELECT * FROM pragma_database_list", "PRAGMA"),
    ("SELECT * FROM pragma_journal_mode", "PRAGMA"), ("SELECT load_extension('x')", "load_extension"), ("SELECT readfile('/etc/passwd')", "no such function"),
    ("SELECT writefile('/tmp/x', 'x')", "no such function"), ("SELECT * FROM fsdir('/')", "no such table"), ("SELECT edit('x')", "no such function"),
    ("VACUUM", "not allowed"), ("VACUUM INTO '/tmp/daybook-hostile'", "not allowed"), ("BEGIN", "not allowed"), ("COMMIT", "not allowed"),
    ("SAVEPOINT x", "not allowed"), ("DELETE FROM by_type", "DELETE"), ("WITH a AS (SELECT 1) DELETE FROM by_type", "DELETE"), ("DROP TABLE by_type", "not allowed"),
    ("INSERT INTO by_type VALUES ('x', 1)", "INSERT"), ("UPDATE by_type SET events = 0", "UPDATE"), ("CREATE TABLE t (x)", "not allowed"), ("CREATE TEMP TABLE t (x)", "not allowed"),
    ("SELECT * FROM _daybook_facts", "system"), ("SELECT 1; DELETE FROM by_type", "more than one"), ("SELECT randomblob(10)", "randomblob"),
    ("SELECT rtreecheck('x')", "rtreecheck"), ("SELECT fts3_tokenizer('x')", "fts3_tokenizer"), ("ANALYZE", "not allowed"), ("REINDEX", "not allowed"),
    ("SELECT json_patch('{}', '{}')", "json_patch"), ("SELECT " + "(" * 300 + "1" + ")" * 300, "parser stack overflow"), ("EXPLAIN DELETE FROM by_type", "DELETE"),
]  # fmt: skip

COSTLY = {
    "a recursion without end": ENDLESS + "SELECT count(*) FROM n",
    "a huge sort": ENDLESS + "SELECT i FROM n ORDER BY i * 7919 % 1000003 LIMIT 1",
    "a group_concat without end": ENDLESS + "SELECT group_concat(hex(zeroblob(1000))) FROM n",
    "a join of everything": "SELECT count(*) FROM " + ", ".join(f"json_each('[1,2,3,4,5,6,7,8,9]') t{i}" for i in range(30)),
    "doubling by UNION ALL": doubling("SELECT * FROM c{0} UNION ALL SELECT * FROM c{0}"),
    "doubling by a join": doubling("SELECT a.x FROM c{0} a, c{0} b"),
    "many large values": "SELECT " + ", ".join([BIG] * 300),
    "many large arguments": "SELECT max(" + ", ".join([BIG] * 99) + ") IS NULL",
    "instr": f"SELECT instr({BIG}, substr({BIG}, 1, 8000000) || '1')",
    "instr of three MB": "SELECT instr(hex(zeroblob(1500000)), hex(zeroblob(700000)) || '1'), instr(hex(zeroblob(1500000)), hex(zeroblob(700000)) || '1') + 1 / 0",
    "replace": f"SELECT replace({BIG}, substr({BIG}, 1, 8000000) || '1', 'x')",
    "replace that grows": f"SELECT length(replace({BIG}, '0', 'xxxxxxxxxxxxxxxxxxxxxxxx'))",
    "trim": f"SELECT trim({BIG}, substr({BIG}, 1, 4000000) || '2')",
    "LIKE": f"SELECT {BIG} LIKE '%' || substr({BIG}, 1, 900) || '1'",
    "GLOB": f"SELECT {BIG} GLOB '*' || substr({BIG}, 1, 900) || '1'",
    "many LIKEs": ENDLESS + "SELECT count(*) FROM n WHERE hex(zeroblob(50000)) LIKE '%' || hex(zeroblob(400)) || '1'",
    "printf by a star": "SELECT printf('%.*c', 1000000000, 'x')",
    "printf by a number": "SELECT format('%1000000000d', 1)",
    "zeroblob": "SELECT zeroblob(2000000000)",
    "a large window": ENDLESS + "SELECT max(length(group_concat(i) OVER (ORDER BY i))) FROM n",
    "a table in memory": ENDLESS + f", m AS MATERIALIZED (SELECT {BIG} z FROM n LIMIT 100) SELECT count(*) FROM m a, m b, m c",
}


def memory_mib(server, field="VmHWM"):
    with open(f"/proc/{server.process.pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) // 1024 for line in status if line.startswith(field))


SERVER_FLAGS = ["--query-time-ms", "1000"]


@pytest.fixture
def strict(server):
    """The file's server, which gives a query a second, with something to read."""
    if server.position() == 0:
        server.append_ok("s", [event() for _ in range(10)])
    put_ok(server, "counter", COUNTER)
    live(server, "counter")
    return server


@pytest.mark.parametrize("sql, word", FORBIDDEN, ids=lambda v: v[:40])
def test_what_a_query_may_not_do(strict, sql, word):
    """It is refused with the word for it, and nothing has changed."""
    ((n,),) = rows(strict, "$counts", "SELECT sum(events) FROM by_type", query=f"?min_position={strict.position()}&wait=20s")
    response = problem(ask(strict, "$counts", sql), 400, "invalid-query", "sql")
    assert word.lower() in response.json["detail"].lower()
    assert rows(strict, "$counts", "SELECT sum(events) FROM by_type") == [[n]]


# One step of SQLite that a sanitizer's allocator and string functions make a hundred times slower: millions of small pieces.
SLOW_BY_SANITIZER = {"replace that grows"}


@pytest.mark.timeout_s(120)
@pytest.mark.parametrize("name", COSTLY)
def test_what_a_query_may_not_cost(strict, name):
    """It ends about when its time is over, with little memory; meanwhile other queries and appends are answered."""
    if SANITIZER and name in SLOW_BY_SANITIZER:
        pytest.skip("a sanitizer makes this one take minutes")
    before, done = memory_mib(strict, "VmRSS"), []
    with open(f"/proc/{strict.process.pid}/clear_refs", "w", encoding="ascii") as peak:
        peak.write("5")
    thread = threading.Thread(target=lambda: done.append(ask(strict, "$counts", COSTLY[name])))
    started = time.monotonic()
    thread.start()
    slowest = 0
    while thread.is_alive() and time.monotonic() < started + 60 * SLOW:
        turn = time.monotonic()
        assert rows(strict, "counter", "SELECT n FROM counts WHERE stream = 's'") == [[10]]
        slowest = max(slowest, time.monotonic() - turn)
        thread.join(0.05)
    took = time.monotonic() - started
    assert done, "it goes on and on"
    if done[0].status != 200:  # what is linear may be done
        problem(done[0], 400, done[0].json["type"].rsplit(":", 1)[1])
        assert done[0].json["type"].endswith((":query-limit", ":invalid-query"))
    assert took < 15 * SLOW and slowest < 10 * SLOW, (took, slowest)
    assert memory_mib(strict) - before < 200 * SLOW
    assert info(strict, "counter")["state"] == "live"


def test_a_client_that_goes_away(launch):
    """Its query is ended, long before its time is over, and does not keep others from being answered."""
    server = launch("--query-time-ms", 60000)
    server.append_ok("s", event())
    live(server, "$counts")
    body = b'{"sql":"' + (ENDLESS + "SELECT count(*) FROM n").encode() + b'"}'
    head = b"POST /v1/projections/$counts/query HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    for _ in range(12):
        with socket.create_connection(("127.0.0.1", server.port)) as sock:
            sock.sendall(head % len(body) + body)
            wait_for(lambda: server.get("/v1/status").status == 200, 10, "an answer")
    started = time.monotonic()
    assert rows(server, "$counts", "SELECT 1") == [[1]]
    assert time.monotonic() - started < 15 * SLOW


@pytest.mark.timeout_s(120)
@pytest.mark.parametrize("statement", [
    "INSERT INTO t " + ENDLESS + "SELECT i FROM n",
    "INSERT INTO t SELECT instr(hex(zeroblob(1000000)) || value, hex(zeroblob(500000)) || '1') FROM json_each('[" + ",".join(["1"] * 2000) + "]')",
    "INSERT INTO t VALUES (" + " || ".join([BIG] * 8) + ")",
    "INSERT INTO t SELECT printf('%.*c', 1000000000, 'x')",
    "INSERT INTO r DEFAULT VALUES",
    "INSERT INTO t SELECT max(" + ", ".join([BIG] * 90) + ")",
], ids=["endless", "instr", "too long", "printf", "random", "memory"])  # fmt: skip
def test_a_script_that_costs_too_much(strict, statement):
    """It faults its own projection at the event; the others go on."""
    put_ok(strict, "bad", f"CREATE TABLE t (x); CREATE TABLE r (x DEFAULT (randomblob(10)), y);\n-- @on *\n{statement};\n")
    status = wait_for(lambda: (s := info(strict, "bad"))["state"] == "faulted" and s, 60 * SLOW, "a fault")
    assert status["error"].get("position", 1) == 1 and "line 3" in status["error"]["detail"]
    position = strict.append_ok("other", event())["last_position"]
    assert rows(strict, "counter", "SELECT n >= 1 FROM counts WHERE stream = 'other'", query=f"?min_position={position}&wait=30s") == [[1]]
    assert strict.request("DELETE", path("bad")).status == 200


@pytest.mark.parametrize("script", [
    "CREATE VIEW v AS SELECT * FROM pragma_database_list;\n-- @on *\nINSERT INTO t SELECT name FROM v;\n",
    "CREATE TABLE t (x);\n-- @on *\nATTACH 'x' AS y;\n",
    "CREATE TABLE t (x);\n-- @on *\nPRAGMA journal_mode = DELETE;\n",
    "CREATE TABLE t (x);\n-- @on *\nINSERT INTO t VALUES (random());\n",
    "CREATE TABLE t (x);\n-- @on *\nINSERT INTO t VALUES (total_changes());\n",
    "CREATE TABLE t (x);\n-- @on *\nDELETE FROM _daybook_facts;\n",
    "CREATE TABLE t (x);\n-- @on *\nDROP TABLE t;\n",
    "CREATE TRIGGER r AFTER INSERT ON _daybook_facts BEGIN SELECT 1; END;\n-- @on *\nSELECT 1;\n",
    "CREATE VIRTUAL TABLE f USING fts5(x);\n-- @on *\nSELECT 1;\n",
    "CREATE TABLE _daybook_x (x);\n-- @on *\nSELECT 1;\n",
    "CREATE TEMP TABLE t (x);\n-- @on *\nSELECT 1;\n",
    "CREATE TABLE t (x);\n-- @on *\nINSERT INTO t " + doubling("SELECT * FROM c{0} UNION ALL SELECT * FROM c{0}") + ";\n",
], ids=lambda s: s[:48].replace("\n", " "))  # fmt: skip
def test_a_script_that_is_refused(strict, script):
    """What a script may not do is said when it is defined."""
    problem(put(strict, "refused", script), 400, "invalid-projection", "body")
    problem(strict.get(path("refused")), 404, "projection-not-found")


# ---- functions that are ours ------------------------------------------------------------------------


def random_text(r):
    return "".join(r.choice(["a", "b", "A", "%", "_", "*", "?", "[", "]", "-", "é", "日", "😀", " ", "0"]) for _ in range(r.choice([0, 1, 2, 3, 8, 30])))


def random_value(r):
    return r.choice([None, r.randint(-99, 99), r.random() * 1000, 2**62, -1e300, random_text(r), random_text(r), random_text(r)])


def random_format(r):
    spec = lambda: "%" + "".join(r.choice("-+ #0,!") for _ in range(r.randint(0, 2))) + r.choice(["", "", "5", "12", "*"]) + r.choice(["", "", ".3", ".0", ".*"]) + r.choice("dixXoufeEgGsqQwz%")
    return "".join(r.choice([spec(), random_text(r).replace("%", ""), "x"]) for _ in range(r.randint(1, 4)))


@pytest.mark.timeout_s(120)
def test_functions_are_as_in_sqlite(server, seed):
    """What stands in the place of SQLite's functions gives the same answers."""
    r = random.Random(seed)
    plain = sqlite3.connect(":memory:")
    for _ in range(200):
        calls, params = [], []

        def call(form, *values):
            calls.append(form)
            params.extend(values)

        for name in ("instr", "trim", "ltrim", "rtrim", "like", "glob"):
            call(f"{name}(?, ?)", random_value(r), random_value(r))
        call("replace(?, ?, ?)", random_value(r), random_value(r), random_value(r))
        call("? LIKE ? ESCAPE '\\'", random_text(r), random_text(r))
        call("printf('%c%c', ?, ?)", r.choice(["x", "é", "日本", "😀"]), random_text(r) or "y")
        call("? GLOB ?", random_text(r), random_text(r))
        call("instr(CAST(? AS BLOB), CAST(? AS BLOB))", random_text(r), random_text(r))
        call("printf(?, ?, ?, ?, ?)", random_format(r), *(r.choice([None, r.randint(-9, 9), r.random(), "a'b\"c"]) for _ in range(4)))
        call("format(?, ?, ?)", random_format(r).replace("*", ""), r.randint(-(2**63), 2**63 - 1), r.randint(0, 30))
        sql = "SELECT " + ", ".join(f"typeof({c}), {c}" for c in calls)
        both = []
        at = 0
        for c in calls:
            n = c.count("?")
            both += params[at:at + n] * 2
            at += n
        expected = plain.execute(sql, both).fetchone()
        got = rows(server, "$counts", sql, both)[0]
        for i, (a, b) in enumerate(zip(expected, got)):
            assert a == b, (seed, calls[i // 2], both, a, b)

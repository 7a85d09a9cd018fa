"""Projections: tables in SQL from script to answer, versions side by side, errors, restarts, limits, what is built in."""
import gzip
import json
import os
import pathlib
import random
import shutil
import sqlite3
import threading
import time

import pytest

from support import JSON, NDJSON, ROOT, event, problem, quote, wait_for

SQL = "application/sql"
ORDERS = """-- @category order
CREATE TABLE orders (id TEXT PRIMARY KEY, amount INTEGER, paid INTEGER NOT NULL DEFAULT 0);
-- @on Placed
INSERT INTO orders (id, amount) VALUES (:entity, :data ->> 'amount');
-- @on Paid
UPDATE orders SET paid = 1 WHERE id = :entity;
"""
COUNTER = """CREATE TABLE counts (stream TEXT PRIMARY KEY, n INTEGER, positions INTEGER);
-- @on *
INSERT INTO counts VALUES (:stream, 1, :position)
  ON CONFLICT DO UPDATE SET n = n + 1, positions = positions + excluded.positions;
"""
PICKY = """CREATE TABLE t (p INTEGER PRIMARY KEY, bad CHECK (bad IS NULL));
-- @on *
INSERT INTO t VALUES (:position, :data ->> 'bad');
"""
READS = int(os.environ.get("DAYBOOK_TEST_READS", 250))  # by each of four clients
BOMB = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
LOANS = pathlib.Path("/work/shared/data/loans.ndjson.gz")
if not LOANS.exists():
    LOANS = ROOT.parent / "shared" / "data" / "loans.ndjson.gz"


def path(name, *more):
    return "/v1/projections/" + "/".join([quote(name), *more])


def put(server, name, script, query=""):
    return server.request("PUT", path(name) + query, script.encode(), {"Content-Type": SQL})


def put_ok(server, name, script, query=""):
    response = put(server, name, script, query)
    assert response.status in (200, 201), response
    return response.json


def ask(server, name, sql, params=None, query="?wait=20s", accept=JSON):
    body = {"sql": sql} if params is None else {"sql": sql, "params": params}
    return server.post(path(name, "query") + query, body, {"Accept": accept})


def rows(server, name, sql, params=None, **more):
    response = ask(server, name, sql, params, **more)
    assert response.status == 200, response
    return response.json["rows"]


def info(server, name):
    response = server.get(path(name))
    assert response.status == 200, response
    return response.json


def live(server, name, version=None):
    """Waits until it serves (a version)."""
    return wait_for(lambda: (s := info(server, name))["state"] == "live" and version in (None, s["version"]) and s, 30, "a live version")


def fill(server, streams, events, category="order"):
    for i in range(streams):
        server.append_ok(f"{category}-{i}", [event("Placed", {"amount": i}) for _ in range(events)])


# ---- from script to answer -------------------------------------------------------------------------


def test_a_script_becomes_tables(fresh):
    """What is defined is built from what is there, follows what comes, and is queried in JSON and NDJSON."""
    fresh.append_ok("order-1", event("Placed", {"amount": 10}))
    fresh.append_ok("cart-1", event("Placed", {"amount": 99}))
    response = put(fresh, "orders", ORDERS)
    assert response.status == 201
    assert response.json["name"] == "orders" and response.json["kind"] == "table" and response.json["version"] == 1
    assert response.json["source"] == ORDERS
    assert rows(fresh, "orders", "SELECT * FROM orders") == [["1", 10, 0]]
    fresh.append_ok("order-1", event("Paid"))
    last = fresh.append_ok("order-2", event("Placed", {"amount": 20}))["last_position"]
    response = ask(fresh, "orders", "SELECT id, paid, amount / 3.0 AS third FROM orders ORDER BY id", query=f"?min_position={last}&wait=20s")
    assert response.json == {"columns": ["id", "paid", "third"], "rows": [["1", 1, 10 / 3], ["2", 0, 20 / 3]], "position": response.position}
    assert response.position >= last
    lines = ask(fresh, "orders", "SELECT id, amount FROM orders ORDER BY id", accept=NDJSON).body
    assert lines == [{"id": "1", "amount": 10}, {"id": "2", "amount": 20}]
    status = info(fresh, "orders")
    assert status["state"] == "live" and status["lag_events"] == 0 and "error" not in status and "building" not in status
    assert [p["name"] for p in fresh.get("/v1/projections").json["projections"]] == ["$counts", "orders"]
    schema = fresh.get(path("orders", "schema")).json
    assert [t["name"] for t in schema["tables"]] == ["orders"]
    assert schema["tables"][0]["columns"][0] == {"name": "id", "type": "TEXT", "not_null": False, "primary_key": True}


@pytest.mark.parametrize("params,expected", [
    ([1], [[1]]), ([1.5], [[1.5]]), (["ä\u0000b"], [["ä\u0000b"]]), ([None], [[None]]), ([True], [[1]]),
    ([2**63 - 1], [[2**63 - 1]]), ([-(2**63)], [[-(2**63)]]), ([2**63], [[float(2**63)]]), ({"x": "named"}, [["named"]]),
    ([1e300], [[1e300]]), ([0.1], [[0.1]]),
])
def test_parameters_come_back(server, params, expected):
    """Values keep their kind both ways."""
    assert rows(server, "$counts", "SELECT :x", params) == expected


def test_values_that_json_has_no_form_for(server):
    """Blobs and text that is no UTF-8 are base64; a real stays a real."""
    assert rows(server, "$counts", "SELECT x'00ff', CAST(x'ff' AS TEXT), 9e999, -9e999, 2.0") == [["AP8=", "/w==", float("inf"), float("-inf"), 2.0]]
    assert b"2.0" in ask(server, "$counts", "SELECT 2.0").raw


def test_counts_are_built_in(fresh):
    """The built-in projection counts by type, category, stream and day; it cannot be changed; a flag turns it off."""
    fill(fresh, 3, 5)
    fill(fresh, 2, 1, "cart")
    position = fresh.position()
    query = f"?min_position={position}&wait=20s"
    assert rows(fresh, "$counts", "SELECT * FROM by_type", query=query) == [["Placed", 17]]
    assert rows(fresh, "$counts", "SELECT * FROM by_category") == [["cart", 2], ["order", 15]]
    assert rows(fresh, "$counts", "SELECT events FROM by_stream WHERE stream = ?", ["order-2"]) == [[5]]
    assert rows(fresh, "$counts", "SELECT sum(events) FROM by_day") == [[17]]
    problem(put(fresh, "$counts", ORDERS), 403, "reserved-name", "name")
    problem(fresh.request("DELETE", path("$counts")), 403, "reserved-name", "name")
    fresh.restart(flags=["--projection-counts", "false"])
    assert fresh.get("/v1/projections").json == {"projections": []}
    fresh.restart(flags=[])
    assert rows(fresh, "$counts", "SELECT * FROM by_type", query=query) == [["Placed", 17]]


# ---- read your writes ------------------------------------------------------------------------------


@pytest.mark.timeout_s(600)
def test_min_position_reads_what_was_appended(fresh):
    """Right after an append a read with its position has it, every time, from several clients at once."""
    put_ok(fresh, "counter", COUNTER)
    failures = []

    def run(n):
        for i in range(1, READS + 1):
            position = fresh.append_ok(f"s-{n}", event())["last_position"]
            got = rows(fresh, "counter", "SELECT n FROM counts WHERE stream = ?", [f"s-{n}"], query=f"?min_position={position}&wait=30s")
            if got != [[i]]:
                failures.append((n, i, got))

    threads = [threading.Thread(target=run, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_position_that_does_not_come(server):
    """Without the position there is 503 at the end of the wait, with what it has."""
    position = server.position()
    problem(ask(server, "$counts", "SELECT 1", query=f"?min_position={position + 1000}"), 503, "not-caught-up", "query.min_position")
    started = time.monotonic()
    response = problem(ask(server, "$counts", "SELECT 1", query=f"?min_position={position + 1000}&wait=300ms"), 503, "not-caught-up")
    assert 0.25 < time.monotonic() - started < 10
    assert "position" in response.json["detail"] and response.headers["Retry-After"]


# ---- versions --------------------------------------------------------------------------------------


def test_a_changed_definition_takes_over(fresh):
    """The same script again changes nothing; another one becomes the next version; rollback brings the old answers back."""
    fill(fresh, 3, 1)
    put_ok(fresh, "p", ORDERS)
    live(fresh, "p", 1)
    assert put(fresh, "p", ORDERS).json["version"] == 1
    doubled = ORDERS.replace(":data ->> 'amount'", "2 * (:data ->> 'amount')")
    assert put(fresh, "p", doubled).status == 200
    live(fresh, "p", 2)
    assert rows(fresh, "p", "SELECT sum(amount) FROM orders") == [[6]]
    assert info(fresh, "p")["previous_version"] == 1
    fresh.append_ok("order-9", event("Placed", {"amount": 100}))
    assert fresh.post(path("p", "rollback")).status == 200
    live(fresh, "p", 1)
    wait_for(lambda: rows(fresh, "p", "SELECT sum(amount) FROM orders") == [[103]], 20, "the old script's answer")
    fresh.post(path("p", "rebuild"))
    live(fresh, "p", 3)
    assert rows(fresh, "p", "SELECT sum(amount) FROM orders") == [[103]]
    assert info(fresh, "p")["source"] == ORDERS
    models = pathlib.Path(fresh.data, "models")
    wait_for(lambda: sorted(d.name for d in models.iterdir()) == ["$counts@1", "p@1", "p@3"], 20, "the removal of the rest")


@pytest.mark.timeout_s(120)
def test_a_swap_under_load_is_never_seen(fresh):
    """While versions are built and swapped, and events come in, every query answers from a whole model that never goes back."""
    for i in range(20):
        fresh.append_ok(f"s-{i}", [event() for _ in range(500)])
    script = "CREATE TABLE t (n INTEGER, v INTEGER);\n-- @on *\nINSERT INTO t VALUES (:position, %d);\n"
    put_ok(fresh, "p", script % 1)
    live(fresh, "p")
    stop, failures, answers = threading.Event(), [], set()

    def read():
        highest = 0
        while not stop.is_set():
            response = ask(fresh, "p", "SELECT count(*), coalesce(max(n), 0), min(v), max(v) FROM t", query="")
            if response.status != 200:
                failures.append(response)
                return
            count, last, low, high = response.json["rows"][0]
            if low != high or count < 10000 or last < highest or response.position < highest:
                failures.append((response.json, highest))
            highest = last
            answers.add(low)

    def write():
        while not stop.is_set():
            fresh.append_ok("s-live", event())

    threads = [threading.Thread(target=f) for f in (read, read, write)]
    for thread in threads:
        thread.start()
    for version in range(2, 7):
        put_ok(fresh, "p", script % version)
        live(fresh, "p", version)
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(answers) > 1


def test_states_and_orders(fresh):
    """Pause, resume and delete; each refuses what the state does not take."""
    put_ok(fresh, "p", COUNTER)
    live(fresh, "p")
    assert fresh.post(path("p", "pause")).json["state"] == "paused"
    assert fresh.post(path("p", "pause")).json["state"] == "paused"
    position = fresh.append_ok("s", event())["last_position"]
    problem(ask(fresh, "p", "SELECT 1", query=f"?min_position={position}&wait=100ms"), 503, "not-caught-up")
    fresh.restart()
    status = info(fresh, "p")
    assert status["state"] == "paused" and status["lag_events"] > 0
    fresh.post(path("p", "resume"))
    assert rows(fresh, "p", "SELECT n FROM counts", query=f"?min_position={position}&wait=20s") == [[1]]
    for order, code in (("resume", "wrong-projection-state"), ("skip", "wrong-projection-state"), ("rollback", "wrong-projection-state")):
        problem(fresh.post(path("p", order)), 409, code, "name")
    assert fresh.request("DELETE", path("p")).json == {"name": "p", "deleted": True}
    for response in (fresh.get(path("p")), ask(fresh, "p", "SELECT 1"), fresh.post(path("p", "pause")), fresh.request("DELETE", path("p")),
                     fresh.get(path("p", "schema")), fresh.get(path("p", "errors")), fresh.post(path("p", "skip"))):
        problem(response, 404, "projection-not-found", "name")
    assert put_ok(fresh, "p", ORDERS)["version"] == 2


def test_definitions_are_in_the_log(fresh):
    """They are events of the system: hidden from plain reads, readable with system=true, and nobody else can write them."""
    put_ok(fresh, "p", COUNTER)
    assert fresh.read_all() == []
    events = fresh.read_all(system="true")
    assert [(e["stream"], e["type"]) for e in events] == [("$projections", "$projection-defined")]
    assert "name:p" in events[0]["tags"] and events[0]["content_type"] == SQL
    problem(fresh.append("$projections", event()), 403, "reserved-name")


# ---- errors ----------------------------------------------------------------------------------------


def test_a_faulted_projection(fresh):
    """By the policy stop it stands at the event and says so, also after a restart; skipping leaves the event out."""
    fresh.append_ok("s", [event(data={"bad": 1} if i == 3 else {}) for i in range(6)])
    put_ok(fresh, "p", PICKY)
    status = wait_for(lambda: (s := info(fresh, "p"))["state"] == "faulted" and s, 20, "a fault")
    assert status["position"] == 3 and status["error"]["position"] == 4
    assert "line 3" in status["error"]["detail"] and "CHECK" in status["error"]["detail"]
    problem(ask(fresh, "p", "SELECT 1", query=""), 503, "not-caught-up")
    fresh.restart()
    assert info(fresh, "p")["state"] == "faulted"
    fresh.post(path("p", "resume"))
    wait_for(lambda: info(fresh, "p")["state"] == "faulted", 20, "the same fault again")
    assert fresh.post(path("p", "skip")).status == 200
    assert rows(fresh, "p", "SELECT count(*), max(p) FROM t") == [[5, 6]]
    errors = fresh.get(path("p", "errors")).json["errors"]
    assert [(e["position"], e["skipped"], e["stream"]) for e in errors] == [(4, True, "s")]


def test_a_fix_serves_instead_of_a_fault(fresh):
    """A fault of a new version leaves the old one serving; a better script takes over."""
    fresh.append_ok("s", [event(data={"bad": 1} if i == 3 else {}) for i in range(6)])
    good = PICKY.replace(" CHECK (bad IS NULL)", "")
    put_ok(fresh, "p", good)
    live(fresh, "p", 1)
    put_ok(fresh, "p", PICKY)
    status = wait_for(lambda: (s := info(fresh, "p")).get("building", {}).get("state") == "faulted" and s, 20, "a fault of the build")
    assert status["state"] == "live" and status["version"] == 1 and status["building"]["error"]["position"] == 4
    assert rows(fresh, "p", "SELECT count(*) FROM t") == [[6]]
    put_ok(fresh, "p", good + "-- better\n")
    live(fresh, "p", 3)
    assert rows(fresh, "p", "SELECT count(*) FROM t") == [[6]]


def test_errors_set_aside(fresh):
    """By the policy set_aside it goes on; the events are listed in pages."""
    fresh.append_ok("s", [event(data={"bad": 1} if i % 2 else {}) for i in range(20)])
    put_ok(fresh, "p", PICKY, "?on_error=set_aside&attempts=2")
    assert rows(fresh, "p", "SELECT count(*) FROM t") == [[10]]
    page = fresh.get(path("p", "errors") + "?limit=4").json
    assert [e["position"] for e in page["errors"]] == [2, 4, 6, 8] and page["next"] == 8 and not page["end"]
    assert page["errors"][0]["attempts"] == 2 and not page["errors"][0]["skipped"]
    rest = fresh.get(path("p", "errors") + "?after=8").json
    assert len(rest["errors"]) == 6 and rest["end"]


def test_dry_run(fresh):
    """It shows tables, samples and errors, and keeps nothing."""
    fresh.append_ok("s", [event(data={"bad": 1} if i == 3 else {}) for i in range(10)])
    response = put(fresh, "p", PICKY, "?dry_run=true&limit=6")
    assert response.status == 200
    answer = response.json
    assert answer["dry_run"] and answer["tables"][0]["name"] == "t" and answer["tables"][0]["count"] == answer["events"] == 6
    assert answer["tables"][0]["sample"]["columns"] == ["p", "bad"] and len(answer["tables"][0]["sample"]["rows"]) == 5
    assert [e["position"] for e in answer["errors"]] == [4]
    problem(fresh.get(path("p")), 404, "projection-not-found")
    assert fresh.read_all(system="true", prefix="$") == []
    problem(put(fresh, "p", "CREATE;", "?dry_run=true"), 400, "invalid-projection")


# ---- input and limits ------------------------------------------------------------------------------


@pytest.mark.parametrize("script,detail", [
    ("", "no block"), ("CREATE TABLE t (a);", "no block"), ("CREATE TABLE t (a);\n-- @on A\nINSERT INTO u VALUES (1);", "line 3"),
    ("-- @on A\nATTACH 'x' AS y;", "ATTACH"), ("PRAGMA user_version = 1;\n-- @on A\nSELECT 1;", "not allowed"),
    ("CREATE TABLE t (a);\n-- @on A\nINSERT INTO t VALUES (:nothing);", ":nothing"), ("\x00", "NUL"),
    (f"CREATE TABLE t AS {BOMB};\n-- @on A\nSELECT 1;", "more steps"), ("CREATE TABLE t (a);\n-- @when A", "@when"),
])
def test_bad_scripts(server, script, detail):
    """A script that is not valid is refused with the line and the reason; nothing is defined."""
    response = problem(put(server, "bad", script), 400, "invalid-projection", "body")
    assert detail in response.json["detail"]
    problem(server.get(path("bad")), 404, "projection-not-found")


def test_bad_requests(server):
    """Names, media types, parameters and bodies are checked, each with its field."""
    problem(put(server, "a/b", ORDERS), 400, "invalid-name", "name")
    problem(put(server, "ä", ORDERS), 400, "invalid-name", "name")
    problem(put(server, "x" * 65, ORDERS), 400, "invalid-name", "name")
    problem(server.request("PUT", path("p"), b"{}", {"Content-Type": JSON}), 415, "unsupported-media-type")
    problem(put(server, "p", ORDERS, "?on_error=x"), 400, "invalid-parameter", "query.on_error")
    problem(put(server, "p", ORDERS, "?attempts=101"), 400, "invalid-parameter", "query.attempts")
    problem(put(server, "p", ORDERS, "?limit=5"), 400, "invalid-parameter", "query.limit")
    problem(put(server, "p", ORDERS, "?dry_run=true&limit=1000000"), 400, "invalid-parameter", "query.limit")
    problem(put(server, "p", "-- " + "x" * (1 << 20)), 413, "event-too-large", "body")
    query = path("$counts", "query")
    for body, code, field in [(b"", "invalid-json", ""), (b"[]", "invalid-field", ""), (b"{}", "invalid-field", "sql"),
                              (b'{"sql":1}', "invalid-field", "sql"), (b'{"sql":"SELECT 1","x":1}', "invalid-field", ""),
                              (b'{"sql":"SELECT 1","params":1}', "invalid-field", "params"), (b'{"sql":"SELECT 1","sql":"SELECT 2"}', "invalid-field", "sql"),
                              (b'{"sql":"SELECT ?","params":[[1]]}', "invalid-field", "params"), (b'{"sql":"SELECT ?","params":[{}]}', "invalid-field", "params"),
                              (b'{"sql":"SELECT ?","params":{"a":{}}}', "invalid-field", "params"), (b'{"sql":"SELECT \xff"}', "invalid-json", ""),
                              (b'{"sql":"SELECT ?","params":[' + b",".join([b"1"] * 1001) + b"]}", "invalid-field", "params")]:
        problem(server.post(query, body), 400, code, field)
    problem(server.post(query, b"x", {"Content-Type": "text/plain"}), 415, "unsupported-media-type")
    problem(server.get(query), 405, "method-not-allowed")


@pytest.mark.parametrize("sql,params,detail", [
    ("SELEC 1", None, "syntax"), ("", None, "no statement"), ("SELECT 1; SELECT 2", None, "more than one"), ("DELETE FROM by_type", None, "not allowed"),
    ("ATTACH '/etc/passwd' AS x", None, "ATTACH"), ("PRAGMA query_only = 0", None, "not allowed"), ("SELECT * FROM _daybook_facts", None, "not allowed"),
    ("SELECT ?", None, "1 parameters"), ("SELECT ?", [1, 2], "more values"), ("SELECT :a", {"b": 1}, "no parameter :b"),
    ("SELECT load_extension('x')", None, "not a"), ("VACUUM INTO '/tmp/x'", None, "not allowed"),
])
def test_bad_queries(server, sql, params, detail):
    """A query reads the projection's tables and does nothing else."""
    assert detail in problem(ask(server, "$counts", sql, params), 400, "invalid-query", "sql").json["detail"]


def test_query_limits(launch):
    """Bombs end at the limit of rows, bytes or time, and others are served meanwhile."""
    server = launch("--query-time-ms", 300, "--query-rows-max", 1000, "--query-bytes-max", "1MiB", "--query-threads", 2)
    assert "1000 rows" in problem(ask(server, "$counts", BOMB), 400, "query-limit").json["detail"]
    assert "bytes" in problem(ask(server, "$counts", "SELECT hex(zeroblob(900000))"), 400, "query-limit").json["detail"]
    problem(ask(server, "$counts", "SELECT zeroblob(100000000)"), 400, "query-limit")
    slow = threading.Thread(target=lambda: ask(server, "$counts", BOMB + " LIMIT 1 OFFSET 1000000000"))
    slow.start()
    assert rows(server, "$counts", "SELECT 1") == [[1]]
    slow.join()
    for bomb in (BOMB + " LIMIT 1 OFFSET 1000000000", BOMB + " ORDER BY i DESC LIMIT 1"):
        started = time.monotonic()
        assert "300 ms" in problem(ask(server, "$counts", bomb), 400, "query-limit").json["detail"]
        assert time.monotonic() - started < 10


def test_a_runaway_handler_hurts_only_itself(fresh):
    """A handler without end is stopped by its budget; appends and other projections go on."""
    put_ok(fresh, "counter", COUNTER)
    put_ok(fresh, "bomb", f"CREATE TABLE t (i);\n-- @on Bad\nINSERT INTO t {BOMB};\n")
    position = fresh.append_ok("s", [event("Bad"), event("Good")])["last_position"]
    assert rows(fresh, "counter", "SELECT sum(n) FROM counts", query=f"?min_position={position}&wait=20s") == [[2]]
    status = wait_for(lambda: (s := info(fresh, "bomb"))["state"] == "faulted" and s, 25, "a fault")
    assert "more steps than it may" in status["error"]["detail"] and status["error"]["position"] == position - 1


# ---- crashes ---------------------------------------------------------------------------------------


@pytest.mark.timeout_s(120)
def test_kill_at_random_points(fresh, seed):
    """After each kill -9 the models equal the log: nothing is missing, nothing is in them twice; changes of versions go on."""
    choose = random.Random(seed)
    put_ok(fresh, "p", COUNTER)
    versions = 1
    for _ in range(12):
        for _ in range(choose.randrange(1, 6)):
            fresh.append_ok(f"s-{choose.randrange(5)}", [event() for _ in range(choose.randrange(1, 400))])
        if choose.random() < 0.5:
            status = put_ok(fresh, "p", COUNTER + f"-- {choose.random()}\n")
            versions = status.get("building", status)["version"]
        time.sleep(choose.random() * 0.02)
        fresh.restart(kill=True)
        position = fresh.position()
        log = fresh.read_all()
        expected = {}
        for e in log:
            n, positions = expected.get(e["stream"], (0, 0))
            expected[e["stream"]] = (n + 1, positions + e["position"])
        got = rows(fresh, "p", "SELECT * FROM counts", query=f"?min_position={position}&wait=25s")
        assert {s: (n, p) for s, n, p in got} == expected
        counts = rows(fresh, "$counts", "SELECT * FROM by_stream", query=f"?min_position={position}&wait=25s")
        assert dict(counts) == {s: n for s, (n, _) in expected.items()}
    live(fresh, "p", versions)


def test_leftovers_and_damage(fresh):
    """Directories of nobody are removed at the start; a damaged or missing model is built again from the log."""
    fill(fresh, 3, 2)
    put_ok(fresh, "p", COUNTER)
    live(fresh, "p")
    models = pathlib.Path(fresh.data, "models")
    fresh.stop()
    (models / "gone@1").mkdir()
    (models / "gone@1" / "model.sqlite").write_bytes(b"x")
    (models / "p@7").mkdir()
    for name in ("model.sqlite-wal", "model.sqlite-shm"):
        (models / "p@1" / name).unlink(missing_ok=True)
    (models / "p@1" / "model.sqlite").write_bytes(b"this is no database, it only is in its place" * 200)
    for file in (models / "$counts@1").iterdir():
        file.unlink()
    fresh.start()
    assert rows(fresh, "p", "SELECT sum(n) FROM counts") == [[6]]
    assert rows(fresh, "$counts", "SELECT sum(events) FROM by_type", query=f"?min_position={fresh.position()}&wait=20s") == [[6]]
    assert sorted(d.name for d in models.iterdir()) == ["$counts@1", "p@1"]


def test_an_older_store_beside_newer_models(fresh):
    """Where the store was put back from a backup, models that are ahead of it are built again."""
    fill(fresh, 3, 2)
    put_ok(fresh, "p", COUNTER)
    live(fresh, "p")
    fresh.stop()
    data = pathlib.Path(fresh.data)
    for folder in ("journal", "store"):
        shutil.copytree(data / folder, data / f"{folder}.old")
    fresh.start()
    fill(fresh, 3, 5)
    assert rows(fresh, "p", "SELECT sum(n) FROM counts", query=f"?min_position={fresh.position()}&wait=20s") == [[21]]
    fresh.stop()
    for folder in ("journal", "store"):
        shutil.rmtree(data / folder)
        (data / f"{folder}.old").rename(data / folder)
    fresh.start()
    assert fresh.position() == 7
    assert rows(fresh, "p", "SELECT sum(n) FROM counts", query="?min_position=7&wait=20s") == [[6]]
    position = fresh.append_ok("order-9", event())["last_position"]
    for name, sql in (("p", "SELECT sum(n) FROM counts"), ("$counts", "SELECT sum(events) FROM by_type")):
        assert rows(fresh, name, sql, query=f"?min_position={position}&wait=20s") == [[7]]


def test_models_leave_room_for_the_log(launch, tmp_path):
    """Where the disk is getting full models stop before appends do, say so, and go on when there is room."""
    server = launch()
    put_ok(server, "p", COUNTER)
    live(server, "p")
    free = os.statvfs(server.data)
    server.restart(flags=["--disk-free-min-bytes", int(free.f_bavail * free.f_frsize * 0.7)])
    position = server.append_ok("s", event())["last_position"]
    status = wait_for(lambda: (s := info(server, "p")).get("trying_again_after") and s, 20, "it to say so")
    assert status["state"] == "live" and status["lag_events"] > 0 and "space" in status["trying_again_after"]
    server.restart(flags=[])
    assert rows(server, "p", "SELECT n FROM counts", query=f"?min_position={position}&wait=20s") == [[1]]
    assert "trying_again_after" not in info(server, "p")


# ---- real data -------------------------------------------------------------------------------------


LOAN_SCRIPT = """-- @category loan
CREATE TABLE loans (id TEXT PRIMARY KEY, status TEXT NOT NULL DEFAULT 'undecided', amount_requested INTEGER);
-- @on A_SUBMITTED
INSERT INTO loans (id, amount_requested) VALUES (:entity, :data ->> 'amount_requested');
-- @on A_APPROVED
UPDATE loans SET status = 'approved' WHERE id = :entity;
-- @on A_DECLINED
UPDATE loans SET status = 'declined' WHERE id = :entity;
-- @on A_CANCELLED
UPDATE loans SET status = 'cancelled' WHERE id = :entity;
"""
LOAN_TOTALS = {"approved": 2246, "declined": 7635, "cancelled": 2807, "undecided": 399}


@pytest.mark.timeout_s(240)
@pytest.mark.skipif(not LOANS.exists(), reason="the loan log is not here")
def test_loans(fresh):
    """On a real log the tables have the published figures, the same that sqlite3 alone reckons from the exported events."""
    with gzip.open(LOANS, "rt") as lines:
        batch = {}
        for number, line in enumerate(lines):
            e = json.loads(line)
            batch.setdefault(e["stream"], []).append(event(e["type"], e["data"], occurred_at=e["time"]))
            if number % 8000 == 7999:
                send_loans(fresh, batch)
                batch = {}
        send_loans(fresh, batch)
    put_ok(fresh, "loans", LOAN_SCRIPT)
    query = f"?min_position={fresh.position()}&wait=60s"
    live(fresh, "loans")
    assert dict(rows(fresh, "loans", "SELECT status, count(*) FROM loans GROUP BY status", query=query)) == LOAN_TOTALS
    assert rows(fresh, "loans", "SELECT sum(amount_requested), count(*) FROM loans") == [[177634511, 13087]]
    assert rows(fresh, "$counts", "SELECT count(*), sum(events) FROM by_type", query=query) == [[24, 262200]]
    alone = sqlite3.connect(":memory:")
    alone.execute("CREATE TABLE e (stream, type, data)")
    alone.executemany("INSERT INTO e VALUES (?, ?, ?)", ((e["stream"], e["type"], json.dumps(e["data"])) for e in fresh.read_all(type=["A_SUBMITTED"])))
    assert alone.execute("SELECT count(*), sum(json_extract(data, '$.amount_requested')) FROM e").fetchone() == (13087, 177634511)


def send_loans(server, batch):
    response = server.append_many([(stream, "any", events) for stream, events in batch.items()])
    assert response.status == 201, response

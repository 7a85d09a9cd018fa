"""`daybook projection` and `daybook query`: what they print for people and for scripts, how they are called wrongly."""
import csv
import io
import json
import re
import signal
import sqlite3
import subprocess

import pytest

from support import DAYBOOK, SLOW, event, wait_for
from support_cli import Proxy, daybook, error_of
from test_projections import LOAN_SCRIPT, LOAN_TOTALS, LOANS

ORDERS = """-- @category order
CREATE TABLE orders (id TEXT PRIMARY KEY, amount INTEGER NOT NULL, note);
-- @on Placed
INSERT INTO orders VALUES (:entity, :data ->> 'amount', :data ->> 'note');
"""
PICKY = """CREATE TABLE t (p INTEGER PRIMARY KEY, bad CHECK (bad IS NULL));
-- @on *
INSERT INTO t VALUES (:position, :data ->> 'bad');
"""
# Each event takes about a thousand steps, so that a build takes long enough to be looked at.
SLOW_SCRIPT = """CREATE TABLE t (n INTEGER);
-- @on *
INSERT INTO t SELECT max(i) FROM (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) SELECT i FROM n);
"""


def said(*args, **more):
    return daybook(*args, **more).stdout.decode()


@pytest.fixture
def script(tmp_path):
    """Writes a script to a file and returns its path."""
    def write(text, name="script.sql"):
        file = tmp_path / name
        file.write_text(text)
        return file

    return write


@pytest.fixture
def orders(fresh, script):
    """A server with a projection of three orders."""
    for i, note in ((1, "a,\"b\""), (2, None), (3, "two\nlines é")):
        fresh.append_ok(f"order-{i}", event("Placed", {"amount": i * 1000, "note": note}))
    assert said("projection", "put", "orders", script(ORDERS), "--wait", server=fresh) == "orders: version 1 live\n"
    return fresh


def test_query_prints_a_table(orders):
    """Aligned, numbers to the right, one line a row whatever is in it."""
    text = said("query", "orders", "SELECT id, amount, note FROM orders ORDER BY id", server=orders)
    table, foot = text.rsplit("(", 1)
    assert table == 'id  amount  note\n--  ------  ------------\n1     1000  a,"b"\n2     2000  NULL\n3     3000  two\\nlines é\n'
    assert re.fullmatch(r"3 rows, at position \d+\)\n", foot)
    assert "(1 row, at" in said("query", "orders", "SELECT 1", server=orders)
    assert said("query", "orders", "SELECT id FROM orders WHERE 0", server=orders).startswith("id\n--\n(0 rows, at")
    assert said("projection", "query", "orders", "SELECT 1 AS one", "--csv", server=orders) == "one\r\n1\r\n"


def test_query_as_csv(orders):
    """RFC 4180: Python's reader gets the values back; NULL is an empty field, and empty text is quoted."""
    raw = daybook("query", "orders", "SELECT id, note, '' AS empty FROM orders ORDER BY id", "--csv", server=orders).stdout
    assert raw == b'id,note,empty\r\n1,"a,""b""",""\r\n2,,""\r\n3,"two\nlines \xc3\xa9",""\r\n'
    rows = list(csv.reader(io.StringIO(raw.decode(), newline="")))
    assert rows[1] == ["1", 'a,"b"', ""] and rows[3][1] == "two\nlines é"


def test_query_as_json(orders):
    """The server's answer, on one line."""
    answer = json.loads(said("query", "orders", "SELECT id, note FROM orders ORDER BY id", "--json", server=orders))
    assert answer["columns"] == ["id", "note"] and answer["rows"] == [["1", 'a,"b"'], ["2", None], ["3", "two\nlines é"]]
    assert answer["position"] >= 3


def test_query_parameters(orders):
    """By place and by name; what is JSON is that, anything else is text."""
    kinds = "SELECT typeof(?), typeof(?), typeof(?), typeof(?), typeof(?), ?"
    args = [a for v in ("1", "1.5", "null", '"1"', "true", "x=y z") for a in ("--param", v)]
    assert json.loads(said("query", "orders", kinds, *args, "--json", server=orders))["rows"] == [
        ["integer", "real", "null", "text", "integer", "x=y z"]
    ]
    named = said("query", "orders", "SELECT id FROM orders WHERE amount > :least AND note <> :note",
                 "--param", ":least=1000", "--param", ":note=a=b", "--csv", server=orders)  # fmt: skip
    assert named == "id\r\n3\r\n"
    assert "some parameters have a name and some have not" in error_of(
        "query", "orders", "SELECT ?, :a", "--param", ":a=1", "--param", "2", server=orders
    )
    assert error_of("query", "orders", "SELECT ?", server=orders).startswith("query: the query is not valid: ")


def test_query_after_an_append(orders):
    """--min-position reads what was just written; one that does not come is an error after --wait."""
    for i in range(10, 30):
        position = json.loads(said("append", f"order-{i}", "--type", "Placed", "--data", '{"amount":1}', "--json", server=orders))["last_position"]
        found = said("query", "orders", "SELECT count(*) FROM orders WHERE id = ?", "--param", f'"{i}"',
                     "--min-position", position, "--wait", "30s", "--csv", server=orders)  # fmt: skip
        assert found == "count(*)\r\n1\r\n"
    far = ["--min-position", "1000000", "--wait", "200ms"]
    assert error_of("query", "orders", "SELECT 1", *far, server=orders).startswith("query: the read model is not there yet: ")


def test_put_again_and_versions(orders, script):
    """The same script changes nothing, another is the next version; rollback and rebuild wait where they are asked to."""
    assert said("projection", "put", "orders", script(ORDERS), server=orders) == "orders: version 1 live\n"
    doubled = script(ORDERS.replace(":data ->> 'amount'", "2 * (:data ->> 'amount')"))
    assert said("projection", "put", "orders", doubled, "--wait", server=orders) == "orders: version 2 live\n"
    total = ["query", "orders", "SELECT sum(amount) AS s FROM orders", "--csv"]
    assert said(*total, server=orders) == "s\r\n12000\r\n"
    assert said("projection", "rollback", "orders", "--wait", server=orders).startswith("orders: version 1 live at position ")
    assert said(*total, server=orders) == "s\r\n6000\r\n"
    assert said("projection", "rebuild", "orders", "--wait", server=orders).startswith("orders: version 3 live at position ")
    assert said(*total, server=orders) == "s\r\n6000\r\n"
    shown = said("projection", "show", "orders", "--source", server=orders)
    assert shown.startswith("name      orders\nkind      table\nnow       version 3 live at position ") and shown.endswith("\n\n" + ORDERS)
    assert "before    version 1\n" in shown and "on error  stop after 1 attempt\n" in shown
    assert json.loads(said("projection", "show", "orders", "--json", server=orders))["version"] == 3


def test_put_reads_standard_input(fresh):
    """`-` is standard input, whose kind has to be said."""
    assert error_of("projection", "put", "p", "-", status=2, stdin=ORDERS.encode(), server=fresh).startswith("--kind must be sql or lua")
    assert said("projection", "put", "p", "-", "--kind", "sql", "--wait", stdin=ORDERS.encode(), server=fresh) == "p: version 1 live\n"


def test_a_script_with_a_fault(fresh, script):
    """The error names the line; nothing is kept."""
    message = error_of("projection", "put", "p", script("CREATE TABLE t (x);\nCREATE NONSENSE;\n-- @on *\nDELETE FROM t;\n"), server=fresh)
    assert message.startswith("projection put: the script of a projection is not valid: ") and "line 2" in message
    assert error_of("projection", "show", "p", server=fresh).startswith("p: the projection does not exist")


def test_dry_run(fresh, script):
    """Rows and failed events are shown, and nothing is kept."""
    fresh.append_ok("s", [event(data={"bad": 1} if i == 3 else {}) for i in range(10)])
    done = daybook("projection", "put", "p", script(PICKY), "--dry-run", "--limit", 6, server=fresh)
    out, err = done.stdout.decode(), done.stderr.decode()
    assert out.startswith("6 events, up to position ") and "\nt: " in out and "p  bad\n-  ----\n1  NULL\n" in out
    assert err.startswith("daybook: event 4 (Happened in s): ") and "CHECK" in err
    assert json.loads(said("projection", "put", "p", script(PICKY), "--dry-run", "--json", server=fresh))["dry_run"] is True
    assert [line.split()[0] for line in said("projection", "list", server=fresh).splitlines()[2:]] == ["$counts"]


def test_faults_and_orders(fresh, script):
    """A fault ends --wait with the event's error; skip leaves the event out; the errors are listed in pages."""
    fresh.append_ok("s", [event(data={"bad": 1} if i in (3, 5) else {}) for i in range(8)])
    fault = error_of("projection", "put", "p", script(PICKY), "--wait", server=fresh)
    assert fault.startswith("p: version 1 is faulted: ") and "CHECK" in fault
    assert "faulted at position 3" in said("projection", "show", "p", server=fresh)
    assert error_of("projection", "show", "p", "--watch", server=fresh).startswith("p: version 1 is faulted: ")
    for position in (4, 6):
        wait_for(lambda p=position: f": event {p}: " in said("projection", "show", "p", server=fresh), 30, "the fault")
        assert said("projection", "skip", "p", server=fresh).startswith("p: version 1 ")
    assert said("query", "p", "SELECT count(*) AS n FROM t", "--csv", "--wait", "30s", server=fresh) == "n\r\n6\r\n"
    done = daybook("projection", "errors", "p", "--limit", 1, server=fresh)
    lines = done.stdout.decode().splitlines()
    assert lines[0].split() == ["position", "stream", "type", "attempts", "error"] and len(lines) == 3
    assert lines[2].split()[:5] == ["4", "s", "Happened", "1", "skipped"]
    assert done.stderr.decode() == "hint: there are more: --after 4\n"
    assert [e["position"] for e in json.loads(said("projection", "errors", "p", "--after", 4, "--json", server=fresh))["errors"]] == [6]
    assert said("projection", "pause", "p", server=fresh).startswith("p: version 1 paused at position ")
    assert error_of("projection", "rebuild", "p", "--wait", server=fresh).startswith("p: version 2 is faulted: event 4 ")
    assert said("projection", "delete", "p", server=fresh) == "p: deleted\n"
    assert error_of("projection", "delete", "p", server=fresh).startswith("projection delete: the projection does not exist")


def test_set_aside(fresh, script):
    """--on-error and --attempts are the server's on_error and attempts."""
    fresh.append_ok("s", [event(data={"bad": 1}), event(data={})])
    daybook("projection", "put", "p", script(PICKY), "--on-error", "set_aside", "--attempts", 3, "--wait", server=fresh)
    assert "on error  set_aside after 3 attempts\n" in said("projection", "show", "p", server=fresh)
    assert [e["attempts"] for e in json.loads(said("projection", "errors", "p", "--json", server=fresh))["errors"]] == [3]


def test_schema_and_list(orders):
    """Tables for people, the answers for scripts."""
    assert said("projection", "schema", "orders", server=orders) == (
        "table   kind   column  type\n------  -----  ------  -------  -----------\n"
        "orders  table  id      TEXT     primary key\norders  table  amount  INTEGER  not null\norders  table  note\n"
    )
    assert json.loads(said("projection", "schema", "orders", "--json", server=orders))["tables"][0]["name"] == "orders"
    rows = [line.split() for line in said("projection", "list", server=orders).splitlines()]
    assert rows[0] == ["name", "kind", "version", "state", "position", "behind", "next"]
    assert [r[:4] for r in rows[2:]] == [["$counts", "counts", "1", "live"], ["orders", "table", "1", "live"]]
    assert [p["name"] for p in json.loads(said("projection", "list", "--json", server=orders))["projections"]] == ["$counts", "orders"]


@pytest.mark.timeout_s(120)
def test_watch(fresh, script):
    """--watch shows bar, rate and what is left while a version is built, ends when it serves, and by Ctrl-C."""
    for i in range(10):
        fresh.append_ok(f"s-{i}", [event() for _ in range(1000)])
    daybook("projection", "put", "p", script(SLOW_SCRIPT), server=fresh)
    environment = {"PATH": "/usr/bin:/bin", "DAYBOOK_URL": fresh.url, "LANG": "C.UTF-8"}
    with subprocess.Popen([DAYBOOK, "projection", "show", "p", "--watch"], env=environment, stdout=subprocess.PIPE, text=True) as watch:
        first = watch.stdout.readline()
        assert re.fullmatch(r"p: version 1 building \[[#.]{24}\] \d+ %, \d+ events/s(, \d+ s left)?\n", first), first
        watch.send_signal(signal.SIGINT)
        assert watch.wait(timeout=20 * SLOW) == 130
    assert re.search(r"^p +table +1 +building", said("projection", "list", server=fresh), re.M)
    last = said("projection", "show", "p", "--watch", server=fresh, timeout=90).splitlines()[-1]
    assert last.startswith("p: version 1 live at position ")


def test_an_order_is_sent_once(orders):
    """Where the answer to an order is lost it is an error; a query goes on by itself."""
    with Proxy(orders.port, cuts=[0]) as proxy:
        assert error_of("projection", "rebuild", "orders", server=proxy.url).startswith("projection rebuild: the server cannot be reached")
        assert proxy.connections == 1
    wait_for(lambda: "version 2 live" in said("projection", "show", "orders", server=orders), 30, "the one rebuild")
    with Proxy(orders.port, cuts=[0]) as proxy:
        assert said("query", "orders", "SELECT 1 AS x", "--csv", server=proxy.url) == "x\r\n1\r\n"
        assert proxy.connections == 2


@pytest.mark.timeout_s(240)
@pytest.mark.skipif(not LOANS.exists(), reason="the loan log is not here")
def test_loans(fresh, script):
    """A real log, by commands alone: the published figures, which sqlite3 alone reckons too, from what `export` writes."""
    daybook("import", LOANS, server=fresh, timeout=120)
    assert said("projection", "put", "loans", script(LOAN_SCRIPT), "--wait", server=fresh, timeout=120) == "loans: version 1 live\n"
    answer = said("query", "loans", "SELECT status, count(*), sum(amount_requested) FROM loans GROUP BY status ORDER BY status", "--csv", server=fresh)
    totals = list(csv.reader(io.StringIO(answer, newline="")))[1:]
    assert {status: int(n) for status, n, _ in totals} == LOAN_TOTALS and sum(int(amount) for _, _, amount in totals) == 177634511
    alone = sqlite3.connect(":memory:")
    alone.execute("CREATE TABLE e (line)")
    lines = daybook("export", "-", "--category", "loan", server=fresh, timeout=120).stdout.decode().splitlines()
    alone.executemany("INSERT INTO e VALUES (?)", ((line,) for line in lines))
    status = """SELECT CASE max(CASE line ->> 'type' WHEN 'A_APPROVED' THEN 3 WHEN 'A_DECLINED' THEN 2 WHEN 'A_CANCELLED' THEN 1 ELSE 0 END)
        WHEN 3 THEN 'approved' WHEN 2 THEN 'declined' WHEN 1 THEN 'cancelled' ELSE 'undecided' END AS status,
        sum(CASE line ->> 'type' WHEN 'A_SUBMITTED' THEN line ->> '$.data.amount_requested' END) AS amount FROM e GROUP BY line ->> 'stream'"""
    found = alone.execute(f"SELECT status, count(*), sum(amount) FROM ({status}) GROUP BY status ORDER BY status").fetchall()
    assert [[s, str(n), str(a)] for s, n, a in found] == totals


WRONG_CALLS = [
    (["projection"], "which part of it is missing"),
    (["projection", "nonsense"], "projection has no part nonsense"),
    (["projection", "put", "p"], "an argument is missing"),
    (["projection", "put", "p", "script.txt"], "--kind must be sql or lua, or FILE must end in one of them"),
    (["projection", "put", "p", "script.sql", "--kind", "c"], "--kind must be sql or lua, or FILE must end in one of them"),
    (["projection", "put", "p", "script.sql", "--on-error", "go"], "--on-error must be stop or set_aside, not go"),
    (["projection", "put", "p", "script.sql", "--limit", "5"], "--limit goes with --dry-run"),
    (["projection", "put", "p", "script.sql", "--dry-run", "--wait"], "--wait does not go with --dry-run, which keeps nothing"),
    (["projection", "show"], "an argument is missing"),
    (["projection", "show", "p", "--watch", "--json"], "--watch goes with neither --json nor --source"),
    (["projection", "list", "p"], "one argument too many: p"),
    (["projection", "pause", "p", "--wait"], "unknown option: --wait"),
    (["query", "p"], "an argument is missing"),
    (["query", "p", "SELECT 1", "--json", "--csv"], "--json and --csv do not go together"),
    (["query", "p", "SELECT 1", "--wait", "5"], "--wait must be like 300ms, 5s or 1m, at most 1m, not 5"),
    (["query", "p", "SELECT 1", "--wait", "2m"], "--wait must be like 300ms, 5s or 1m, at most 1m, not 2m"),
]


@pytest.mark.parametrize("args, message", WRONG_CALLS, ids=lambda v: " ".join(v) if isinstance(v, list) else None)
def test_wrong_calls(args, message):
    """What is called wrongly says why on one line, sends nothing, and exits with 2."""
    assert error_of(*args, status=2, server="http://127.0.0.1:1") == message


def test_help_of_the_parts():
    """Each part is listed, and says how it is called."""
    text = said("projection", "--help")
    for part in ("put", "list", "show", "pause", "resume", "rebuild", "rollback", "skip", "delete", "errors", "schema"):
        assert f"\n  {part} " in text
        assert said("projection", part, "--help").startswith(f"usage: daybook projection {part}")


# ---- documents and events set aside ----------------------------------------------------------------


BASKET = """return { on = { Added = function(s, e) s.items = (s.items or 0) + 1 s.last = e.data return s end, Gone = function() return nil end } }"""


@pytest.fixture
def baskets(fresh, script):
    assert said("projection", "put", "baskets", script(BASKET, "b.lua"), "--wait", server=fresh) == "baskets: version 1 live\n"
    return fresh


def test_documents(baskets):
    """One by its key, all in lines of JSON over pages; documents come as the server keeps them, keys with anything in them."""
    keys = ["b-1", "b-2", 'c/ä "x"']
    for key in keys:
        position = baskets.append_ok(key, event("Added", {"n": 1.50, "text": 'a"]},{'}))["last_position"]
    at = ["--min-position", position, "--wait", "30s"]
    assert said("projection", "document", "baskets", "b-1", *at, server=baskets) == '{"items":1,"last":{"n":1.5,"text":"a\\"]},{"}}\n'
    whole = json.loads(said("projection", "document", "baskets", keys[2], "--json", server=baskets))
    assert whole["key"] == keys[2] and whole["document"]["items"] == 1 and whole["position"] >= position
    lines = [json.loads(line) for line in said("projection", "documents", "baskets", server=baskets).splitlines()]
    assert [line["key"] for line in lines] == keys and all(line["document"]["last"]["text"] == 'a"]},{' for line in lines)
    assert said("projection", "documents", "baskets", "--prefix", "b-", "--limit", 1, server=baskets).count("\n") == 1
    assert [json.loads(line)["key"] for line in said("projection", "documents", "baskets", "--after", "b-1", server=baskets).splitlines()] == keys[1:]
    assert said("projection", "documents", "baskets", "--prefix", "x", server=baskets) == ""
    assert "no document with this key" in error_of("projection", "document", "baskets", "nothing", server=baskets)
    assert "the projection does not exist" in error_of("projection", "documents", "nothing", server=baskets)
    assert "--follow goes with neither" in error_of("projection", "document", "baskets", "b-1", "--follow", "--wait", "1s", server=baskets, status=2)


def test_many_documents(baskets):
    """More than a page: every key once, in order."""
    events = [(f"k-{i:04}", "any", [event("Added")]) for i in range(2100)]
    assert baskets.append_many(events).status == 201
    said("query", "baskets", "SELECT 1", "--min-position", baskets.position(), "--wait", "30s", server=baskets)
    lines = said("projection", "documents", "baskets", server=baskets).splitlines()
    assert [json.loads(line)["key"] for line in lines] == [f"k-{i:04}" for i in range(2100)]


def test_a_document_is_followed(baskets):
    """A line for each state, through a restart of the server; null where there is none; Ctrl-C ends it; so does the projection's end."""
    baskets.listen = f"127.0.0.1:{baskets.port}"
    command = [DAYBOOK, "--url", baskets.url, "projection", "document", "baskets", "b", "--follow"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "null\n"
    baskets.append_ok("b", event("Added", {}))
    assert json.loads(process.stdout.readline()) == {"items": 1, "last": {}}
    baskets.restart(kill=True)
    baskets.append_ok("b", event("Added", {"n": 2}))
    while (line := process.stdout.readline()) != '{"items":2,"last":{"n":2}}\n':
        assert line == '{"items":1,"last":{}}\n'  # said again, to be safe
    baskets.append_ok("b", event("Gone"))
    assert process.stdout.readline() == "null\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(60 * SLOW) == 130
    process = subprocess.Popen([*command, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert json.loads(process.stdout.readline())["document"] is None
    said("projection", "delete", "baskets", server=baskets)
    out, err = process.communicate(timeout=60 * SLOW)
    assert process.returncode == 1 and "the projection does not exist" in err


def test_errors_are_seen_to(fresh, script):
    """--retry, --retry-all and --skip say what was done, and fail where an event fails again."""
    family = "CREATE TABLE parents (id TEXT PRIMARY KEY);\nCREATE TABLE c (p INTEGER, parent TEXT NOT NULL);\n-- @on Parent\nINSERT INTO parents VALUES (:entity);\n"
    family += "-- @on Child\nINSERT INTO c VALUES (:position, (SELECT id FROM parents WHERE id = :entity));\n"
    said("projection", "put", "family", script(family), "--on-error", "set_aside", "--wait", server=fresh)
    first = fresh.append_ok("f-1", [event("Child") for _ in range(3)])["first_position"]
    lost = fresh.append_ok("f-2", event("Child"))["last_position"]
    position = fresh.append_ok("f-1", event("Parent"))["last_position"]
    said("query", "family", "SELECT 1", "--min-position", position, "--wait", "30s", server=fresh)
    errors = ["projection", "errors", "family"]
    assert said(*errors, "--retry", first, server=fresh) == "family: 1 event taken\n"
    assert "the event failed again" in error_of(*errors, "--retry", lost, server=fresh)
    done = daybook(*errors, "--retry-all", server=fresh, status=1)
    assert done.stdout == b"family: 2 events taken\n" and b"1 failed again, the first: event" in done.stderr
    assert said(*errors, "--skip", lost, server=fresh) == "family: 1 event discarded\n"
    assert said(*errors, "--retry-all", server=fresh) == "family: 0 events taken\n"
    assert "no such event is set aside" in error_of(*errors, "--skip", lost, server=fresh)
    assert "only one of" in error_of(*errors, "--retry", 1, "--skip", 2, server=fresh, status=2)
    assert said("query", "family", "SELECT count(*) AS n FROM c", "--csv", server=fresh) == "n\r\n3\r\n"

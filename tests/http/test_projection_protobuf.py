"""Projections in protobuf: on every route the same answer as in JSON, queries in and out, problems, wildcards."""
import json
import math

import pytest

from support import JSON, PROTOBUF, SLOW, event, pb, problem, quote, wait_for
from test_documents import put_ok as put_lua
from test_projections import ask, live, path, put_ok

PICKY = """CREATE TABLE t (p INTEGER PRIMARY KEY, bad CHECK (bad IS NULL), note TEXT NOT NULL DEFAULT 'é');
CREATE VIEW v AS SELECT count(*) AS n FROM t;
-- @on *
INSERT INTO t (p, bad) VALUES (:position, :data ->> 'bad');
"""
DOCUMENTS = "return { on = { ['*'] = function(s, e) s.n = (s.n or 0) + 1 return s end } }"
# What moves from one look to the next.
MOVING = ("lag_seconds", "events_per_second", "eta_seconds", "position")


def value(v):
    kind = v.WhichOneof("kind")
    return None if kind in (None, "null") else getattr(v, kind)


def fields(message):
    """A message as JSON has it: without what is 0, false or empty."""
    out = {}
    for descriptor, v in message.ListFields():
        name = descriptor.name
        if name == "rows":
            v = [[value(x) for x in row.values] for row in v]
        elif name == "document":
            v = json.loads(v)
        elif descriptor.label == descriptor.LABEL_REPEATED:
            v = [fields(x) if descriptor.message_type else x for x in v]
        elif descriptor.message_type:
            v = fields(v)
        out[name] = v
    return out


def trim(v):
    """The same of JSON; times are compared elsewhere."""
    if isinstance(v, list):
        return [trim(x) for x in v]
    if not isinstance(v, dict):
        return v
    return {k: trim(x) if k not in ("rows", "document") else x for k, x in v.items() if k not in ("defined", "defined_us") and k not in MOVING and x not in (0, False, "", None) and x != []}


def both(server, method, target, message, body=None, content_type=None):
    """The answer in both encodings, which must say the same; returns the message."""
    headers = {"Content-Type": content_type} if content_type else {}
    plain = server.request(method, target, body, {**headers, "Accept": JSON})
    packed = server.request(method, target, body, {**headers, "Accept": PROTOBUF})
    assert plain.status == packed.status and plain.status in (200, 201), (plain, packed)
    assert plain.media == JSON and packed.media == PROTOBUF
    m = packed.message(message)
    assert trim(fields(m)) == trim(plain.json)
    return m


@pytest.fixture
def filled(fresh):
    fresh.append_ok("s", [event(data={"bad": 1} if i % 4 == 3 else {}) for i in range(12)])
    put_ok(fresh, "p", PICKY, "?on_error=set_aside&attempts=2")
    put_lua(fresh, "d", DOCUMENTS)
    for i in range(5):
        fresh.append_ok(f"d-{i}/é", event())
    for name in ("p", "d"):
        assert ask(fresh, name, "SELECT 1", query=f"?min_position={fresh.position()}&wait=60s").status == 200
        live(fresh, name)
    wait_for(lambda: all(p["lag_events"] == 0 for p in fresh.get("/v1/projections").json["projections"]), 60, "all to be live")
    return fresh


def test_what_is_known(filled):
    """List, status, schema, errors, documents: in both encodings the same."""
    many = both(filled, "GET", "/v1/projections", "ProjectionList")
    assert [p.name for p in many.projections] == ["$counts", "p", "d"]
    one = both(filled, "GET", path("p"), "Projection")
    assert one.source == PICKY and one.defined_us > 1 << 50 and one.position == filled.get(path("p")).json["position"]
    assert one.WhichOneof("eta") == "eta_seconds" and one.state == "live" and one.on_error == "set_aside"
    both(filled, "GET", path("p", "schema"), "ProjectionSchema")
    both(filled, "GET", path("$counts", "schema"), "ProjectionSchema")
    errors = both(filled, "GET", path("p", "errors") + "?limit=2", "ProjectionErrorList")
    assert len(errors.errors) == 2 and not errors.end and "CHECK" in errors.errors[0].detail
    both(filled, "GET", path("d", "errors"), "ProjectionErrorList")
    both(filled, "GET", path("d", "documents", quote("d-1/é")), "Document")
    page = both(filled, "GET", path("d", "documents") + "?prefix=d&limit=3", "DocumentList")
    assert [d.key for d in page.documents] == [f"d-{i}/é" for i in range(3)] and page.next == "d-2/é" and page.position > 0
    both(filled, "GET", path("d", "documents") + "?prefix=x", "DocumentList")


def test_changes(filled):
    """Orders answer with the projection; a deletion with its name; a faulted one says where it stands."""
    for order in ("pause", "resume"):
        answer = filled.post(path("p", order), headers={"Accept": PROTOBUF})
        assert answer.status == 200 and answer.message("Projection").state == ("paused" if order == "pause" else "live")
    answer = filled.request("PUT", path("stops"), PICKY.encode(), {"Content-Type": "application/sql", "Accept": PROTOBUF})
    assert answer.status == 201 and answer.message("Projection").name == "stops"
    wait_for(lambda: filled.get(path("stops")).json["state"] == "faulted", 60, "a fault")
    m = both(filled, "GET", path("stops"), "Projection")
    assert m.error.position == 4 and "CHECK" in m.error.detail
    answer = filled.request("DELETE", path("stops"), None, {"Accept": PROTOBUF}).message("Projection")
    assert (answer.name, answer.deleted) == ("stops", True)
    answer = filled.post(path("p", "errors", "retry"), headers={"Accept": PROTOBUF}).message("ProjectionErrorsResult")
    assert answer.failed == 3 and answer.end and "CHECK" in answer.detail
    answer = filled.request("DELETE", path("p", "errors", "4"), None, {"Accept": PROTOBUF}).message("ProjectionErrorsResult")
    assert answer.discarded == 1
    dry = both(filled, "PUT", path("new") + "?dry_run=true&limit=6", "DryRun", PICKY.encode(), "application/sql")
    assert dry.dry_run and dry.events == 6 and dry.tables[0].count == 6 and len(dry.tables[0].sample.rows) == 5
    refused = filled.request("PUT", path("new"), b"x", {"Content-Type": "application/sql", "Accept": PROTOBUF})
    problem(refused, 400, "invalid-projection", "body")


def query(server, message, accept=PROTOBUF):
    return server.post(path("$counts", "query"), message.SerializeToString(), {"Content-Type": PROTOBUF, "Accept": accept})


def test_queries(filled):
    """Values of every kind go in and come out, by place and by name; the encodings of question and answer are independent."""
    big = (1 << 63) - 1
    values = [pb().Value(integer=-5), pb().Value(integer=big), pb().Value(real=0.1), pb().Value(text="é\0x"), pb().Value(blob=b"\0\xff"), pb().Value(null=True), pb().Value()]
    answer = query(filled, pb().Query(sql="SELECT ?, ?, ?, ?, ?, ?, ?, x'', '', 0, 1e999", params=values))
    assert answer.status == 200, answer
    result = answer.message("QueryResult")
    assert [value(v) for v in result.rows[0].values] == [-5, big, 0.1, "é\0x", b"\0\xff", None, None, b"", "", 0, math.inf]
    assert result.position == answer.position and list(result.columns)[:2] == ["?", "?"]
    named = pb().Query(sql="SELECT :a AS a, :b AS b", named_params=[pb().NamedValue(name="b", value=pb().Value(integer=2)), pb().NamedValue(name="a")])
    assert query(filled, named, JSON).json["rows"] == [[None, 2]]
    plain = ask(filled, "p", "SELECT * FROM t ORDER BY p")
    packed = ask(filled, "p", "SELECT * FROM t ORDER BY p", accept=PROTOBUF).message("QueryResult")
    assert [[value(v) for v in row.values] for row in packed.rows] == plain.json["rows"] and list(packed.columns) == plain.json["columns"]
    assert len(ask(filled, "p", "SELECT 1 WHERE 0", accept=PROTOBUF).message("QueryResult").rows) == 0
    lines = query(filled, pb().Query(sql="SELECT 1 AS a UNION ALL SELECT 2"), "application/x-ndjson")
    assert lines.body == [{"a": 1}, {"a": 2}]


def test_bad_queries(server):
    """What is wrong with a message is said as in JSON."""
    problem(query(server, pb().Query()), 400, "invalid-field", "sql")
    both_kinds = pb().Query(sql="SELECT ?", params=[pb().Value()], named_params=[pb().NamedValue(name="a")])
    problem(query(server, both_kinds), 400, "invalid-field", "named_params")
    problem(query(server, pb().Query(sql="SELECT :a", named_params=[pb().NamedValue()])), 400, "invalid-field", "named_params")
    problem(query(server, pb().Query(sql="SELECT 1", params=[pb().Value()] * 1001)), 400, "invalid-field", "params")
    problem(query(server, pb().Query(sql="SELEC")), 400, "invalid-query", "sql")
    problem(server.post(path("$counts", "query"), b"\xff\xff", {"Content-Type": PROTOBUF, "Accept": PROTOBUF}), 400, "invalid-protobuf")
    problem(server.post(path("$counts", "query"), b"\x0a\x01\xff", {"Content-Type": PROTOBUF}), 400, "invalid-field", "sql")
    problem(server.get(path("nothing"), accept=PROTOBUF), 404, "projection-not-found", "name")
    problem(server.get("/v1/projections", accept="text/html"), 406, "not-acceptable")
    assert SLOW >= 1 and server.get("/v1/projections", accept="*/*").media == JSON

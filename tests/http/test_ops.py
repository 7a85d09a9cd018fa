"""Operations: health, status, the OpenAPI document, verify; and the directory of streams, categories and types."""
import re
import threading
import uuid

import pytest

from support import JSON, PROTOBUF, ROOT, Server, event, events_path, plain, problem, quote

ROUTES = re.findall(r'^ROUTE\((\w+), "([^"]+)", \w+, "([^"]*)", "(\w*)", "([\w|]*)", "([^"]*)"\)', (ROOT / "server/routes.def").read_text(), re.M)
PROBLEMS = re.findall(r'^PROBLEM\(\w+, "([^"]+)", (\d+)', (ROOT / "server/problems.def").read_text(), re.M)


# ---- health and status ----------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_a_serving_server_is_healthy(server, path):
    """Probes answer 200, whatever they accept."""
    assert server.get(path).status == 200
    assert server.get(path, "text/plain").status == 200


def test_status_tells_positions_and_sizes(server, name):
    """Status is the same in both encodings and moves with the log."""
    before = server.status()
    version = (ROOT / "VERSION").read_text().strip()
    server.append_ok(name(), [event(), event()])
    after = server.status()
    assert after["version"] == version
    assert after["store_id"] == str(uuid.UUID(after["store_id"]))
    assert (after["position"], after["streams"]) == (before["position"] + 2, before["streams"] + 1)
    assert after["applied_position"] <= after["position"]
    assert after["uptime_s"] >= before["uptime_s"] >= 0
    assert after["data_bytes"] > 0 and after["tail_bytes"] <= after["tail_bytes_max"]
    assert after["queue_length"] <= after["queue_length_max"]
    assert after["connections"] >= 1
    message = plain(server.get("/v1/status", PROTOBUF).message("Status"))
    assert set(message) == set(after)
    for field in ("version", "position", "streams", "tail_bytes_max", "queue_length_max"):
        assert message[field] == after[field]


# ---- Daybook-Position -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method, path, status",
    [("GET", "/healthz", 200), ("GET", "/readyz", 200), ("GET", "/v1/status", 200), ("GET", "/v1/openapi.json", 200),
     ("GET", "/v1/events", 200), ("GET", "/v1/events/99999", 404), ("GET", "/v1/streams", 200), ("GET", "/v1/streams/none", 404),
     ("GET", "/v1/categories", 200), ("GET", "/v1/types", 200), ("GET", "/nothing", 404), ("DELETE", "/v1/events", 405),
     ("OPTIONS", "/v1/events", None), ("HEAD", "/v1/events", 200), ("POST", "/v1/admin/verify", 200), ("POST", "/v1/events", 415),
     ("GET", "/v1/events?limit=x", 400), ("GET", "/v1/events?type=%", 400)],
)  # fmt: skip
def test_every_answer_tells_the_position(server, name, method, path, status):
    """Daybook-Position is on every response, errors included, and reflects what was committed before."""
    last = server.append_ok(name(), event())["last_position"]
    response = server.request(method, path, b"x" if status == 415 else None, {"Content-Type": "text/plain"} if status == 415 else {})
    assert status is None or response.status == status
    assert response.position == last


def test_refused_bytes_tell_the_position_too(server):
    """Even a refusal of framing carries Daybook-Position."""
    response = server.exchange(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
    assert (response.status, response.position) == (400, server.position())


# ---- the OpenAPI document -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def document(module_server):
    response = module_server.get("/v1/openapi.json")
    assert (response.status, response.media) == (200, JSON)
    return response.json


def references(node):
    if isinstance(node, dict):
        yield from ([node["$ref"]] if isinstance(node.get("$ref"), str) else [])
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            yield from references(child)


def resolve(document, reference):
    assert reference.startswith("#/"), reference
    node = document
    for part in reference[2:].split("/"):
        node = node[part.replace("~1", "/").replace("~0", "~")]
    return node


def test_openapi_has_every_route(document):
    """Each row of routes.def is an operation with its summary, its parameters and its messages, and there is nothing else."""
    assert document["openapi"].startswith("3.1")
    assert document["info"]["version"] == (ROOT / "VERSION").read_text().strip()
    assert len(ROUTES) > 10
    operations = {(m.upper(), p) for p, item in document["paths"].items() for m in item if m in ("get", "post", "put", "patch", "delete")}
    assert operations == {(method, path) for method, path, *_ in ROUTES}
    for method, path, summary, request, response, query in ROUTES:
        operation = document["paths"][path][method.lower()]
        assert operation["summary"] == summary
        shared = document["paths"][path].get("parameters", [])
        parameters = [resolve(document, p["$ref"]) if "$ref" in p else p for p in operation.get("parameters", []) + shared]
        assert {p["name"] for p in parameters if p["in"] == "path"} == set(re.findall(r"{(\w+)}", path))
        assert {p["name"] for p in parameters if p["in"] == "query"} == set(query.split())
        assert all(p.get("required") for p in parameters if p["in"] == "path")
        used = list(references(operation))
        for message in filter(None, (request, *response.split("|"))):
            assert any(message in reference for reference in used), (path, message)
        if request:
            assert {"application/json", "application/x-protobuf"} <= set(operation["requestBody"]["content"])


def test_openapi_references_resolve(document):
    """Every $ref leads somewhere, and operation ids are unique."""
    found = set(references(document))
    assert found
    for reference in found:
        assert resolve(document, reference) is not None
    ids = [o["operationId"] for item in document["paths"].values() for o in item.values() if isinstance(o, dict) and "operationId" in o]
    assert len(ids) == len(set(ids))


def test_openapi_lists_the_problem_codes(document):
    """Every stable code is in the document."""
    text = str(document)
    assert len(PROBLEMS) > 20
    assert [code for code, _ in PROBLEMS if code not in text] == []


def test_openapi_describes_what_is_answered(server, document, name):
    """The members of real answers are the properties of their schemas."""
    stream = name()
    server.append_ok(stream, event(tags=["x"], metadata={"a": 1}, occurred_at="2026-01-01T00:00:00Z", schema_version=2))
    answers = {
        "AppendResult": server.append(stream, event()).json,
        "EventPage": server.get(events_path(stream)).json,
        "Event": server.get(events_path(stream) + "/1").json,
        "StreamInfo": server.get(f"/v1/streams/{stream}").json,
        "StreamList": server.get("/v1/streams").json,
        "LifeResult": server.post(events_path(stream) + "/1/redact").json,
        "Status": server.status(),
        "Problem": server.get("/nothing").json,
    }
    for name_, answer in answers.items():
        properties = set(document["components"]["schemas"][name_]["properties"])
        assert set(answer) <= properties, name_


# ---- verify ---------------------------------------------------------------------------------------


def test_verify_finds_a_sound_store_sound(server, name):
    """Verify walks everything and reports what it counted, in both encodings."""
    server.append_ok(name(), [event(), event(tags=["a"])])
    status = server.status()
    want = {"ok": True, "events": status["position"], "streams": status["streams"], "findings": []}
    assert server.post("/v1/admin/verify").json == want
    message = server.post("/v1/admin/verify", headers={"Accept": PROTOBUF}).message("VerifyReport")
    assert plain(message) == want


def test_verify_runs_while_others_write(fresh):
    """Verify neither disturbs writers nor takes what they do for damage."""
    stop = threading.Event()

    def write():
        while not stop.is_set():
            fresh.append_ok("s", [event() for _ in range(10)])

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    try:
        for _ in range(10):
            report = fresh.post("/v1/admin/verify").json
            assert report["ok"], report
    finally:
        stop.set()
        thread.join()


# ---- streams, categories, types -------------------------------------------------------------------

COUNTS = {"order-1": 3, "order-2": 1, "orders-1": 2, "cart-1": 5, "cart": 1, "ünï-1": 2, "zoo-a-b": 1}


@pytest.fixture(scope="module")
def directory():
    """A server with the streams of COUNTS, one event type per length of name."""
    server = Server()
    for stream, count in COUNTS.items():
        server.append_ok(stream, [event(f"T{len(stream)}") for _ in range(count)])
    yield server
    server.close()


def listing(server, path, key, **query):
    """All rows over all pages; checks what holds of each page."""
    rows = []
    while True:
        response = server.get(path, query=query)
        assert response.status == 200, response
        page = response.json
        assert set(page) == {key, "next", "end"}
        assert len(page[key]) <= query.get("limit", 1000)
        rows += page[key]
        if page["end"]:
            return rows
        assert page["next"] == page[key][-1]["stream" if key == "streams" else "name"]
        query["after"] = page["next"]


def by_bytes(names):
    return sorted(names, key=str.encode)


def category(stream):
    return stream.split("-")[0]


@pytest.mark.parametrize("restart", [None, False, True], ids=["running", "SIGTERM", "kill -9"])
@pytest.mark.parametrize("limit", [1, 2, 1000])
def test_listings_count_everything(directory, restart, limit):
    """Streams in byte order with their heads, categories and types with their counts, in pages of any size."""
    if restart is not None and limit == 1:
        directory.restart(kill=restart)
    streams = listing(directory, "/v1/streams", "streams", limit=limit)
    assert streams == [{"stream": s, "category": category(s), "head_revision": COUNTS[s]} for s in by_bytes(COUNTS)]
    for path, key, of in (("/v1/categories", "categories", category), ("/v1/types", "types", lambda s: f"T{len(s)}")):
        counts = {}
        for stream, count in COUNTS.items():
            counts[of(stream)] = counts.get(of(stream), 0) + count
        assert listing(directory, path, key, limit=limit) == [{"name": n, "events": counts[n]} for n in by_bytes(counts)]


@pytest.mark.parametrize(
    "query, want",
    [
        ({"prefix": "order"}, ["order-1", "order-2", "orders-1"]),
        ({"prefix": "order-"}, ["order-1", "order-2"]),
        ({"prefix": "nothing"}, []),
        ({"category": "order"}, ["order-1", "order-2"]),
        ({"category": "cart"}, ["cart", "cart-1"]),
        ({"category": "cart", "prefix": "cart-"}, ["cart-1"]),
        ({"category": "ünï"}, ["ünï-1"]),
        ({"category": "none"}, []),
        ({"after": "order-1"}, ["order-2", "orders-1", "zoo-a-b", "ünï-1"]),
        ({"after": "ordea"}, ["order-1", "order-2", "orders-1", "zoo-a-b", "ünï-1"]),
        ({"after": "order-1", "category": "order"}, ["order-2"]),
        ({"after": "ünï-1"}, []),
    ],
    ids=str,
)
def test_streams_can_be_selected(directory, query, want):
    """By prefix, by category, from a name on, and together."""
    for limit in (1, 1000):
        rows = listing(directory, "/v1/streams", "streams", limit=limit, **query)
        assert [r["stream"] for r in rows] == want


def test_listings_in_protobuf(directory):
    """The same rows as messages."""
    message = directory.get("/v1/streams", PROTOBUF, {"limit": 3}).message("StreamList")
    assert [(s.stream, s.category, s.head_revision) for s in message.streams] == [
        (s, category(s), COUNTS[s]) for s in by_bytes(COUNTS)[:3]
    ]
    assert (message.next, message.end) == (by_bytes(COUNTS)[2], False)
    message = directory.get("/v1/categories", PROTOBUF).message("NameCountList")
    assert ([i.name for i in message.items], message.end) == (by_bytes({category(s) for s in COUNTS}), True)
    assert [i.events for i in directory.get("/v1/types", PROTOBUF, {"prefix": "T4"}).message("NameCountList").items] == [1]


@pytest.mark.parametrize("stream", COUNTS, ids=ascii)
def test_stream_info(directory, stream):
    """What is known of a stream, with its head revision as ETag; 304 for who has it."""
    path = "/v1/streams/" + quote(stream)
    response = directory.get(path)
    info = response.json
    first = directory.get(events_path(stream) + "/1").json
    assert info == {
        "stream": stream, "category": category(stream), "head_revision": COUNTS[stream], "first_revision": 1,
        "events": COUNTS[stream], "created_position": first["position"], "created_time": first["time"], "deleted": False,
        "metadata": {},
    }  # fmt: skip
    assert response.headers["ETag"] == f'"{COUNTS[stream]}"'
    assert directory.get(path, headers={"If-None-Match": response.headers["ETag"]}).status == 304
    message = plain(directory.get(path, PROTOBUF).message("StreamInfo"))
    assert (message["stream"], message["head_revision"], message["metadata"]) == (stream, COUNTS[stream], b"{}")


def test_the_etag_of_a_stream_is_an_expectation(server, name):
    """What GET names as ETag is what If-Match takes."""
    stream = name()
    server.append_ok(stream, [event(), event()])
    etag = server.get(f"/v1/streams/{stream}").headers["ETag"]
    assert server.append(stream, event(), headers={"If-Match": etag}).status == 201
    problem(server.append(stream, event(), headers={"If-Match": etag}), 412, "wrong-expected-revision")

"""CloudEvents 1.0 in and out: every content mode and format, there and back; what is refused; native events as CloudEvents."""
import base64
import itertools
import json
import urllib.parse
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from support import JSON, PROTOBUF, event, events_path, pb, problem, quote

CE_JSON = "application/cloudevents+json"
CE_PROTOBUF = "application/cloudevents+protobuf"
CE_JSON_BATCH = "application/cloudevents-batch+json"
CE_PROTOBUF_BATCH = "application/cloudevents-batch+protobuf"

# What every answer adds.
PLACE = ("stream", "revision", "position", "recordedtime")

# A CloudEvent in these tests: a dict of its attributes, and beside them "data": bytes, None where it has none.


def cloudevent(data=None, **attributes):
    return {"specversion": "1.0", "id": str(next(ids)), "source": "/tests", "type": "Happened", "data": data, **attributes}


ids = itertools.count(1)


def is_json(media):
    return media is None or media.split(";")[0].endswith(("/json", "+json"))


# ---- the modes, out of the test --------------------------------------------------------------------


def to_json(ce):
    attributes = {k: v for k, v in ce.items() if k != "data"}
    text = json.dumps(attributes, ensure_ascii=False).encode()
    if ce["data"] is None:
        return text
    media = ce.get("datacontenttype")
    if ce.get("_binary"):
        attributes.pop("_binary")
        text = json.dumps(attributes, ensure_ascii=False).encode()
        return text[:-1] + b',"data_base64":"' + base64.b64encode(ce["data"]) + b'"}'
    if is_json(media):
        return text[:-1] + b',"data":' + ce["data"] + b"}"
    try:
        value = json.dumps(ce["data"].decode()).encode()
        return text[:-1] + b',"data":' + value + b"}"
    except UnicodeDecodeError:
        return text[:-1] + b',"data_base64":"' + base64.b64encode(ce["data"]) + b'"}'


def to_message(ce):
    message = pb().CloudEvent(id=ce["id"], source=ce["source"], spec_version=ce["specversion"], type=ce["type"])
    for name, value in ce.items():
        if name in ("id", "source", "specversion", "type", "data", "_binary"):
            continue
        target = message.attributes[name]
        if isinstance(value, bool):
            target.ce_boolean = value
        elif isinstance(value, int):
            target.ce_integer = value
        else:
            target.ce_string = value
    if ce["data"] is not None:
        if is_json(ce.get("datacontenttype")) and not ce.get("_binary"):
            message.text_data = ce["data"].decode()
        else:
            message.binary_data = ce["data"]
    return message


def percent(value):
    """As the HTTP binding encodes: everything but U+0021 to U+007E, and '"' and '%'."""
    value = {True: "true", False: "false"}.get(value, value) if isinstance(value, bool) else str(value)
    plain = "".join(chr(c) for c in range(0x21, 0x7F) if chr(c) not in '"%')
    return urllib.parse.quote(value, safe=plain)


def send(server, path, ces, mode, headers=None):
    """Sends CloudEvents in one content mode; of binary and structured ones only one."""
    headers = dict(headers or {})
    if mode == "binary":
        (ce,) = ces
        attributes = {k: v for k, v in ce.items() if k not in ("data", "datacontenttype", "_binary")}
        headers |= {f"ce-{k}": percent(v) for k, v in attributes.items()}
        # http.client would make a Content-Type up: support.request does where there is a body.
        headers["Content-Type"] = ce.get("datacontenttype", "")
        return server.request("POST", path, ce["data"] or b"", headers)
    bodies = {
        "json": lambda: to_json(ces[0]),
        "json batch": lambda: b"[" + b",\n".join(map(to_json, ces)) + b"]",
        "protobuf": lambda: to_message(ces[0]).SerializeToString(),
        "protobuf batch": lambda: pb().CloudEventBatch(events=map(to_message, ces)).SerializeToString(),
    }
    media = {"json": CE_JSON, "json batch": CE_JSON_BATCH, "protobuf": CE_PROTOBUF, "protobuf batch": CE_PROTOBUF_BATCH}[mode]
    return server.post(path, bodies[mode](), {**headers, "Content-Type": media})


MODES = ["json", "json batch", "protobuf", "protobuf batch", "binary"]


# ---- the formats, into the test --------------------------------------------------------------------


def from_json(raw):
    """One object; data keeps its bytes, which the server writes last."""
    members = json.loads(raw)
    data = members.pop("data", None)
    if b',"data":' in raw:
        start = raw.index(b',"data":') + len(b',"data":')
        data = raw[start:-1] if is_json(members.get("datacontenttype")) else data.encode()
    if "data_base64" in members:
        data = base64.b64decode(members.pop("data_base64"))
    return {**members, "data": data}


def from_message(message):
    ce = {"specversion": message.spec_version, "id": message.id, "source": message.source, "type": message.type, "data": None}
    for name, value in message.attributes.items():
        kind = value.WhichOneof("attr")
        ce[name] = value.ce_timestamp.seconds if kind == "ce_timestamp" else getattr(value, kind)
    kind = message.WhichOneof("data")
    if kind:
        data = getattr(message, kind)
        ce["data"] = data.encode() if isinstance(data, str) else data.value if kind == "proto_data" else data
    return ce


def from_headers(response):
    ce = {"data": response.raw or None}
    for name, value in response.headers.items():
        if name.lower().startswith("ce-"):
            ce[name[3:]] = urllib.parse.unquote(value, errors="strict")
    if response.headers["Content-Type"]:
        ce["datacontenttype"] = response.headers["Content-Type"]
    return ce


def read_one(server, path, mode):
    if mode == "binary":
        response = server.get(path, query={"cloudevents": "binary"})
        assert response.status == 200, response
        return from_headers(response)
    response = server.get(path, CE_JSON if mode == "json" else CE_PROTOBUF)
    assert (response.status, response.media) == (200, CE_JSON if mode == "json" else CE_PROTOBUF), response
    return from_json(response.raw) if mode == "json" else from_message(response.message("CloudEvent"))


OUT = ["json", "protobuf", "binary"]


def without_place(ce):
    return {k: v for k, v in ce.items() if k not in PLACE}


# ---- there and back --------------------------------------------------------------------------------

UNICODE = 'Motörhead "50%" & 音 \U0001f389'

CASES = {
    "nothing but what is required": cloudevent(),
    "json": cloudevent(b'{"a": 1.10, "b":[1e400,9223372036854775808], "a":null}', datacontenttype="application/json"),
    "json, not said": cloudevent(b'{"a" : 1}'),
    "json null": cloudevent(b"null"),
    "json string": cloudevent('"abcé"'.encode(), datacontenttype="application/vnd.x+json; charset=utf-8"),
    "json of another name": cloudevent(b"[1, 2]", datacontenttype="text/json"),
    "text": cloudevent(UNICODE.encode(), datacontenttype="text/plain"),
    "text with escapes": cloudevent(b'a\tb\r\n"c"\\', datacontenttype="text/csv;charset=utf-8"),
    "xml": cloudevent(b"<a>\xc3\xa9</a>", datacontenttype="application/xml"),
    "text that is not text": cloudevent(b"\xff\xfe", datacontenttype="text/plain"),
    "bytes": cloudevent(bytes(range(256)), datacontenttype="application/octet-stream"),
    "bytes, not said": cloudevent(bytes(range(256)), _binary=True),
    "a uuid": cloudevent(b"1", id="0192d3c4-5e6f-7a8b-9c0d-1e2f3a4b5c6d"),
    "an upper-case uuid": cloudevent(b"1", id="0192D3C4-5E6F-7A8B-9C0D-1E2F3A4B5C6E"),
    "an id of any characters": cloudevent(b"1", id=UNICODE),
    "every attribute": cloudevent(
        b"{}", datacontenttype="application/json", subject=UNICODE, time="2026-01-01T12:00:00+02:00",
        dataschema="https://example.com/schema?x=1#y", source="urn:example:%C3%BC"),
    "extensions": cloudevent(
        b"{}", traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", flag=True, noflag=False,
        least=-2147483648, most=2147483647, zero=0, text=UNICODE, empty="", cloudevents="mine", tags="x"),
    "sixty extensions": cloudevent(b"1", **{f"x{i}": str(i) for i in range(60)}),
}


def expected(ce, sent, received):
    """What comes back of a CloudEvent, where the mode does not carry everything."""
    want = {k: v for k, v in ce.items() if k != "_binary"}
    if "binary" in (sent, received):  # all values are strings
        want |= {k: str(v).lower() for k, v in want.items() if isinstance(v, (bool, int))}
    if received == "binary":
        want = {k: v for k, v in want.items() if v != ""}  # no empty headers
    said_by_json = ce["data"] is not None and "datacontenttype" not in ce and not ce.get("_binary")
    if said_by_json and sent.startswith("json") and received != "json":
        want["datacontenttype"] = JSON  # the JSON format implies it, the others do not
    if said_by_json and sent.startswith("protobuf"):  # there text is text
        want["datacontenttype"] = want.get("datacontenttype")
    return {k: v for k, v in want.items() if not (k == "datacontenttype" and v is None)}


@pytest.mark.parametrize("received", OUT)
@pytest.mark.parametrize("sent", MODES)
def test_what_is_sent_comes_back(server, name, sent, received):
    """Whatever the mode, a CloudEvent that is read has the attributes and the data bytes that were sent."""
    stream = name()
    for revision, (case, ce) in enumerate(CASES.items(), 1):
        response = send(server, events_path(stream), [ce], sent)
        assert response.status == 201, (case, response)
        assert (response.json["stream"], response.json["last_revision"]) == (stream, revision)
        got = read_one(server, f"{events_path(stream)}/{revision}", received)
        assert got["stream"] == stream and got["revision"] == str(revision) and int(got["position"]) > 0
        want = expected(ce, sent, received)
        if received == "protobuf" and "time" in want:
            want["time"] = 1767261600  # 10:00 UTC
        assert without_place(got) == want, case


def test_typed_attributes_of_protobuf_come_back(server, name):
    """URIs, timestamps, bytes and a protobuf message as data keep their type through the store."""
    message = to_message(cloudevent())
    message.attributes["link"].ce_uri = "https://example.com/"
    message.attributes["ref"].ce_uri_ref = "../x"
    message.attributes["blob"].ce_bytes = b"\x00\xff"
    message.attributes["when"].ce_timestamp.seconds = -1
    message.attributes["when"].ce_timestamp.nanos = 123456789
    message.attributes["time"].ce_timestamp.seconds = 1767225600
    message.proto_data.type_url = "type.example.com/a.B"
    message.proto_data.value = b"\x08\x01"
    path = events_path(name())
    assert server.post(path, message.SerializeToString(), {"Content-Type": CE_PROTOBUF}).status == 201
    got = server.get(path + "/1", CE_PROTOBUF).message("CloudEvent")
    for extra in PLACE:
        del got.attributes[extra]
    assert got == message
    as_json = server.get(path + "/1", CE_JSON).json
    assert (as_json["blob"], as_json["when"]) == ("AP8=", "1969-12-31T23:59:59.123456789Z")
    assert (as_json["time"], as_json["data_base64"]) == ("2026-01-01T00:00:00Z", "CAE=")


def test_a_batch_is_appended_in_order_and_at_once(server, name):
    """A batch to one stream is one append; a batch to the log has a result for each event, in their order."""
    stream, other = name(), name()
    three = [cloudevent(b"1"), cloudevent(b"2"), cloudevent(b"3")]
    for mode in ("json batch", "protobuf batch"):
        one = send(server, events_path(stream), [{**ce, "source": mode.replace(" ", "/")} for ce in three], mode).json
        assert one["last_revision"] - one["first_revision"] == 2
        ces = [{**ce, "source": mode.replace(" ", "-"), "stream": s} for ce, s in zip(three, (stream, other, stream))]
        many = send(server, "/v1/events", ces, mode)
        assert many.status == 201, many
        results = many.json["results"]
        assert [r["stream"] for r in results] == [stream, other, stream]
        first = results[0]["first_position"]
        assert [r["first_position"] for r in results] == [first, first + 1, first + 2]
    assert server.head_revision(stream) == 10 and server.head_revision(other) == 2


def test_the_stream_of_an_event_without_a_path(server, name):
    """POST /v1/events: the extension attribute stream, else subject; with neither a 400 that says so."""
    stream, subject = name(), name()
    both = cloudevent(stream=stream, subject=subject)
    assert send(server, "/v1/events", [both], "json").json["results"][0]["stream"] == stream
    assert send(server, "/v1/events", [cloudevent(subject=subject)], "binary").json["results"][0]["stream"] == subject
    problem(send(server, "/v1/events", [cloudevent()], "json"), 400, "missing-field", "stream")
    problem(send(server, "/v1/events", [cloudevent()], "binary"), 400, "missing-field", "header.ce-stream")
    problem(send(server, "/v1/events", [both, cloudevent()], "json batch"), 400, "missing-field", "[1].stream")
    problem(send(server, "/v1/events", [cloudevent(subject="x" * 256)], "json"), 400, "invalid-name", "subject")
    problem(send(server, "/v1/events", [cloudevent(stream="$x")], "json"), 403, "reserved-name", "stream")
    problem(send(server, events_path(stream), [cloudevent(stream=subject)], "json"), 400, "invalid-field", "stream")
    assert send(server, events_path(stream), [cloudevent(stream=stream)], "json").status == 201


def test_the_same_event_again_is_a_duplicate(fresh):
    """Source and id make an event: sent again, in any mode and after a restart, it answers 200 with the first numbers."""
    ce = cloudevent(b'{"n":1}', datacontenttype=JSON)
    first = send(fresh, events_path("s"), [ce], "json")
    assert first.status == 201
    for mode in MODES:
        again = send(fresh, events_path("s"), [ce], mode)
        assert (again.status, again.json) == (200, {**first.json, "duplicate": True}), mode
    fresh.restart()
    assert send(fresh, events_path("s"), [ce], "binary").status == 200
    assert send(fresh, events_path("s"), [{**ce, "source": "/other"}], "json").status == 201
    problem(send(fresh, events_path("s"), [{**ce, "data": b"2"}], "json"), 409, "id-reused", "id")
    problem(send(fresh, events_path("s"), [{**ce, "type": "Other"}], "binary"), 409, "id-reused", "header.ce-id")
    new = cloudevent()
    problem(send(fresh, events_path("s"), [new, ce], "json batch"), 409, "partial-duplicate", "[0].id")
    problem(send(fresh, events_path("s"), [new, new], "protobuf batch"), 409, "id-reused", "[1].id")
    problem(send(fresh, "/v1/events", [{**new, "stream": "t"}, {**new, "stream": "t"}], "json batch"), 409, "id-reused", "[1].id")
    assert fresh.position() == 2


def test_expectations_as_headers(server, name):
    """If-Match and If-None-Match guard an append of CloudEvents as any other; on /v1/events they are refused."""
    path = events_path(name())
    assert send(server, path, [cloudevent()], "json", {"If-None-Match": "*"}).status == 201
    problem(send(server, path, [cloudevent()], "binary", {"If-None-Match": "*"}), 412, "wrong-expected-revision")
    done = send(server, path, [cloudevent()], "binary", {"If-Match": '"1"'})
    assert (done.status, done.headers["ETag"]) == (201, '"2"')
    answer = send(server, "/v1/events", [cloudevent(subject="x")], "json", {"If-Match": '"1"'})
    problem(answer, 400, "invalid-field", "header.If-Match")


def test_answers_are_negotiated_as_ever(server, name):
    """The answer to a CloudEvent is an AppendResult, in protobuf too, and so is a problem."""
    path = events_path(name())
    message = send(server, path, [cloudevent()], "json", {"Accept": PROTOBUF}).message("AppendResult")
    assert message.last_revision == 1
    refused = send(server, path, [cloudevent(specversion="0.3")], "json", {"Accept": PROTOBUF})
    assert (refused.status, refused.message("Problem").field) == (400, "specversion")


# ---- headers ---------------------------------------------------------------------------------------

HEADERS = [
    ("a%20b", "a b"),
    ("%C3%BC%E9%9F%B3", "ü音"),
    ("100%25", "100%"),
    ("%2525", "%25"),  # decoded once
    ('"a b"', "a b"),
    ('"a \\"b\\" \\\\%41"', 'a "b" \\A'),
    ('x"y z"w', "xy zw"),
    ("a, b", "a, b"),
    ("", ""),
]


@pytest.mark.parametrize("sent, meant", HEADERS, ids=[h[0] for h in HEADERS])
def test_header_values_are_decoded(server, name, sent, meant):
    """Quotes are taken away, then percent-encoding once; Ce- may be spelled in any case."""
    path = events_path(name())
    headers = {"Ce-Id": "1", "CE-SOURCE": "/x", "ce-type": "T", "ce-specversion": "1.0", "Ce-Note": sent, "Content-Type": ""}
    assert server.request("POST", path, b"", headers).status == 201
    assert server.get(path + "/1", CE_JSON).json["note"] == meant


def test_raw_utf8_in_a_header_is_taken(server, name):
    """Senders that do not encode are understood where it is UTF-8; Latin-1 is refused."""
    stream = name()
    head = f"POST {events_path(stream)} HTTP/1.1\r\nHost: x\r\nce-id: 1\r\nce-source: /x\r\nce-type: T\r\nce-specversion: 1.0\r\n".encode()
    assert server.exchange(head + b"ce-note: \xc3\xbc\r\nContent-Length: 0\r\n\r\n").status == 201
    assert server.get(events_path(stream) + "/1", CE_JSON).json["note"] == "ü"
    refused = server.exchange(head + b"ce-note: \xfc\r\nContent-Length: 0\r\n\r\n")
    problem(refused, 400, "invalid-field", "header.ce-note")
    twice = server.exchange(head + b"ce-id: 2\r\nContent-Length: 0\r\n\r\n")
    problem(twice, 400, "invalid-field", "header.ce-id")


# ---- what is refused -------------------------------------------------------------------------------

REQUIRED = {"specversion": "1.0", "id": "1", "source": "/x", "type": "T"}

BAD_ATTRIBUTES = [  # attribute, value, code
    ("specversion", "0.3", "invalid-field"), ("specversion", "1", "invalid-field"), ("specversion", None, "missing-field"),
    ("id", None, "missing-field"), ("id", "", "invalid-field"), ("source", None, "missing-field"), ("source", "", "invalid-field"),
    ("source", "not a uri", "invalid-field"), ("source", "/%zz", "invalid-field"), ("source", "/<x>", "invalid-field"),
    ("type", None, "missing-field"), ("type", "", "invalid-field"), ("type", "x" * 256, "invalid-name"),
    ("type", "$x", "reserved-name"), ("subject", "", "invalid-field"), ("time", "yesterday", "invalid-field"),
    ("time", "2026-01-01", "invalid-field"), ("dataschema", "relative", "invalid-field"), ("dataschema", "", "invalid-field"),
    ("x_y", "1", "invalid-field"), ("x-y", "1", "invalid-field"), ("x" * 65, "1", "invalid-field"),
    ("stream", "other", "invalid-field"),
]


@pytest.mark.parametrize("sent", MODES)
@pytest.mark.parametrize("attribute, value, code", BAD_ATTRIBUTES, ids=[f"{a[:9]}={str(v)[:9]}" for a, v, _ in BAD_ATTRIBUTES])
def test_bad_attributes(server, name, sent, attribute, value, code):
    """An attribute that breaks a rule is refused and named, in every mode; nothing is written."""
    stream = name()
    if value == "" and sent.startswith("protobuf") and attribute in REQUIRED:
        code = "missing-field"  # an empty field is an absent one there
    good = cloudevent()
    bad = {k: v for k, v in {**good, **REQUIRED, attribute: value}.items() if v is not None or k == "data"}
    if value is None and sent.startswith("protobuf"):
        bad[attribute] = ""
    batch = sent.endswith("batch")
    response = send(server, events_path(stream), [good, bad] if batch else [bad], sent)
    field = f"[1].{attribute}" if batch else f"header.ce-{attribute}" if sent == "binary" else attribute
    if len(attribute) == 65:
        field = field[:-1]
    problem(response, 403 if code == "reserved-name" else 400, code, field)
    assert server.head_revision(stream) == 0


BAD_JSON = [  # body, code, field
    (b"", "invalid-json", ""), (b"{", "invalid-json", ""), (b'{"x":8', "invalid-json", ""), (b"[]", "invalid-field", ""), (b"1", "invalid-field", ""),
    (json.dumps(REQUIRED).encode() + b" x", "invalid-json", ""), (b"\xff", "invalid-json", ""),
    (b'{"id":1}', "invalid-field", "id"), (b'{"id":true}', "invalid-field", "id"), (b'{"id":{}}', "invalid-field", "id"),
    (b'{"id":"1","id":"2"}', "invalid-field", "id"), (b'{"id":"\\ud800"}', "invalid-json", ""),
    (b'{"id":"a\\u0000b"}', "invalid-field", "id"), (b'{"id":"\\u0085"}', "invalid-field", "id"),
    (b'{"x":1.5}', "invalid-field", "x"), (b'{"x":1e3}', "invalid-field", "x"), (b'{"x":2147483648}', "invalid-field", "x"),
    (b'{"x":-2147483649}', "invalid-field", "x"), (b'{"x":[1]}', "invalid-field", "x"), (b'{"x":{}}', "invalid-field", "x"),
    (b'{"Type":"T"}', "invalid-field", "Type"), (b'{"":1}', "invalid-field", ""), ('{"ü":1}'.encode(), "invalid-field", "ü"),
    (b'{"datacontenttype":"x"}', "invalid-field", "datacontenttype"),
    (b'{"data":1,"data":2}', "invalid-field", "data"), (b'{"data":1,"data_base64":"AA=="}', "invalid-field", "data_base64"),
    (b'{"data_base64":"AA=="  ,"data_base64":"AA=="}', "invalid-field", "data_base64"),
    (b'{"data_base64":"AA"}', "invalid-field", "data_base64"), (b'{"data_base64":1}', "invalid-field", "data_base64"),
    (b'{"datacontenttype":"text/plain","data":{}}', "invalid-field", "data"),
    (b'{"datacontenttype":"application/json","data_base64":"eA=="}', "invalid-field", "data_base64"),
    (b'{"data":' + b"[" * 200 + b"]" * 200 + b"}", "invalid-json", ""),
    (json.dumps({f"x{i}": 1 for i in range(65)}).encode(), "invalid-field", "x64"),
]


@pytest.mark.parametrize("body, code, field", BAD_JSON, ids=[b[0][:40].decode("latin-1") for b in BAD_JSON])
def test_bad_json(server, name, body, code, field):
    """A structured event that is not right is refused with the place of what is wrong."""
    if body.startswith(b'{"') and body.endswith(b"}") and b'"id"' not in body:
        body = b'{"specversion":"1.0","id":"1","source":"/x","type":"T",' + body[1:]
    stream = name()
    problem(server.post(events_path(stream), body, {"Content-Type": CE_JSON}), 400, code, field)
    if code == "invalid-field" and field:
        batch = server.post(events_path(stream), b"[" + body + b"]", {"Content-Type": CE_JSON_BATCH})
        problem(batch, 400, code, f"[0].{field}")
    assert server.head_revision(stream) == 0


def test_nulls_are_absent_but_data_is_a_value(server, name):
    """An attribute that is null is not set; data that is null is the JSON value null."""
    path = events_path(name())
    body = {**REQUIRED, "subject": None, "x": None, "data_base64": None, "data": None}
    assert server.post(path, body, {"Content-Type": CE_JSON}).status == 201
    assert without_place(server.get(path + "/1", CE_JSON).json) == {**REQUIRED, "data": None}


def test_empty_and_foreign_batches(server, name):
    """A batch has at least one event, and nothing but events."""
    path = events_path(name())
    for media, body in ((CE_JSON_BATCH, b"[]"), (CE_PROTOBUF_BATCH, b"")):
        problem(server.post(path, body, {"Content-Type": media}), 400, "missing-field")
    problem(server.post(path, b"{}", {"Content-Type": CE_JSON_BATCH}), 400, "invalid-field")
    one = to_json(cloudevent())
    problem(server.post(path, b"[" + one + b",1]", {"Content-Type": CE_JSON_BATCH}), 400, "invalid-field", "[1]")
    problem(server.post(path, b"\x07", {"Content-Type": CE_PROTOBUF}), 400, "invalid-protobuf")
    unknown = to_message(cloudevent()).SerializeToString() + b"\x98\x06\x01"
    problem(server.post(path, unknown, {"Content-Type": CE_PROTOBUF}), 400, "unknown-field")


@pytest.mark.parametrize("media", ["application/cloudevents", "application/cloudevents+xml", "application/cloudevents+avro",
                                   "application/cloudevents-batch", "application/cloudevents+json; charset=latin-1"])
def test_unknown_formats(server, name, media):
    """A format that is not known is 415, whatever ce- headers say."""
    headers = {"Content-Type": media, "ce-specversion": "1.0"}
    problem(server.post(events_path(name()), b"{}", headers), 415, "unsupported-media-type", "header.Content-Type")


def test_binary_without_its_version(server, name):
    """Some of the required headers without the others is a CloudEvent with something missing, not an event of ours."""
    path = events_path(name())
    body = {"events": [event()]}
    problem(server.post(path, body, {"ce-type": "T"}), 400, "missing-field", "header.ce-specversion")
    problem(server.post(path, body, {"ce-specversion": "1.0", "ce-type": "T", "ce-source": "/x"}), 400, "missing-field", "header.ce-id")
    binary = {"ce-specversion": "1.0", "ce-type": "T", "ce-source": "/x", "ce-id": "1"}
    problem(server.post(path, b"{", {**binary, "Content-Type": JSON}), 400, "invalid-field", "data")
    problem(server.post(path, b"{}", {**binary, "ce-datacontenttype": JSON}), 400, "invalid-field", "header.Content-Type")
    problem(server.post(path, b"{}", {**binary, "ce-data": "1"}), 400, "invalid-field")
    assert server.post(path, body, {"ce-other": "1"}).status == 201  # not one of the four: an append of ours
    problem(server.post("/v1/commands", {"append": {}}, {"Content-Type": CE_JSON}), 415, "unsupported-media-type")


def test_limits_hold(launch):
    """The limits of events and bodies are the same, and the field says which event."""
    server = launch("--event-bytes-max", 2000, "--append-events-max", 3)
    big = cloudevent(b'"' + b"x" * 2000 + b'"')
    problem(send(server, events_path("s"), [big], "json"), 413, "event-too-large", "")
    problem(send(server, events_path("s"), [cloudevent(), big], "json batch"), 413, "event-too-large", "[1]")
    problem(send(server, "/v1/events", [cloudevent(subject="a"), {**big, "subject": "b"}], "protobuf batch"), 413, "event-too-large", "[1]")
    problem(send(server, events_path("s"), [cloudevent(x="y" * 2000)], "json"), 413, "event-too-large", "")
    for path in (events_path("s"), "/v1/events"):
        four = [cloudevent(subject="s") for _ in range(4)]
        problem(send(server, path, four, "json batch"), 413, "too-many-events")
        problem(send(server, path, four, "protobuf batch"), 413, "too-many-events")
    assert server.position() == 0


# ---- native events as CloudEvents ------------------------------------------------------------------


def test_native_events_are_cloudevents_too(server, name):
    """Source is the stream's path, id the UUID, metadata that can be attributes is; what cannot is left out."""
    stream = name("ördner, 1/2")
    id_ = str(uuid.uuid4())
    metadata = {"user": "7", "retries": 3, "dry": False, "traceparent": "00-x", "Nested": "no", "list": [1], "source": "no",
                "position": "no", "line": "a\nb", "big": 2**40}
    server.append_ok(stream, event("Paid", {"n": 1}, id_, metadata=metadata, occurred_at="2026-01-01T00:00:00+01:00"))
    server.append_ok(stream, {"type": "Raw", "content_type": "image/png", "data_base64": "AAEC"})
    native = server.get(events_path(stream) + "/1").json
    got = server.get(events_path(stream) + "/1", CE_JSON).json
    assert got == {
        "specversion": "1.0", "id": id_, "source": "/v1/streams/" + quote(stream), "type": "Paid", "time": "2026-01-01T00:00:00+01:00",
        "datacontenttype": JSON, "stream": stream, "revision": "1", "position": str(native["position"]),
        "recordedtime": native["time"], "user": "7", "retries": 3, "dry": False, "traceparent": "00-x", "data": {"n": 1}}
    assert server.get(got["source"]).status == 200  # the source leads to the stream
    raw = server.get(f"/v1/events/{native['position'] + 1}", CE_JSON).json
    assert raw["time"] == raw["recordedtime"] and raw["data_base64"] == "AAEC" and raw["datacontenttype"] == "image/png"
    binary = read_one(server, events_path(stream) + "/1", "binary")
    assert binary["stream"] == stream and binary["data"] == b'{"n": 1}'


FORGED = [
    {"cloudevents": 1}, {"cloudevents": {}}, {"cloudevents": {"source": 5}}, {"cloudevents": {"source": "a b"}},
    {"cloudevents": {"source": "", "id": "x"}}, {"cloudevents": {"source": "/x", "id": "a\u0000"}},
    {"cloudevents": {"source": "/x", "attribute_types": {"user": "timestamp", "blob": "bytes"}}, "user": "1", "blob": "?"},
    {"cloudevents": {"source": "/x", "no_data": True, "text_data": True, "data_type_url": "a\nb"}},
    {"cloudevents": {"source": "/x", "type": "Other", "specversion": "9", "time": "never"}},
]


@pytest.mark.parametrize("metadata", FORGED, ids=range(len(FORGED)))
def test_metadata_cannot_forge_an_invalid_cloudevent(server, name, metadata):
    """Metadata is the client's: whatever it says, what comes out is a valid CloudEvent with the event's data."""
    path = events_path(name())
    assert server.post(path, {"events": [event("T", {"n": 1}, metadata=metadata)]}).status == 201
    for mode in OUT:
        got = read_one(server, path + "/1", mode)
        assert (got["specversion"], got["type"], json.loads(got["data"])) == ("1.0", "T", {"n": 1})
        assert got["id"] and got["source"] in ("/x", "/v1/streams/" + path.split("/")[3])


def test_attributes_of_the_server_cannot_be_taken(server, name):
    """An event from another server may carry its place there: it is kept in the metadata, and read with its place here."""
    stream = name()
    ce = cloudevent(b"1", revision="77", position="88", recordedtime="2020-01-01T00:00:00Z")
    assert send(server, events_path(stream), [ce], "json").status == 201
    got = server.get(events_path(stream) + "/1", CE_JSON).json
    assert got["revision"] == "1" and got["position"] != "88" and got["recordedtime"] > "2026"
    assert server.get(events_path(stream) + "/1").json["metadata"]["position"] == "88"


def test_binary_answers_are_no_pages(server, name):
    """What a client stored is never run by a browser that opens it; the mode is named right or refused."""
    path = events_path(name())
    assert send(server, path, [cloudevent(b"<script>", datacontenttype="text/html")], "binary").status == 201
    response = server.get(path + "/1?cloudevents=binary")
    assert response.headers["Content-Type"] == "text/html"
    assert response.headers["X-Content-Type-Options"] == "nosniff" and "sandbox" in response.headers["Content-Security-Policy"]
    assert server.get(path + "/1?cloudevents=binary", headers={"If-None-Match": '"1"'}).status == 304
    assert server.head(path + "/1?cloudevents=binary").headers["ce-id"]
    problem(server.get(path + "/1?cloudevents=json"), 400, "invalid-parameter", "query.cloudevents")
    long = cloudevent(b"1", **{f"x{i}": "y" * 250 for i in range(60)})
    assert send(server, path, [long], "json").status == 201
    problem(server.get(path + "/2?cloudevents=binary"), 406, "not-acceptable", "query.cloudevents")
    assert without_place(server.get(path + "/2", CE_JSON).json)["x59"] == "y" * 250


def test_media_types_that_a_route_does_not_offer(server, name):
    """A batch is no single event, and a single event is no page."""
    path = events_path(name())
    server.append_ok(path.split("/")[3], event())
    refused = problem(server.get(path + "/1", CE_JSON_BATCH), 406, "not-acceptable", "header.Accept")
    assert CE_JSON in refused.json["detail"]
    refused = problem(server.get(path, CE_JSON), 406, "not-acceptable", "header.Accept")
    assert CE_JSON_BATCH in refused.json["detail"] and CE_PROTOBUF_BATCH in refused.json["detail"]


def test_redacted_and_deleted(server, name):
    """A redacted event says so and has neither its data nor its attributes; a stream that was deleted for ever takes none."""
    stream = name()
    ce = cloudevent(b"secret", datacontenttype="text/plain", subject="secret", note="secret")
    assert send(server, events_path(stream), [ce], "json").status == 201
    assert server.post(events_path(stream) + "/1/redact", {}).status == 200
    for mode in OUT:
        got = read_one(server, events_path(stream) + "/1", mode)
        assert got.pop("redacted") in (True, "true") and "secret" not in str(got)
        assert (got["data"], got["source"], got["type"]) == (None, "/v1/streams/" + stream, "Happened")
    assert send(server, events_path(stream), [ce], "binary").json["duplicate"]
    assert server.request("DELETE", f"/v1/streams/{stream}?tombstone=true").status == 200
    problem(send(server, events_path(stream), [cloudevent()], "json"), 410, "stream-deleted", "stream")
    batch = [cloudevent(stream=name()), cloudevent(stream=stream)]
    problem(send(server, "/v1/events", batch, "json batch"), 410, "stream-deleted", "[1].stream")
    problem(send(server, "/v1/events", [cloudevent(subject=stream)], "binary"), 410, "stream-deleted", "header.ce-stream")
    problem(server.get(events_path(stream), CE_JSON_BATCH), 410, "stream-deleted")


# ---- pages -----------------------------------------------------------------------------------------


def read_pages(server, path, mode, **query):
    """Follows Link from page to page: every CloudEvent, and the last response."""
    ces, url = [], path + "?" + urllib.parse.urlencode(query, doseq=True)
    while True:
        response = server.get(url, CE_JSON_BATCH if mode == "json" else CE_PROTOBUF_BATCH)
        assert response.status == 200, response
        if mode == "json":
            assert response.media == CE_JSON_BATCH
            page = [{k: v for k, v in ce.items() if k != "recordedtime"} for ce in json.loads(response.raw)]
        else:
            assert response.media == CE_PROTOBUF_BATCH
            page = [from_message(m) for m in response.message("CloudEventBatch").events]
        ces += page
        link = response.headers["Link"]
        assert (link is None) == (response.headers["Daybook-End"] == "true")
        if link is None:
            return ces, response
        assert len(page) <= int(query.get("limit", 1000))
        target, rel = link.split("; ")
        assert rel == 'rel="next"' and target[0] + target[-1] == "<>"
        url = urllib.parse.urljoin(url, target[1:-1])
        assert response.headers["Daybook-Next"] in url


@pytest.mark.parametrize("mode", ["json", "protobuf"])
@pytest.mark.parametrize("limit", [1, 3, 7, 1000])
@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_pages(fresh, mode, limit, direction):
    """Pages of CloudEvents are those of the JSON pages; the headers lead through them, filters and all."""
    kind = "Ünï & 'cödé'=1"
    for i in range(7):
        fresh.append_ok(f"s-{i % 2}", [event("Other"), event(kind, {"n": i})])
    query = {"limit": limit, "direction": direction, "type": [kind, "none"], "category": "s"}
    ces, last = read_pages(fresh, "/v1/events", mode, **query)
    order = [2 * i + 2 for i in range(7)]
    assert [int(ce["position"]) for ce in ces] == (order if direction == "forward" else order[::-1])
    assert all(ce["type"] == kind for ce in ces)
    plain = fresh.get("/v1/events", JSON, query={**query, "limit": 1000}).json
    assert int(last.headers["Daybook-Head"]) == plain["head"] == 14
    if direction == "forward":
        assert int(last.headers["Daybook-Next"]) == plain["next"]
    stream, last = read_pages(fresh, "/v1/streams/s-0/events", mode, limit=limit, direction=direction)
    assert len(stream) == 8 and int(last.headers["Daybook-Head"]) == 8


def test_empty_pages(server, name):
    """Where there is nothing the batch is empty and the headers say so; a stream that is not there is 404."""
    stream = name()
    server.append_ok(stream, event())
    for media, empty in ((CE_JSON_BATCH, b"[]"), (CE_PROTOBUF_BATCH, b"")):
        response = server.get(events_path(stream), media, {"after": 1})
        assert (response.status, response.raw) == (200, empty)
        assert (response.headers["Daybook-Next"], response.headers["Daybook-End"], response.headers["Link"]) == ("1", "true", None)
        problem(server.get(events_path(name()), media), 404, "stream-not-found")
        problem(server.get(events_path(stream), media, {"limit": 100000}), 400, "invalid-parameter", "query.limit")
        problem(server.get(events_path(stream), media, {"follow": "true"}), 406, "not-acceptable")


def test_a_page_can_wait(server, name):
    """wait works for pages of CloudEvents as for those of JSON."""
    stream = name()
    server.append_ok(stream, event())
    with ThreadPoolExecutor(1) as pool:
        page = pool.submit(server.get, events_path(stream), CE_JSON_BATCH, {"after": 1, "wait": "20s"})
        server.append_ok(stream, event("Second"))
        response = page.result()
    assert [ce["type"] for ce in json.loads(response.raw)] == ["Second"]
    assert response.headers["Daybook-Next"] == "2"


def test_a_long_filter_has_no_link(server, name):
    """A link that does not fit is left out; Daybook-Next is there all the same."""
    server.append_ok(name(), [event("x"), event("x")])
    long = ["ü" * 120 + str(i) for i in range(12)]
    response = server.get("/v1/events", CE_JSON_BATCH, {"type": ["x", *long], "limit": 1})
    assert (response.status, response.headers["Daybook-End"], response.headers["Link"]) == (200, "false", None)
    assert int(response.headers["Daybook-Next"]) > 0

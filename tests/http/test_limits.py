"""Every limit and every malformed input of the contract's section 1: its status, its code, the field it names, and that
the request changed nothing. Small limits by flags keep the tests cheap."""
import base64
import json

import pytest

from support import JSON, NDJSON, PROBLEM_JSON, PROTOBUF, event, events_path
from support import pb as generated
from support import problem

SERVER_FLAGS = [
    "--event-bytes-max", 2000, "--body-bytes-max", 20000, "--append-events-max", 5, "--page-events-max", 50,
    "--header-bytes-max", 4096,
]  # fmt: skip
UUID = "0192f0c0-0000-7000-8000-000000000001"


@pytest.fixture(autouse=True)
def changed_nothing(server):
    """Nothing is ever half done: no test in this file commits anything unless it says so by name."""
    before = server.position()
    yield
    assert server.position() == before


def table(*rows):
    """rows: (label, …values); the label becomes the test's id."""
    return [pytest.param(*row[1:], id=row[0]) for row in rows]


# ---- the body of an append, JSON ------------------------------------------------------------------


def one(**fields):
    """An append of one event that is valid but for these fields; None leaves one out."""
    new = {"type": "T", **fields}
    return json.dumps({"events": [{k: v for k, v in new.items() if v is not None}]})


def with_data(data):
    return '{"events":[{"type":"T","data":' + data + "}]}"


JSON_BODIES = table(
    # the body as a whole
    ("empty body", "", "invalid-json", ""),
    ("only space", "  \n", "invalid-json", ""),
    ("cut", '{"events":[{"type":"T"', "invalid-json", ""),
    ("trailing garbage", one() + "x", "invalid-json", ""),
    ("a string that is not ended follows", one() + '"x', "invalid-json", ""),
    ("two values", one() + one(), "invalid-json", ""),
    ("trailing comma", '{"events":[{"type":"T"},]}', "invalid-json", ""),
    ("comment", "/* hi */" + one(), "invalid-json", ""),
    ("single quotes", "{'events':[{'type':'T'}]}", "invalid-json", ""),
    ("unquoted key", '{events:[{"type":"T"}]}', "invalid-json", ""),
    ("byte order mark", "\ufeff" + one(), "invalid-json", ""),
    ("UTF-16", one().encode("utf-16"), "invalid-json", ""),
    ("bad UTF-8", b'{"events":[{"type":"T\xff"}]}', "invalid-json", ""),
    ("overlong UTF-8", b'{"events":[{"type":"\xc0\xaf"}]}', "invalid-json", ""),
    ("surrogate in UTF-8", b'{"events":[{"type":"\xed\xa0\x80"}]}', "invalid-json", ""),
    ("bad UTF-8 in data", b'{"events":[{"type":"T","data":"\xff"}]}', "invalid-json", ""),
    ("NUL byte", b'{"events":[{"type":"T"}]}\0', "invalid-json", ""),
    ("protobuf sent as JSON", b"\x22\x03\x12\x01T", "invalid-json", ""),
    ("depth bomb", "[" * 10000, None, None),
    ("an array", "[]", "invalid-field", None),
    ("a string", '"events"', "invalid-field", None),
    ("a number", "1", "invalid-field", None),
    ("null", "null", None, None),
    # data that is not JSON
    ("NaN", with_data("NaN"), "invalid-json", ""),
    ("Infinity", with_data("-Infinity"), "invalid-json", ""),
    ("leading zero", with_data("01"), "invalid-json", ""),
    ("leading plus", with_data("+1"), "invalid-json", ""),
    ("bare dot", with_data(".5"), "invalid-json", ""),
    ("dot at the end", with_data("1."), "invalid-json", ""),
    ("exponent cut", with_data("1e"), "invalid-json", ""),
    ("hexadecimal", with_data("0x1F"), "invalid-json", ""),
    ("True", with_data("True"), "invalid-json", ""),
    ("undefined", with_data("undefined"), "invalid-json", ""),
    ("unknown escape", with_data(r'"\x41"'), "invalid-json", ""),
    ("cut escape", with_data(r'"\u00g0"'), "invalid-json", ""),
    ("raw tab in a string", with_data('"\t"'), "invalid-json", ""),
    ("raw newline in a string", with_data('"\n"'), "invalid-json", ""),
    ("raw NUL in a string", with_data('"\0"'), "invalid-json", ""),
    ("brackets crossed", with_data("[{]}"), "invalid-json", ""),
    ("no value", with_data(""), "invalid-json", ""),
    ("key without a value", with_data('{"a"}'), "invalid-json", ""),
    ("data nested 500 deep", with_data("[" * 500 + "]" * 500), "invalid-field", "events[0].data"),
    # fields that are not there, not known, there twice
    ("no events", "{}", "missing-field", "events"),
    ("empty events", '{"events":[]}', "missing-field", "events"),
    ("null events", '{"events":null}', "missing-field", "events"),
    ("no type", one(type=None), "missing-field", "events[0].type"),
    ("null type", '{"events":[{"type":null}]}', "missing-field", "events[0].type"),
    ("unknown field", '{"evnts":[]}', "unknown-field", "evnts"),
    ("unknown field of an event", one(typ="x"), "unknown-field", "events[0].typ"),
    ("a field of answers", one(position=1), "unknown-field", "events[0].position"),
    ("case matters", '{"Events":[]}', "unknown-field", "Events"),
    ("field twice", '{"events":[{"type":"T"}],"events":[{"type":"T"}]}', "invalid-field", "events"),
    ("field of an event twice", '{"events":[{"type":"T","type":"T"}]}', "invalid-field", "events[0].type"),
    ("data twice", '{"events":[{"type":"T","data":1,"data":1}]}', "invalid-field", "events[0].data"),
    ("the second event", '{"events":[{"type":"T"},{"type":1}]}', "invalid-field", "events[1].type"),
    # wrong types
    ("events an object", '{"events":{}}', "invalid-field", "events"),
    ("event a string", '{"events":["T"]}', "invalid-field", "events[0]"),
    ("event null", '{"events":[null]}', None, None),
    ("type a number", one(type=1), "invalid-field", "events[0].type"),
    ("type an object", one(type={}), "invalid-field", "events[0].type"),
    ("id a number", one(id=7), "invalid-field", "events[0].id"),
    ("metadata a string", one(metadata="x"), "invalid-field", "events[0].metadata"),
    ("metadata an array", one(metadata=[]), "invalid-field", "events[0].metadata"),
    ("tags a string", one(tags="x"), "invalid-field", "events[0].tags"),
    ("tag a number", one(tags=["a", 1]), "invalid-field", "events[0].tags[1]"),
    ("occurred_at a number", one(occurred_at=1767225600), "invalid-field", "events[0].occurred_at"),
    ("content_type a list", one(content_type=["text/plain"]), "invalid-field", "events[0].content_type"),
    ("data_base64 a number", one(data_base64=1), "invalid-field", "events[0].data_base64"),
    ("schema_version a string", one(schema_version="1"), "invalid-field", "events[0].schema_version"),
    ("schema_version negative", one(schema_version=-1), "invalid-field", "events[0].schema_version"),
    ("schema_version 2^32", one(schema_version=2**32), "invalid-field", "events[0].schema_version"),
    ("schema_version a float", one(schema_version=1.5), "invalid-field", "events[0].schema_version"),
    # values
    ("id not a UUID", one(id="7"), "invalid-field", "events[0].id"),
    ("id empty", one(id=""), "invalid-field", "events[0].id"),
    ("id too short", one(id=UUID[:-1]), "invalid-field", "events[0].id"),
    ("id too long", one(id=UUID + "0"), "invalid-field", "events[0].id"),
    ("id not hexadecimal", one(id="g" + UUID[1:]), "invalid-field", "events[0].id"),
    ("id with other dashes", one(id=UUID.replace("-", "") + "----"), "invalid-field", "events[0].id"),
    ("time not a time", one(occurred_at="yesterday"), "invalid-field", "events[0].occurred_at"),
    ("time without a zone", one(occurred_at="2026-01-01T00:00:00"), "invalid-field", "events[0].occurred_at"),
    ("month 13", one(occurred_at="2026-13-01T00:00:00Z"), "invalid-field", "events[0].occurred_at"),
    ("30 February", one(occurred_at="2026-02-30T00:00:00Z"), "invalid-field", "events[0].occurred_at"),
    ("hour 24", one(occurred_at="2026-01-01T24:00:00Z"), "invalid-field", "events[0].occurred_at"),
    ("a date alone", one(occurred_at="2026-01-01"), "invalid-field", "events[0].occurred_at"),
    ("time with more behind", one(occurred_at="2026-01-01T00:00:00Z "), "invalid-field", "events[0].occurred_at"),
    ("base64 with a bad byte", one(content_type="a/b", data_base64="QU!D"), "invalid-field", "events[0].data_base64"),
    ("base64 without padding", one(content_type="a/b", data_base64="QUI"), "invalid-field", "events[0].data_base64"),
    ("base64 padding alone", one(content_type="a/b", data_base64="===="), "invalid-field", "events[0].data_base64"),
    ("base64 line break", one(content_type="a/b", data_base64="QUJD\nQUJD"), "invalid-field", "events[0].data_base64"),
    ("data and data_base64", one(data=1, data_base64="MQ=="), "invalid-field", "events[0].data_base64"),
    ("data that is not JSON as data", one(content_type="text/plain", data="x"), "invalid-field", "events[0].data"),
    ("no data of a binary type", one(content_type="image/png"), "missing-field", "events[0].data_base64"),
    ("JSON in base64 with half a string behind it", one(data_base64="eyJhIjoxfSJ4"), "invalid-field", "events[0].data_base64"),
    ("JSON in base64 that is not JSON", one(data_base64="eA=="), "invalid-field", "events[0].data_base64"),
    ("content_type not a media type", one(content_type="json", data=1), "invalid-field", "events[0].content_type"),
    ("content_type with a line break", one(content_type="a/b\r\nc:d", data_base64=""), "invalid-field",
     "events[0].content_type"),
    ("content_type too long", one(content_type="a/" + "b" * 254, data_base64=""), "invalid-field", "events[0].content_type"),
    ("33 tags", one(tags=[f"t{i}" for i in range(33)]), "invalid-field", "events[0].tags"),
    # names
    ("type empty", one(type=""), "invalid-name", "events[0].type"),
    ("type of 256 bytes", one(type="x" * 256), "invalid-name", "events[0].type"),
    ("type of 128 characters, 256 bytes", one(type="é" * 128), "invalid-name", "events[0].type"),
    ("type with a line break", one(type="a\nb"), "invalid-name", "events[0].type"),
    ("type with NUL", one(type="a\0b"), "invalid-name", "events[0].type"),
    ("type with DEL", one(type="a\x7f"), "invalid-name", "events[0].type"),
    ("type with a C1 control", one(type="a\x85"), "invalid-name", "events[0].type"),
    ("type with a lone surrogate", '{"events":[{"type":"\\ud800"}]}', None, None),
    ("type of the system", one(type="$x"), "reserved-name", "events[0].type"),
    ("tag empty", one(tags=[""]), "invalid-name", "events[0].tags[0]"),
    ("tag of 256 bytes", one(tags=["x" * 256]), "invalid-name", "events[0].tags[0]"),
    ("tag with a control character", one(tags=["ok", "\x1f"]), "invalid-name", "events[0].tags[1]"),
    # expectations
    ("revision negative", '{"expected_revision":-1,"events":[{"type":"T"}]}', "invalid-field", "expected_revision"),
    ("revision a float", '{"expected_revision":1.0,"events":[{"type":"T"}]}', "invalid-field", "expected_revision"),
    ("revision with an exponent", '{"expected_revision":1e3,"events":[{"type":"T"}]}', "invalid-field", "expected_revision"),
    ("revision 2^63", '{"expected_revision":9223372036854775808,"events":[{"type":"T"}]}', "invalid-field",
     "expected_revision"),
    ("revision 2^64", '{"expected_revision":18446744073709551616,"events":[{"type":"T"}]}', "invalid-field",
     "expected_revision"),
    ("revision of 400 digits", '{"expected_revision":1%s,"events":[{"type":"T"}]}' % ("0" * 400), "invalid-field",
     "expected_revision"),
    ("revision a digit string", '{"expected_revision":"4","events":[{"type":"T"}]}', "invalid-field", "expected_revision"),
    ("revision another word", '{"expected_revision":"ANY","events":[{"type":"T"}]}', "invalid-field", "expected_revision"),
    ("revision true", '{"expected_revision":true,"events":[{"type":"T"}]}', "invalid-field", "expected_revision"),
    # sizes
    ("six events", json.dumps({"events": [{"type": "T"}] * 6}), "too-many-events", None),
    ("event of 2001 bytes", with_data('"' + "x" * 1999 + '"'), "event-too-large", "events[0]"),
    ("data and metadata together", one(data="x" * 998, metadata={"k": "x" * 992}), "event-too-large", "events[0]"),
    ("binary event too large", one(content_type="a/b", data_base64=base64.b64encode(b"x" * 2001).decode()),
     "event-too-large", "events[0]"),
)  # fmt: skip
STATUS = {"reserved-name": 403, "too-many-events": 413, "event-too-large": 413}


@pytest.mark.parametrize("body, code, field", JSON_BODIES)
@pytest.mark.parametrize("answer", [JSON, PROTOBUF])
def test_a_malformed_json_append_is_refused(server, name, body, code, field, answer):
    """Each malformed body is a 4xx with its code and the field at fault, in the encoding that is accepted."""
    body = body if isinstance(body, bytes) else body.encode()
    response = server.post(events_path(name()), body, {"Content-Type": JSON, "Accept": answer})
    assert response.media == (PROBLEM_JSON if answer == JSON else PROTOBUF)
    if code is None:  # more than one code would be right
        assert response.status == 400 and response.code in ("invalid-json", "invalid-field", "missing-field", "invalid-name")
    else:
        problem(response, STATUS.get(code, 400), code, field)


MANY_BODIES = table(
    ("no appends", {}, "missing-field", "appends"),
    ("empty appends", {"appends": []}, "missing-field", "appends"),
    ("checks alone", {"checks": [{"stream": "a", "expected_revision": 0}]}, "missing-field", "appends"),
    ("no stream", {"appends": [{"events": [{"type": "T"}]}]}, "missing-field", "appends[0].stream"),
    ("no events", {"appends": [{"stream": "a"}]}, "missing-field", "appends[0].events"),
    ("stream empty", {"appends": [{"stream": "", "events": [{"type": "T"}]}]}, "invalid-name", "appends[0].stream"),
    ("stream too long", {"appends": [{"stream": "x" * 256, "events": [{"type": "T"}]}]}, "invalid-name",
     "appends[0].stream"),
    ("stream of the system", {"appends": [{"stream": "$s", "events": [{"type": "T"}]}]}, "reserved-name",
     "appends[0].stream"),
    ("event of the second append", {"appends": [{"stream": "a", "events": [{"type": "T"}]},
                                                {"stream": "b", "events": [{"type": "T"}, {}]}]}, "missing-field",
     "appends[1].events[1].type"),
    ("check without a stream", {"appends": [{"stream": "a", "events": [{"type": "T"}]}],
                                "checks": [{"expected_revision": 1}]}, "missing-field", "checks[0].stream"),
    ("check without an expectation", {"appends": [{"stream": "a", "events": [{"type": "T"}]}],
                                      "checks": [{"stream": "b"}]}, "missing-field", "checks[0].expected_revision"),
    ("check with events", {"appends": [{"stream": "a", "events": [{"type": "T"}]}],
                           "checks": [{"stream": "b", "expected_revision": 1, "events": []}]}, "unknown-field",
     "checks[0].events"),
    ("appends an object", {"appends": {}}, "invalid-field", "appends"),
    ("six events over two appends", {"appends": [{"stream": s, "events": [{"type": "T"}] * 3} for s in "ab"]},
     "too-many-events", None),
)  # fmt: skip


@pytest.mark.parametrize("body, code, field", MANY_BODIES)
def test_a_malformed_append_to_many_is_refused(server, body, code, field):
    """Each malformed body of POST /v1/events is a 4xx with the path of the field at fault; as a Command it has one level more."""
    problem(server.post("/v1/events", body), STATUS.get(code, 400), code, field)
    response = server.post("/v1/commands", {"append_many": body})
    problem(response, STATUS.get(code, 400), code, field and "append_many." + field)


@pytest.mark.parametrize(
    "body, code",
    table(
        ("empty", {}, "missing-field"),
        ("both", {"append": {"stream": "a", "events": [{"type": "T"}]}, "append_many": {"appends": []}}, "invalid-field"),
        ("unknown", {"delete": {}}, "unknown-field"),
        ("no stream", {"append": {"events": [{"type": "T"}]}}, "missing-field"),
    ),
)
def test_a_malformed_command_is_refused(server, body, code):
    """A command is exactly one known write."""
    problem(server.post("/v1/commands", body), 400, code)


# ---- protobuf -------------------------------------------------------------------------------------


def protobuf_bodies(pb):
    """label -> (body, status, code, field)"""
    new = pb.NewEvent

    def of(*events, **more):
        return pb.Append(events=events, **more).SerializeToString()

    good = of(new(type="T"))
    return {
        "garbage": (b"\xff\xff\xff\xff", 400, "invalid-protobuf", None),
        "cut": (good[:-1], 400, "invalid-protobuf", None),
        "a length beyond the end": (b"\x22\x7f\x12\x01T", 400, "invalid-protobuf", None),
        "a varint without end": (b"\x10" + b"\xff" * 11, 400, "invalid-protobuf", None),
        "a field's wrong wire type": (b"\x20\x01", 400, None, None),
        "groups": (b"\x0b\x0b\x0b", 400, "invalid-protobuf", None),
        "field number 0": (b"\x02\x01x", 400, "invalid-protobuf", None),
        "JSON sent as protobuf": (one().encode(), 400, "invalid-protobuf", None),
        "empty": (b"", 400, "missing-field", "events"),
        "no type": (of(new(data=b"{}")), 400, None, "events[0].type"),
        "type not UTF-8": (b"\x22\x04\x12\x02\xff\xfe", 400, None, None),
        "type too long": (of(new(type="x" * 256)), 400, "invalid-name", "events[0].type"),
        "type of the system": (of(new(type="$x")), 403, "reserved-name", "events[0].type"),
        "id of 15 bytes": (of(new(type="T", id=b"x" * 15)), 400, "invalid-field", "events[0].id"),
        "id of 17 bytes": (of(new(type="T", id=b"x" * 17)), 400, "invalid-field", "events[0].id"),
        "data not JSON": (of(new(type="T", data=b"{")), 400, "invalid-field", "events[0].data"),
        "data not UTF-8": (of(new(type="T", data=b'"\xff"')), 400, "invalid-field", "events[0].data"),
        "metadata not JSON": (of(new(type="T", metadata=b"{")), 400, "invalid-field", "events[0].metadata"),
        "metadata no object": (of(new(type="T", metadata=b"[]")), 400, "invalid-field", "events[0].metadata"),
        "time not a time": (of(new(type="T", occurred_at="x")), 400, "invalid-field", "events[0].occurred_at"),
        "content type": (of(new(type="T", content_type="x")), 400, "invalid-field", "events[0].content_type"),
        "tag empty": (of(new(type="T", tags=["a", ""])), 400, "invalid-name", "events[0].tags[1]"),
        "33 tags": (of(new(type="T", tags=map(str, range(33)))), 400, "invalid-field", "events[0].tags"),
        "revision 2^63": (of(new(type="T"), expected_revision=2**63), 400, "invalid-field", "expected_revision"),
        "state unknown": (good + b"\x18\x09", 400, "invalid-field", None),
        "another stream than the path's": (of(new(type="T"), stream="other"), 400, "invalid-field", "stream"),
        "six events": (of(*[new(type="T")] * 6), 413, "too-many-events", None),
        "event too large": (of(new(type="T", content_type="a/b", data=b"x" * 2001)), 413, "event-too-large", "events[0]"),
    }


@pytest.mark.parametrize("label", protobuf_bodies(generated()))
@pytest.mark.parametrize("answer", [JSON, PROTOBUF])
def test_a_malformed_protobuf_append_is_refused(server, name, pb, label, answer):
    """Malformed protobuf is a 4xx with its code, and a bad value is named by the same paths as in JSON."""
    body, status, code, field = protobuf_bodies(pb)[label]
    response = server.post(events_path(name()), body, {"Content-Type": PROTOBUF, "Accept": answer})
    assert response.media == (PROBLEM_JSON if answer == JSON else PROTOBUF)
    problem(response, status, code or response.code, field)


# ---- names in paths -------------------------------------------------------------------------------

PATHS = table(
    ("empty", "", 400, "invalid-name"),
    ("256 bytes", "x" * 256, 400, "invalid-name"),
    ("a line break", "a%0Ab", 400, "invalid-name"),
    ("NUL", "a%00b", 400, "invalid-name"),
    ("DEL", "a%7F", 400, "invalid-name"),
    ("a C1 control", "a%C2%85", 400, "invalid-name"),
    ("bad UTF-8", "a%FF", 400, "invalid-name"),
    ("overlong UTF-8", "%C0%AF", 400, "invalid-name"),
    ("a surrogate", "%ED%A0%80", 400, "invalid-name"),
    ("percent without digits", "a%", 400, "bad-request"),
    ("percent with one digit", "a%2", 400, "bad-request"),
    ("percent with a letter beyond f", "a%2G", 400, "bad-request"),
)


@pytest.mark.parametrize("segment, status, code", PATHS)
@pytest.mark.parametrize("method, tail", [("POST", "/events"), ("GET", "/events"), ("GET", ""), ("GET", "/events/1")])
def test_a_stream_with_a_bad_name_is_refused(server, segment, status, code, method, tail):
    """A name that no stream can have is refused on every route; a read may also say that there is no such stream."""
    body = {"events": [{"type": "T"}]} if method == "POST" else None
    response = server.request(method, f"/v1/streams/{segment}{tail}", body)
    if method == "GET" and response.status == 404:
        assert code == "invalid-name" and response.code in ("stream-not-found", "not-found")
    else:
        problem(response, status, code)


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_the_systems_streams_can_be_read_but_not_written(server, method):
    """Names that start with '$' belong to the system: appends are refused, reads find nothing yet."""
    body = {"events": [{"type": "T"}]} if method == "POST" else None
    response = server.request(method, events_path("$settings"), body)
    problem(response, *((403, "reserved-name") if body else (404, "stream-not-found")))


# ---- sizes ----------------------------------------------------------------------------------------


def test_a_body_over_the_limit_is_refused_before_it_is_read(server):
    """Content-Length over the limit is 413 at once, and the connection ends."""
    with server.raw() as raw:
        raw.send(b"POST /v1/streams/a/events HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
                 b"Content-Length: 20001\r\n\r\n")  # fmt: skip
        problem(raw.response(), 413, "body-too-large")
        raw.half_close()
        assert raw.closed()


def test_a_chunked_body_over_the_limit_is_refused(server):
    """The limit counts what arrives, not what was announced."""
    with server.raw() as raw:
        raw.send(b"POST /v1/streams/a/events HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(21):
            raw.try_send(b"3E8\r\n" + b" " * 1000 + b"\r\n")
        raw.try_send(b"0\r\n\r\n")
        problem(raw.response(), 413, "body-too-large")


def test_a_header_over_the_limit_is_refused(server):
    """431, whether one header is too long or there are too many."""
    for headers in (b"X-Long: " + b"x" * 8000, b"\r\n".join(b"X-%d: x" % i for i in range(1000))):
        problem(server.exchange(b"GET /healthz HTTP/1.1\r\nHost: a\r\n" + headers + b"\r\n\r\n"), 431, "header-too-large")


def test_a_target_over_the_limit_is_refused(server):
    """414 for a target that does not fit the header's limit, path or query."""
    for target in (b"/v1/streams/" + b"x" * 6000, b"/v1/events?type=" + b"x" * 6000):
        problem(server.exchange(b"GET " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n"), 414, "uri-too-long")


# ---- media types ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "media", ["text/plain", "application/xml", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "json",
              "application/json, application/json", "application/jsonx", "/", "*/*", "application/json; charset=utf-16"]
)  # fmt: skip
@pytest.mark.parametrize("path", ["/v1/streams/a/events", "/v1/events", "/v1/commands"])
def test_an_unknown_content_type_is_415(server, path, media):
    """A body in a media type that no route takes is refused."""
    problem(server.post(path, one().encode(), {"Content-Type": media}), 415, "unsupported-media-type")


def test_a_body_without_a_content_type_is_json(server):
    """JSON is the default."""
    body = one(type=7).encode()
    response = server.exchange(b"POST /v1/streams/a/events HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    problem(response, 400, "invalid-field", "events[0].type")


@pytest.mark.parametrize(
    "path, accept",
    table(
        ("HTML", "/v1/events", "text/html"),
        ("q=0", "/v1/events", "application/json;q=0"),
        ("all q=0", "/v1/events", "*/*;q=0"),
        ("SSE is not offered yet by lists", "/v1/streams", "text/event-stream"),
        ("NDJSON of a single event", "/v1/events/1", "application/x-ndjson"),
        ("an image", "/v1/status", "image/*"),
        ("excluded", "/v1/status", "application/json;q=0, application/x-protobuf;q=0, */*"),
    ),
)
def test_an_accept_that_cannot_be_met_is_406(server, path, accept):
    """406 where nothing that is accepted can be sent."""
    problem(server.get(path, accept), 406, "not-acceptable")


@pytest.mark.parametrize(
    "accept, media",
    table(
        ("any", "*/*", JSON),
        ("application/*", "application/*", JSON),
        ("list", "text/html, application/x-protobuf", PROTOBUF),
        ("by quality", "application/json;q=0.3, application/x-protobuf;q=0.5", PROTOBUF),
        ("by quality, any", "application/x-protobuf;q=0.5, */*;q=0.1", PROTOBUF),
        ("excluding", "application/json;q=0, */*", NDJSON),
        ("more specific wins", "*/*;q=1, application/json;q=0.1, application/x-ndjson;q=0.9, application/x-protobuf", PROTOBUF),
        ("upper case", "APPLICATION/X-PROTOBUF", PROTOBUF),
        ("a parameter", "application/json; charset=utf-8", JSON),
        ("spaces and empty elements", " , application/x-ndjson ;q=1 , ", NDJSON),
        ("q with three digits", "application/x-ndjson;q=0.999, application/json;q=0.998", NDJSON),
    ),
)  # fmt: skip
def test_accept_chooses_the_encoding(server, accept, media):
    """Quality values and wildcards as in RFC 9110."""
    response = server.get("/v1/events", accept)
    assert (response.status, response.media) == (200, media)


@pytest.mark.parametrize("q", ["2", "-1", "x", "0.1234", "1.5", ""])
def test_a_bad_quality_value_harms_nobody(server, q):
    """A malformed quality is ignored or refused, never an error of the server."""
    assert server.get("/v1/status", f"application/json;q={q}").status in (200, 400, 406)


@pytest.mark.parametrize("media", ["application/json; charset=utf-8", "APPLICATION/JSON", "application/json ;charset=UTF-8"])
def test_a_content_type_may_have_parameters(server, media):
    """Parameters and case of a known media type do not matter: the refusal is about the body."""
    problem(server.post("/v1/streams/a/events", b"{}", {"Content-Type": media}), 400, "missing-field", "events")


# ---- query parameters -----------------------------------------------------------------------------

LOG, STREAMS = "/v1/events", "/v1/streams"


@pytest.mark.parametrize(
    "path, query, field",
    table(
        ("limit over the page's", LOG, "limit=51", "query.limit"),
        ("limit 0", LOG, "limit=0", "query.limit"),
        ("limit negative", LOG, "limit=-1", "query.limit"),
        ("limit a float", LOG, "limit=1.5", "query.limit"),
        ("limit with a plus", LOG, "limit=%2B5", "query.limit"),
        ("limit with a space", LOG, "limit=5%20", "query.limit"),
        ("limit empty", LOG, "limit=", "query.limit"),
        ("limit huge", LOG, "limit=99999999999999999999999", "query.limit"),
        ("limit hexadecimal", LOG, "limit=0x5", "query.limit"),
        ("limit twice", LOG, "limit=1&limit=2", "query.limit"),
        ("after a word", LOG, "after=begin", "query.after"),
        ("after negative", LOG, "after=-1", "query.after"),
        ("after 2^64", LOG, "after=18446744073709551616", "query.after"),
        ("before a word", LOG, "before=end&direction=backward", "query.before"),
        ("direction unknown", LOG, "direction=up", "query.direction"),
        ("direction in capitals", LOG, "direction=Forward", "query.direction"),
        ("type empty", LOG, "type=", "query.type"),
        ("type too long", LOG, "type=" + "x" * 256, "query.type"),
        ("type not UTF-8", LOG, "type=%FF", "query.type"),
        ("65 types", LOG, "&".join(f"type=t{i}" for i in range(65)), "query.type"),
        ("system not a boolean", LOG, "system=maybe", "query.system"),
        ("unknown", LOG, "limt=5", "query.limt"),
        ("category of a stream", "/v1/streams/a/events", "category=x", "query.category"),
        ("limit of streams", STREAMS, "limit=x", "query.limit"),
        ("after of streams too long", STREAMS, "after=" + "x" * 256, "query.after"),
        ("unknown of types", "/v1/types", "category=x", "query.category"),
        ("unknown of categories", "/v1/categories", "direction=backward", "query.direction"),
        ("unknown of status", "/v1/status", "verbose=1", "query.verbose"),
    ),
)  # fmt: skip
def test_a_bad_query_parameter_is_refused(server, path, query, field):
    """Every parameter is checked, unknown ones too, and named."""
    problem(server.get(f"{path}?{query}"), 400, "invalid-parameter", field)


def test_a_limit_over_the_page_is_fine_where_answers_are_streamed(server):
    """Pages are limited; NDJSON and protobuf are not."""
    for accept in (NDJSON, PROTOBUF):
        assert server.get("/v1/events?limit=100000", accept).status == 200


@pytest.mark.parametrize("path", ["/v1/events?type=%", "/v1/events?type=%2", "/v1/events?%zz=1"])
def test_broken_percent_encoding_in_a_query_is_refused(server, path):
    """A target that cannot be decoded is a bad request."""
    problem(server.get(path), 400, "bad-request")


@pytest.mark.parametrize("number", ["abc", "-1", "1.0", "0x1", "1%20", "99999999999999999999999", "1e3"])
@pytest.mark.parametrize("path", ["/v1/events/", "/v1/streams/a/events/"])
def test_an_event_number_that_is_none_is_refused(server, path, number):
    """What is not a number is 400 and not a lookup."""
    problem(server.get(path + number), 400, "invalid-parameter")


# ---- expectations in headers ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers, field",
    table(
        ("no quotes", {"If-Match": "4"}, "header.If-Match"),
        ("a word", {"If-Match": '"abc"'}, "header.If-Match"),
        ("negative", {"If-Match": '"-1"'}, "header.If-Match"),
        ("empty", {"If-Match": '""'}, "header.If-Match"),
        ("2^64", {"If-Match": '"18446744073709551616"'}, "header.If-Match"),
        ("weak", {"If-Match": 'W/"4"'}, "header.If-Match"),
        ("two", {"If-Match": '"4", "5"'}, "header.If-Match"),
        ("If-None-Match a number", {"If-None-Match": '"4"'}, "header.If-None-Match"),
    ),
)
def test_a_bad_expectation_header_is_refused(server, name, headers, field):
    """An expectation that cannot be understood is never ignored."""
    problem(server.append(name(), event(), headers=headers), 400, "invalid-field", field)


@pytest.mark.parametrize(
    "expected, headers",
    table(
        ("body and header", 0, {"If-Match": '"4"'}),
        ("two headers", None, {"If-Match": '"4"', "If-None-Match": "*"}),
    ),
)
def test_two_expectations_are_refused(server, name, expected, headers):
    """An expectation is said once."""
    problem(server.append(name(), event(), expected, headers=headers), 400, "invalid-field")


# ---- paths and methods ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/nothing", "/v1", "/v1/", "/v2/events", "/V1/events", "/v1/event", "/v1/events/", "/v1/events/1/2", "/v1/streams/a/b",
             "/v1/streams/a/events/1/2", "//v1/events", "/healthz/", "/v1/openapi.yaml"]
)  # fmt: skip
def test_an_unknown_path_is_404(server, path):
    """What is not a route is not found, whatever the method."""
    for method in ("GET", "POST", "DELETE"):
        response = server.request(method, path, {} if method == "POST" else None)
        assert response.status in (400, 404, 405) if path == "/v1/events/" else response.code == "not-found", response


@pytest.mark.parametrize(
    "method, path, allowed",
    [
        ("PUT", "/v1/events", {"GET", "HEAD", "POST"}),
        ("DELETE", "/v1/events/1", {"GET", "HEAD"}),
        ("POST", "/v1/status", {"GET", "HEAD"}),
        ("GET", "/v1/commands", {"POST"}),
        ("GET", "/v1/admin/verify", {"POST"}),
        ("PATCH", "/v1/streams/a/events", {"GET", "HEAD", "POST"}),
        ("BREW", "/v1/streams", {"GET", "HEAD"}),
        ("POST", "/healthz", {"GET", "HEAD"}),
    ],
)
def test_a_method_that_a_path_does_not_take_is_405(server, method, path, allowed):
    """405 with the methods that are taken in Allow."""
    response = problem(server.request(method, path), 405, "method-not-allowed")
    assert set(response.headers["Allow"].replace(" ", "").split(",")) - {"OPTIONS"} == allowed


def test_options_answers_allow(server):
    """OPTIONS tells the methods of a path."""
    response = server.request("OPTIONS", "/v1/events")
    assert response.status in (200, 204)
    assert {"GET", "HEAD", "POST"} <= set(response.headers["Allow"].replace(" ", "").split(","))


# ---- the problem document itself ------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/nothing", "/v1/events?limit=0", "/v1/streams/none", "/v1/events/1"])
def test_a_problem_has_the_members_of_rfc_9457(server, path):
    """type, title, status, detail and hint, the same in JSON and in protobuf."""
    response = server.get(path)
    body = response.json
    assert response.media == PROBLEM_JSON
    assert body["type"].startswith("urn:daybook:problem:")
    assert body["status"] == response.status
    assert body["title"] and body["hint"]
    assert set(body) <= {"type", "title", "status", "detail", "hint", "field", "violations"}
    message = server.get(path, PROTOBUF).message("Problem")
    for field in ("type", "title", "status", "detail", "hint", "field"):
        assert getattr(message, field) == body.get(field, "")


def test_a_limit_that_was_exceeded_is_named(server, name):
    """The detail of a refused size names the limit and its setting."""
    cases = {
        "event-bytes-max": with_data('"' + "x" * 3000 + '"'),
        "append-events-max": json.dumps({"events": [{"type": "T"}] * 6}),
        "body-bytes-max": " " * 30000,
    }
    for setting, body in cases.items():
        response = server.post(events_path(name()), body.encode())
        assert response.status == 413
        text = response.json["detail"] + response.json["hint"]
        assert setting in text, text
    assert "50" in server.get("/v1/events?limit=51").json["detail"]


def test_what_no_segment_holds_is_refused(launch):
    """A write stands in one segment of the journal: a larger one is a 413 that names segment-bytes, and nothing is written."""
    server = launch("--segment-bytes", "64KiB")
    response = server.post(events_path("s"), with_data('"' + "x" * 70000 + '"').encode())
    problem(response, 413, "body-too-large")
    assert response.json["hint"] == "split the request, or raise segment-bytes"
    assert server.status()["position"] == 0
    server.append_ok("s", [event()])

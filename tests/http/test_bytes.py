"""Event data comes back byte for byte, and any valid name works as a stream's."""
import base64

import pytest

from support import JSON, NDJSON, PROTOBUF, event, events_path, quote

def nested(depth, open="[", close="]"):
    return (open * depth + close * depth).encode()


# JSON values as bytes; each must come back exactly so.
VALUES = {
    "the contract's": b'{"a":1.10,"b":1e400,"c":9223372036854775809,"a":2}',
    "whitespace inside": b'{ "a" :\t[ 1 , 2  ]  }',
    "escapes": rb'{"s":"\u0041\n\t\"\\\/\b\f\r\u00e9"}',
    "surrogate pair": rb'"\ud83d\ude00 \uD83D\uDE00"',
    "lone surrogate escapes": rb'"\ud800 \udc00\ud800"',
    "NUL escape": rb'{"k\u0000ey":"a\u0000b"}',
    "U+2028 and U+2029, raw": '"a\u2028b\u2029c"'.encode(),
    "DEL and C1, raw": '"\u007f\u0085\u009f"'.encode(),
    "emoji": '{"🎉":"👩‍👩‍👧‍👦🏳️‍🌈"}'.encode(),
    "combining": '"e\u0301 \u0041\u030a \u1e9b\u0323"'.encode(),
    "right to left": '{"\u202eשלום":"\u0645\u0631\u062d\u0628\u0627"}'.encode(),
    "the last code points": '"\ufffd\uffff\U0010ffff"'.encode(),
    "byte order mark inside": '"\ufeff"'.encode(),
    "huge integer": b"1" + b"0" * 400,
    "huge exponent": b"-1.5E-99999",
    "many digits": b"0." + b"123456789" * 50,
    "negative zero": b"-0",
    "negative zero, float": b"-0.0e+00",
    "empty string": b'""',
    "empty array": b"[]",
    "empty object": b"{}",
    "null": b"null",
    "true": b"true",
    "false": b"false",
    "number": b"42",
    "string": b'"text"',
    "empty key": b'{"":{"":[]}}',
    "arrays 60 deep": nested(60),
    "objects 60 deep": b'{"a":' * 60 + b"0" + b"}" * 60,
    "names of our own": b'{"events":[{"position":1,"data":null}],"data_base64":"!"}',
    "100 kB": b'"' + b"x" * 100_000 + b'"',
    "wide": b"[" + b",".join(b"%d" % i for i in range(10_000)) + b"]",
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())
@pytest.mark.parametrize("sent_as", ["json", "protobuf"])
def test_data_comes_back_byte_for_byte(server, name, pb, sent_as, value):
    """What was sent as data is read as the same bytes, in every encoding and on every path."""
    stream = name()
    if sent_as == "json":
        body = b'{"events":[{"type":"T","data":' + value + b',"metadata":{"after": ' + value + b"}}]}"
        assert server.post(events_path(stream), body).status == 201
    else:
        sent = pb.NewEvent(type="T", data=value, metadata=b'{"after": ' + value + b"}")
        body = pb.Append(events=[sent]).SerializeToString()
        assert server.post(events_path(stream), body, {"Content-Type": PROTOBUF}).status == 201
    position = server.position()
    for path in (events_path(stream), "/v1/events"):
        query = {"after": position - 1 if path == "/v1/events" else 0}
        page = server.get(path, JSON, query).raw
        assert b'"data":' + value in page
        assert b'"metadata":{"after": ' + value + b"}" in page
        (line,) = server.get(path, NDJSON, query).lines
        assert b'"data":' + value in line
        assert b'"metadata":{"after": ' + value + b"}" in line
        (one,) = server.get(path, PROTOBUF, query).message("EventBatch").events
        assert (one.data, one.metadata) == (value, b'{"after": ' + value + b"}")
    for path in (f"/v1/events/{position}", events_path(stream) + "/1"):
        assert b'"data":' + value in server.get(path).raw
        assert server.get(path, PROTOBUF).message("Event").data == value


def test_line_breaks_in_data_do_not_break_ndjson(server, name, pb):
    """A value printed over several lines is the same in JSON and protobuf, and still one line of NDJSON."""
    stream = name()
    value = b'{\r\n  "a": [1,\n 2],\n\t"b": "x"\n}'
    assert server.post(events_path(stream), b'{"events":[{"type":"T","data":' + value + b"}]}").status == 201
    assert b'"data":' + value in server.get(events_path(stream)).raw
    (one,) = server.get(events_path(stream), PROTOBUF).message("EventBatch").events
    assert one.data == value
    response = server.get(events_path(stream), NDJSON)
    assert len(response.lines) == 1
    assert response.body[0]["data"] == {"a": [1, 2], "b": "x"}


def test_whitespace_around_data_is_not_part_of_it(server, name):
    """Only the value itself is kept of `"data": <value> ,`."""
    stream = name()
    assert server.post(events_path(stream), b'{"events":[ {"type":"T", "data"\n: \t{"a": 1} \r\n } ] } ').status == 201
    (one,) = server.get(events_path(stream), PROTOBUF).message("EventBatch").events
    assert one.data == b'{"a": 1}'


def test_bytes_survive_a_crash(fresh):
    """What was acknowledged is the same bytes after kill -9."""
    for n, value in enumerate(VALUES.values()):
        body = b'{"events":[{"type":"T","data":' + value + b"}]}"
        assert fresh.post(events_path(f"s-{n}"), body).status == 201
    fresh.restart(kill=True)
    batch = fresh.get("/v1/events", PROTOBUF).message("EventBatch")
    assert [e.data for e in batch.events] == list(VALUES.values())


def test_data_left_out_is_null(server, name, pb):
    """An event without data has the JSON value null, in both encodings."""
    stream = name()
    assert server.post(events_path(stream), {"events": [{"type": "T"}]}).status == 201
    body = pb.Append(events=[pb.NewEvent(type="T")]).SerializeToString()
    assert server.post(events_path(stream), body, {"Content-Type": PROTOBUF}).status == 201
    assert [e["data"] for e in server.get(events_path(stream)).json["events"]] == [None, None]


# ---- other content types --------------------------------------------------------------------------

BINARY = {
    "every byte": ("application/octet-stream", bytes(range(256))),
    "empty": ("application/octet-stream", b""),
    "one byte": ("image/png", b"\x00"),
    "text": ("text/plain; charset=utf-8", "ünï\n".encode()),
    "looks like JSON": ("text/plain", b'{"a":1}'),
    "not quite JSON": ("application/jsonl", b"{}\n{}"),
    "big": ("application/octet-stream", bytes(range(256)) * 2000),
}


@pytest.mark.parametrize("media, data", BINARY.values(), ids=BINARY.keys())
@pytest.mark.parametrize("sent_as", ["json", "protobuf"])
def test_other_content_types_are_bytes(server, name, sent_as, media, data):
    """Data that is not JSON travels as data_base64 in JSON and raw in protobuf."""
    stream = name()
    sent = event(content_type=media, data_base64=base64.b64encode(data).decode())
    del sent["data"]
    server.append(stream, sent, encoding=sent_as)
    for one in (server.get(events_path(stream)).json["events"][0], server.read_all(events_path(stream))[0]):
        assert "data" not in one
        assert one["content_type"] == media
        assert base64.b64decode(one["data_base64"], validate=True) == data
    (one,) = server.get(events_path(stream), PROTOBUF).message("EventBatch").events
    assert (one.content_type, one.data) == (media, data)


@pytest.mark.parametrize("media", ["application/json", "application/json; charset=utf-8", "application/vnd.shop.v1+json"])
@pytest.mark.parametrize("sent_as", ["json", "protobuf"])
def test_json_content_types_are_json(server, name, sent_as, media):
    """Any JSON media type travels as `data`, and is named on reads as it was sent."""
    stream = name()
    assert server.append(stream, event(content_type=media, data={"a": 1}), encoding=sent_as).status == 201
    one = server.get(events_path(stream)).json["events"][0]
    assert (one["content_type"], one["data"]) == (media, {"a": 1})


# ---- names ----------------------------------------------------------------------------------------

STREAMS = [
    "a/b", "/", "//", "a b", " ", "100%", "%2F", "%", "a+b", "a&b=c", "?", "a?b", "#", "a#b", ".", "..", "../..", "a/../b",
    "ünï-ço∂é", "日本-1", "😀-1", "e\u0301", "שלום-1", '"quoted"', "back\\slash", "it's", "<b>&amp;</b>", "-", "-leading", "a--b",
    "a-b-c", ";", "a:b", "@", "~", "{stream}", "events", "null", "0", "A", "a\u00a0b", "\u2028", "\ufeffx", "x" * 255,
    "é" * 127 + "x", "😀" * 63 + "abc", "a$", "system$x",
]  # fmt: skip


@pytest.mark.parametrize("stream", STREAMS, ids=lambda s: ascii(s[:12]))
def test_any_valid_name_names_a_stream(server, stream, encoding):
    """A stream with an unusual name is written, read, listed and described under exactly that name."""
    response = server.append(stream, event(data={"name": stream}), "any", encoding)
    assert response.status == 201, response
    assert server.append_many([(stream, "stream_exists", [event()])], encoding=encoding).status == 201
    assert {e["stream"] for e in server.read_all(events_path(stream))} == {stream}
    assert server.read_all(after=server.position() - 1)[0]["stream"] == stream
    info = server.get("/v1/streams/" + quote(stream)).json
    assert (info["stream"], info["category"]) == (stream, stream.split("-")[0])
    listed = server.get("/v1/streams", query={"prefix": stream}).json["streams"]
    assert stream in [s["stream"] for s in listed]
    assert server.get(events_path(stream) + "/1").json["stream"] == stream


@pytest.mark.parametrize("type", [t for t in STREAMS if len(t) < 200 or len(t) == 255], ids=lambda s: ascii(s[:12]))
def test_any_valid_name_names_a_type_and_a_tag(server, name, type):
    """Types and tags follow the same rules as streams, and filters find them."""
    stream = name()
    server.append_ok(stream, event(type, tags=[type]))
    for query in ({"type": type}, {"tag": type}):
        (one,) = server.read_all(prefix=stream, **query)
        assert (one["type"], one["tags"]) == (type, [type])


@pytest.mark.parametrize(
    "spelled", ["%61-%62", "a%2Db", "a-b", "%61%2d%62"], ids=["all", "upper", "none", "lower"]
)
def test_a_path_segment_may_be_encoded_more_than_it_needs(server, spelled):
    """Percent-encoding is undone once, whichever bytes it covers."""
    response = server.post(f"/v1/streams/{spelled}/events", {"events": [{"type": "T"}]})
    assert (response.status, response.json["stream"]) == (201, "a-b")


def test_a_plus_in_a_path_is_a_plus(server):
    """Only in a query does '+' stand for a space."""
    assert server.post("/v1/streams/1+1/events", {"events": [{"type": "T"}]}).json["stream"] == "1+1"
    assert [e["stream"] for e in server.get("/v1/events?prefix=1%2B1").json["events"]] == ["1+1"]

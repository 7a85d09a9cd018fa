"""The traceparent header of appends: kept with events that have no metadata, and in the log lines of requests."""
import json

import pytest

from support import JSON, event, events_path, wait_for

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OTHER = "00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
CE = {"ce-specversion": "1.0", "ce-source": "/test", "ce-type": "Happened", "Content-Type": JSON}


def metadata(server, stream, revision=1):
    return server.get(f"{events_path(stream)}/{revision}").json.get("metadata")


@pytest.mark.parametrize("encoding", ["json", "protobuf"])
def test_kept_where_there_is_no_metadata(server, name, encoding):
    """An event without metadata gets the header; what a client says in metadata stays, byte for byte."""
    stream = name()
    events = [event(), event(metadata={"user": 7})]
    assert server.append(stream, events, encoding=encoding, headers={"traceparent": PARENT}).status == 201
    assert metadata(server, stream, 1) == {"traceparent": PARENT}
    assert metadata(server, stream, 2) == {"user": 7}


def test_bytes_of_metadata_stay(server, name):
    """Spaces, order and doubled members too."""
    stream = name()
    text = '{ "b":1,\t"a" : 2, "b":3 }'
    body = f'{{"events":[{{"type":"A","data":{{}},"metadata":{text}}}]}}'.encode()
    assert server.post(events_path(stream), body, {"Content-Type": JSON, "traceparent": PARENT}).status == 201
    assert text.encode() in server.get(events_path(stream)).raw


def test_of_every_append_of_a_request(server, name):
    """Also with several streams, and as a command."""
    a, b, c = name(), name(), name()
    body = {"appends": [{"stream": s, "events": [event()]} for s in (a, b)]}
    assert server.post("/v1/events", json.dumps(body).encode(), {"Content-Type": JSON, "traceparent": PARENT}).status == 201
    command = {"append": {"stream": c, "events": [event()]}}
    assert server.post("/v1/commands", json.dumps(command).encode(), {"Content-Type": JSON, "traceparent": PARENT}).status == 201
    assert [metadata(server, s) for s in (a, b, c)] == [{"traceparent": PARENT}] * 3


@pytest.mark.parametrize(
    "value", ["", "x", PARENT.upper(), PARENT[:-1], PARENT + "0", "ff" + PARENT[2:], PARENT.replace("b7ad6b7169203331", "0" * 16),
              "00-" + "0" * 32 + PARENT[35:], PARENT + "-01", f'{PARENT[:-2]}"}}', f"{PARENT}, {OTHER}", "01" + PARENT[2:] + '-"'],
)  # fmt: skip
def test_what_is_not_valid_is_ignored(server, name, value):
    """As the recommendation says: as if there were no header."""
    stream = name()
    server.append_ok(stream, event(), headers={"traceparent": value})
    assert metadata(server, stream) is None


def test_a_retry_with_another_trace_is_the_same_event(server, name):
    """The id decides; the first attempt's trace stays."""
    stream, first = name(), event()
    server.append_ok(stream, first, headers={"traceparent": PARENT})
    assert server.append(stream, first, headers={"traceparent": OTHER}).json["duplicate"]
    assert metadata(server, stream) == {"traceparent": PARENT}


def test_it_is_of_no_limit(launch):
    """A header that a proxy adds never makes an event too large."""
    server = launch("--event-bytes-max", "1KiB")
    server.append_ok("s", event(data="x" * 1022), headers={"traceparent": PARENT})
    assert server.append("s", event(data="x" * 1023)).code == "event-too-large"


def test_cloudevents_have_it_as_an_attribute(server, name):
    """It joins the other attributes; the attribute of the event itself wins."""
    stream = name()
    headers = {**CE, "traceparent": PARENT}
    assert server.post(events_path(stream), b"{}", {**headers, "ce-id": "1", "ce-user": "u"}).status == 201
    assert server.post(events_path(stream), b"{}", {**headers, "ce-id": "2", "ce-traceparent": OTHER}).status == 201
    first, second = metadata(server, stream, 1), metadata(server, stream, 2)
    assert (first["traceparent"], first["user"], second["traceparent"]) == (PARENT, "u", OTHER)
    answer = server.get(f"{events_path(stream)}/1?cloudevents=binary")
    assert answer.headers["ce-traceparent"] == PARENT


def test_log_lines_have_it(launch):
    """The line of a request names its trace, and only where it has one."""
    server = launch("--log-requests", "true", "--log-format", "json")
    server.append_ok("s", event(), headers={"traceparent": PARENT})
    server.append_ok("s", event())

    def lines():
        found = [json.loads(line) for line in server.log().splitlines() if '"request"' in line]
        return [line for line in found if line["method"] == "POST"]

    wait_for(lambda: len(lines()) == 2, 30, "the log lines")
    assert [line.get("traceparent") for line in lines()] == [PARENT, None]

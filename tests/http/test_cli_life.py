"""`daybook delete`, `truncate`, `redact`, `metadata`: what they do, what they say, how they are called wrongly."""
import json
import os
import subprocess

import pytest

from support import DAYBOOK, SLOW, event, events_path
from support_cli import daybook, error_of
from support_life import stream_path


@pytest.fixture
def stream(server, name):
    """A stream of three events."""
    stream = name("h é/?#%")
    server.append_ok(stream, [event(data={"n": n}) for n in range(3)])
    return stream


def said(*args, **more):
    return daybook(*args, **more).stdout.decode()


def revisions(server, stream):
    return [e["revision"] for e in server.read_all(events_path(stream))]


def test_delete(server, stream):
    """It says how the stream goes on; a second time, that it was done; guards and tombstones as the server has them."""
    assert error_of("delete", stream, "--expect", "2", server=server).startswith("delete: a stream is not at the expected revision: ")
    assert said("delete", stream, "--expect", "3", server=server) == f"{stream}: deleted; an append goes on with revision 4\n"
    assert said("delete", stream, server=server) == f"{stream}: deleted (it was already); an append goes on with revision 4\n"
    assert error_of("read", stream, server=server).startswith(f"{stream}: the stream was deleted")
    daybook("append", stream, "--type", "T", "--expect", "3", server=server)
    assert revisions(server, stream) == [4]
    assert said("delete", stream, "--tombstone", server=server) == f"{stream}: deleted for ever\n"
    assert said("delete", stream, "--tombstone", server=server) == f"{stream}: deleted for ever (it was already)\n"
    assert error_of("append", stream, "--type", "T", server=server).startswith("append: the stream was deleted")
    assert json.loads(said("info", stream, "--json", server=server))["tombstoned"] is True
    assert error_of("delete", "never-written", server=server).startswith("delete: the stream does not exist")


def test_truncate(server, stream):
    assert said("truncate", stream, "--before", 2, server=server) == f"{stream}: its first revision is 2 now\n"
    assert said("truncate", stream, "--before", 1, server=server) == f"{stream}: its first revision is 2 now\n"
    assert revisions(server, stream) == [2, 3]
    assert error_of("truncate", stream, "--before", 5, server=server).endswith("(set_metadata.truncate_before)")
    assert said("truncate", stream, "--before", 4, "--expect", 3, server=server) == (
        f"{stream}: no event can be read now; an append goes on with revision 4\n"
    )
    assert revisions(server, stream) == []


def test_redact(server, stream):
    """The event stays without its data, for people and for scripts; an export of it can be imported."""
    assert said("redact", stream, 2, "--reason", "asked for", server=server) == f"{stream}: the event at revision 2 is redacted\n"
    assert said("redact", stream, 2, server=server) == f"{stream}: the event at revision 2 is redacted (it was already)\n"
    assert "<redacted>\n" in said("read", stream, "--pretty", server=server)
    rows = [json.loads(line) for line in said("read", stream, "--json", server=server).splitlines()]
    assert [(r["data"], r.get("redacted")) for r in rows] == [({"n": 0}, None), (None, True), ({"n": 2}, None)]
    assert error_of("redact", stream, 4, server=server).startswith("redact: there is no event with this number")


def test_tail_ends_when_its_stream_is_deleted(server, stream):
    """It has shown what there was, and says why it ends."""
    environment = {**os.environ, "DAYBOOK_URL": server.url}
    process = subprocess.Popen([DAYBOOK, "tail", stream], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert [json.loads(process.stdout.readline())["revision"] for _ in range(3)] == [1, 2, 3]
        said("delete", stream, server=server)
        _, errors = process.communicate(timeout=20 * SLOW)
    finally:
        process.kill()
    assert process.returncode == 1 and f"daybook: {stream}: the stream was deleted" in errors.decode().splitlines()[-2]


@pytest.mark.parametrize("how", [["export", "-"], ["read", "--json"]])
def test_what_is_redacted_can_be_imported(launch, how):
    """From an export and from `read --json`, whatever its content type was: an event with null for data."""
    source, target = launch(), launch()
    source.append_ok("s", [event(), {"type": "B", "content_type": "image/png", "data_base64": "AAEC"}, event(data=[1])])
    for revision in (1, 2):
        daybook("redact", "s", revision, server=source)
    lines = daybook(*how, server=source).stdout
    daybook("import", "-", server=target, stdin=lines)
    assert [(e["type"], e["data"]) for e in target.read_all(events_path("s"))] == [("Happened", None), ("B", None), ("Happened", [1])]


def test_metadata(server, stream):
    """Without options it shows; with them it changes what they name and shows that."""
    none = "max_count         none\nmax_age_s         none\ntruncate_before   none\ncustom            none\n"
    assert said("metadata", stream, server=server) == none
    custom = '{ "owner" : "x", "n":1.10}'
    done = said("metadata", stream, "--max-count", 2, "--max-age", "30d", "--custom", custom, "--expect", 3, server=server)
    assert done == f"max_count         2\nmax_age_s         {30 * 86400}\ntruncate_before   none\ncustom            {custom}\n"
    assert said("metadata", stream, "--json", server=server) == f'{{"max_count":2,"max_age_s":{30 * 86400},"custom":{custom}}}\n'
    assert revisions(server, stream) == [2, 3]
    for age, seconds in (("90s", 90), ("45m", 2700), ("12h", 43200), ("4w", 2419200)):
        assert f"max_age_s         {seconds}\n" in said("metadata", stream, "--max-age", age, server=server)
    assert said("metadata", stream, "--max-count", "none", "--max-age", "none", "--custom", "none", server=server) == none
    assert server.get(stream_path(stream)).json["metadata"] == {}
    assert error_of("metadata", stream, "--custom", "[]", server=server).endswith("(set_metadata.custom)")
    assert error_of("metadata", "never-written", server=server).startswith("metadata: the stream does not exist")


def test_results_as_json(server, stream):
    """--json is the server's answer."""
    known = {"stream": stream, "head_revision": 3, "first_revision": 1, "deleted": False, "tombstoned": False, "duplicate": False}
    for args, change in ((["redact", stream, 3], {}), (["truncate", stream, "--before", 2], {"first_revision": 2}),
                         (["delete", stream], {"first_revision": 4, "deleted": True})):  # fmt: skip
        known |= change
        result = json.loads(said(*args, "--json", server=server))
        assert result.pop("position") == server.position()
        assert result == known


WRONG_CALLS = [
    (["delete"], "an argument is missing"),
    (["delete", "s", "--expect", "new"], "--expect must be any, no_stream, stream_exists or a revision, not new"),
    (["truncate", "s"], "--before is missing: the first revision to keep, from 1"),
    (["truncate", "s", "--before", "0"], "--before is missing: the first revision to keep, from 1"),
    (["truncate", "s", "--before", "-1"], "--before must be a whole number, not -1"),
    (["redact", "s"], "an argument is missing"),
    (["redact", "s", "0"], "the revision must be a whole number from 1, not 0"),
    (["redact", "s", "x"], "the revision must be a whole number from 1, not x"),
    (["metadata", "s", "--max-count", "0"], "--max-count must be a whole number from 1, or none, not 0"),
    (["metadata", "s", "--max-count", "-1"], "--max-count must be a whole number from 1, or none, not -1"),
    *((["metadata", "s", "--max-age", age], f"--max-age must be like 90s, 45m, 12h, 30d or 4w, or none, not {age}")
      for age in ("30", "d", "0d", "1.5d", "30y", "-1d", "99999999999999999999d", "18446744073709551615w", "")),
    (["metadata", "s", "--expect", "3"], "--expect guards a change, and there is none"),
]  # fmt: skip


@pytest.mark.parametrize("args, message", WRONG_CALLS, ids=lambda v: " ".join(v) if isinstance(v, list) else None)
def test_wrong_calls(args, message):
    """What is called wrongly says why on one line, sends nothing, and exits with 2."""
    assert error_of(*args, status=2, server="http://127.0.0.1:1") == message

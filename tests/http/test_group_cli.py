"""`daybook group` and `daybook consume`: what they print, what exit statuses do to events, that leases hold as long as a
command runs, and what is left behind when they are stopped."""
import json
import os
import re
import signal
import subprocess
import sys

import pytest

from support import DAYBOOK, SLOW, event, wait_for
from support_cli import daybook, error_of


def said(*args, **more):
    return daybook(*args, **more).stdout.decode()


def info(server, group="g"):
    response = server.get(f"/v1/groups/{group}")
    assert response.status == 200, response
    return response.json


def parked(server, group="g"):
    return server.get(f"/v1/groups/{group}/parked").json["parked"]


def fetch(server, group="g", **more):
    response = server.post(f"/v1/groups/{group}/fetch", {"consumer": "test", **more})
    assert response.status == 200, response
    return response.json["events"]


def fill(server, n, first=1, streams=3):
    for i in range(first, first + n):
        server.append_ok(f"s-{i % streams}", event("Done" if i % 2 else "Other", {"n": i}))


def numbers(text):
    return [json.loads(line)["data"]["n"] for line in text.splitlines()]


class Consume:
    """`daybook consume` in the background."""

    def __init__(self, server, *args):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("DAYBOOK_")} | {"DAYBOOK_URL": server.url}
        self.process = subprocess.Popen([DAYBOOK, "consume", *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        env=environment)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()

    def end(self, number=None):
        """The exit status, and what it had printed to either."""
        if number is not None:
            self.process.send_signal(number)
        out, errors = self.process.communicate(timeout=40 * SLOW)
        return self.process.returncode, out.decode(), errors.decode()


@pytest.fixture
def gate(tmp_path):
    """A command that says that it is there and then waits until it is opened."""
    class Gate:
        here, go = tmp_path / "here", tmp_path / "go"
        command = f"echo $DAYBOOK_POSITION >> {here}; cat {go} > /dev/null"

        def wait(self):
            wait_for(self.here.exists, 40, "the command", 0.02)

        def open(self):
            with open(self.go, "w", encoding="ascii"):
                pass

    os.mkfifo(Gate.go)
    return Gate()


# ---- group ----------------------------------------------------------------------------------------


def test_create_list_show_edit_seek_delete(fresh):
    """The life of a group, in the words of the command line."""
    fill(fresh, 6)
    assert said("group", "create", "g", "--type", "Done", "--ack-timeout", "90s", "--backoff-initial", "250ms", server=fresh) == (
        "g: created, after position 0\n"
    )
    assert "it was there" in said("group", "create", "g", "--type", "Done", "--ack-timeout", "1m", server=fresh)
    rows = said("group", "list", server=fresh).splitlines()
    assert rows[0].split() == ["name", "ordering", "position", "behind", "lag", "in", "flight", "waiting", "parked"]
    assert rows[2].split()[:4] == ["g", "stream", "0", "3"]
    shown = said("group", "show", "g", server=fresh)
    assert "\nevents       type Done\n" in shown and "\na lease      60 s, at most 1000 at the same time\n" in shown
    assert "\nretries      after 1 s, doubling up to 300 s; parked after 10 attempts\n" in shown
    changed = json.loads(said("group", "edit", "g", "--prefix", "s-", "--ordering", "none", "--max-attempts", 3, "--pause", "--json", server=fresh))
    assert changed["filter"] == {"prefix": ["s-"]} and changed["ordering"] == "none" and changed["paused"] is True
    assert changed["max_attempts"] == 3 and changed["ack_timeout_s"] == 60
    assert "name         g (paused)\nevents       prefix s-\n" in said("group", "show", "g", server=fresh)
    assert json.loads(said("group", "edit", "g", "--all", "--resume", "--json", server=fresh))["filter"] == {}
    assert said("group", "seek", "g", "end", server=fresh).endswith("; 0 events to deliver\n")
    assert said("group", "seek", "g", 2, server=fresh).startswith("g: goes on after position 2; 4 events")
    assert said("group", "seek", "g", "--time", "2020-01-01T00:00:00Z", server=fresh).startswith("g: goes on after position 0; ")
    assert json.loads(said("group", "list", "--json", server=fresh))["groups"][0]["name"] == "g"
    assert said("group", "delete", "g", server=fresh) == "g: deleted\n"
    assert error_of("group", "show", "g", server=fresh).startswith("g: the consumer group does not exist")
    assert json.loads(said("group", "create", "late", "--after", "end", "--json", server=fresh))["lag_events"] == 0


@pytest.mark.parametrize("args, words", [
    (["group"], "which part of it is missing"), (["group", "nonsense"], "group has no part nonsense"),
    (["group", "create", "g", "--ack-timeout", "soon"], "--ack-timeout must be a time"),
    (["group", "edit", "g", "--pause", "--resume"], "--pause does not go with --resume"),
    (["group", "edit", "g", "--all", "--type", "T"], "--all does not go with a filter"),
    (["group", "seek", "g"], "where to is one of"), (["group", "seek", "g", "end", "--time", "x"], "where to is one of"),
    (["group", "replay", "g"], "which events is one of"), (["group", "replay", "g", "5", "--all"], "which events is one of"),
    (["group", "discard", "g"], "which events is one of"), (["group", "discard", "g", "0"], "a position is a whole number"),
    (["consume"], "an argument is missing"), (["consume", "g", "--timeout", "never"], "--timeout must be a time"),
    (["consume", "g", "--max", "10001"], "--max must be 1 to 10000"),
])  # fmt: skip
def test_called_wrongly(args, words):
    """Before anything is sent."""
    assert error_of(*args, status=2, server="http://127.0.0.1:1").startswith(words)


def test_what_the_server_refuses(fresh):
    """Its problem, with the field."""
    assert "(ordering)" in error_of("group", "create", "g", "--ordering", "random", server=fresh)
    assert "ack_timeout_s" in error_of("group", "create", "g", "--ack-timeout", "1ms", server=fresh)
    assert error_of("consume", "g", server=fresh).startswith("g: the consumer group does not exist")
    assert error_of("group", "list", server="http://127.0.0.1:1").startswith("group list: the server cannot be reached")


# ---- consume --------------------------------------------------------------------------------------


def test_exec_gets_the_event_and_acks(fresh):
    """Its JSON on standard input, facts in the environment; exit status 0 settles it."""
    fill(fresh, 4)
    said("group", "create", "g", server=fresh)
    script = 'echo "$DAYBOOK_STREAM $DAYBOOK_TYPE $DAYBOOK_POSITION $DAYBOOK_REVISION $DAYBOOK_ATTEMPT $DAYBOOK_URL"; cat'
    done = daybook("consume", "g", "--exec", script, "--until-empty", "--consumer", "c1", server=fresh)
    lines = done.stdout.decode().splitlines()
    assert lines[0::2] == [f"{e['stream']} {e['type']} {e['position']} {e['revision']} 1 {fresh.url}" for e in fresh.read_all()]
    assert [json.loads(line) for line in lines[1::2]] == fresh.read_all()
    assert done.stderr == b"4 events: 4 acknowledged\n"
    now = info(fresh)
    assert now["lag_events"] == 0 and now["counts"]["acked"] == 4 and now["consumers"][0]["name"] == "c1"


def test_exit_statuses(fresh):
    """99 skips, 100 parks with the last line of standard error, others try again and park in the end; 127 blames no event."""
    fill(fresh, 4, streams=10)
    said("group", "create", "g", "--max-attempts", 2, "--backoff-initial", "0s", server=fresh)
    script = "case $DAYBOOK_POSITION in 1) exit 99;; 2) echo no >&2; echo 'too \"bad\" é' >&2; exit 100;; 3) echo t$DAYBOOK_ATTEMPT >&2; exit 3;; esac"
    done = daybook("consume", "g", "--exec", script, "--timeout", "2s", server=fresh)
    errors = done.stderr.decode().splitlines()
    assert "daybook: s-2@1, attempt 1: exit status 100; parked" in errors and "too \"bad\" é" in errors
    assert errors[-1] == "5 events: 1 acknowledged, 1 skipped, 1 parked, 2 to be tried again"
    counts = info(fresh)["counts"]
    assert (counts["acked"], counts["skipped"], counts["parked"], counts["redelivered"]) == (1, 1, 2, 1)
    assert [(p["position"], p["cause"], p["attempts"], p["reason"]) for p in parked(fresh)] == [
        (2, "nack", 1, 'too "bad" é'), (3, "attempts", 2, "t2")
    ]
    fill(fresh, 1, first=5, streams=10)
    assert daybook("consume", "g", "--exec", "no-such-command-9", "--count", 1, server=fresh, status=1).stderr.endswith(b"1 event: 1 given back\n")
    assert [e["event"]["position"] for e in fetch(fresh)] == [fresh.read_all()[-1]["position"]]


def test_killed_and_silent_commands(fresh):
    """A signal is a failure like others; without a line the reason is how it ended. Bytes that are no text do no harm."""
    fill(fresh, 3, streams=10)
    said("group", "create", "g", "--max-attempts", 1, server=fresh)
    script = "case $DAYBOOK_POSITION in 1) kill -9 $$;; 2) exit 7;; 3) printf '\\377\\033[31m' >&2; exit 1;; esac"
    done = daybook("consume", "g", "--exec", script, "--until-empty", server=fresh)
    assert b"attempt 1: ended by signal 9; " in done.stderr
    assert [p["reason"] for p in parked(fresh)] == ["ended by signal 9", "exit status 7", "\\xff\\x1b[31m"]


def test_parked_events(fresh):
    """Listed for people and scripts, replayed by position, range, filter or all, discarded."""
    fill(fresh, 5, streams=10)
    said("group", "create", "g", server=fresh)
    daybook("consume", "g", "--exec", "echo broken >&2; exit 100", "--until-empty", server=fresh)
    rows = said("group", "parked", "g", server=fresh).splitlines()
    assert rows[2].split()[:5] == ["1", "s-1@1", "Done", "1", "nack"] and rows[2].endswith("blocks  broken") and len(rows) == 7
    page = daybook("group", "parked", "g", "--limit", 2, server=fresh)
    assert len(page.stdout.splitlines()) == 4 and page.stderr == b"hint: there are more: --after 2\n"
    assert json.loads(said("group", "parked", "g", "--after", 4, "--json", server=fresh))["parked"][0]["event"]["data"] == {"n": 5}
    assert said("group", "replay", "g", "--type", "Done", "--dry-run", server=fresh) == "g: 3 parked events would be delivered again\n"
    assert said("group", "replay", "g", "--from", 2, "--to", 3, server=fresh) == "g: 2 parked events are delivered again\n"
    assert said("group", "replay", "g", 1, server=fresh) == "g: 1 parked event is delivered again\n"
    assert numbers(said("consume", "g", "--until-empty", server=fresh)) == [1, 2, 3]
    assert said("group", "discard", "g", 4, server=fresh) == "g: 1 parked event discarded\n"
    assert "is not parked" in error_of("group", "discard", "g", 4, server=fresh)
    assert said("group", "replay", "g", "--all", server=fresh) == "g: 1 parked event is delivered again\n"
    assert said("group", "discard", "g", "--all", server=fresh) == "g: 0 parked events discarded\n"
    assert info(fresh)["counts"]["discarded"] == 1


def test_leases_hold_as_long_as_the_command_runs(fresh, gate):
    """That of the event in hand and those that wait behind it; another one of the same length, which nobody extends, ends
    meanwhile."""
    fill(fresh, 3, streams=10)
    said("group", "create", "g", "--ack-timeout", f"{2 * SLOW}s", "--max-attempts", 1000, server=fresh)
    with Consume(fresh, "g", "--max", 2, "--exec", gate.command) as consume:
        gate.wait()
        (mine,) = fetch(fresh, max=10)
        (again,) = wait_for(lambda: fetch(fresh, max=10, wait_s=5), 40, "the lease to end")
        assert mine["event"]["position"] == again["event"]["position"] == 3 and again["attempt"] == 2
        consume.process.send_signal(signal.SIGINT)
        gate.open()
        assert consume.end()[2] == "1 event: 1 acknowledged, 1 given back\n"
    assert gate.here.read_text().split() == ["1"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped(fresh, gate, number):
    """The command in hand goes on to its end and is acknowledged; the other events are free at once."""
    fill(fresh, 5, streams=10)
    said("group", "create", "g", server=fresh)
    with Consume(fresh, "g", "--max", 4, "--exec", gate.command) as consume:
        gate.wait()
        consume.process.send_signal(number)
        gate.open()
        status, _, errors = consume.end()
    assert status == 128 + number and errors == "1 event: 1 acknowledged, 3 given back\n"
    assert [e["event"]["position"] for e in fetch(fresh, max=10)] == [2, 3, 4, 5]


def test_stopped_while_it_waits(fresh):
    """There is nothing to finish."""
    said("group", "create", "g", server=fresh)
    with Consume(fresh, "g", "--consumer", "waits") as consume:
        wait_for(lambda: info(fresh)["consumers"], 40, "its fetch")
        assert consume.end(signal.SIGTERM) == (143, "", "")


def test_printing(fresh):
    """Without --exec: NDJSON as `read` prints it, acknowledged once written; --count ends it, and takes no more."""
    fill(fresh, 7)
    said("group", "create", "g", "--ordering", "none", server=fresh)
    first = said("consume", "g", "--count", 3, server=fresh)
    assert first == "".join(said("read", server=fresh).splitlines(keepends=True)[:3])
    assert info(fresh)["counts"]["delivered"] == 3
    assert numbers(said("consume", "g", "--until-empty", "--max", 2, server=fresh)) == [4, 5, 6, 7]
    assert said("consume", "g", "--timeout", "100ms", server=fresh) == ""
    assert info(fresh)["lag_events"] == 0


def test_the_reader_goes_away(fresh):
    """What could not be written is given back, not acknowledged."""
    fill(fresh, 3)
    said("group", "create", "g", server=fresh)
    read, write = os.pipe()
    os.close(read)
    process = subprocess.run([DAYBOOK, "--url", fresh.url, "consume", "g"], stdout=write, stderr=subprocess.PIPE, timeout=40 * SLOW, check=False)
    os.close(write)
    assert process.returncode == 128 + signal.SIGPIPE and process.stderr == b""
    assert info(fresh)["counts"]["acked"] == 0 and len(fetch(fresh, max=10)) >= 1


def test_three_consumers_share(fresh, tmp_path):
    """Each event goes to one of them, the events of a stream in order and never two at once."""
    fill(fresh, 60, streams=6)
    said("group", "create", "g", server=fresh)
    log = tmp_path / "log"
    script = f"mkdir {tmp_path}/busy-$DAYBOOK_STREAM || exit 100; echo $DAYBOOK_STREAM $DAYBOOK_REVISION >> {log}; rmdir {tmp_path}/busy-$DAYBOOK_STREAM"
    consumers = [Consume(fresh, "g", "--exec", script, "--consumer", f"c{i}") for i in range(3)]
    try:
        wait_for(lambda: info(fresh)["lag_events"] == 0, 60, "the group to be done", 0.1)
        for consumer in consumers:
            assert consumer.end(signal.SIGINT)[0] == 130
    finally:
        for consumer in consumers:
            consumer.__exit__()
    done = [line.split() for line in log.read_text().splitlines()]
    assert len(done) == 60 and info(fresh)["counts"]["acked"] == 60
    for stream in {s for s, _ in done}:
        revisions = [int(r) for s, r in done if s == stream]
        assert revisions == sorted(revisions) and len(revisions) == 10


def test_a_restart(launch, tmp_path):
    """A server that is killed and started again is waited for; every event is done, none is lost."""
    server = launch()
    server.restart(flags=[*server.flags, "--listen", f"127.0.0.1:{server.port}"])
    fill(server, 5)
    said("group", "create", "g", server=server)
    log = tmp_path / "log"
    log.touch()
    with Consume(server, "g", "--exec", f"echo $DAYBOOK_POSITION >> {log}") as consume:
        wait_for(lambda: info(server)["lag_events"] == 0, 40, "the first events")
        server.restart(kill=True)
        fill(server, 5, first=6)
        wait_for(lambda: info(server)["lag_events"] == 0, 40, "the other events")
        status, _, errors = consume.end(signal.SIGTERM)
    assert status == 143 and re.search(r"^waiting for the server: .+\nthe server is there again$", errors, re.M), errors
    assert {int(p) for p in log.read_text().split()} == {e["position"] for e in server.read_all() if not e["stream"].startswith("$")}


def test_progress_on_a_terminal(fresh, tmp_path):
    """A line that is rewritten, and taken away in the end."""
    fill(fresh, 3)
    said("group", "create", "g", server=fresh)
    spawn = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(['sh', '-c', sys.argv[1]])))"
    script = f"exec {DAYBOOK} --url {fresh.url} consume g --exec 'cat; sleep 0.3' --until-empty > {tmp_path}/out"
    done = subprocess.run([sys.executable, "-c", spawn, script], stdin=subprocess.DEVNULL, capture_output=True, timeout=60 * SLOW, check=False)
    text = done.stdout.decode()
    assert done.returncode == 0 and re.search(r"\r\d events, \d+/s\x1b\[K", text), text
    assert text.endswith("\r\x1b[K3 events: 3 acknowledged\r\n")

"""Clients that are not ours: the npm packages `cloudevents` and `eventsource` in Node (npm/)."""
import hashlib
import json
import os
import re
import shutil
import subprocess
import threading

import pytest

from support import ROOT, SLOW, event, wait_for

SOURCE = ROOT / "tests" / "http" / "npm"
# npm's own words for a registry that cannot be reached; anything else that goes wrong is a failure.
UNREACHABLE = re.compile(
    r"ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH|ERR_SOCKET_TIMEOUT|SELF_SIGNED_CERT_IN_CHAIN"
)


@pytest.fixture(scope="module")
def node():
    """Runs a script of npm/ beside its packages, which are installed once for each lock file: node("x.js", …) is a command."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed: scripts/deps --test installs it")
    lock = (SOURCE / "package-lock.json").read_bytes()
    home = ROOT / "build" / "npm" / hashlib.sha256(lock).hexdigest()[:16]
    done = home / "installed"
    if not done.exists():
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(SOURCE / name, home)
        command = ["npm", "ci", "--prefix", str(home), "--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries", "1"]
        installed = subprocess.run(command, capture_output=True, text=True, timeout=100)
        if installed.returncode != 0 and UNREACHABLE.search(installed.stderr):
            pytest.skip("the npm registry cannot be reached")
        assert installed.returncode == 0, installed.stderr
        done.touch()
    environment = {**os.environ, "NODE_PATH": str(home / "node_modules")}
    return lambda script, *arguments: {"args": ["node", str(SOURCE / script), *arguments], "env": environment}


@pytest.mark.timeout_s(120)
def test_the_package_cloudevents_sends_and_receives(node, fresh):
    """What the package sends in binary, structured and batched mode it reads back in all three, equal."""
    done = subprocess.run(**node("cloudevents.js", fresh.url, "npm-1"), capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(re.findall("^ok ", done.stdout, re.M)) == 9, done.stdout
    assert fresh.head_revision("npm-1") == 6 and fresh.head_revision("npm-1-batch") == 3


class Follower:
    """eventsource.js, whose lines are gathered as they come."""

    def __init__(self, command):
        self.process = subprocess.Popen(**command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.lines = []
        self.thread = threading.Thread(target=self._gather, daemon=True)
        self.thread.start()

    def _gather(self):
        for line in self.process.stdout:
            self.lines.append(json.loads(line))

    def of(self, kind):
        return [line[1:] for line in list(self.lines) if line[0] == kind]

    def close(self):
        self.process.stdin.close()
        try:
            assert self.process.wait(20 * SLOW) == 0
        finally:
            self.process.kill()
        self.thread.join(5)


@pytest.mark.timeout_s(120)
@pytest.mark.parametrize("kill", [False, True], ids=["SIGTERM", "SIGKILL"])
@pytest.mark.parametrize("path", ["/v1/events", "/v1/events?type=Wanted", "/v1/streams/s/events"])
def test_an_eventsource_follows_through_a_restart(node, fresh, path, kill):
    """A browser's EventSource gets every event once and in order, though the server is stopped twice under it: it comes back
    by itself, with Last-Event-ID."""
    fresh.listen = f"127.0.0.1:{fresh.port}"
    count = 0

    def append(n):
        nonlocal count
        for _ in range(n):
            fresh.append_ok("s", [event("Wanted", {"n": count}), *([event("Other")] if "type" in path else [])])
            count += 1

    append(5)
    follower = Follower(node("eventsource.js", fresh.url + path))
    try:
        wait_for(lambda: follower.of("caught_up"), 30, "the end of history")
        append(5)
        for opened in (1, 2):
            wait_for(lambda: len(follower.of("message")) >= count, 30, f"{count} messages: {follower.lines[-3:]}")
            fresh.restart(kill=kill)
            append(5)
            wait_for(lambda: len(follower.of("open")) > opened, 60, "the EventSource to come back")
            append(5)
        wait_for(lambda: len(follower.of("message")) >= count, 30, f"{count} messages: {follower.lines[-3:]}")
        wait_for(lambda: len(follower.of("caught_up")) >= 3, 30, "caught up for the third time")
        messages = [(id_, json.loads(data)) for id_, data in follower.of("message")]
        assert [data["data"]["n"] for _, data in messages] == list(range(count))
        assert all(id_ == str(data["revision" if "streams" in path else "position"]) for id_, data in messages)
        assert follower.of("closed") == []
    finally:
        follower.close()

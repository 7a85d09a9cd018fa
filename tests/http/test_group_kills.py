"""Exactly once, with real processes: eight consumers that acknowledge with an append, killed with -9 at random, and the server as
well. The output has each input once, and the inputs of each stream in their order.

The long version, over the real data set: DAYBOOK_GROUP_KILLS=200 (scripts/test --check and --soak)."""
import collections
import os
import pathlib
import random
import subprocess
import sys

import pytest

from support import ROOT, SLOW, event, wait_for
from support_cli import daybook

LOANS = pathlib.Path(os.environ.get("DAYBOOK_DATA_DIR", ROOT.parent / "shared" / "data")) / "loans.ndjson.gz"
KILLS = int(os.environ.get("DAYBOOK_GROUP_KILLS", "0"))
CONSUMERS = 8


class Crowd:
    """The consumers, of which each can be killed and started anew."""

    def __init__(self, server, chance, most):
        self.server, self.chance, self.most = server, chance, most
        self.processes = [self._start() for _ in range(CONSUMERS)]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
            process.wait()

    def _start(self):
        program = [sys.executable, ROOT / "tests/http/group_consumer.py", str(self.server.port), str(self.chance.randrange(2**31)), str(self.most)]
        return subprocess.Popen(program, stderr=subprocess.PIPE)

    def kill_one(self):
        i = self.chance.randrange(CONSUMERS)
        self.check(self.processes[i])
        self.processes[i].kill()
        self.processes[i].communicate()
        self.processes[i] = self._start()

    @staticmethod
    def check(process):
        assert process.poll() is None, process.communicate()[1].decode()


def info(server):
    return server.get("/v1/groups/g").json


def run(server, chance, kills, most, seconds):
    """Until all is done; kills happen each time the log has grown by some more events."""
    server.restart(flags=[*server.flags, "--listen", f"127.0.0.1:{server.port}"])
    created = server.request("PUT", "/v1/groups/g", {"filter": {"category": ["in", "loan"]}, "ack_timeout_s": SLOW, "max_attempts": 1000})
    assert created.status == 201
    inputs = server.position()
    killed = collections.Counter()
    with Crowd(server, chance, most) as crowd:
        for i in range(kills):
            goal = server.position() + chance.randrange(inputs // (kills * 2) + 2)
            wait_for(lambda g=goal: server.position() >= g or info(server)["lag_events"] == 0, seconds, "progress")
            what = "server" if i % 4 == 3 else "consumer"
            killed[what] += 1
            server.restart(kill=True) if what == "server" else crowd.kill_one()
        wait_for(lambda: info(server)["lag_events"] == 0, seconds, "the group to be done", 0.1)
        for process in crowd.processes:
            crowd.check(process)
    now = info(server)
    print(f"{killed}, {now['counts']}")
    assert now["parked"] == 0 and now["in_flight"] == 0
    return now


def check_output(server):
    """Each input once, in the order of its stream."""
    expected = [(e["stream"], e["revision"]) for e in server.read_all(category=["in", "loan"])]
    output = [(e["data"]["stream"], e["data"]["revision"]) for e in server.read_all("/v1/streams/out/events")]
    twice = [key for key, n in collections.Counter(output).items() if n > 1]
    assert not twice, twice[:10]
    assert set(output) == set(expected), (list(set(expected) - set(output))[:10], list(set(output) - set(expected))[:10])
    last = collections.defaultdict(int)
    for stream, revision in output:
        assert revision == last[stream] + 1, (stream, revision, last[stream])
        last[stream] = revision


@pytest.mark.timeout_s(90)
def test_each_input_once(launch, seed):
    """A short log; consumers and the server are killed eight times."""
    chance = random.Random(seed)
    server = launch()
    for _ in range(12):
        appends = [(f"in-{i}", "any", [event("In") for _ in range(chance.randint(1, 4))]) for i in chance.sample(range(60), 20)]
        assert server.append_many(appends).status == 201
    run(server, chance, 8, 20, 60)
    check_output(server)


@pytest.mark.timeout_s(3600)
@pytest.mark.skipif(KILLS == 0, reason="long: DAYBOOK_GROUP_KILLS says how many kills")
@pytest.mark.skipif(not LOANS.exists(), reason=f"{LOANS} is not there")
def test_each_loan_once(launch, seed):
    """The real data set: 262,200 events of 13,087 streams."""
    server = launch()
    daybook("import", LOANS, server=server, timeout=600)
    run(server, random.Random(seed), KILLS, 200, 1800)
    check_output(server)

"""Deleting on a larger scale: the real data set, and kills."""
import gzip
import json
import os
import pathlib
import random
import time

import pytest

from support import ROOT, wait_for
from support_cli import daybook
from support_life import Model, patch, stream_path

LOANS = pathlib.Path(os.environ.get("DAYBOOK_DATA_DIR", ROOT.parent / "shared" / "data")) / "loans.ndjson.gz"
needs_loans = pytest.mark.skipif(not LOANS.exists(), reason=f"{LOANS} is not there")


def loans():
    """(stream, type, data) of every line of the file."""
    with gzip.open(LOANS, "rb") as file:
        for line in file:
            fields = json.loads(line)
            yield fields["stream"], fields["type"], fields["data"]


@needs_loans
@pytest.mark.timeout_s(400)
def test_the_real_data(launch, seed, tmp_path):
    """262,200 events; then 600 deletions, truncations, limits, expiries and redactions at random over 13,087 streams: every
    read agrees with what the file says, before and after a restart, reclaim and reindex; export has nothing that is gone."""
    rng, server = random.Random(seed), launch()
    model = Model(server)
    daybook("import", LOANS, server=server, timeout=120)
    for position, (stream, kind, data) in enumerate(loans(), 1):
        model.streams[stream].events.append([position, kind, data, []])
    touched = rng.sample(sorted(model.streams), 600)
    expired = touched[500:]
    for i, stream in enumerate(touched[:500]):
        s = model.streams[stream]
        if i % 5 == 0:
            model.delete(stream, tombstone=i % 10 == 0)
        elif i % 5 == 1:
            model.truncate(stream, rng.randrange(1, s.head + 2))
        elif i % 5 == 2:
            model.limit(stream, rng.randrange(1, s.head + 2))
        elif i % 5 == 3:
            model.redact(stream, rng.randrange(1, s.head + 1))
        else:
            model.delete(stream)
            model.append(stream, [("Reopened", {"n": i}, ["again"])])
    for stream in expired:
        assert patch(server, stream, {"max_age_s": 1}).status == 200
    for stream in expired:
        wait_for(lambda s=stream: server.get(stream_path(s)).json["events"] == 0, 60, "the events to expire")
        model.streams[stream].floor = model.streams[stream].head + 1
    sample = rng.sample(touched, 40) + rng.sample(sorted(model.streams), 10)
    model.check(sample)
    model.check_export(tmp_path / "out")
    server.restart(kill=True)
    model.check(sample, full=False)
    server.stop()
    daybook("reindex", "--data", server.data, timeout=120)
    assert daybook("verify", "--data", server.data, timeout=120).stdout.startswith(b"verify: ok: ")
    server.start()
    model.check(sample)
    assert server.post("/v1/admin/verify").json["findings"] == []
    stream = sample[0] if not model.streams[sample[0]].tombstoned else expired[0]
    model.append(stream, [("After", {}, [])])
    model.check([stream], full=False)


# ---- bad luck -----------------------------------------------------------------------------------


@pytest.mark.timeout_s(120)
def test_kills_while_space_is_freed(launch, seed, tmp_path):
    """kill -9 at random moments of deleting and freeing: nothing that was answered is lost, nothing that is gone comes back."""
    rng, server = random.Random(seed), launch("--apply-interval-ms", "5", "--segment-bytes", "1MiB")
    model = Model(server)
    for turn in range(8):
        for n in range(6):
            stream = f"s-{rng.randrange(8)}"
            if not model.streams[stream].tombstoned:
                model.append(stream, [("T", "z" * rng.randrange(3000), ["t"]) for _ in range(rng.randrange(1, 120))])
            s = model.streams[stream]
            choice = rng.randrange(4)
            if choice == 0:
                model.delete(stream, tombstone=rng.random() < 0.2)
            elif choice == 1 and not s.tombstoned:
                model.truncate(stream, rng.randrange(1, s.head + 2))
            elif choice == 2 and not s.tombstoned:
                model.redact(stream, rng.randrange(1, s.head + 1))
        until = time.monotonic() + rng.random() * 0.1
        wait_for(lambda until=until: time.monotonic() > until, 5, "a moment")
        server.restart(kill=True)
        model.check(sorted(model.streams), full=turn % 4 == 3)
    model.check_export(tmp_path / "out")
    assert server.post("/v1/admin/verify").json["findings"] == []

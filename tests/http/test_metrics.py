"""Metrics: what GET /metrics says, by its own format and by Debian's Prometheus; alert rules that fire; the dashboard."""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import urllib.error
import urllib.parse
import urllib.request

import pytest

from support import ROOT, event, events_path, wait_for
from support_follow import LiveRead

MONITORING = ROOT / "server/monitoring"
METRICS = re.findall(r'^METRIC\(\w+, "([^"]+)", (\w+), "([^"]+)"\)', (ROOT / "server/metrics.def").read_text(), re.M)
PROMETHEUS, PROMTOOL = shutil.which("prometheus"), shutil.which("promtool")
NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
SQL = "application/sql"
PICKY = """CREATE TABLE picky (n INTEGER CHECK (n < 100));
-- @on Counted
INSERT INTO picky VALUES (:data ->> 'n');
"""

needs_prometheus = pytest.mark.skipif(not (PROMETHEUS and PROMTOOL), reason="prometheus is not installed (scripts/deps --test)")


def parse(text):
    """{(name, (label, value)…): number}; fails on what is not the text format."""
    samples = {}
    for line in text.splitlines():
        if line.startswith("# HELP ") or line.startswith("# TYPE "):
            continue
        match = re.fullmatch(rf'({NAME})(?:\{{((?:{NAME}="[^"\\]*",?)*)\}})? ([-+0-9.eE]+|\+Inf|NaN)', line)
        assert match, line
        labels = tuple(sorted(re.findall(rf'({NAME})="([^"]*)"', match[2] or "")))
        assert (match[1], labels) not in samples, f"twice: {line}"
        samples[match[1], labels] = float(match[3])
    return samples


class Samples:
    def __init__(self, server):
        response = server.get("/metrics")
        assert (response.status, response.headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
        self.text = response.raw.decode()
        self.all = parse(self.text)

    def get(self, name, **labels):
        return self.all.get((name, tuple(sorted(labels.items()))), 0)

    def requests(self, method, route, status):
        return self.get("daybook_http_requests_total", method=method, route=route, status=str(status))


# ---- what it says ---------------------------------------------------------------------------------


def test_every_metric_has_help_type_and_a_value(server, name):
    """All of metrics.def is there, once, with its help and type, and nothing else."""
    server.append_ok(name(), event())
    server.get("/v1/events")
    assert server.request("PUT", "/v1/groups/one", {}).status in (200, 201)
    samples = Samples(server)
    assert len(METRICS) > 30
    assert sorted(re.findall(r"^# HELP (\S+) (.+)$", samples.text, re.M)) == sorted((name_, help_) for name_, _, help_ in METRICS)
    assert sorted(re.findall(r"^# TYPE (\S+) (\S+)$", samples.text, re.M)) == sorted((name_, kind) for name_, kind, _ in METRICS)
    for name_, kind, _ in METRICS:
        found = [key for key in samples.all if key[0] in ((name_ + "_bucket", name_ + "_sum", name_ + "_count") if kind == "histogram" else (name_,))]
        assert found, name_
        assert (kind == "counter") == name_.endswith("_total"), name_
    known = {n for n, _, _ in METRICS} | {n + s for n, kind, _ in METRICS if kind == "histogram" for s in ("_bucket", "_sum", "_count")}
    assert {key[0] for key in samples.all} <= known


def test_positions_and_sizes_are_those_of_the_status(fresh):
    """What both /metrics and /v1/status say is the same."""
    fresh.append_ok("a", [event(), event()])
    status, samples = fresh.status(), Samples(fresh)
    pairs = {"daybook_committed_position": "position", "daybook_streams": "streams", "daybook_queue_commands_limit": "queue_length_max",
             "daybook_tail_limit_bytes": "tail_bytes_max", "daybook_map_limit_bytes": "map_bytes", "daybook_disk_full": "disk_full"}  # fmt: skip
    for metric, member in pairs.items():
        assert samples.get(metric) == status[member], metric
    assert samples.get("daybook_index_lag_events") == samples.get("daybook_committed_position") - samples.get("daybook_applied_position")
    assert 0 < samples.get("daybook_memory_private_bytes") <= samples.get("process_resident_memory_bytes")
    assert samples.get("daybook_disk_free_bytes") > 0 and samples.get("process_open_fds") > 3


def test_requests_are_counted_by_route_and_status(fresh):
    """Each answer counts once, under the route's template; what no route has counts too."""
    stream_events = "/v1/streams/{stream}/events"
    fresh.append_ok("a", event())
    fresh.append_ok("b", event())
    assert fresh.append("a", event(), expected=7).status == 409
    assert fresh.get(events_path("none")).status == 404
    assert fresh.get("/nothing").status == 404
    assert fresh.request("HEAD", events_path("a")).status == 200
    want = {("POST", stream_events, 201): 2, ("POST", stream_events, 409): 1, ("GET", stream_events, 404): 1,
            ("GET", stream_events, 200): 1, ("other", "none", 404): 1}  # fmt: skip
    # A request is counted when its answer has gone out, which the client may see first.
    wait_for(lambda: all(Samples(fresh).requests(*key) == n for key, n in want.items()), 30, "the counters")


def test_histograms_add_up(fresh):
    """Buckets grow, the last is the count; a count is that of the requests; sums are plausible."""
    for _ in range(5):
        fresh.append_ok("a", [event(), event(), event()])
        fresh.get("/v1/events")
    # One that waits for its event says nothing about how fast the server is.
    assert fresh.get("/v1/events?after=end&wait=20ms").json["events"] == []
    wait_for(lambda: Samples(fresh).get("daybook_read_duration_seconds_count") == 5, 30, "five reads")
    samples = Samples(fresh)
    for name in ("daybook_append_duration_seconds", "daybook_read_duration_seconds", "daybook_commit_duration_seconds", "daybook_commit_commands",
                 "daybook_commit_events"):  # fmt: skip
        buckets = [(float(dict(labels)["le"]), n) for (key, labels), n in samples.all.items() if key == name + "_bucket"]
        assert [le for le, _ in buckets] == sorted(le for le, _ in buckets) and len(buckets) > 10
        assert [n for _, n in buckets] == sorted(n for _, n in buckets)
        assert buckets[-1] == (float("inf"), samples.get(name + "_count")), name
    assert samples.get("daybook_append_duration_seconds_count") == 5
    assert samples.get("daybook_commit_commands_sum") == 5 and samples.get("daybook_commit_events_sum") == 15
    assert samples.get("daybook_commit_events_bucket", le="2") == 0 and samples.get("daybook_commit_events_bucket", le="4") == 5
    assert samples.get("daybook_append_duration_seconds_sum") >= samples.get("daybook_commit_duration_seconds_sum") > 0


def test_nothing_grows_with_streams_or_types(fresh):
    """Many streams, types and tags make no row more."""
    fresh.append_ok("s", event())
    wait_for(lambda: Samples(fresh).requests("POST", "/v1/streams/{stream}/events", 201) == 1, 30)
    before = {key for key in Samples(fresh).all}
    for i in range(50):
        fresh.append_ok(f"s{i}-{i}", event(f"T{i}", tags=[f"tag{i}"]))
    after = {key for key in Samples(fresh).all}
    assert {key for key in after - before if key[1] != (("method", "GET"), ("route", "/metrics"), ("status", "200"))} == set()


def test_projections_say_how_far_they_are(fresh):
    """Lag falls to none; a fault, a pause and a deletion show."""
    fresh.append_ok("a", [event("Counted", {"n": n}) for n in range(10)])
    assert fresh.request("PUT", "/v1/projections/picky", PICKY.encode(), {"Content-Type": SQL}).status == 201

    def value(what):
        return Samples(fresh).get(f"daybook_projection_{what}", projection="picky")

    wait_for(lambda: 'lag_events{projection="picky"} 0' in Samples(fresh).text, 30, "the projection")
    assert (value("lag_events"), value("faulted"), value("paused"), value("failing")) == (0, 0, 0, 0)
    fresh.append_ok("a", [event("Counted", {"n": 1000}), event("Counted", {"n": 2})])
    wait_for(lambda: value("faulted") == 1, 30, "the fault")
    assert value("lag_events") == 2 and value("lag_seconds") > 0
    assert fresh.post("/v1/projections/picky/skip").status == 200
    wait_for(lambda: value("faulted") == 0 and value("lag_events") == 0, 30, "the end of the fault")
    assert fresh.post("/v1/projections/picky/pause").status == 200
    wait_for(lambda: value("paused") == 1, 30, "the pause")
    assert fresh.request("DELETE", "/v1/projections/picky").status == 200
    wait_for(lambda: "picky" not in Samples(fresh).text, 30, "the deletion")


def test_groups_say_what_they_owe(fresh):
    """Lag, leases, parked events, redeliveries and consumers of each group; a deleted one is gone."""
    fresh.append_ok("a", [event("Counted", {"n": n}) for n in range(10)])
    assert fresh.request("PUT", "/v1/groups/g", {"ordering": "none", "backoff": {"initial_s": 0, "max_s": 0}}).status == 201

    def value(what):
        return Samples(fresh).get(f"daybook_group_{what}", group="g")

    def fetch(n):
        return [e["lease"] for e in fresh.post("/v1/groups/g/fetch", {"max": n, "consumer": "c"}).json["events"]]

    assert (value("lag_events"), value("in_flight_events"), value("consumers")) == (10, 0, 0) and value("lag_seconds") > 0
    leases = fetch(4)
    fresh.post("/v1/groups/g/ack", {"leases": leases[:1]})
    fresh.post("/v1/groups/g/nack", {"leases": leases[1:2], "action": "park"})
    fresh.post("/v1/groups/g/nack", {"leases": leases[2:3]})
    assert len(fetch(1)) == 1
    assert (value("lag_events"), value("in_flight_events"), value("parked_events"), value("redeliveries_total"), value("consumers")) == (8, 2, 1, 1, 1)
    assert fresh.request("DELETE", "/v1/groups/g").status == 200
    assert 'group="g"' not in Samples(fresh).text


@pytest.mark.timeout_s(90)
def test_a_slow_follower_is_seen(fresh):
    """A follower of the log that takes nothing is behind by what does not fit into its socket; one that reads is not."""
    with LiveRead(fresh.port, "/v1/events", receive_bytes=4096) as slow, LiveRead(fresh.port, "/v1/events") as quick:
        slow.start(), quick.start()
        quick.caught_up()
        sent = 0

        def behind():
            nonlocal sent
            fresh.append_ok("big", [event("B", {"x": "y" * 200_000}) for _ in range(5)])
            sent += 5
            return Samples(fresh).get("daybook_follower_lag_events_max") > 0

        wait_for(behind, 60, "a lag")
        assert Samples(fresh).get("daybook_followers") == 2
        assert fresh.status()["follower_lag_events"] <= sent
        slow.close()
        while quick.event(60)["position"] < sent:
            pass
    wait_for(lambda: Samples(fresh).get("daybook_followers") == 0, 30, "the followers' end")
    assert Samples(fresh).get("daybook_follower_lag_events_max") == 0


# ---- with Debian's Prometheus ---------------------------------------------------------------------


@needs_prometheus
def test_promtool_has_nothing_to_say(server, name):
    """`promtool check metrics` and `check rules` accept what we publish."""
    server.append_ok(name(), event())
    check = subprocess.run([PROMTOOL, "check", "metrics"], input=server.get("/metrics").raw, capture_output=True, timeout=60, check=False)
    assert (check.returncode, check.stdout, check.stderr) == (0, b"", b"")
    for command in (["check", "rules", "alerts.yml"], ["check", "config", "prometheus.yml"]):
        check = subprocess.run([PROMTOOL, *command], cwd=MONITORING, capture_output=True, timeout=60, check=False)
        assert check.returncode == 0, check.stdout + check.stderr


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Prometheus:
    """Debian's, in a directory of its own, that scrapes one server every half second, with our rules, which wait for nothing."""

    def __init__(self, target):
        self.home = tempfile.mkdtemp(prefix="daybook-prometheus-")
        self.port = free_port()
        rules = re.sub(r"^( +)for: \w+$", r"\1for: 0s", (MONITORING / "alerts.yml").read_text(), flags=re.M)
        config = (MONITORING / "prometheus.yml").read_text().replace("127.0.0.1:7407", target)
        config = re.sub(r"interval: 15s", "interval: 500ms", config)
        for file, text in (("alerts.yml", rules), ("prometheus.yml", config)):
            with open(os.path.join(self.home, file), "w", encoding="utf-8") as f:
                f.write(text)
        self.log = open(os.path.join(self.home, "log"), "wb")
        self.process = subprocess.Popen(
            [PROMETHEUS, f"--config.file={self.home}/prometheus.yml", f"--storage.tsdb.path={self.home}/tsdb", "--log.level=warn",
             f"--web.listen-address=127.0.0.1:{self.port}"], stdout=self.log, stderr=self.log, cwd=self.home,
        )  # fmt: skip

    def get(self, path):
        """The `data` of an answer; None where there is none yet."""
        assert self.process.poll() is None, open(self.log.name, encoding="utf-8").read()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/{path}", timeout=20) as answer:
                return json.load(answer)["data"]
        except (urllib.error.URLError, OSError):
            return None

    def query(self, expression):
        data = self.get("query?query=" + urllib.parse.quote(expression))
        return [float(row["value"][1]) for row in data["result"]] if data else []

    def firing(self):
        data = self.get("alerts")
        return {a["labels"]["alertname"] for a in data["alerts"] if a["state"] == "firing"} if data else set()

    def close(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.log.close()
        shutil.rmtree(self.home, ignore_errors=True)


@needs_prometheus
@pytest.mark.timeout_s(180)
def test_alerts_fire(fresh):
    """Prometheus scrapes the server and nothing fires; a projection's fault and the server's end do, and the fault goes away."""
    prometheus = Prometheus(f"127.0.0.1:{fresh.port}")
    try:
        fresh.append_ok("a", [event("Counted", {"n": n}) for n in range(10)])
        assert fresh.request("PUT", "/v1/projections/picky", PICKY.encode(), {"Content-Type": SQL}).status == 201
        wait_for(lambda: prometheus.query("up") == [1.0], 60, "the first scrape", 0.2)
        wait_for(lambda: prometheus.query("daybook_committed_position") != [], 60, "a metric", 0.2)
        loaded = {rule["name"] for group in prometheus.get("rules")["groups"] for rule in group["rules"]}
        assert {"DaybookDown", "DaybookProjectionFaulted", "DaybookWritesRefused"} <= loaded
        assert not {"DaybookDown", "DaybookProjectionFaulted"} & prometheus.firing()
        fresh.append_ok("a", event("Counted", {"n": 1000}))
        wait_for(lambda: "DaybookProjectionFaulted" in prometheus.firing(), 60, "the fault's alert", 0.2)
        assert fresh.post("/v1/projections/picky/skip").status == 200
        wait_for(lambda: "DaybookProjectionFaulted" not in prometheus.firing(), 60, "its end", 0.2)
        fresh.stop()
        wait_for(lambda: "DaybookDown" in prometheus.firing(), 60, "the alert of the server's end", 0.2)
    finally:
        prometheus.close()


def test_rules_and_dashboard_know_our_metrics():
    """Every metric that an alert or a panel names is one that there is."""
    known = {n for n, _, _ in METRICS} | {n + s for n, kind, _ in METRICS if kind == "histogram" for s in ("_bucket", "_sum", "_count")}
    dashboard = json.loads((MONITORING / "dashboard.json").read_text())
    expressions = [t["expr"] for p in dashboard["panels"] for t in p["targets"]]
    expressions += re.findall(r"^ +expr: (.+)$", (MONITORING / "alerts.yml").read_text(), re.M)
    assert len(expressions) > 30
    used = set(re.findall(r"\b(?:daybook|process)_\w+", " ".join(expressions)))
    assert used <= known, used - known
    assert len({p["id"] for p in dashboard["panels"]}) == len(dashboard["panels"])

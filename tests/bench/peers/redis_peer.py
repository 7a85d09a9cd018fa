"""Redis Streams with `appendfsync always`, by redis-benchmark."""

import csv
import io
import subprocess

import measure

NAME = "Redis"
SYNC = "after fsync of its append-only file (`appendfsync always`); no expectation, no event id"
DATA = "x" * 256
PAGE = 1000


def version():
    return subprocess.run(["redis-server", "--version"], capture_output=True, text=True, check=True).stdout.split("v=")[1].split()[0]


def missing():
    return None if measure.has_redis() else "redis-server is not installed"


class Peer:
    def __init__(self, data):
        self.server = measure.Redis(data)

    def benchmark(self, clients, count, *command, pipeline=1, keys=10000):
        done = subprocess.run(["redis-benchmark", "-p", str(self.server.port), "-c", str(clients), "-n", str(count), "-P", str(pipeline), "--csv",
                               "-r", str(keys), *command], capture_output=True, text=True, check=False)
        rows = list(csv.DictReader(io.StringIO(done.stdout)))
        if done.returncode != 0 or not rows:
            raise measure.Failed(f"redis-benchmark: {done.stderr.strip() or done.stdout.strip()}")
        return {"per_s": float(rows[0]["rps"]), "p99_us": float(rows[0]["p99_latency_ms"]) * 1e3}

    def timed(self, clients, seconds, *command, first=2000, **options):
        """redis-benchmark counts requests: a short run says how many make so many seconds."""
        rate = self.benchmark(clients, first, *command, **options)["per_s"]
        return self.benchmark(clients, max(first, int(rate * seconds)), *command, **options)

    def append(self, connections, seconds):
        return self.timed(connections, seconds, "XADD", "order-__rand_int__", "*", "data", DATA)

    def batch(self, connections, seconds):
        """1,000 XADD sent at once: synced together, but not all or nothing."""
        return self.timed(connections, seconds, "XADD", "order-__rand_int__", "*", "data", DATA, pipeline=1000, first=20000)["per_s"]

    def cli(self, *command):
        done = subprocess.run(["redis-cli", "-p", str(self.server.port), *command], capture_output=True, text=True, check=False)
        if done.returncode != 0 or done.stdout.startswith("ERR"):
            raise measure.Failed(f"redis-cli: {done.stderr or done.stdout}")
        return done.stdout.strip()

    def fill(self, streams, events):
        """Each event twice: in its stream, and in one stream of all, since Redis keeps no log over its streams."""
        script = ("for s = 1, tonumber(ARGV[1]) do for e = 1, tonumber(ARGV[2]) do "
                  "redis.call('XADD', string.format('read-%012d', s - 1), '*', 'data', ARGV[3]); redis.call('XADD', 'all', '*', 'data', ARGV[3]) end end")
        self.cli("EVAL", script, "0", str(streams), str(events), DATA)
        return streams * events

    def disk_bytes(self):
        return measure.disk_bytes(self.server.folder)

    def read_stream(self, connections, seconds, streams, _events):
        return self.timed(connections, seconds, "XRANGE", "read-__rand_int__", "-", "+", keys=streams)["per_s"]

    def replay(self, _events):
        """Pages of 1,000, the first over and over: redis-benchmark cannot go on from where a page ended."""
        return self.timed(1, 2, "XRANGE", "all", "-", "+", "COUNT", str(PAGE), first=50)["per_s"] * PAGE

    def stop(self):
        self.server.__exit__()

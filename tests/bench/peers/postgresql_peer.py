"""PostgreSQL with a table of events as people build it by hand, by pgbench (prepared statements)."""

import glob
import os
import pwd
import re
import shutil
import subprocess
import time

import measure

NAME = "PostgreSQL"
SYNC = "after fsync of its log (`synchronous_commit = on`, the default); unique (stream, revision) checked"

SCHEMA = """
CREATE TABLE events (
  position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  stream text NOT NULL, revision bigint NOT NULL, type text NOT NULL, data jsonb NOT NULL,
  recorded_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (stream, revision));
"""
DATA = '{"pad": "' + "x" * (256 - 11) + '"}'
APPEND = f"""\\set n random(1, 10000)
INSERT INTO events (stream, revision, type, data)
SELECT 'order-' || :n, coalesce(max(revision), 0) + 1, 'OrderPlaced', '{DATA}' FROM events WHERE stream = 'order-' || :n;
"""
# The events are made inside the server, which spares it to read them from the connection and to parse most of it.
BATCH = f"""\\set n random(1, 1000000000000)
INSERT INTO events (stream, revision, type, data)
SELECT 'batch-' || :n || '-' || :client_id, g, 'OrderPlaced', '{DATA}' FROM generate_series(1, 1000) g;
"""
READ = """\\set n random(1, {streams})
SELECT position, stream, revision, type, data, recorded_at FROM events WHERE stream = 'read-' || :n ORDER BY revision;
"""


def folder():
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda p: int(re.search(r"/(\d+)/", p).group(1)))
    return found[-1] if found and os.path.exists(found[-1] + "/pgbench") else None


def version():
    return subprocess.run([folder() + "/postgres", "--version"], capture_output=True, text=True, check=True).stdout.split()[2]


def missing():
    return None if folder() else "PostgreSQL's server is not installed"


class Peer:
    def __init__(self, data):
        self.home = data
        self.port = str(measure.free_port())
        self.environment = {**os.environ, "PGHOST": data, "PGPORT": self.port, "PGUSER": "bench", "PGDATABASE": "postgres"}
        self.become = []
        if os.getuid() == 0:  # it refuses to run as root
            user = pwd.getpwnam("postgres")
            os.chown(data, user.pw_uid, user.pw_gid)
            self.become = ["setpriv", "--reuid", "postgres", "--regid", str(user.pw_gid), "--clear-groups"]
        where = os.path.join(data, "data")
        self.run([*self.become, folder() + "/initdb", "-D", where, "-U", "bench", "--auth=trust", "-E", "UTF8", "--locale=C"])
        self.server = measure.Server([*self.become, folder() + "/postgres", "-D", where, "-p", self.port, "-k", data, "-c", "listen_addresses=127.0.0.1",
                                      "-c", "shared_buffers=1GB", "-c", "max_wal_size=4GB"], os.path.join(data, "..", "postgresql.log"))
        self.server.await_true(self.is_ready, "postgres")
        self.psql(SCHEMA)

    def run(self, command, text_in=None):
        done = subprocess.run(command, input=text_in, capture_output=True, text=True, check=False, cwd="/", env=getattr(self, "environment", None))
        if done.returncode != 0:
            raise measure.Failed(f"{os.path.basename(command[-1])}: {done.stderr.strip()[-500:]}")
        return done.stdout

    def is_ready(self):
        return subprocess.run([folder() + "/pg_isready", "-q"], env=self.environment, check=False).returncode == 0

    def psql(self, sql):
        return self.run([folder() + "/psql", "-v", "ON_ERROR_STOP=1", "-qAt", "-c", sql])

    def pgbench(self, script, connections, seconds):
        """What its log says of each transaction: per second, and the 99th percentile in microseconds. Over TCP, as the others. A
        transaction that another one was faster than (unique violation) is tried again, which counts as its latency."""
        logs = os.path.join(self.home, "..", "pgbench-log")
        shutil.rmtree(logs, ignore_errors=True)
        os.mkdir(logs)
        path = os.path.join(logs, "script")
        with open(path, "w", encoding="utf-8") as text:
            text.write(script)
        environment = {**self.environment, "PGHOST": "127.0.0.1"}
        done = subprocess.run([folder() + "/pgbench", "-n", "-M", "prepared", "-c", str(connections), "-j", "1", "-T", str(max(1, round(seconds))), "-f", path,
                               "-l", "--log-prefix", os.path.join(logs, "log"), "--max-tries", "100"],
                              capture_output=True, text=True, check=False, cwd="/", env=environment)
        rate = re.search(r"tps = ([0-9.]+) \(without", done.stdout)
        if done.returncode not in (0, 2) or not rate:
            raise measure.Failed(f"pgbench: {done.stderr.strip()[-500:]}")
        times = []
        for name in glob.glob(os.path.join(logs, "log.*")):
            with open(name, encoding="ascii") as text:
                times += [int(line.split()[2]) for line in text if line.split()[2].isdigit()]
        times.sort()
        shutil.rmtree(logs)
        return {"per_s": float(rate.group(1)), "p99_us": times[len(times) * 99 // 100]}

    def append(self, connections, seconds):
        return self.pgbench(APPEND, connections, seconds)

    def batch(self, connections, seconds):
        return self.pgbench(BATCH, connections, seconds)["per_s"] * 1000

    def fill(self, streams, events):
        self.psql(f"INSERT INTO events (stream, revision, type, data) SELECT 'read-' || s, r, 'OrderPlaced', '{DATA}' "
                  f"FROM generate_series(1, {events}) r, generate_series(1, {streams}) s")
        self.psql("VACUUM ANALYZE events")
        return streams * events

    def disk_bytes(self):
        """The table with its indexes, without its log."""
        return int(self.psql("SELECT pg_total_relation_size('events')"))

    def read_stream(self, connections, seconds, streams, _events):
        return self.pgbench(READ.format(streams=streams), connections, seconds)["per_s"]

    def replay(self, events):
        begun = time.monotonic()
        copy = "COPY (SELECT position, stream, revision, type, data, recorded_at FROM events ORDER BY position) TO STDOUT"
        with subprocess.Popen([folder() + "/psql", "-h", "127.0.0.1", "-qAt", "-c", copy], stdout=subprocess.PIPE, env=self.environment) as child:
            lines = sum(block.count(b"\n") for block in iter(lambda: child.stdout.read(1 << 20), b""))
        if lines != events:
            raise measure.Failed(f"read {lines} of {events} events")
        return events / (time.monotonic() - begun)

    def stop(self):
        self.server.stop(2)  # SIGINT: its fast shutdown

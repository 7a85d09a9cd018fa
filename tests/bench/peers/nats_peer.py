"""NATS JetStream with a file store, by nats_load.c (the C client of NATS)."""

import json
import os
import shutil
import subprocess
import tempfile

import measure

NAME = "NATS JetStream"
SYNC = ("**before any fsync**: Debian's version syncs every 2 minutes and has no setting for it, so a power cut loses what was acknowledged; "
        "the last sequence of the subject is checked")
STREAM_PREFIX = "events."


def version():
    return subprocess.run(["nats-server", "--version"], capture_output=True, text=True, check=True).stdout.strip().rsplit("v", 1)[-1]


def missing():
    if not shutil.which("nats-server"):
        return "nats-server is not installed"
    known = subprocess.run(["cc", "-E", "-include", "nats/nats.h", "-x", "c", "/dev/null"], capture_output=True, check=False)
    return None if known.returncode == 0 else "its C client (libnats-dev) is not installed"


class Peer:
    def __init__(self, data):
        self.data = data
        self.port = measure.free_port()
        self.load_program = os.path.join(data, "nats_load")
        source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "nats_load.c")
        subprocess.run(["cc", "-O2", "-Wall", "-o", self.load_program, source, "-lnats", "-lpthread"], check=True)
        config = os.path.join(data, "nats.conf")
        with open(config, "w", encoding="utf-8") as text:
            text.write(f'listen: "127.0.0.1:{self.port}"\njetstream {{ store_dir: "{data}/store", max_file_store: 20G }}\n')
        self.server = measure.Server(["nats-server", "-c", config], os.path.join(tempfile.gettempdir(), f"nats-{self.port}.log"))
        self.server.await_true(lambda: "Server is ready" in self.server.last_words(), "nats-server")
        self.load("create")

    def load(self, workload, connections=1, seconds=1.0, streams=10000, events=0):
        return measure.run_json([self.load_program, f"nats://127.0.0.1:{self.port}", workload, str(connections), str(seconds), str(streams), str(events)])

    def append(self, connections, seconds):
        return self.load("append", connections, seconds)

    def batch(self, connections, seconds):
        """1,000 published without waiting, then all their answers awaited: not all or nothing."""
        return self.load("batch", connections, seconds)["per_s"]

    def fill(self, streams, events):
        self.load("fill", 1, 0, streams, events)
        return streams * events

    def disk_bytes(self):
        return measure.disk_bytes(os.path.join(self.data, "store"))

    def read_stream(self, connections, seconds, streams, events):
        return self.load("read-stream", connections, seconds, streams, events)["per_s"]

    def replay(self, events):
        return self.load("replay", 1, 0, 0, events)["per_s"]

    def stop(self):
        self.server.stop()
        os.unlink(self.server.log)

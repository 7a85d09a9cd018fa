"""UmaDB (its wheel from PyPI has server and client), by umadb_load.py (its Python client, in four processes)."""

import os
import subprocess
import sys

import measure

NAME = "UmaDB"
SYNC = "after fsync; a condition (no newer event with the stream's tag) checked"
WHERE = os.path.join(measure.ROOT, "build", "peers", "umadb")


def python():
    return os.path.join(WHERE, "bin", "python")


def install():
    if not os.path.exists(python()):
        subprocess.run([sys.executable, "-m", "venv", WHERE], check=True)
    subprocess.run([python(), "-m", "pip", "install", "-q", "umadb"], check=True)


def version():
    return subprocess.run([os.path.join(WHERE, "bin", "umadb"), "--version"], capture_output=True, text=True, check=True).stdout.split()[-1]


def missing():
    return None if os.path.exists(os.path.join(WHERE, "bin", "umadb")) else "its wheel is not in build/peers"


class Peer:
    def __init__(self, data):
        self.data = data
        self.port = measure.free_port()
        self.server = measure.Server([os.path.join(WHERE, "bin", "umadb"), "--listen", f"127.0.0.1:{self.port}", "--db-path", os.path.join(data, "uma.db")],
                                     os.path.join(data, "..", "umadb.log"))
        self.server.await_true(self.is_ready, "umadb")

    def load(self, workload, connections=1, seconds=1.0, streams=10000, events=0):
        here = os.path.dirname(os.path.abspath(__file__))
        return measure.run_json([python(), os.path.join(here, "umadb_load.py"), f"http://127.0.0.1:{self.port}", workload, str(connections), str(seconds),
                                 str(streams), str(events)])

    def is_ready(self):
        try:
            self.load("head")
            return True
        except measure.Failed:
            return False

    def append(self, connections, seconds):
        return self.load("append", connections, seconds)

    def batch(self, connections, seconds):
        return self.load("batch", connections, seconds)["per_s"] * 1000

    def fill(self, streams, events):
        self.load("fill", 1, 0, streams, events)
        return streams * events

    def disk_bytes(self):
        return measure.disk_bytes(self.data)

    def read_stream(self, connections, seconds, streams, events):
        return self.load("read-stream", connections, seconds, streams, events)["per_s"]

    def replay(self, events):
        return self.load("replay", 1, 0, 0, events)["per_s"]

    def stop(self):
        self.server.stop(2)

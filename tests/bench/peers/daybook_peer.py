"""Daybook with its default settings, by `daybook bench`."""

import os

import measure

NAME = "Daybook"
SYNC = "after its synced write (`O_DSYNC`); expected revision and event id checked"


def version():
    return os.popen(f"{measure.program('daybookd')} --version").read().split()[-1]


def missing():
    return None


class Peer:
    def __init__(self, data):
        self.data = os.path.join(data, "data")
        self.server = measure.Daybook(self.data)

    def append(self, connections, seconds):
        return measure.bench(self.server.url, "append", connections=connections, seconds=seconds)

    def batch(self, connections, seconds):
        return measure.bench(self.server.url, "append", connections=connections, seconds=seconds, batch=1000, encoding="protobuf",
                             expect="any")["events_per_s"]

    def fill(self, streams, events):
        """read-stream makes the streams that it reads."""
        self.read_stream(1, 1, streams, events)
        return self.server.settle()["position"]

    def disk_bytes(self):
        """Without the journal, whose size is fixed."""
        return measure.disk_bytes(os.path.join(self.data, "store"))

    def read_stream(self, connections, seconds, streams, events):
        return measure.bench(self.server.url, "read-stream", connections=connections, seconds=seconds, streams=streams, events=events,
                             encoding="protobuf")["per_s"]

    def replay(self, events):
        got = measure.bench(self.server.url, "read-log", encoding="protobuf")
        if got["events"] < events:
            raise measure.Failed(f"read {got['events']} of {events} events")
        return got["events_per_s"]

    def stop(self):
        self.server.stop()

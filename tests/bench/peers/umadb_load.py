"""Load on UmaDB by its own client: umadb_load.py URL WORKLOAD CONNECTIONS SECONDS STREAMS EVENTS; prints a line of JSON.

Workloads: append (one event, if none of its stream came after the last this client knows), batch (1,000 events), fill (STREAMS of
EVENTS), read-stream, replay, head. Connections are threads with a client each, spread over up to four processes.
"""

import json
import multiprocessing
import os
import random
import sys
import threading
import time

import umadb

DATA = b"x" * 256
PROCESSES = 4


def event(stream):
    return umadb.Event("OrderPlaced", DATA, tags=[f"stream:{stream}"])


def query(stream):
    return umadb.Query([umadb.QueryItem(types=[], tags=[f"stream:{stream}"])])


def append(client, dice, _streams, _events, known):
    """Each connection has streams of its own, so that the condition holds."""
    stream = f"order-{known['of']}-{dice.randrange(200)}"
    condition = umadb.AppendCondition(query(stream), known.get(stream, 0))
    known[stream] = client.append([event(stream)], condition)


def batch(client, dice, streams, _events, _known):
    client.append([event(f"batch-{dice.randrange(streams)}") for _ in range(1000)])


def read_stream(client, dice, streams, events, _known):
    if len(list(client.read(query(f"read-{dice.randrange(streams)}")))) != events:
        raise SystemExit("a stream has not its events")


OPERATIONS = {"append": append, "batch": batch, "read-stream": read_stream}


def connection(url, operation, number, seconds, streams, events, times):
    with umadb.Client(url) as client:
        dice, known = random.Random(number), {"of": f"{os.getpid()}-{number}"}
        end = time.monotonic() + seconds
        while (begun := time.monotonic()) < end:
            operation(client, dice, streams, events, known)
            times.append(time.monotonic() - begun)


def process(url, workload, numbers, seconds, streams, events, out):
    times = []
    threads = [threading.Thread(target=connection, args=(url, OPERATIONS[workload], n, seconds, streams, events, times)) for n in numbers]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    out.put(times)


def many(url, workload, connections, seconds, streams, events):
    out = multiprocessing.Queue()
    parts = [range(i, connections, PROCESSES) for i in range(min(PROCESSES, connections))]
    children = [multiprocessing.Process(target=process, args=(url, workload, p, seconds, streams, events, out)) for p in parts]
    for child in children:
        child.start()
    times = sorted(t for _ in children for t in out.get())
    for child in children:
        child.join()
    return {"per_s": len(times) / seconds, "p99_us": times[len(times) * 99 // 100] * 1e6}


def main():
    url, workload = sys.argv[1:3]
    connections, seconds, streams, events = int(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5]), int(sys.argv[6])
    if workload in OPERATIONS:
        print(json.dumps(many(url, workload, connections, seconds, streams, events)))
        return
    with umadb.Client(url) as client:
        begun = time.monotonic()
        if workload == "fill":
            for _ in range(events):
                for first in range(0, streams, 1000):
                    client.append([event(f"read-{s}") for s in range(first, min(first + 1000, streams))])
        elif workload == "replay":
            count = sum(1 for _ in client.read(start=0))
            if count != events:
                raise SystemExit(f"read {count} of {events} events")
        else:
            client.head()
        print(json.dumps({"per_s": events / (time.monotonic() - begun)}))


if __name__ == "__main__":
    main()

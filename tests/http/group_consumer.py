"""A consumer for test_group_kills.py, which may be killed anywhere: fetches from group `g`, writes one event `Out` for each event
to the stream `out`, in the same step as the acknowledgement. Called with PORT, SEED and the most events to take at a time.

Its events have no ids: only the ack with the append keeps a second one out."""
import http.client
import json
import random
import sys
import time


def exchange(connection, path, body):
    connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def work(connection, name, chance, most):
    status, answer = exchange(connection, "/v1/groups/g/fetch", {"consumer": name, "max": chance.randint(1, most), "wait_s": 1})
    if status != 200:
        time.sleep(0.05)
        return
    deliveries = answer["events"]
    while deliveries:
        n = chance.randint(1, len(deliveries))
        part, deliveries = deliveries[:n], deliveries[n:]
        events = [{"type": "Out", "data": {"stream": d["event"]["stream"], "revision": d["event"]["revision"]}} for d in part]
        status, _ = exchange(connection, "/v1/groups/g/ack", {"leases": [d["lease"] for d in part],
                                                              "append": {"appends": [{"stream": "out", "events": events}]}})  # fmt: skip
        assert status in (201, 409, 503), status  # done; too late; the server is ending


def main():
    port, seed, most = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    chance = random.Random(seed)
    connection = None
    while True:
        try:
            connection = connection or http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            work(connection, f"c{seed}", chance, most)
        except (OSError, http.client.HTTPException, json.JSONDecodeError):
            connection = None
            time.sleep(0.05)


main()

"""A projection that has caught up rests: whoever waits for a position ends that, and nothing is left behind."""
import threading

from support import event, wait_for
from test_projections import COUNTER, ask, info, live, path, put_ok, rows

HOUR = ["--projection-rest-ms", "3600000"]  # longer than any of these tests: what ends it is what is tested
ROUNDS = 20


def read_at(server, name, position):
    return rows(server, name, "SELECT sum(n) FROM counts", query=f"?min_position={position}&wait=25s")


def append(server, stream="s-1"):
    return server.append_ok(stream, event())["last_position"]


def rest(server, name="p"):
    """From here on it rests; returns the position where."""
    position = append(server)
    assert read_at(server, name, position) == [[position - 1]]  # without the definition
    return position


def resting(fresh):
    fresh.restart(flags=HOUR)
    put_ok(fresh, "p", COUNTER)
    live(fresh, "p")
    return rest(fresh)


def test_it_rests_until_somebody_waits(fresh):
    """What comes meanwhile is not taken by itself, and is there for whoever waits for it, every time."""
    resting(fresh)
    for _ in range(ROUNDS):
        position = append(fresh)
        assert info(fresh, "p")["position"] < position
        assert read_at(fresh, "p", position) == [[position - 1]]
        assert info(fresh, "p")["position"] == position


def test_who_waits_for_what_is_still_to_come(fresh):
    """A reader may wait before the event is appended, several for different ones, one in vain."""
    position = resting(fresh)
    vain = threading.Thread(target=ask, args=(fresh, "p", "SELECT 1"), kwargs={"query": f"?min_position={position + 100000}&wait=2s"})
    vain.start()
    for _ in range(ROUNDS):
        got = {}

        def wait_at(at, got=got):
            got[at] = read_at(fresh, "p", at)

        threads = [threading.Thread(target=wait_at, args=(position + n,)) for n in (1, 2, 3)]
        for thread in threads:
            thread.start()
        for _ in threads:
            position = append(fresh)
        for thread in threads:
            thread.join()
        assert sorted(got) == [position - 2, position - 1, position]
        assert all(value >= [[at - 1]] for at, value in got.items())
        assert got[position] == [[position - 1]]
    vain.join()


def test_orders_and_ends_during_a_rest(fresh):
    """A new version, a pause, a stop and a start do not wait for the end of a rest."""
    resting(fresh)
    position = append(fresh)
    put_ok(fresh, "p", COUNTER + "-- again\n")
    live(fresh, "p", 2)
    assert read_at(fresh, "p", position) == [[2]]
    position = append(fresh)
    assert fresh.post(path("p", "pause"), {}).status == 200
    assert fresh.post(path("p", "resume"), {}).status == 200
    assert read_at(fresh, "p", position) == [[3]]
    append(fresh)
    fresh.restart(flags=HOUR)
    wait_for(lambda: info(fresh, "p")["position"] == fresh.position(), 30, "a model that is behind at the start catches up")


def test_what_gathers_is_taken_without_readers(fresh):
    """After the rest the events that have gathered are taken, though nobody asks."""
    fresh.restart(flags=["--projection-rest-ms", "100"])
    put_ok(fresh, "p", COUNTER)
    live(fresh, "p")
    for _ in range(ROUNDS):
        position = append(fresh)
        wait_for(lambda position=position: info(fresh, "p")["position"] >= position, 30, "the end of a rest")
    assert rows(fresh, "p", "SELECT sum(n) FROM counts") == [[ROUNDS]]

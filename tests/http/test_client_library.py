"""The C client library as a third party has it: an archive and headers. Its README's program, written as against what
`make install` leaves, and client_library.c are compiled and run with the real server."""
import re
import subprocess

import pytest

from support import ROOT, events_path
from support_cli import ARCHIVE, Proxy, check, compile_client


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """Compiles a program against what is installed; returns its path."""
    home = tmp_path_factory.mktemp("client")
    return lambda name, source: compile_client(home, name, source)


@pytest.fixture(scope="module")
def client_library(build):
    return build("client_library", (ROOT / "tests" / "http" / "client_library.c").read_text())


def run(program, *args, status=0):
    done = subprocess.run([program, *args], capture_output=True, timeout=60, check=False)
    check(done, status)
    return done.stdout.decode()


def test_the_readmes_program(build, fresh):
    """It compiles without a warning as it is written there, and does what it says."""
    (source,) = re.findall(r"```c\n(.*?)```", (ROOT / "clients" / "c" / "README.md").read_text(), re.S)
    program = build("example", source)
    assert run(program, fresh.url) == '1 ItemTaken {"quantity":1}\n'
    assert run(program, fresh.url) == '1 ItemTaken {"quantity":1}\n2 ItemTaken {"quantity":1}\n'
    assert [e["data"] for e in fresh.read_all(events_path("stock-42"))] == [{"quantity": 1}] * 2
    run(program, "http://127.0.0.1:1", status=1)
    run(program, "nonsense", status=2)


def test_the_library(client_library, fresh):
    assert run(client_library, fresh.url) == "ok\n"


def test_the_library_over_lost_connections(client_library, fresh):
    """The same while connections are cut again and again: no call notices, nothing is appended twice."""
    cuts = [-1, 0, 10, 200, 30000, 0, -1, 100000, 5, 300, 1000, 0, 40000, 40000, 20]
    with Proxy(fresh.port, cuts) as proxy:
        assert run(client_library, proxy.url, "lossy") == "ok\n"
        assert proxy.connections > len(cuts) // 2
    streams = {e["stream"] for e in fresh.read_all()}
    for stream in streams:
        revisions = [e["revision"] for e in fresh.read_all(events_path(stream))]
        assert revisions == list(range(1, len(revisions) + 1))
    assert len(fresh.read_all(events_path("read-1"))) == 5000


def test_exported_names():
    """Every name that the archive gives the linker begins with daybook_ (or is a generated message's)."""
    names = subprocess.run(["nm", "-g", "--defined-only", "--format=just-symbols", ARCHIVE], capture_output=True, text=True,
                           check=True).stdout.split()
    assert [n for n in names if not n.startswith(("daybook_", "__asan", "__odr")) and not n.endswith(".o:")] == []

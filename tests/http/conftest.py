"""Fixtures: servers, data directories, the generated protobuf model, seeds; and a timeout for every test."""
import os
import random
import shutil
import signal
import tempfile

import pytest

import support

TIMEOUT_S = 30  # of each phase (setup, call, teardown) of a test; @pytest.mark.timeout_s(n) for more


def pytest_configure(config):
    config.addinivalue_line("markers", "timeout_s(n): seconds that each phase of this test may take")


# ---- a timeout for every test ---------------------------------------------------------------------


def _alarm(item):
    marker = item.get_closest_marker("timeout_s")
    seconds = (marker.args[0] if marker else TIMEOUT_S) * support.SLOW

    def ring(*_):
        pytest.fail(f"timeout: more than {seconds} s")

    signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_setup(item):
    _alarm(item)
    yield
    signal.alarm(0)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    _alarm(item)
    yield
    signal.alarm(0)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_teardown(item):
    _alarm(item)
    yield
    signal.alarm(0)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """A failed test shows what its servers logged last."""
    report = (yield).get_result()
    if report.failed:
        for server in list(support.Server.running):
            report.sections.append((f"daybookd {server.data}", server.log()[-3000:]))


# ---- servers --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def module_server(request):
    """One server for a whole file, on a fresh store; the file's SERVER_FLAGS are its flags."""
    server = support.Server(flags=getattr(request.module, "SERVER_FLAGS", ()))
    yield server
    server.close()


@pytest.fixture
def server(module_server):
    """The file's server. Tests share it, so each uses stream names of its own (see `name`). A test during which it dies
    has failed; the next one gets it back."""
    if module_server.process is None:
        module_server.start()
    yield module_server
    if module_server.process is not None and module_server.process.poll() is not None:
        module_server.wait_exit()


@pytest.fixture
def launch():
    """Starts servers that only this test uses: launch("--flag", value, data=…, env=…)."""
    servers = []

    def start(*flags, **more):
        servers.append(support.Server(flags=flags, **more))
        return servers[-1]

    yield start
    errors = []
    for server in servers:
        try:
            server.close()
        except AssertionError as error:
            errors.append(error)
    if errors:
        raise errors[0]


@pytest.fixture
def fresh(launch):
    """A server that only this test uses, on a fresh store."""
    return launch()


@pytest.fixture
def tmp_data():
    """The path of a data directory that does not exist yet."""
    home = tempfile.mkdtemp(prefix="daybook-data-")
    yield os.path.join(home, "data")
    shutil.rmtree(home, ignore_errors=True)


# ---- values ---------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def pb():
    """The messages of proto/daybook/v1, generated now: pb.Event, pb.AppendMany, …"""
    return support.pb()


@pytest.fixture(params=sorted(support.ENCODINGS))
def encoding(request):
    """Each encoding in turn."""
    return request.param


@pytest.fixture
def seed():
    """A random seed, printed with a failure; DAYBOOK_TEST_SEED repeats it."""
    seed = int(os.environ.get("DAYBOOK_TEST_SEED") or random.SystemRandom().randrange(2**32))
    print(f"DAYBOOK_TEST_SEED={seed}")
    return seed


_names = iter(range(1, 1 << 30))


@pytest.fixture
def name(request):
    """Makes names of streams that no other test uses."""
    return lambda prefix="s": f"{prefix}-{os.getpid()}-{next(_names)}"

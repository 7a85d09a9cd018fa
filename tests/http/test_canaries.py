"""A gate that nobody has seen fail is not a gate: the checks that every test relies on do fail when they must."""
import types

import pytest

import conftest
import support


def test_a_sanitizer_report_fails_a_test(launch):
    """A report on the server's stderr is found when the server ends."""
    server = launch()
    with open(server.log_path, "a") as log:
        log.write("==1==ERROR: AddressSanitizer: heap-use-after-free\n")
    with pytest.raises(AssertionError, match="has a report"):
        server.stop()
    open(server.log_path, "w").close()


def test_a_crash_fails_a_test(launch):
    """A server that did not end by itself with status 0 is found."""
    server = launch()
    server.process.kill()
    with pytest.raises(AssertionError, match="ended with -9"):
        server.stop()


def test_a_missing_header_fails_a_test(server):
    """Server.request insists on Daybook-Position."""
    with pytest.raises(AssertionError, match="no Daybook-Position"):
        connection = types.SimpleNamespace(
            request=lambda *_, **__: None,
            getresponse=lambda: types.SimpleNamespace(status=200, headers={"Daybook-Position": None}, read=bytes),
        )
        server._exchange(connection, "GET", "/", None, {}, True)


def test_a_hanging_test_is_ended(monkeypatch):
    """The alarm ends a test that waits for ever."""
    monkeypatch.setattr(conftest, "TIMEOUT_S", 1)
    monkeypatch.setattr(support, "SLOW", 1)
    with pytest.raises(pytest.fail.Exception, match="timeout"):
        conftest._alarm(types.SimpleNamespace(get_closest_marker=lambda _: None))
        support.wait_for(lambda: False, 20)

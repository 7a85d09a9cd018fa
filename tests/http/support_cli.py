"""What the tests of the command line and of the client library are written with: the program as a function, and a proxy
that stands between it and the real server and cuts connections."""
import os
import pathlib
import shlex
import shutil
import socket
import subprocess
import threading

from support import DAYBOOK, REPORTS, ROOT, SANITIZER, SLOW, wait_for

ARCHIVE = pathlib.Path(os.environ.get("DAYBOOK_LIBRARY", pathlib.Path(DAYBOOK).parent / "libdaybook.a"))


def daybook(*args, server=None, stdin=None, status=0, env=None, timeout=60):
    """Runs `daybook` and returns what came of it, as bytes; `status` is its expected exit status, None for any."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("DAYBOOK_")} | (env or {})
    if server is not None:
        environment["DAYBOOK_URL"] = server if isinstance(server, str) else server.url
    done = subprocess.run(
        [DAYBOOK, *map(str, args)], input=stdin if stdin is not None else b"", capture_output=True,
        timeout=timeout * SLOW, env=environment, check=False,
    )
    check(done, status)
    return done


def check(done, status):
    errors = done.stderr.decode("utf-8", "replace")
    assert REPORTS.search(errors) is None, errors[-6000:]
    assert status is None or done.returncode == status, f"exit status {done.returncode}: {errors[-2000:]}"


def error_of(*args, status=1, **more):
    """Runs `daybook`, which must fail: what it says, its first line without the name in front."""
    done = daybook(*args, status=status, **more)
    lines = done.stderr.decode().splitlines()
    assert lines and lines[0].startswith("daybook: "), done.stderr
    assert all(line.startswith(("daybook: ", "hint: ", "waiting ")) for line in lines), done.stderr
    return lines[0].removeprefix("daybook: ")


def compile_client(home, name, source):
    """Compiles a program against the client library as `make install` leaves it: an archive and headers."""
    for header in ROOT.glob("clients/c/daybook*.h"):
        shutil.copy(header, home)
    libraries = subprocess.run(["pkg-config", "--libs", "libcurl", "libprotobuf-c", "yajl"], capture_output=True, text=True,
                               check=True).stdout.split()
    (home / f"{name}.c").write_text(source)
    sanitize = ["--coverage" if SANITIZER == "coverage" else f"-fsanitize={SANITIZER}"] if SANITIZER else []
    subprocess.run([*shlex.split(os.environ.get("CC", "cc")), "-std=c17", "-g", "-Wall", "-Wextra", "-Wpedantic", "-Werror", f"-I{home}",
                    f"-I{ROOT}", *sanitize, home / f"{name}.c", ARCHIVE, *libraries, "-pthread", "-o", home / name], check=True)
    return home / name


def shut(end):
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


class Proxy:
    """Passes connections on to the server and cuts each after so many bytes of answers, as often as `cuts` has numbers;
    after that it passes everything on."""

    def __init__(self, port, cuts=()):
        self.port, self.cuts = port, list(cuts)
        self.connections = 0
        self.requests = []  # what clients sent, a piece as it came
        self.ends = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            cut = self.cuts.pop(0) if self.cuts else None
            if cut is not None and cut < 0:  # before the request is read
                client.close()
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self.port))
            except OSError:
                client.close()
                continue
            self.ends += [client, server]
            threading.Thread(target=self._pass, args=(client, server, None), daemon=True).start()
            threading.Thread(target=self._pass, args=(server, client, cut), daemon=True).start()

    def cut_all(self):
        """Cuts the connections that there are now."""
        ends, self.ends = self.ends, []
        for end in ends:
            shut(end)

    def _pass(self, source, target, cut):
        try:
            if cut == 0:
                source.recv(1)  # there is an answer, so the request has arrived
            while cut is None or cut > 0:
                data = source.recv(65536 if cut is None else min(65536, cut))
                if not data:
                    break
                if data.startswith((b"GET ", b"POST ")):
                    self.requests.append(data)
                target.sendall(data)
                cut = None if cut is None else cut - len(data)
        except OSError:
            pass
        shut(source)
        shut(target)


def unread(sock):
    """Bytes that the peer of a connection of this machine has not read yet, from the kernel's table."""
    (_, local), (_, peer) = sock.getsockname(), sock.getpeername()
    with open("/proc/net/tcp", encoding="ascii") as table:
        for row in table.readlines()[1:]:
            fields = row.split()
            ports = [int(end.split(":")[1], 16) for end in fields[1:3]]
            if ports == [peer, local]:
                return int(fields[4].split(":")[1], 16)
    return 0


class Stalling(Proxy):
    """Passes one connection on, and after so many bytes of answers nothing more: the server is there and silent."""

    def __init__(self, port, after):
        self.after, self.stalled, self.kept = after, threading.Event(), []
        super().__init__(port)

    def _pass(self, source, target, cut):  # pylint: disable=arguments-differ
        self.kept += [source, target]
        passed = 0
        try:
            while data := source.recv(min(65536, self.after - passed)):
                target.sendall(data)
                passed += len(data)
                if passed == self.after:
                    self.stalled.set()
                    return
        except OSError:
            pass

    def __exit__(self, *arguments):
        super().__exit__(*arguments)
        for end in self.kept:
            end.close()

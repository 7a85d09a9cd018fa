"""What tests/bench/run measures with: servers that are started and stopped, loads that are run on them.

Nothing here knows targets or tables. Every process is started by us, in a directory of ours, on a free
port of 127.0.0.1, and is ended by its own pid.
"""

import contextlib
import csv
import http.client
import io
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
READY_S = 120
SETTLE_S = 60
BENCH_FLAGS = []  # for every `daybook bench`


def say(text):
    print(text, file=sys.stderr, flush=True)


class Failed(Exception):
    """A measurement could not be made; the message says why."""


class Rounds:
    """Values by name, one a round, with their median."""

    def __init__(self):
        self.values = {}

    def add(self, name, measured):
        for key in ("per_s", "events_per_s", "mb_per_s", "p50_us", "p99_us"):
            if key in measured:
                self.values.setdefault((name, key), []).append(measured[key])
        say(f"    {name:<12} " + "  ".join(
            f"{k} {measured[k]:,.0f}" for k in ("per_s", "events_per_s", "p50_us", "p99_us")
            if k in measured and not (k == "events_per_s" and measured[k] == measured.get("per_s"))))

    def median(self, name, key="per_s"):
        return statistics.median(self.values[name, key])

    def latency(self, name):
        return f"p50 {self.median(name, 'p50_us') / 1e3:.2f} ms, p99 {self.median(name, 'p99_us') / 1e3:.2f} ms"


def program(name):
    """A program of the build; DAYBOOK_BUILD names another folder than build/."""
    path = os.path.join(os.environ.get("DAYBOOK_BUILD", os.path.join(ROOT, "build")), name)
    if not os.path.exists(path):
        raise Failed(f"{path} is missing: run `make all benches` first")
    return path


def run_json(command):
    """Runs a program that prints one line of JSON."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failed(f"{' '.join(command[:4])} ... failed: {done.stderr.strip() or done.stdout.strip()}")
    return json.loads(done.stdout)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def disk_bytes(folder):
    """What the folder takes on the disk: blocks, not lengths of sparse files."""
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += os.lstat(os.path.join(where, name)).st_blocks * 512
    return total


class Server:
    """A process of ours."""

    def __init__(self, command, log):
        self.log = log
        self.process = None
        with open(log, "ab") as out:
            self.process = subprocess.Popen(  # pylint: disable=consider-using-with
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)

    def stop(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(number)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise Failed(f"pid {self.process.pid} did not stop within 60 s") from None

    def last_words(self):
        with open(self.log, encoding="utf-8", errors="replace") as text:
            return text.read()[-1500:]

    def await_true(self, ready, what):
        """Polls quickly: what is measured here may take a few milliseconds."""
        deadline = time.monotonic() + READY_S
        while not ready():
            if self.process.poll() is not None:
                raise Failed(f"{what} ended by itself. It said:\n{self.last_words()}")
            if time.monotonic() > deadline:
                raise Failed(f"{what} was not ready after {READY_S} s")
            time.sleep(0.001)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class BareHttp(Server):
    """The bare libmicrohttpd handler."""

    def __init__(self, folder):
        log = os.path.join(folder, "bench_http.log")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(log)
        super().__init__([program("tests/bench/bench_http")], log)
        self.await_true(lambda: self.last_words().endswith("\n"), "bench_http")
        self.url = f"http://127.0.0.1:{self.last_words().split()[1]}"


class Daybook(Server):
    """daybookd on a data directory; `ready_s` is how long it took to answer /readyz."""

    def __init__(self, data, flags=()):
        self.data = data
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        begun = time.monotonic()
        super().__init__([program("daybookd"), "--data", data, "--listen", f"127.0.0.1:{self.port}",
                          *flags], data + ".log")
        try:
            self.await_true(self.is_ready, "daybookd")
        except Failed:
            self.stop(signal.SIGKILL)
            raise
        self.ready_s = time.monotonic() - begun

    def get(self, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def is_ready(self):
        try:
            return self.get("/readyz")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def status(self):
        return json.loads(self.get("/v1/status")[1])

    def settle(self):
        """Waits until everything committed has been applied, so that nothing runs in the background."""
        deadline = time.monotonic() + SETTLE_S
        while True:
            status = self.status()
            if status.get("applied_position", 0) >= status["position"]:
                return status
            if time.monotonic() > deadline:
                raise Failed(f"after {SETTLE_S} s applied_position is still behind: {status}")
            time.sleep(0.02)

    def private_bytes(self):
        """Memory that is the process's alone and that the kernel cannot drop: what was written to.
        (The mapped pages of LMDB are page cache, though smaps counts them as private, too.)"""
        sizes = {}
        with open(f"/proc/{self.process.pid}/smaps_rollup", encoding="ascii") as text:
            for line in text.read().splitlines()[1:]:
                name, size = line.split(":")
                sizes[name] = int(size.split()[0]) * 1024
        return max(sizes["Anonymous"], sizes["Private_Dirty"]) + sizes.get("SwapPss", 0)


    def cpu_s(self):
        """Processor time that the process has used."""
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as text:
            fields = text.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Redis(Server):
    """Redis with a synced append-only file, new each time so that no rewrite of it falls in."""

    def __init__(self, folder):
        self.folder = os.path.join(folder, "redis")
        shutil.rmtree(self.folder, ignore_errors=True)
        os.mkdir(self.folder)
        self.port = free_port()
        super().__init__(["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir",
                          self.folder, "--appendonly", "yes", "--appendfsync", "always", "--save", ""],
                         os.path.join(self.folder, "log"))
        self.await_true(self.is_ready, "redis-server")

    def is_ready(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as s:
                s.sendall(b"PING\r\n")
                return s.recv(16).startswith(b"+PONG")
        except OSError:
            return False

    def xadd(self, clients, seconds, payload, streams):
        """256 bytes into one of many streams; redis-benchmark counts requests, so their number comes
        from a short run first, which warms up as well."""
        first = self.benchmark(clients, 2000 * min(clients, 8), payload, streams)
        count = max(2000, int(first["per_s"] * seconds))
        return self.benchmark(clients, count, payload, streams)

    def benchmark(self, clients, count, payload, streams):
        done = subprocess.run(
            ["redis-benchmark", "-p", str(self.port), "-c", str(clients), "-n", str(count), "--csv",
             "-r", str(streams), "XADD", "order-__rand_int__", "*", "data", "x" * payload],
            capture_output=True, text=True, check=False)
        rows = list(csv.DictReader(io.StringIO(done.stdout)))
        if done.returncode != 0 or not rows or "rps" not in rows[0]:
            raise Failed(f"redis-benchmark failed: {done.stderr.strip() or done.stdout.strip()}")
        return {"per_s": float(rows[0]["rps"]), "p50_us": float(rows[0]["p50_latency_ms"]) * 1e3,
                "p99_us": float(rows[0]["p99_latency_ms"]) * 1e3}

    def __exit__(self, *arguments):
        super().__exit__(*arguments)
        shutil.rmtree(self.folder, ignore_errors=True)


def has_redis():
    return shutil.which("redis-server") is not None and shutil.which("redis-benchmark") is not None


def bench_command(url, workload, options):
    command = [program("daybook"), "--url", url, "bench", workload, "--json", *BENCH_FLAGS]
    for name, value in options.items():
        command += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    return command


def bench(url, workload, **options):
    """`daybook bench`: what it says in JSON, with the fields that all our measurements have. The latency of `follow` is that
    of its deliveries."""
    got = run_json(bench_command(url, workload, options))
    latency = got.get("delivery_us", got["latency_us"])
    return {"per_s": got["requests_per_s"], "events_per_s": got["events_per_s"], "mb_per_s": got["mb_per_s"],
            "p50_us": latency["p50"], "p99_us": latency["p99"], "events": got["events"]}


class Followers:
    """`daybook bench follow` in a process of its own: so many followers of the whole log, which are there once this was
    entered. `wait` returns how many events they got together, after each got `events`."""

    def __init__(self, url, count, events):
        options = {"connections": 0, "followers": count, "events": events}
        self.process = subprocess.Popen(  # pylint: disable=consider-using-with
            bench_command(url, "follow", options), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def __enter__(self):
        said = self.process.stderr.readline()
        if "have caught up" not in said:
            self.__exit__()
            raise Failed(f"the followers did not come: {said.strip()}")
        return self

    def wait(self):
        out, said = self.process.communicate()
        if self.process.returncode != 0:
            raise Failed(f"the followers failed: {said.strip()}")
        return json.loads(out)["events"]

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()


def synced_writes(folder, size, seconds):
    return run_json([program("tests/bench/bench_disk"), "odsync", folder, str(size), str(seconds)])


def lmdb_commits(folder, batch, seconds, events=None):
    return run_json([program("tests/bench/bench_disk"), "lmdb", folder, str(batch), str(seconds),
                     *([str(events)] if events else [])])

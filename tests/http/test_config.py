"""Settings: flags win over the environment, that over the file, that over the defaults; a mistake ends the start."""
import os
import re
import subprocess

import pytest

import support
from support import ROOT, SLOW

TABLE = re.compile(r'^SETTING\((\w+), \w+, "([^"]+)", "([^"]*)"', re.M)
SETTINGS = {name: (kind, default) for kind, name, default in TABLE.findall((ROOT / "server/config.def").read_text())}


def run(*arguments, env=None, cwd=None):
    """Runs daybookd where it is expected to end by itself."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("DAYBOOK_")}
    done = subprocess.run(
        [support.DAYBOOKD, *map(str, arguments)], env=clean | (env or {}), cwd=cwd, capture_output=True, text=True, timeout=20 * SLOW
    )
    assert not support.REPORTS.search(done.stderr), done.stderr
    return done


def page_limit(server):
    """The setting page-events-max as the server uses it: the largest page it takes, in its own words."""
    detail = server.get("/v1/events?limit=1000001").json["detail"]
    return int(re.search(r"\b(\d+)\b(?=[^\d]*$)", detail.replace("1000001", "")).group(1))


# ---- help and version -----------------------------------------------------------------------------


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_lists_every_setting(flag):
    """--help prints each setting as a flag, as a variable and with its default, on stdout, and nothing is started."""
    done = run(flag)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(SETTINGS) > 15
    for name, (_, default) in SETTINGS.items():
        assert f"--{name} " in done.stdout
        assert "DAYBOOK_" + name.upper().replace("-", "_") in done.stdout
        assert default in done.stdout


@pytest.mark.parametrize("flag", ["--version", "-V"])
def test_version_prints_the_version(flag):
    """--version prints the version of the VERSION file."""
    done = run(flag)
    assert (done.returncode, done.stderr) == (0, "")
    assert (ROOT / "VERSION").read_text().strip() in done.stdout


# ---- where a value comes from ---------------------------------------------------------------------


def test_the_default_holds_where_nothing_is_said(launch):
    """Without any source a setting has the default that --help prints."""
    assert page_limit(launch()) == int(SETTINGS["page-events-max"][1])


@pytest.mark.parametrize(
    "flag, variable, line, want",
    [
        (None, None, 33, 33),
        (None, 22, None, 22),
        (11, None, None, 11),
        (None, 22, 33, 22),
        (11, None, 33, 11),
        (11, 22, None, 11),
        (11, 22, 33, 11),
    ],
)
def test_the_stronger_source_wins(launch, tmp_path, flag, variable, line, want):
    """A flag wins over the environment, that over the file."""
    flags, env = [], {}
    if line:
        file = tmp_path / "daybook.conf"
        file.write_text(f"# a comment\n\n  page-events-max =  {line}   # as small as can be\nlog-level=debug\n")
        flags += ["--config", file]
    if variable:
        env["DAYBOOK_PAGE_EVENTS_MAX"] = str(variable)
    if flag:
        flags += ["--page-events-max", flag]
    assert page_limit(launch(*flags, env=env)) == want


def test_the_file_may_be_named_by_the_environment(launch, tmp_path):
    """DAYBOOK_CONFIG is as good as --config."""
    file = tmp_path / "daybook.conf"
    file.write_text("page-events-max = 44\n")
    assert page_limit(launch(env={"DAYBOOK_CONFIG": str(file)})) == 44


def test_a_flag_may_have_its_value_behind_an_equals_sign(launch):
    """--name=value is --name value; the last one counts."""
    assert page_limit(launch("--page-events-max=7", "--page-events-max=8")) == 8


def test_variables_of_others_are_not_settings(launch):
    """Variables that only begin like ours are left alone: Kubernetes makes such names, and the client has its own."""
    server = launch(env={"DAYBOOK_PORT_7407_TCP_ADDR": "10.0.0.1", "DAYBOOK_URL": "http://127.0.0.1:1"})
    assert server.get("/healthz").status == 200


# ---- mistakes -------------------------------------------------------------------------------------

BAD = [
    ("--page-events-max", "x"),
    ("--page-events-max", "-1"),
    ("--page-events-max", "0"),
    ("--page-events-max", "1.5"),
    ("--page-events-max", ""),
    ("--page-events-max", "10 KiB"),
    ("--page-events-max", "99999999999999999999999"),
    ("--body-bytes-max", "1"),
    ("--body-bytes-max", "16MB"),
    ("--body-bytes-max", "MiB"),
    ("--body-bytes-max", "16EiB"),
    ("--log-level", "loud"),
    ("--log-format", "xml"),
    ("--log-requests", "perhaps"),
    ("--data", ""),
    ("--listen", "7407"),
    ("--listen", "127.0.0.1:x"),
    ("--listen", "127.0.0.1:65536"),
    ("--listen", "::1:7407"),
]


@pytest.mark.parametrize("flag, value", BAD)
@pytest.mark.parametrize("source", ["flag", "environment", "file"])
def test_a_bad_value_ends_the_start(tmp_path, source, flag, value):
    """Exit status 2 and a message that names the setting, wherever the value came from; nothing is made."""
    name = flag[2:]
    file = tmp_path / "daybook.conf"
    file.write_text(f"{name} = {value}\n")
    variable = "DAYBOOK_" + name.upper().replace("-", "_")
    done = {
        "flag": lambda: run(flag, value, cwd=tmp_path),
        "environment": lambda: run(env={variable: value}, cwd=tmp_path),
        "file": lambda: run("--config", file, cwd=tmp_path),
    }[source]()
    assert done.returncode == 2, done
    assert name in done.stderr, done.stderr
    assert os.listdir(tmp_path) == ["daybook.conf"]


@pytest.mark.parametrize(
    "arguments, names",
    [
        (["--page-event-max", "5"], ["page-event-max", "--page-events-max"]),
        (["--nothing-like-it", "5"], ["nothing-like-it"]),
        (["stray"], ["stray"]),
        (["-x"], ["-x"]),
        (["--"], ["--"]),
        (["--data"], ["data"]),
        (["--config", "/does/not/exist"], ["/does/not/exist"]),
    ],
)
def test_a_bad_argument_ends_the_start(tmp_path, arguments, names):
    """Unknown and incomplete arguments are refused by name, with the nearest setting where there is one."""
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done
    assert [n for n in names if n not in done.stderr] == []


@pytest.mark.parametrize("line, names", [("page-events-max 5", ["name = value"]), ("page-event-max = 5", ["page-events-max"]), ("= 5", [":1"])])
def test_a_bad_line_of_the_file_ends_the_start(tmp_path, line, names):
    """A mistake in the file is told with its line."""
    file = tmp_path / "daybook.conf"
    file.write_text(line + "\n")
    done = run("--config", file, cwd=tmp_path)
    assert done.returncode == 2, done
    assert [n for n in [f"{file}:1", *names] if n not in done.stderr] == []


def test_a_misspelt_variable_ends_the_start(tmp_path):
    """A variable that is nearly a setting is a mistake, not another's."""
    done = run(env={"DAYBOOK_PAGE_EVENT_MAX": "5"}, cwd=tmp_path)
    assert done.returncode == 2, done
    assert "DAYBOOK_PAGE_EVENTS_MAX" in done.stderr


# ---- what cannot be had ---------------------------------------------------------------------------


def test_a_port_in_use_is_told(launch, tmp_path):
    """A second server on the same port ends with a message that names the address."""
    server = launch()
    done = run("--listen", f"127.0.0.1:{server.port}", "--data", tmp_path / "data")
    assert done.returncode not in (0, -6, -11)
    assert f"127.0.0.1:{server.port}" in done.stdout + done.stderr or "listen" in done.stdout + done.stderr


def test_a_data_directory_that_cannot_be_made_is_told(tmp_path):
    """A data directory under a file, or whose parent is missing, ends the start with its name."""
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "data", tmp_path / "missing" / "data"):
        done = run("--listen", "127.0.0.1:0", "--data", path)
        assert done.returncode not in (0, -6, -11)
        assert str(path) in done.stdout + done.stderr


@pytest.mark.parametrize("format", ["logfmt", "json"])
def test_log_lines_are_well_formed(launch, format):
    """Every line of the log is one record of the format, requests too, and has no payload."""
    server = launch("--log-format", format, "--log-requests", "--log-level", "debug")
    server.append_ok("s", support.event(data="a secret payload\n\"'="))
    server.get("/v1/events?type=%22x%22%20y")
    server.stop()
    lines = [line for line in server.log().splitlines() if not line.startswith("daybookd ")]  # the ready line is for people
    assert len(lines) >= 3
    for line in lines:
        if format == "json":
            assert isinstance(support.json.loads(line), dict)
        else:
            assert re.fullmatch(r'(\w+=("([^"\\]|\\.)*"|[^\s"=]*)( |$))+', line), line
    assert "secret" not in server.log()

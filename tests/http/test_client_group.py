"""The C client library's consumer groups: client_group.c is compiled against what is installed and run with a real server."""
import subprocess

from support import ROOT, SLOW
from support_cli import check, compile_client


def test_the_library(tmp_path, fresh):
    program = compile_client(tmp_path, "client_group", (ROOT / "tests" / "http" / "client_group.c").read_text())
    done = subprocess.run([program, fresh.url], capture_output=True, timeout=60 * SLOW, check=False)
    check(done, 0)
    assert done.stdout == b"ok\n"

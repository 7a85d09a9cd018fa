"""The README's commands run as they are written, on the demo data."""
import os
import re
import subprocess

from support import ROOT

DAYBOOK = os.environ.get("DAYBOOK", str(ROOT / "build/daybook"))


def test_the_five_minutes_of_the_readme(fresh):
    """Every command of the README's "Five minutes" succeeds, one after the other, beside the demo data."""
    text = (ROOT / "README.md").read_text()
    block = re.search(r"## Five minutes.*?```sh\n(.*?)```", text, re.S).group(1)
    script = block.replace("http://127.0.0.1:7407", fresh.url).replace("build/daybook ", DAYBOOK + " ")
    assert fresh.url in script and DAYBOOK in script
    environment = {**os.environ, "DAYBOOK_URL": fresh.url}
    demo = [DAYBOOK, "import", str(ROOT / "scripts/demo.ndjson")]
    subprocess.run(demo, env=environment, check=True, capture_output=True, timeout=100)
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert '"status":4' not in done.stdout and "OrderShipped" in done.stdout
    # "Send it again": the username is taken now, by another stream's event too.
    (guarded,) = re.findall(r"^curl [^\n]*-d '\{\n.*?\}'$", script, re.S | re.M)
    again = subprocess.run(["bash", "-c", guarded.replace("user-7", "user-8")], capture_output=True, text=True, timeout=100, check=True)
    assert '"type":"urn:daybook:problem:condition-failed"' in again.stdout and '"condition_violations":[{"item":0,"position":' in again.stdout
    assert "0 events appended" in done.stdout + done.stderr


def test_the_cloudevents_of_the_readme(fresh):
    """Every command of the README's "CloudEvents" is answered with what it says."""
    text = (ROOT / "README.md").read_text()
    block = re.search(r"### CloudEvents.*?```sh\n(.*?)```", text, re.S).group(1)
    script = block.replace("http://127.0.0.1:7407", fresh.url)
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert "urn:daybook:problem" not in done.stdout
    assert '"data":"by train"' in done.stdout and "ce-type: ParcelPacked" in done.stdout
    assert fresh.head_revision("parcel-7") == 2


def test_the_readmes_deletions(fresh):
    """Every command of the README's "Deleting things" succeeds, on the demo data."""
    text = (ROOT / "README.md").read_text()
    block = re.search(r"## Deleting things.*?```sh\n(.*?)```", text, re.S).group(1)
    script = block.replace("http://127.0.0.1:7407", fresh.url).replace("build/daybook ", DAYBOOK + " ")
    environment = {**os.environ, "DAYBOOK_URL": fresh.url}
    demo = [DAYBOOK, "import", str(ROOT / "scripts/demo.ndjson")]
    subprocess.run(demo, env=environment, check=True, capture_output=True, timeout=100)
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0 and '"status":4' not in done.stdout, done.stdout + done.stderr
    assert "the event at revision 2 is redacted\n" in done.stdout and '"max_count":100,' in done.stdout
    assert done.stdout.endswith('"deleted":true,"tombstoned":true,"metadata":{"max_count":100,"truncate_before":2,"custom":{"owner": "sales"}}}')


def test_the_readmes_read_models(fresh):
    """Every command of the README's "Read models" succeeds, on the demo data."""
    text = (ROOT / "README.md").read_text()
    chapter = re.search(r"## Read models\n(.*?)\n## ", text, re.S).group(1)
    block = "\n".join(re.findall(r"```sh\n(.*?)```", chapter, re.S))
    script = block.replace("/tmp/", fresh.home + "/").replace("http://127.0.0.1:7407", fresh.url).replace("build/daybook ", DAYBOOK + " ")
    environment = {**os.environ, "DAYBOOK_URL": fresh.url}
    demo = [DAYBOOK, "import", str(ROOT / "scripts/demo.ndjson")]
    subprocess.run(demo, env=environment, check=True, capture_output=True, timeout=100)
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0 and "urn:daybook:problem" not in done.stdout, done.stdout + done.stderr
    assert re.search(r"^shipped +28 ", done.stdout, re.M), done.stdout
    assert '{"columns":["id","state","items"],"rows":[["1001",' in done.stdout
    assert '{"key":"order-1001","document":{"history":["OrderPlaced"' in done.stdout
    assert '{"stream":"order-1001","revision":' in done.stdout
    assert re.search(r"^ItemAdded +128$", done.stdout, re.M)
    assert '"revision":3,"name":"Order","schema_version":1,' in done.stdout and '"data":{"state": "placed", "items": 2}}' in done.stdout
    assert done.stdout.rstrip().endswith(',"after":3}') and ',"revision":4,' in done.stdout and ',"replaced":false}' in done.stdout


def test_the_readmes_consumer_groups(fresh):
    """Every command of the README's "Consumer groups" succeeds, on the demo data."""
    text = (ROOT / "README.md").read_text()
    block = re.search(r"## Consumer groups.*?```sh\n(.*?)```", text, re.S).group(1)
    script = block.replace("http://127.0.0.1:7407", fresh.url).replace("build/daybook ", DAYBOOK + " ")
    environment = {**os.environ, "DAYBOOK_URL": fresh.url}
    demo = [DAYBOOK, "import", str(ROOT / "scripts/demo.ndjson")]
    subprocess.run(demo, env=environment, check=True, capture_output=True, timeout=100)
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0 and "urn:daybook:problem" not in done.stdout, done.stdout + done.stderr
    assert done.stdout.count("a mail about order-") == 3 and re.search(r"^ *\d+ +order-2002@1 .* no address$", done.stdout, re.M), done.stdout
    assert '{"acked":1,"results":[{"stream":"mail-2002",' in done.stdout and fresh.head_revision("mail-2002") == 1
    assert "\nmail: goes on after position 0; 29 events to deliver\n" in done.stdout


def test_the_page_for_kafka_users(fresh):
    """Every command of clients/KAFKA.md succeeds, from the top, on the demo data."""
    text = (ROOT / "clients/KAFKA.md").read_text()
    blocks = re.findall(r"```sh\n(.*?)```", text, re.S)
    script = "\n".join(blocks).replace("http://127.0.0.1:7407", fresh.url).replace("build/daybook ", DAYBOOK + " ")
    environment = {**os.environ, "DAYBOOK_URL": fresh.url}
    demo = [DAYBOOK, "import", str(ROOT / "scripts/demo.ndjson")]
    subprocess.run(demo, env=environment, check=True, capture_output=True, timeout=100)
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=100)
    assert len(blocks) == 8 and done.returncode == 0 and "urn:daybook:problem" not in done.stdout, done.stdout + done.stderr
    assert fresh.head_revision("ticket-1") == 2 and fresh.head_revision("report-1") == 2
    assert re.search(r"^ticket-[12]: ", done.stdout, re.M) and re.search(r" ticket-4@1 .* no subject$", done.stdout, re.M), done.stdout
    assert '"schema_version":2' in done.stdout and "desk: goes on after position 0; " in done.stdout


def test_the_readmes_backups(fresh, launch, tmp_path):
    """Every command of the README's "Backups" succeeds, and what it restores can be served."""
    text = (ROOT / "README.md").read_text()
    block = re.search(r"### Backups.*?```sh\n(.*?)```", text, re.S).group(1)
    environment = {**os.environ, "DAYBOOK_URL": fresh.url}
    demo = [DAYBOOK, "import", str(ROOT / "scripts/demo.ndjson")]
    subprocess.run(demo, env=environment, check=True, capture_output=True, timeout=100)
    script = block.replace("build/daybook ", DAYBOOK + " ")
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert launch(data=tmp_path / "restored").position() == fresh.position()
    assert launch(data=tmp_path / "then").position() == 2

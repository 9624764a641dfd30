"""The extension in a real Jupyter server."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest

import workbench as wb

TOKEN = "secret"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The address of a Jupyter server that has found the extension by itself."""
    folder = tmp_path_factory.mktemp("server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "jupyter_server",
        "--no-browser",
        "--allow-root",
        "--ServerApp.ip=127.0.0.1",
    ]
    command += [f"--ServerApp.port={port}", "--ServerApp.port_retries=0", f"--IdentityProvider.token={TOKEN}"]
    environment = os.environ | {"JUPYTER_CONFIG_DIR": str(folder), "JUPYTER_RUNTIME_DIR": str(folder)}
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}/workbench"
    for _ in range(300):
        try:
            ask(f"{address}/static/panel.js", parse=False)
            break
        except OSError:
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.1)
    yield address
    process.terminate()
    process.wait(30)


def ask(url, body=None, token=TOKEN, parse=True, **query):
    """Return the answer of the server; raises HTTPError for a refusal."""
    request = urllib.request.Request(f"{url}?{urllib.parse.urlencode(query)}")
    if token:
        request.add_header("Authorization", f"token {token}")
    if body is not None:
        request.data = json.dumps(body).encode()
    with urllib.request.urlopen(request, timeout=10) as answer:
        text = answer.read().decode()
    return json.loads(text) if parse else text


def refuse(url, **options):
    """Return status and text of a refusal."""
    with pytest.raises(urllib.error.HTTPError) as caught:
        ask(url, **options)
    with caught.value as error:
        return error.code, error.read().decode()


@pytest.fixture
def run(project):
    return wb.start_run("runs/one")


def test_events_of_a_running_run(server, run):
    answer = ask(f"{server}/events", run=run.path)
    assert json.loads(answer["lines"])["type"] == "start"
    assert answer["status"] == "running"
    assert ask(f"{server}/events", run=run.path, offset=answer["offset"])["lines"] == ""


def test_request_of_the_panel_arrives_in_the_run_folder(server, run):
    request = ask(f"{server}/control", {"action": "stop", "value": "now"}, run=run.path)
    (kept,) = json.loads((run.path / "control.json").read_text())["requests"]
    assert kept == request
    assert (kept["action"], kept["value"], kept["by"]) == ("stop", "now", "panel")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"action": "explode"}, "explode"),
        ({"action": "learning_rate", "value": -1}, "above zero"),
        (["stop"], "no action"),
    ],
)
def test_request_that_makes_no_sense_is_refused_with_a_reason(server, run, body, message):
    status, text = refuse(f"{server}/control", body=body, run=run.path)
    assert status == 400
    assert message in json.loads(text)["message"]
    assert not (run.path / "control.json").exists()


def test_offset_that_is_no_number_is_refused(server, run):
    assert refuse(f"{server}/events", run=run.path, offset="x")[0] == 400


@pytest.mark.parametrize("path", ["events", "pipeline", "control"])
def test_nothing_is_told_or_done_without_the_token(server, run, path):
    body = {"action": "stop", "value": "now"} if path == "control" else None
    assert refuse(f"{server}/{path}", token="", body=body, run=run.path, path=run.path)[0] == 403
    assert not (run.path / "control.json").exists()


def test_no_file_beside_the_scripts_is_served(server):
    assert "mountRuns" in ask(f"{server}/static/panel.js", parse=False)
    assert refuse(f"{server}/static/../server.py")[0] in (403, 404)

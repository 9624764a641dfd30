"""Drive JupyterLab in Chromium, for the tests beside this file and for benchmarks/dashboard.py."""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat

SECONDS = 90  # that anything may take before it counts as broken
_CHROMIUM = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--disable-background-networking"]
_QUIET = '{"fetchNews": "false", "checkForUpdates": false}'
_FOLDERS = ("JUPYTER_CONFIG_DIR", "JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR", "IPYTHONDIR")


def find_chromium() -> str | None:
    """Return the path of a Chromium that is installed, None if there is none."""
    return shutil.which("chromium") or shutil.which("google-chrome")


@contextmanager
def open_browser() -> Iterator[Any]:
    """Start Chromium without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=find_chromium(), args=_CHROMIUM)
        yield opened
        opened.close()


@contextmanager
def start_lab(browser: Any, folder: Path) -> Iterator["Lab"]:
    """Start a JupyterLab server over an empty project in `folder`, with settings of its own."""
    project = folder / "project"
    (project / "notebooks").mkdir(parents=True)
    (project / "workbench.toml").touch()
    folders = {name: str(folder / name.lower()) for name in _FOLDERS}
    settings = Path(folders["JUPYTERLAB_SETTINGS_DIR"]) / "@jupyterlab/apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text(_QUIET)
    port, token = _free_port(), secrets.token_hex(8)
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1"]
    command += [f"--ServerApp.port={port}", "--ServerApp.port_retries=0", f"--IdentityProvider.token={token}"]
    command += ["--LabApp.expose_app_in_browser=True", f"--ServerApp.root_dir={project}"]
    environment = os.environ | folders | {"TF_CPP_MIN_LOG_LEVEL": "2"}
    with open(folder / "server.log", "wb") as log:
        server = subprocess.Popen(command, cwd=project, env=environment, stdout=log, stderr=log)
    lab = Lab(project, f"http://127.0.0.1:{port}", token, browser)
    try:
        _wait_for_server(lab, server, folder / "server.log")
        yield lab
    finally:
        server.terminate()
        server.wait(30)


@dataclass
class Lab:
    """A JupyterLab server over a project."""

    project: Path
    address: str
    token: str
    browser: Any

    def write(self, name: str, *cells: str, kernel: str = "python3") -> str:
        """Write a notebook of code cells and return its path in the project."""
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        notebook.metadata["kernelspec"] = {
            "name": kernel,
            "display_name": "Python 3",
            "language": "python",
        }
        path = f"notebooks/{name}.ipynb"
        nbformat.write(notebook, self.project / path)
        return path

    def open(self, notebook: str, kernel: bool = True, **options: Any) -> "Notebook":
        """Open a notebook of the project in a browser and a workspace of its own.

        Args:
            notebook: Its path in the project.
            kernel: Whether it may start a kernel.
            options: Of the browser's context, such as `color_scheme` or `viewport`.
        """
        context = self.browser.new_context(**{"viewport": {"width": 1280, "height": 1400}} | options)
        page = context.new_page()
        if not kernel:
            page.route("**/api/sessions*", _refuse_posts)
        page.goto(f"{self.address}/lab/workspaces/{uuid.uuid4().hex}/tree/{notebook}?token={self.token}")
        opened = Notebook(page)
        opened.wait_until("window.jupyterapp?.shell.currentWidget?.content?.widgets?.length > 0")
        return opened

    @contextmanager
    def run(self, name: str, *cells: str) -> Iterator["Notebook"]:
        """Open a notebook of code cells that have been run; its kernel ends with the context."""
        opened = self.open(self.write(name, *cells))
        opened.run_all()
        opened.wait_for_idle()
        yield opened
        opened.shut_down()


@dataclass
class Notebook:
    """A notebook that is open in JupyterLab."""

    page: Any

    def wait_until(self, condition: str, seconds: float = SECONDS) -> None:
        """Wait until a JavaScript expression is true."""
        self.page.wait_for_function(condition, timeout=1000 * seconds, polling=100)

    def wait_for_kernel(self) -> None:
        """Wait until the kernel is there and idle; a Run All before that is lost."""
        session = "window.jupyterapp.shell.currentWidget.sessionContext.session"
        self.wait_until(
            f"{session}?.kernel?.connectionStatus === 'connected' && {session}.kernel.status === 'idle'"
        )

    def run_all(self) -> None:
        """Start all cells and return at once."""
        self.wait_for_kernel()
        self.page.evaluate("void jupyterapp.commands.execute('notebook:run-all-cells')")

    def run_cell(self, cell: int, source: str) -> None:
        """Give a cell another source, start it, and return at once."""
        self.page.evaluate(
            "([cell, source]) => {"
            " const { content } = jupyterapp.shell.currentWidget;"
            " content.activeCellIndex = cell;"
            " content.activeCell.model.sharedModel.setSource(source);"
            " void jupyterapp.commands.execute('notebook:run-cell'); }",
            [cell, source],
        )

    def restart(self) -> None:
        """Start the kernel again, as the command of the menu does once it was confirmed, and wait for it."""
        self.page.evaluate("jupyterapp.shell.currentWidget.sessionContext.restartKernel()")
        self.wait_for_kernel()

    def wait_for_idle(self, seconds: float = SECONDS) -> None:
        """Wait until every code cell has run."""
        self.wait_until(
            "jupyterapp.shell.currentWidget.content.widgets.every("
            "(cell) => cell.model.type !== 'code' || cell.model.executionCount > 0)",
            seconds,
        )
        self.wait_for_kernel()

    def save(self) -> None:
        """Save the notebook as it is shown."""
        self.page.evaluate("jupyterapp.commands.execute('docmanager:save')")

    def text(self, cell: int) -> str:
        """Return what a cell prints."""
        outputs = self.page.evaluate(
            f"jupyterapp.shell.currentWidget.content.widgets[{cell}].model.outputs.toJSON()"
        )
        return "".join("".join(output.get("text", "")) for output in outputs)

    def close(self) -> None:
        """Close the browser's tab; the kernel lives on."""
        self.page.context.close()

    def shut_down(self) -> None:
        """End the notebook's kernel and close the tab."""
        self.page.evaluate("jupyterapp.shell.currentWidget.sessionContext.shutdown()")
        self.close()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _refuse_posts(route: Any) -> None:
    if route.request.method == "POST":
        route.abort()
    else:
        route.continue_()


def _wait_for_server(lab: Lab, server: subprocess.Popen, log: Path) -> None:
    for _ in range(10 * SECONDS):
        try:
            urllib.request.urlopen(f"{lab.address}/api?token={lab.token}", timeout=5).close()
            return
        except OSError:
            if server.poll() is not None:
                break
            time.sleep(0.1)
    raise RuntimeError(f"JupyterLab did not start:\n{log.read_text()}")

"""Warm kernels: what is decided without starting one, and the nursery's own life."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest

from workbench.cli import commands
from workbench.errors import WorkbenchError
from workbench.kernels import choice, support
from workbench.kernels.choice import WARM_KERNEL, choose_kernel, why_cold
from workbench.kernels.client import ask_all, find_place
from workbench.kernels.environment import NURSERY_VARIABLES, THREAD_VARIABLES, is_start_variable
from workbench.kernels.folders import SOCKET_FILE
from workbench.kernels.late import find_late_variables
from workbench.kernels.preload import USUAL, default_modules, preload
from workbench.kernels.settings import Settings, read_settings
from workbench.kernels.threads import _OBEYED

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="warm kernels need Linux")

# Read while the usual packages are imported, but without an effect that lasts.
HARMLESS = {
    "ANDROID_DATA": "whether this is Android",
    "COLUMNS": "width of the terminal, asked again when needed",
    "DISPLAY": "whether there is a screen, asked again when needed",
    "EAGER_IMPORT": "of lazy_loader: imports more, and nothing else",
    "JPY_INTERRUPT_EVENT": "of Windows",
    "JPY_PARENT_PID": "the kernel watches its client instead",
    "JUPYTER_USE_PROGRAMDATA": "of Windows",
    "IN_SPHINX_RUN": "whether documentation is being built",
    "SOURCE_DATE_EPOCH": "of setuptools' build commands",
    "TERM": "of the terminal, asked again when needed",
    "TEMP": "for temporary files, asked again in the child",
    "TMP": "for temporary files, asked again in the child",
}
RECORD_READS = """
import os
names = set()
class Recording(dict):
    pass
def recording(method):
    def call(self, key, *rest):
        names.add(key)
        return getattr(dict, method)(self, key, *rest)
    return call
for method in ("__getitem__", "get", "__contains__", "pop", "setdefault"):
    setattr(Recording, method, recording(method))
os.environ._data = Recording(os.environ._data)
from workbench.kernels.preload import USUAL, preload
done = preload(USUAL)
assert not done.failures, done.failures
print("READ", *sorted(name.decode() for name in names))
"""


def write_settings(project: Path, text: str) -> None:
    (project / "workbench.toml").write_text(text)


def test_settings_have_defaults_and_are_read_from_both_files(project: Path) -> None:
    write_settings(project, "")
    assert read_settings(project) == Settings()
    (project / "pyproject.toml").write_text("[tool.workbench.kernels]\nidle_children = 2\n")
    assert read_settings(project / "notebooks") == Settings(idle_children=2)
    write_settings(project, '[kernels]\npreload = ["numpy"]\nidle_minutes = 5\n')
    assert read_settings(project) == Settings(("numpy",), 1, 5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("preloaded = []", "Unknown setting 'preloaded'"),
        ('preload = "numpy"', "list of module names"),
        ("preload = [1]", "list of module names"),
        ("idle_children = -1", "whole number"),
        ("idle_children = true", "whole number"),
        ("idle_minutes = 0", "above 0"),
        ("idle_minutes =", "cannot be read"),
    ],
)
def test_wrong_setting_is_told(project: Path, text: str, message: str) -> None:
    write_settings(project, f"[kernels]\n{text}\n")
    with pytest.raises(WorkbenchError, match=message):
        read_settings(project)


def test_default_modules_are_the_usual_and_those_of_the_notebooks() -> None:
    code = ["import os, scipy.stats\nfrom . import x\n%time 1\n!ls", "from tokenizers import T", "import ("]
    assert default_modules(code) == (*USUAL, "scipy", "tokenizers")


def test_only_installed_packages_are_preloaded(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "mine.py").write_text("raise AssertionError")
    monkeypatch.syspath_prepend(project)
    done = preload(["mine", "workbench", "no_such_package", "numpy"])
    assert (done.modules, done.failures) == (["numpy"], {})


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("os.environ['KERAS_BACKEND'] = 'jax'", ["KERAS_BACKEND"]),
        ('os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")', ["TF_CPP_MIN_LOG_LEVEL"]),
        ("%env KERAS_HOME=/x", ["KERAS_HOME"]),
        ("os.environ['CUDA_VISIBLE_DEVICES'] = ''", []),
        ("os.environ['OMP_NUM_THREADS'] = '1'", []),
        ("os.environ['PYTHONHASHSEED'] = '0'", []),
        ("KERAS_BACKEND = 1; 'text'", []),
    ],
)
def test_variables_for_imports_are_found_in_code(code: str, names: list[str]) -> None:
    assert find_late_variables(code) == names


def test_notebook_runs_warm_unless_that_could_change_its_results(write_notebook: Callable[..., Path]) -> None:
    plain = write_notebook("plain.ipynb", "n: int = 1", "import keras")
    assert choose_kernel(plain) == WARM_KERNEL
    assert choose_kernel(plain, cold=True) is None
    late = write_notebook("late.ipynb", "n: int = 1", "import os\nos.environ['KERAS_BACKEND'] = 'jax'")
    assert choose_kernel(late) is None
    assert "KERAS_BACKEND" in why_cold(late)
    other = nbformat.read(plain, as_version=4)
    other.metadata.kernelspec.name = "ir"
    nbformat.write(other, plain)
    assert why_cold(plain) == "it names the kernel ir"


def test_other_systems_start_cold_kernels(
    start_kernel: Callable, write_notebook: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert "not safe on darwin" in support.why_unsupported()
    assert choose_kernel(write_notebook("n.ipynb", "n: int = 1")) is None
    monkeypatch.undo()
    monkeypatch.delattr(os, "pidfd_open")
    kernel = start_kernel()
    assert kernel.manager.provisioner.cold_reason == "this Python knows no pidfd_open"
    assert kernel.value("1 + 1") == 2


def test_kernel_of_another_interpreter_is_no_warm_one(monkeypatch: pytest.MonkeyPatch, project: Path) -> None:
    spec = project / "kernels/python3"
    spec.mkdir(parents=True)
    (spec / "kernel.json").write_text(
        '{"argv": ["/bin/sh", "-c", ""], "display_name": "", "language": "python"}'
    )
    monkeypatch.setenv("JUPYTER_PATH", str(project))
    choice._why_not_installed.cache_clear()
    try:
        assert "another interpreter" in choice._why_not_installed()
    finally:
        choice._why_not_installed.cache_clear()


def test_every_variable_that_the_usual_imports_read_is_accounted_for() -> None:
    env = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    command = [sys.executable, "-c", RECORD_READS]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    (line,) = re.findall(r"^READ (.*)$", done.stdout, re.M) or [done.stderr]
    unknown = [
        name
        for name in line.split()
        if not is_start_variable(name) and name not in (*HARMLESS, *THREAD_VARIABLES, *NURSERY_VARIABLES)
    ]
    assert unknown == []


def test_nursery_ends_when_nobody_needs_it(project: Path, start_kernel: Callable) -> None:
    write_settings(project, '[kernels]\npreload = ["numpy"]\nidle_minutes = 0.02\n')
    place = find_place([sys.executable], os.environ, project)
    kernel = start_kernel()
    time.sleep(3)
    nursery = dict(ask_all("status"))[place.folder]  # it stays as long as a kernel does
    kernel.end()
    end = time.monotonic() + 30
    while place.folder in dict(ask_all("status")):
        assert time.monotonic() < end
        time.sleep(0.2)
    assert not (place.folder / SOCKET_FILE).exists()
    while any(Path(f"/proc/{pid}/exe").exists() for pid in (nursery["pid"], *nursery["idle"])):
        assert time.monotonic() < end
        time.sleep(0.2)
    assert start_kernel().is_warm


def test_kernels_command_shows_and_stops(
    project: Path, start_kernel: Callable, capsys: pytest.CaptureFixture[str]
) -> None:
    write_settings(project, '[kernels]\npreload = ["numpy"]\nidle_minutes = 7\n')
    kernel = start_kernel()
    commands(["kernels"], standalone_mode=False)
    shown = capsys.readouterr().out
    assert "preloaded in" in shown
    assert re.search(rf"process {kernel.process.pid}: kernel in .*MiB", shown)
    commands(["kernels", "--stop"], standalone_mode=False)
    assert re.search(r"Nurseries stopped: [1-9]\d*\. Kernels that go on", capsys.readouterr().out)
    assert kernel.value("1 + 1") == 2
    assert list(ask_all("status")) == []


def test_doctor_says_that_kernels_are_warm(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert commands(["doctor"], standalone_mode=False) == 0
    assert re.search(r"^ok  warm kernels +warm: ready after", capsys.readouterr().out, re.M)


def test_every_thread_variable_is_obeyed() -> None:
    obeyed = {name for names in _OBEYED.values() for name in names}
    assert obeyed == {name for name in THREAD_VARIABLES if not name.startswith("TF_")}

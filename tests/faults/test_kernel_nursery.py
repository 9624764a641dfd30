"""Warm kernels when processes are killed, environments change, or memory is short."""

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from disturbance import status_of
from waiting import is_alive, wait_until

from workbench.kernels import client
from workbench.kernels.client import find_place
from workbench.kernels.status import read_nurseries

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="warm kernels need Linux")
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="needs root, to be another user for a while")


Start = Callable[..., object]


# Killed processes


def test_kernels_go_on_without_their_nursery_and_the_next_has_a_new_one(
    start_kernel: Start, place: client.Place
) -> None:
    kernel = start_kernel()
    kernel.run("value = 5")
    nursery, idle = status_of(place)["pid"], []
    wait_until(lambda: bool(idle.extend(status_of(place)["idle"]) or idle))
    os.kill(nursery, signal.SIGKILL)
    wait_until(lambda: not any(map(is_alive, idle)))  # nobody could ever use them
    time.sleep(1.5)  # longer than ipykernel takes to notice another parent
    assert kernel.value("value") == 5
    assert kernel.manager.is_alive()
    other = start_kernel()
    assert other.is_warm
    assert status_of(place)["pid"] != nursery
    kernel.manager.shutdown_kernel()
    assert not is_alive(kernel.process.pid if kernel.process else 0)


def test_killed_kernel_is_seen_with_its_signal_and_starts_again(start_kernel: Start) -> None:
    kernel = start_kernel()
    process = kernel.process
    os.kill(process.pid, signal.SIGKILL)
    wait_until(lambda: process.poll() is not None)
    assert process.returncode == -signal.SIGKILL
    assert not kernel.manager.is_alive()
    kernel.client.stop_channels()
    kernel.manager.restart_kernel(now=True)
    kernel.connect()
    assert kernel.is_warm
    assert kernel.process.pid != process.pid
    assert kernel.value("1 + 1") == 2


def test_kernel_that_ends_tells_its_status(start_kernel: Start) -> None:
    process = start_kernel().process
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == -signal.SIGTERM


def test_kernel_ends_with_its_client(project: Path) -> None:
    script = """
import sys
from jupyter_client import KernelManager
manager = KernelManager(kernel_name="workbench-warm")
manager.start_kernel()
assert manager.provisioner.cold_reason is None
print(manager.provisioner.pid, flush=True)
sys.stdin.read()
"""
    command = [sys.executable, "-c", script]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=project, **pipes) as owner:
        pid = int(owner.stdout.readline())
        assert is_alive(pid)
        owner.kill()
    wait_until(lambda: not is_alive(pid))


def test_interrupt_reaches_the_cell_and_what_it_started(start_kernel: Start) -> None:
    kernel = start_kernel()
    kernel.client.execute("import subprocess; subprocess.run(['sleep', '600'])", allow_stdin=False)
    time.sleep(1)
    children = Path(f"/proc/{kernel.process.pid}/task/{kernel.process.pid}/children")
    (sleeper,) = map(int, children.read_text().split())
    kernel.manager.interrupt_kernel()
    reply = kernel.client.get_shell_msg(timeout=30)
    assert reply["content"]["ename"] == "KeyboardInterrupt"
    wait_until(lambda: not is_alive(sleeper))
    assert kernel.value("1 + 1") == 2


def test_kernel_that_ignores_everything_is_killed_with_what_it_started(start_kernel: Start) -> None:
    kernel = start_kernel()
    kernel.run(
        "import signal, subprocess\nfor number in (2, 15): signal.signal(number, signal.SIG_IGN)\n"
        "child = subprocess.Popen(['sleep', '600'])"
    )
    child, pid = kernel.value("child.pid"), kernel.process.pid
    kernel.client.execute("import time\nwhile True: time.sleep(1)")
    kernel.manager.shutdown_kernel()
    wait_until(lambda: not is_alive(pid) and not is_alive(child))


def test_idle_child_that_was_killed_is_replaced(start_kernel: Start, place: client.Place) -> None:
    start_kernel()
    wait_until(lambda: len(status_of(place)["idle"]) == 1)
    (idle,) = status_of(place)["idle"]
    os.kill(idle, signal.SIGKILL)
    assert start_kernel().is_warm
    wait_until(lambda: status_of(place)["idle"] not in ([], [idle]))


def test_nursery_that_dies_while_it_imports_leaves_a_cold_kernel(
    add_package: Start, start_kernel: Start, caplog: pytest.LogCaptureFixture
) -> None:
    kernel = start_kernel(env=add_package("import os\nos.kill(os.getpid(), 9)\n"))
    assert not kernel.is_warm
    assert "died while it imported" in kernel.manager.provisioner.cold_reason
    assert kernel.value("1 + 1") == 2
    assert sum("starts cold" in record.message for record in caplog.records) == 1


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import threading\nthreading.Timer(600, print).start()", "left threads running"),
        ("import _thread, time\n_thread.start_new_thread(time.sleep, (600,))", "unknown native thread"),
    ],
)
def test_package_that_leaves_threads_makes_kernels_cold(
    add_package: Start, start_kernel: Start, source: str, reason: str
) -> None:
    env = add_package(source)
    for _ in range(2):  # the second knows it without a nursery
        kernel = start_kernel(env=env)
        assert reason in kernel.manager.provisioner.cold_reason
        assert kernel.value("1 + 1") == 2


def test_package_that_cannot_be_imported_is_left_out(add_package: Start, start_kernel: Start) -> None:
    assert start_kernel(env=add_package("1 / 0", "numpy")).is_warm
    failures = [nursery.failures for nursery in read_nurseries()]
    assert {"added_package": "ZeroDivisionError: division by zero"} in failures


# New environments


def test_changed_environment_gets_another_nursery(project: Path, place: client.Place) -> None:
    keys = {place.folder.name}
    for name in ("KERAS_BACKEND", "XLA_FLAGS", "PYTHONHASHSEED", "LD_LIBRARY_PATH", "HOME", "LC_ALL"):
        keys.add(find_place([sys.executable], os.environ | {name: "other"}, project).folder.name)
    keys.add(find_place([sys.executable, "-O"], os.environ, project).folder.name)
    assert len(keys) == 8
    same = os.environ | {"OTHER": "1", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "1"}
    assert find_place([sys.executable], same, project).folder == place.folder


CLIENT_OF_A_VENV = """
import subprocess, sys, zipfile
from jupyter_client import KernelManager
from workbench.kernels.status import read_nurseries, stop_nurseries

def kernel_can_import(name):
    manager = KernelManager(kernel_name="workbench-warm")
    manager.start_kernel()
    assert manager.provisioner.cold_reason is None, manager.provisioner.cold_reason
    client = manager.client()
    client.start_channels()
    reply = client.execute_interactive(f"import {name}", timeout=60, output_hook=lambda message: None)
    client.stop_channels()
    manager.shutdown_kernel(now=True)
    return reply["content"]["status"] == "ok"

print(kernel_can_import("thing"), len(list(read_nurseries())))
print(kernel_can_import("thing"), len(list(read_nurseries())))
wheel = "thing-1.0-py3-none-any.whl"
with zipfile.ZipFile(wheel, "w") as file:
    file.writestr("thing.py", "")
    file.writestr("thing-1.0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: thing\\nVersion: 1.0\\n")
    tags = "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
    file.writestr("thing-1.0.dist-info/WHEEL", tags)
    file.writestr("thing-1.0.dist-info/RECORD", "thing.py,,\\n")
subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--no-index", wheel], check=True)
print(kernel_can_import("thing"), len(list(read_nurseries())))
list(stop_nurseries())
"""


def test_installed_package_gets_a_new_nursery(project: Path) -> None:
    """In a virtual environment of its own, which sees the packages of this one."""
    target = project / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", target], check=True)
    (own,) = (target / "lib").glob("python*/site-packages")
    shared = [sysconfig.get_path("purelib"), str(Path(client.__file__).parents[2])]
    (own / "shared.pth").write_text("\n".join(shared))
    env = os.environ | {"JUPYTER_PATH": f"{sys.prefix}/share/jupyter", "XDG_RUNTIME_DIR": str(project)}
    command = [target / "bin/python", "-c", CLIENT_OF_A_VENV]
    done = subprocess.run(command, cwd=project, env=env, capture_output=True, text=True, timeout=300)
    assert done.stdout.splitlines() == ["False 1", "False 1", "True 2"], done.stderr


# Memory


CLIENT_WITHOUT_PROCESSES = """
import os, resource
from jupyter_client import KernelManager
from workbench.kernels.status import read_nurseries

first = KernelManager(kernel_name="workbench-warm")
first.start_kernel()
assert first.provisioner.cold_reason is None, first.provisioner.cold_reason
(nursery,) = read_nurseries()
resource.prlimit(nursery.pid, resource.RLIMIT_NPROC, (1, 1))
for child in nursery.idle:
    os.kill(child.pid, 9)
second = KernelManager(kernel_name="workbench-warm")
second.start_kernel()
print(second.provisioner.cold_reason)
client = second.client()
client.start_channels()
client.wait_for_ready(timeout=60)
for manager in (first, second):
    manager.shutdown_kernel(now=True)
os.kill(nursery.pid, 15)
"""


@needs_root
@pytest.mark.skipif(not shutil.which("setpriv"), reason="needs setpriv")
def test_fork_that_fails_leaves_a_cold_kernel(project: Path) -> None:
    """Be a user without the right to any number of processes, and take them from the nursery."""
    runtime = project / "runtime"
    runtime.mkdir(0o700)
    os.chown(runtime, 65534, 65534)
    os.chown(project, 65534, 65534)
    change = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    change += ["--inh-caps", "+dac_override", "--ambient-caps", "+dac_override"]  # to read this Python
    env = os.environ | {"HOME": str(project), "XDG_RUNTIME_DIR": str(runtime)}
    command = [*change, sys.executable, "-c", CLIENT_WITHOUT_PROCESSES]
    done = subprocess.run(command, cwd=project, env=env, capture_output=True, text=True, timeout=300)
    assert "no process could be forked" in done.stdout, done.stderr

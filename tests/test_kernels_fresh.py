"""A warm kernel is as fresh as a new process: what it has comes from its client, nothing from the nursery."""

import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="warm kernels need Linux")

Start = Callable[..., object]

# What tells a process from another of the same program, as far as its client determines it.
STATE = """
import importlib, locale, os, resource, signal, sys, tempfile, time
def state():
    status = dict(line.split(":\\t", 1) for line in open("/proc/self/status"))
    return {
        "folder": os.getcwd(),
        "argv": [os.path.basename(sys.argv[0]), sys.argv[1]],
        "path": sys.path,
        "flags": str(sys.flags),
        "executable": sys.executable,
        "umask": status["Umask"],
        "ignored": status["SigIgn"],
        "blocked": status["SigBlk"],
        "caught": status["SigCgt"],
        "handlers": {str(n): repr(signal.getsignal(n)).split(" at ")[0] for n in (1, 2, 13, 15, 17)},
        "limits": {n: resource.getrlimit(getattr(resource, n)) for n in dir(resource) if n[:7] == "RLIMIT_"},
        "locale": locale.setlocale(locale.LC_ALL),
        "encoding": [sys.getfilesystemencoding(), sys.__stdout__.encoding, sys.__stdout__.errors],
        "buffering": [sys.__stdout__.line_buffering, sys.__stderr__.line_buffering],
        "zone": time.tzname,
        "temporary": tempfile.gettempdir(),
        "session": os.getsid(0) == os.getpid() == os.getpgid(0),
        "input": os.read(0, 1).decode(),
        "main": [sys.modules["__main__"].__name__, sys.modules["__main__"] is get_ipython().user_module],
        "project": sorted(n for n in sys.modules if n.partition(".")[0] == "workbench"),
        "names": sorted(n for n in globals() if n not in ("state",)),
        "switch": sys.getswitchinterval(),
        "recursion": sys.getrecursionlimit(),
    }
"""


@pytest.fixture
def unusual(project: Path, monkeypatch: pytest.MonkeyPatch) -> dict:
    """Settings of the client that differ from those of the nursery, which runs already."""
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    monkeypatch.setenv("TMPDIR", str(project))
    monkeypatch.setenv("PLAIN", "a\nb=ü\udcff")
    return {"env": os.environ | {"ADDED": "1"}}


def both(start_kernel: Start, expression: str, code: str = "", **options: object) -> list:
    values = []
    for name in ("workbench-warm", "python3"):
        kernel = start_kernel(name, **options)
        kernel.run(code)
        values.append(kernel.value(expression))
    return values


def test_kernel_is_forked(start_kernel: Start) -> None:
    kernel = start_kernel()
    assert kernel.is_warm
    assert kernel.value("'numpy' in __import__('sys').modules")
    assert kernel.value("__import__('os').getpid()") == kernel.process.pid


def test_state_is_that_of_a_new_process(start_kernel: Start, unusual: dict) -> None:
    start_kernel()  # so that the nursery is there, with other settings
    umask = os.umask(0o027)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (500, hard))
    hangup = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        warm, cold = both(start_kernel, "state()", STATE, **unusual)
    finally:
        signal.signal(signal.SIGHUP, hangup)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        os.umask(umask)
    assert warm == cold
    assert warm["umask"].strip() == "0027"
    assert warm["limits"]["RLIMIT_NOFILE"][0] == 500
    assert warm["zone"][0] == "+0545"
    assert int(warm["ignored"], 16) & 1 << (signal.SIGHUP - 1)


def test_environment_is_that_of_the_client(start_kernel: Start, unusual: dict) -> None:
    start_kernel()
    warm, cold = both(start_kernel, "dict(os.environ)", "import os, numpy", **unusual)
    assert warm == cold
    assert warm["ADDED"] == "1"


def test_only_the_expected_descriptors_are_open(start_kernel: Start) -> None:
    code = """
import numpy, os, re
def kinds():
    found = {}
    for number in os.listdir("/proc/self/fd"):
        try:
            kind = re.sub(r"\\d+", "", os.readlink(f"/proc/self/fd/{number}"))
        except OSError:
            continue
        found[kind] = found.get(kind, 0) + 1
    return found
"""
    start_kernel()  # the first is forked on request, the second was idle: both are looked at
    first, second = start_kernel(), start_kernel()
    cold = start_kernel("python3")
    for kernel in (first, second, cold):
        kernel.run(code)
    expected = cold.value("kinds()")
    for kernel in (first, second):
        more = {kind: count - expected.get(kind, 0) for kind, count in kernel.value("kinds()").items()}
        # SQLite holds the history's file, and for a moment its folder, whenever its thread writes.
        unexpected = {kind for kind, count in more.items() if count > 0 and "profile_default" not in kind}
        assert unexpected == {"anon_inode:[pidfd]"}  # the client's


def test_streams_go_where_the_client_says(start_kernel: Start, project: Path) -> None:
    with open(project / "log", "wb") as log:
        kernel = start_kernel(stdout=log, stderr=log)
    kernel.run("import os, sys; print('raw', file=sys.__stdout__, flush=True); os.system('echo sub 1>&2')")
    assert "raw" in (project / "log").read_text()


def test_unseeded_kernels_draw_different_numbers(start_kernel: Start) -> None:
    draw = "[random.random(), numpy.random.rand(), numpy.random.default_rng().random()]"
    kernels = [start_kernel() for _ in range(3)]
    draws = []
    for kernel in kernels:
        kernel.run("import random, numpy")
        draws.append(kernel.value(draw))
    for values in zip(*draws, strict=True):
        assert len(set(values)) == 3


def test_seeded_kernels_draw_the_same_numbers(start_kernel: Start) -> None:
    code = "import random, numpy; random.seed(3); numpy.random.seed(3)"
    warm, cold = both(start_kernel, "[random.random(), numpy.random.rand()]", code)
    assert warm == cold


def test_thread_counts_asked_for_hold(start_kernel: Start) -> None:
    code = "import numpy, threadpoolctl"
    counts = "sorted({item['num_threads'] for item in threadpoolctl.threadpool_info()})"
    start_kernel()
    for threads in (1, 3):
        env = os.environ | {"OMP_NUM_THREADS": str(threads)}
        warm, cold = both(start_kernel, counts, code, env=env)
        assert warm == cold == [min(threads, len(os.sched_getaffinity(0)))]


def test_thread_count_set_in_a_cell_holds_from_the_next(start_kernel: Start) -> None:
    kernel = start_kernel()
    kernel.run("import os; os.environ['OPENBLAS_NUM_THREADS'] = '1'")
    kernel.run("import numpy, threadpoolctl")
    assert kernel.value("threadpoolctl.threadpool_info()[0]['num_threads']") == 1


def test_variable_that_comes_too_late_is_told(start_kernel: Start) -> None:
    kernel = start_kernel()
    assert "KERAS_BACKEND came too late" in kernel.run("import os; os.environ['KERAS_BACKEND'] = 'jax'")
    assert kernel.run("pass") == ""
    assert kernel.run("os.environ['OTHER'] = '1'") == ""


def test_code_of_the_project_is_read_anew(start_kernel: Start, project: Path) -> None:
    (project / "mine.py").write_text("value = 1")
    assert start_kernel().value("__import__('mine').value") == 1
    (project / "mine.py").write_text("value = 22")
    assert start_kernel().value("__import__('mine').value") == 22


def test_startup_files_of_the_user_are_run(start_kernel: Start, project: Path) -> None:
    startup = project / "ipython/profile_default/startup"
    startup.mkdir(parents=True)
    (startup / "first.py").write_text("greeting = 'hello'")
    env = os.environ | {"IPYTHONDIR": str(project / "ipython")}
    assert start_kernel(env=env).value("greeting") == "hello"
    (startup / "first.py").write_text("greeting = 'good day'")
    assert start_kernel(env=env).value("greeting") == "good day"


def test_matplotlib_is_configured_as_when_it_is_imported(start_kernel: Start, project: Path) -> None:
    (project / "workbench.toml").write_text('[kernels]\npreload = ["matplotlib.pyplot"]\n')
    start_kernel()
    (project / "matplotlibrc").write_text("lines.linewidth: 7.5\n")
    code = "import matplotlib, matplotlib.pyplot as plt\nplt.plot([1, 2]); None"
    expression = "[matplotlib.rcParams['lines.linewidth'], matplotlib.get_backend(), plt.get_fignums()]"
    warm, cold = both(start_kernel, expression, code)
    assert warm == cold
    assert warm[0] == 7.5
    assert "inline" in warm[1]


def test_pandas_shows_tables_as_when_it_is_imported(start_kernel: Start, project: Path) -> None:
    (project / "workbench.toml").write_text('[kernels]\npreload = ["pandas"]\n')
    code = "import pandas\ntable = pandas.DataFrame({f'column {n}': [n] for n in range(14)})"
    warm, cold = both(start_kernel, "[repr(table), table.to_html()]", code)
    assert warm == cold
    assert "..." not in warm[0]


def test_relative_python_path_starts_at_the_kernel_folder(start_kernel: Start, project: Path) -> None:
    (project / "beside").mkdir()
    (project / "beside/other.py").write_text("value = 5")
    env = os.environ | {"PYTHONPATH": "beside"}
    assert start_kernel(env=env).value("__import__('other').value") == 5


@pytest.mark.parametrize("name", ["workbench-warm", "python3"])
def test_end_waits_for_threads_and_does_what_was_registered_for_it(
    start_kernel: Start, project: Path, name: str
) -> None:
    kernel = start_kernel(name)
    kernel.run(
        "import atexit, pathlib, threading, time\n"
        "atexit.register(pathlib.Path('registered').touch)\n"
        "threading.Thread(target=lambda: (time.sleep(0.3), pathlib.Path('thread').touch())).start()"
    )
    process = kernel.process
    kernel.manager.request_shutdown()
    assert process.wait(30) == 0
    assert (project / "thread").exists()
    assert (project / "registered").exists()

"""Notebooks end in a warm kernel as in a cold one, with papermill and nbclient as they come."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nbclient
import nbformat
import papermill
import pytest
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="warm kernels need Linux")

KERNELS = ("workbench-warm", "python3")
ENDINGS = {
    "plain": "print('text'); 1 + 1",
    "raises": "print('before')\n1 / 0",
    "system exit": "import sys\nprint('before')\nsys.exit('done')",
    "keyboard interrupt": "raise KeyboardInterrupt",
    "interrupted": "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(60)",
    "killed": "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
    "crashed": "import ctypes\nctypes.string_at(0)",
    "left": "import os\nos._exit(5)",
    "input": "input('name? ')",
    "large output": "print('x' * 20_000_000)",
    "many outputs": "for number in range(20_000): print(number)",
    "raw output": "import os\nos.write(1, b'out\\n'); os.write(2, b'err\\n'); os.system('echo sub')",
    "bash": "%%bash\necho $0 $((1 + 2)); pwd | sed 's,.*/,,'; exit 4",
    "shell": "!echo one; exit 3\n_exit_code",
    "fork": (
        "import os\npid = os.fork()\n"
        "if pid == 0:\n    os.write(1, b'child\\n')\n    os._exit(7)\n"
        "os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])"
    ),
    "multiprocessing": (
        "import math, multiprocessing\n"
        "values = []\n"
        "for method in ('fork', 'spawn', 'forkserver'):\n"
        "    with multiprocessing.get_context(method).Pool(2) as pool:\n"
        "        values.append(pool.map(math.sqrt, [1, 4, 9]))\n"
        "values"
    ),
    "thread left running": (
        "import threading, time\n"
        "threading.Thread(target=time.sleep, args=[600], daemon=True).start()\n"
        "threading.Thread(target=time.sleep, args=[600]).start()\n'left'"
    ),
    "subprocess": "import subprocess, sys\nsubprocess.check_output([sys.executable, '-c', 'print(5)'])",
    "standard input": "import sys\nsys.__stdin__.read()",
}


def outcome(run: Callable[[], object], notebook: nbformat.NotebookNode) -> tuple:
    """Return how a run ended and what the notebook shows, without what differs in any two processes."""
    try:
        run()
        ended = "well"
    except (CellExecutionError, papermill.PapermillExecutionError) as error:
        ended = f"{type(error).__name__} {error.ename} {error.evalue}"
    except (DeadKernelError, CellTimeoutError) as error:
        ended = type(error).__name__
    return ended, [shown(cell) for cell in notebook.cells]


def shown(cell: nbformat.NotebookNode) -> list[str]:
    """Return the outputs of a cell; in how many pieces a stream came is chance."""
    outputs: list[nbformat.NotebookNode] = []
    for output in cell.get("outputs", []):
        if outputs and output.output_type == "stream" and outputs[-1].get("name") == output.name:
            outputs[-1].text += output.text
        else:
            outputs.append(output)
    return [normalize(output) for output in outputs]


def normalize(output: nbformat.NotebookNode) -> str:
    text = re.sub(r"/tmp/ipykernel_\d+/\d+\.py", "CELL", str(dict(output)))
    text = re.sub(r"0x[0-9a-f]+|\(pid=\d+\)|at \d+", "ADDRESS", text)
    return re.sub(r"'execution_count': \d+", "", text)


@pytest.mark.parametrize("code", ENDINGS.values(), ids=ENDINGS.keys())
def test_notebook_ends_the_same_in_nbclient(project: Path, code: str) -> None:
    outcomes = []
    for name in KERNELS:
        cells = [nbformat.v4.new_code_cell(code), nbformat.v4.new_code_cell("print('after')")]
        notebook = nbformat.v4.new_notebook(cells=cells)
        client = nbclient.NotebookClient(
            notebook,
            kernel_name=name,
            timeout=60,
            shutdown_kernel="immediate",
            resources={"metadata": {"path": str(project)}},
        )
        outcomes.append(outcome(client.execute, notebook))
    warm, cold = outcomes
    assert warm == cold


# Of papermill's own tests, with parameters; left out are those for other languages and networks.
PAPERMILL_NOTEBOOKS: dict[str, dict[str, object]] = {
    "broken": {},
    "broken1": {},
    "broken2": {},
    "complex_parameters": {"msg": "Hello", "a": 0.75, "b": ["World"], "c": {"key": [1]}},
    "line_magic_error": {},
    "nb_version_4.4": {"var": "It works"},
    "no_parameters": {"msg": "Hello"},
    "read_check": {},
    "report_mode_test": {"a": 0},
    "result_no_exec": {"foo": 2},
    "simple_execute": {"msg": 'quote " and \\ and ä'},
    "sysexit": {},
    "sysexit0": {},
    "sysexit1": {},
    "systemexit": {},
    "test_autosave": {},
    "test_logging": {},
    "test_notebooknode_io": {},
}


@pytest.mark.parametrize("name", ["plain", "raises", "system exit", "killed", "interrupted", "bash"])
def test_notebook_ends_the_same_in_papermill(write_notebook: Callable, project: Path, name: str) -> None:
    path = write_notebook("n.ipynb", "amount: int = 1", "print(amount)", ENDINGS[name], "print('after')")
    warm, cold = (run_by_papermill(path, {"amount": 5}, kernel, project) for kernel in KERNELS)
    assert warm == cold


@pytest.mark.parametrize("name", PAPERMILL_NOTEBOOKS)
def test_notebook_of_papermills_tests_ends_the_same(project: Path, name: str) -> None:
    path = Path(papermill.__file__).parent / "tests" / "notebooks" / f"{name}.ipynb"
    if not path.is_file():
        pytest.skip("this papermill came without its tests")
    warm, cold = (run_by_papermill(path, PAPERMILL_NOTEBOOKS[name], kernel, project) for kernel in KERNELS)
    assert warm == cold


def run_by_papermill(path: Path, parameters: dict, kernel: str, project: Path) -> tuple:
    """Return how a notebook ended, and the cells and outputs of what papermill saved."""
    output = project / f"{kernel}.ipynb"

    def run() -> None:
        papermill.execute_notebook(
            str(path), str(output), parameters, kernel_name=kernel, progress_bar=False, cwd=str(project),
            autosave_cell_every=1,
        )  # fmt: skip

    try:
        ended = outcome(run, nbformat.v4.new_notebook())[0]
    finally:
        saved = nbformat.read(output, as_version=4)
    sources = [cell.source for cell in saved.cells if cell.cell_type == "code"]
    return ended, sources, [shown(cell) for cell in saved.cells]


COMMANDS = {
    "jupyter execute": ["jupyter_core", "execute", "--inplace"],
    "nbval": ["pytest", "-p", "no:cacheprovider", "--nbval"],
    "papermill": ["papermill", "--no-progress-bar"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_other_clients_start_the_kernel_that_a_notebook_names(project: Path, name: str) -> None:
    cell = nbformat.v4.new_code_cell("import sys\nprint('numpy' in sys.modules)", execution_count=1)
    cell.outputs = [nbformat.v4.new_output("stream", text="True\n")]  # which nbval compares with
    notebook = nbformat.v4.new_notebook(cells=[cell])
    notebook.metadata["kernelspec"] = {"name": "workbench-warm", "display_name": "", "language": "python"}
    nbformat.write(notebook, "n.ipynb")
    arguments = ["n.ipynb", "n.ipynb"] if name == "papermill" else ["n.ipynb"]
    done = subprocess.run([sys.executable, "-m", *COMMANDS[name], *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (cell,) = nbformat.read("n.ipynb", as_version=4).cells
    assert cell.outputs[0].text == "True\n"

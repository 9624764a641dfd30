"""The warm kernel in JupyterLab: in the launcher, and started again from the menu's command."""

import sys
from typing import Any

import pytest

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(sys.platform != "linux", reason="warm kernels need Linux"),
]

WARM = "print('numpy' in __import__('sys').modules, 'mine' in globals())"


@pytest.fixture
def notebook(lab: Any) -> Any:
    (lab.project / "workbench.toml").write_text('[kernels]\npreload = ["numpy"]\n')
    opened = lab.open(lab.write("warm", WARM, "mine = 1", WARM, kernel="workbench-warm"))
    yield opened
    opened.shut_down()
    (lab.project / "workbench.toml").write_text("")


def test_restarted_kernel_is_new_and_warm(notebook: Any) -> None:
    notebook.run_all()
    notebook.wait_for_idle()
    assert [notebook.text(cell).split() for cell in (0, 2)] == [["True", "False"], ["True", "True"]]
    notebook.restart()
    notebook.run_cell(0, WARM)
    notebook.wait_until("jupyterapp.shell.currentWidget.content.widgets[0].model.executionCount === 1")
    notebook.wait_for_kernel()
    assert notebook.text(0).split() == ["True", "False"]


def test_running_cell_is_interrupted(notebook: Any) -> None:
    notebook.wait_for_kernel()
    notebook.run_cell(0, "import time\nprint('begun', flush=True)\ntime.sleep(600)")
    notebook.wait_until("jupyterapp.shell.currentWidget.content.widgets[0].model.outputs.length > 0")
    notebook.page.evaluate("jupyterapp.commands.execute('notebook:interrupt-kernel')")
    notebook.wait_until(
        "jupyterapp.shell.currentWidget.content.widgets[0].model.outputs.toJSON()"
        ".some((output) => output.ename === 'KeyboardInterrupt')"
    )


def test_launcher_offers_the_warm_kernel(lab: Any) -> None:
    opened = lab.open(lab.write("any", "1"), kernel=False)
    opened.page.evaluate("jupyterapp.commands.execute('launcher:create')")
    opened.page.locator(".jp-LauncherCard", has_text="Python 3 (warm)").first.wait_for(timeout=30_000)
    opened.close()

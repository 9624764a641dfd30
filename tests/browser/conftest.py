"""Chromium, and a JupyterLab of its own for the tests that drive one."""

import os
from collections.abc import Callable, Iterator
from typing import Any

import panel_driver
import pytest
from lab_driver import Lab, find_chromium, open_browser, start_lab


def need(found: Any, what: str) -> None:
    """Skip without what was looked for, or fail where everything has to be tested."""
    if not found and os.environ.get("CI"):
        pytest.fail(f"CI is set, and {what} is missing")
    if not found:
        pytest.skip(f"needs {what}")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium without a window."""
    try:
        import playwright
    except ImportError:
        playwright = None
    need(playwright, "playwright (pip install playwright)")
    need(find_chromium(), "Chromium")
    with open_browser() as opened:
        yield opened


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """An empty page that has loaded the panel's scripts."""
    with panel_driver.open_panel_page(browser) as opened:
        yield opened


@pytest.fixture
def show(page: Any) -> Callable[..., Any]:
    """Mount a panel over logs by run name and return the page."""

    def mount(logs: dict[str, list[dict[str, Any]]], *options: str, **more: str) -> Any:
        panel_driver.show(page, logs, *options, **more)
        return page

    return mount


@pytest.fixture(scope="session")
def lab(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A JupyterLab server with its own settings, for all tests of this session."""
    with start_lab(browser, tmp_path_factory.mktemp("lab")) as started:
        yield started

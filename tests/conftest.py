"""A project of its own for every test that asks for one."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import numpy as np
import pytest
from jupyter_client import KernelManager
from PIL import Image

from workbench.datasets import Dataset, load_dataset
from workbench.kernels.status import stop_nurseries


@pytest.fixture(scope="session", autouse=True)
def own_nurseries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the nurseries of the tests apart from those of the user, and end them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))
        yield
        list(stop_nurseries())


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add how often tests/faults/ kills a running pipeline (`--faults N`) and a training (`--kills N`)."""
    parser.addoption("--faults", type=int, default=0, metavar="N", help="random kills of a running pipeline")
    parser.addoption("--kills", type=int, default=12, metavar="N", help="kills of a training, in all")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project folder as the working directory, whose nursery needs no TensorFlow."""
    (tmp_path / "workbench.toml").write_text('[kernels]\npreload = ["numpy"]\n')
    for folder in ("notebooks", "pipelines", "data"):
        (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


class LiveKernel:
    """A kernel, its manager and a client, for tests that look into it."""

    def __init__(self, name: str, **options: object) -> None:
        self.manager = KernelManager(kernel_name=name)
        self.manager.start_kernel(**options)
        self.connect()

    def connect(self) -> None:
        """Wait for the kernel, with a new client."""
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)

    @property
    def process(self) -> object:
        return self.manager.provisioner.process

    @property
    def is_warm(self) -> bool:
        return self.manager.provisioner.cold_reason is None

    def run(self, code: str) -> str:
        """Execute `code`; return what it printed."""
        printed = []

        def collect(message: dict) -> None:
            printed.append(message["content"].get("text", ""))

        reply = self.client.execute_interactive(code, output_hook=collect, allow_stdin=False, timeout=60)
        assert reply["content"]["status"] == "ok", reply["content"]
        return "".join(printed)

    def value(self, expression: str) -> object:
        """Return the value of an expression that JSON can hold."""
        return json.loads(self.run(f"import json; print(json.dumps({expression}))"))

    def end(self) -> None:
        self.client.stop_channels()
        if self.manager.has_kernel:
            self.manager.shutdown_kernel(now=True)
        self.manager.cleanup_resources()


@pytest.fixture
def start_kernel(project: Path) -> Iterator[Callable[..., LiveKernel]]:
    """Start kernels in the project's folder; they end with the test."""
    kernels = []

    def start(name: str = "workbench-warm", **options: object) -> LiveKernel:
        kernels.append(LiveKernel(name, **{"cwd": str(project)} | options))
        return kernels[-1]

    yield start
    for kernel in kernels:
        kernel.end()


@pytest.fixture
def write_notebook(project: Path) -> Callable[..., Path]:
    """Write a notebook from its parameters cell and its further code cells."""

    def write(name: str, parameters: str, *cells: str) -> Path:
        notebook = nbformat.v4.new_notebook()
        tagged = nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})
        notebook.cells = [tagged, *map(nbformat.v4.new_code_cell, cells)]
        notebook.metadata["kernelspec"] = {
            "name": "python3",
            "display_name": "Python 3",
            "language": "python",
        }
        path = project / "notebooks" / name
        nbformat.write(notebook, path)
        return path

    return write


@pytest.fixture
def write_pipeline(project: Path) -> Callable[..., Path]:
    """Write a pipeline file; JSON is YAML, so a plain value will do."""

    def write(value: object, name: str = "small") -> Path:
        path = project / "pipelines" / f"{name}.yaml"
        path.write_text(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        return path

    return write


@pytest.fixture
def write_image() -> Callable[..., Path]:
    """Write an image of (height, width) random pixels."""
    random = np.random.default_rng(0)

    def write(path: Path, size: tuple[int, int] = (6, 8), mode: str = "RGB", **options: object) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        channels = () if mode == "L" else (len(mode),)
        Image.fromarray(random.integers(0, 256, (*size, *channels), np.uint8), mode).save(path, **options)
        return path

    return write


@pytest.fixture
def image_folder(tmp_path: Path, write_image: Callable[..., Path]) -> Path:
    """Ten PNG images in each of two classes."""
    for name in ("cat", "dog"):
        for number in range(10):
            write_image(tmp_path / "animals" / name / f"{number}.png")
    return tmp_path / "animals"


@pytest.fixture
def load_folder(tmp_path: Path) -> Callable[..., Dataset]:
    """Load a folder of images with a cache of its own."""

    def load(folder: Path, **options: object) -> Dataset:
        return load_dataset(f"folder:{folder}", cache_dir=tmp_path / "cache", **options)

    return load

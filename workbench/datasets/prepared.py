"""The dataset in a run folder of 01_prepare_data."""

from dataclasses import replace
from pathlib import Path

from workbench.datasets.dataset import MANIFEST, Dataset, open_dataset
from workbench.datasets.options import Options
from workbench.errors import WorkbenchError
from workbench.runs import resolve_path, show_path


def prepared_folder(spec: str) -> Path:
    """Return the folder of the dataset that a spec "run:PATH" means.

    Raises:
        WorkbenchError: There is no prepared dataset.
    """
    path = resolve_path(spec.removeprefix("run:"))
    folder = path / "artifacts" / "dataset"
    if not (folder / MANIFEST).is_file():
        what = "holds no prepared dataset (artifacts/dataset/)" if path.is_dir() else "does not exist"
        raise WorkbenchError(
            f"{spec!r}: the run folder {show_path(path)} {what}.\n"
            "Give the folder of a finished run of notebooks/01_prepare_data.ipynb, or run that first."
        )
    return folder


def open_prepared_run(spec: str, options: Options) -> Dataset:
    """Open the dataset of a run as it was prepared.

    Raises:
        WorkbenchError: An option is given that it was not prepared with.
    """
    dataset = open_dataset(prepared_folder(spec))
    made_with = dataset.card["options"]
    for name, value in options.to_json().items():
        if value not in (Options().to_json()[name], made_with[name]):
            raise WorkbenchError(
                f"{name}={value!r} was given, but {spec!r} was prepared with {name}={made_with[name]!r}.\n"
                f"Give {name}={Options().to_json()[name]!r}, or prepare the data again with 01_prepare_data."
            )
    return replace(dataset, recipe={"spec": spec})

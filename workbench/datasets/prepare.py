"""From samples to a prepared folder in the cache."""

import hashlib
import json
import shutil
from collections import Counter
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from workbench.datasets.cache import build_folder, discard_folder
from workbench.datasets.dataset import (
    LAYOUT,
    PARTS,
    Dataset,
    Split,
    fingerprint,
    open_dataset,
    write_manifest,
)
from workbench.datasets.samples import Content, Samples
from workbench.datasets.sources import Source
from workbench.datasets.splits import Assignment, choose_subset, split_samples
from workbench.datasets.storage import (
    ArrayWriter,
    DamagedError,
    file_name,
    open_array,
    write_array,
)

_ATTEMPTS = 3  # another process may discard a damaged folder while this one opens it
_NAME_LENGTH = 60  # of a dataset's name in the name of a file
_INPUT = {"image-classification": "image", "text-classification": "text"}


def open_or_prepare(source: Source, cache: Path) -> Dataset:
    """Return the dataset from the cache, prepared first if it is not there or damaged.

    Args:
        source: Where the samples come from, with the options.
        cache: The cache's root.
    """
    parent = cache / "prepared"
    for _ in range(_ATTEMPTS):
        folder = parent / _entry_name(source) if source.is_known() else None
        if folder is None or not folder.exists():
            folder = build_folder(parent, partial(_prepare, source))
        try:
            return open_dataset(folder)
        except DamagedError:
            discard_folder(folder)
    return open_dataset(build_folder(parent, partial(_prepare, source)))


def _entry_name(source: Source) -> str:
    """Return the name of the cache's folder for this content with these options."""
    key = json.dumps([LAYOUT, source.stamp(), source.options.to_json()])
    return f"{source.name[:_NAME_LENGTH]}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"


def _prepare(source: Source, folder: Path) -> str:
    """Read, split and write the dataset into an empty folder; return the name that the folder shall have."""
    options = source.options
    samples = source.read()
    rows = choose_subset(samples.ids, samples.labels, samples.parts, options.max_samples, options.split_seed)
    scratch = folder / "blocks"
    scratch.mkdir()
    content = samples.decode(rows, scratch)
    rows = rows[content.rows]
    assignment = split_samples(
        samples.ids[rows],
        samples.labels[rows],
        samples.parts[rows],
        content.digests,
        samples.class_names,
        split_seed=options.split_seed,
        val_fraction=options.val_fraction,
        test_fraction=options.test_fraction,
    )
    files, splits = _write_splits(folder, samples, rows, content, assignment)
    shutil.rmtree(scratch)
    dataset = Dataset(
        name=source.name,
        task=samples.task,
        **splits,
        class_names=samples.class_names,
        fingerprint=fingerprint(samples.task, samples.class_names, files),
        recipe={},
        card=_card(source, samples, content, assignment, splits),
    )
    write_manifest(folder, dataset, files)
    return _entry_name(source)


def _write_splits(
    folder: Path, samples: Samples, rows: np.ndarray, content: Content, assignment: Assignment
) -> tuple[dict[str, dict[str, Any]], dict[str, Split]]:
    """Write the arrays of each split; return the facts of every file, and the splits opened from them."""
    name = _INPUT[samples.task]
    files = _write_inputs(folder, name, content, assignment)
    splits = {}
    for part in PARTS:
        chosen = rows[assignment.parts == part]
        file = next(file for file in files if file.startswith(f"{part}.{name}."))
        splits[part] = Split(
            inputs={name: open_array(folder / file, files[file])},
            targets={"label": samples.labels[chosen]},
            ids=samples.ids[chosen],
        )
    for part, split in splits.items():
        for array_name, array in (split.targets | {"ids": split.ids}).items():
            file = file_name(part, array_name, array)
            files[file] = write_array(folder / file, array)
    return files, splits


def _write_inputs(
    folder: Path, name: str, content: Content, assignment: Assignment
) -> dict[str, dict[str, Any]]:
    """Hand the blocks out to one file for each split, without ever holding all of them."""
    members = {part: assignment.parts == part for part in PARTS}
    blocks = iter(content.blocks)
    if content.shape[1:] == ():
        texts = np.concatenate(list(blocks))
        return {
            (file := file_name(part, name, texts)): write_array(folder / file, texts[chosen])
            for part, chosen in members.items()
        }
    with ExitStack() as stack:
        writers = {}
        for part, chosen in members.items():
            shape = (int(chosen.sum()), *content.shape[1:])
            path = folder / f"{part}.{name}.npy"
            writers[part] = stack.enter_context(ArrayWriter(path, shape, np.dtype(np.uint8)))
        start = 0
        for block in blocks:
            for part, chosen in members.items():
                writers[part].append(block[chosen[start : start + len(block)]])
            start += len(block)
    return {writer.path.name: writer.facts for writer in writers.values()}


def _card(
    source: Source,
    samples: Samples,
    content: Content,
    assignment: Assignment,
    splits: dict[str, Split],
) -> dict[str, Any]:
    """Return what is known of the dataset, for people: JSON."""
    counts = {part: Counter(split.y.tolist()) for part, split in splits.items()}
    return {
        **source.about,
        "name": source.name,
        "task": samples.task,
        "content": source.stamp(),
        "samples": {part: len(split) for part, split in splits.items()},
        "classes": {
            name: {part: counts[part][label] for part in PARTS}
            for label, name in enumerate(samples.class_names)
        },
        "input_shape": list(content.shape[1:]),
        "duplicates": {
            "copies": assignment.copies,
            "left_out_of_training": assignment.left_out,
            "conflicting_labels": assignment.conflicts,
        },
        "left_out": {},
        **samples.facts,
        **content.facts,
        "options": source.options.to_json(),
    }

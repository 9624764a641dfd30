"""Many image files to one array, by a few processes.

Pillow holds Python's lock for most of the time that a small image takes, so processes do the work, not
threads. They are plain child processes that run `decoder`: a fork of a process with TensorFlow's threads
could hang.
"""

import json
import os
import queue
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from workbench.datasets import decoder
from workbench.datasets.samples import Content
from workbench.errors import WorkbenchError
from workbench.runs import show_path

_BLOCK_BYTES = 2 << 20  # decoded images that are handled together, about
_BLOCK_IMAGES = 500
_SECONDS_PER_IMAGE = 1e-4
_SECONDS_PER_PIXEL = 1e-8
_WORTH_A_PROCESS = 0.1  # seconds of work; to start a process takes about as long
_LISTED = 20  # sizes in the data card
_SHOWN = 5  # sizes in a message


def decode_files(
    folder: Path,
    files: list[str],
    image_size: Sequence[int],
    on_error: str,
    scratch: Path,
    learn: Callable[[dict[str, str]], None],
) -> Content:
    """Decode image files into blocks in the folder `scratch`.

    Args:
        folder: Where the files are.
        files: Their paths in it.
        image_size: (height, width) in pixels to resize to, or () for the size that all of them have.
        on_error: "raise" to stop at an unreadable image, "skip" to leave it out.
        scratch: An empty folder; the blocks are read from it when they are asked for.
        learn: Is told the hashes of the files as they are read.

    Raises:
        WorkbenchError: An image is unreadable, or the sizes differ and none is asked for.
    """
    blocks, workers = _plan_blocks(folder, files, image_size, scratch)
    start, rows, digests, shapes, sizes, errors = 0, [], [], [], Counter(), {}
    for block, result in zip(blocks, _decode_blocks(blocks, workers), strict=True):
        learn({file: known for file, known in zip(block["files"], result["hashes"], strict=True) if known})
        errors |= result["errors"]
        if errors and on_error == "raise":
            raise _unreadable(folder, errors)
        rows += [start + position for position in result["read"]]
        digests.append(result["digests"])
        shapes.append([tuple(shape) for shape in result["shapes"]])
        sizes.update({tuple(size): count for size, count in result["sizes"]})
        start += len(block["files"])
    if not rows:
        raise _unreadable(folder, errors)
    distinct = {shape for block_shapes in shapes for shape in block_shapes}
    if len({shape[:2] for shape in distinct}) > 1:
        raise _mixed_sizes(folder, sizes)
    return Content(
        blocks=(
            _read_block(block["target"], kept) for block, kept in zip(blocks, shapes, strict=True) if kept
        ),
        shape=(len(rows), *max(distinct)),
        digests=np.frombuffer(bytes.fromhex("".join(digests)), "S16"),
        rows=np.array(rows),
        facts={"image_sizes": _count_sizes(sizes), "left_out": errors},
    )


def _plan_blocks(
    folder: Path, files: list[str], image_size: Sequence[int], scratch: Path
) -> tuple[list[dict[str, Any]], int]:
    """Return the arguments of `decode_block` for each block, and how many processes are worth starting."""
    stored_height, stored_width = _first_size(folder, files)
    height, width = image_size or (stored_height, stored_width)
    step = min(max(_BLOCK_BYTES // (3 * height * width), 1), _BLOCK_IMAGES)
    blocks = [
        {
            "folder": str(folder),
            "files": files[start : start + step],
            "image_size": list(image_size),
            "target": str(scratch / f"{start}.pixels"),
        }
        for start in range(0, len(files), step)
    ]
    seconds = len(files) * (_SECONDS_PER_IMAGE + _SECONDS_PER_PIXEL * stored_height * stored_width)
    return blocks, min(os.cpu_count() or 1, len(blocks), int(seconds / _WORTH_A_PROCESS))


def _read_block(path: str, shapes: Sequence[tuple[int, int, int]]) -> np.ndarray:
    """Return the images of a block, (m, height, width, channels); grey among colour ones become colour."""
    pixels = np.fromfile(path, np.uint8)
    if len(set(shapes)) == 1:
        return pixels.reshape(len(shapes), *shapes[0])
    images = np.empty((len(shapes), *max(shapes)), np.uint8)
    ends = np.cumsum([np.prod(shape) for shape in shapes])
    for image, shape, flat in zip(images, shapes, np.split(pixels, ends[:-1]), strict=True):
        image[:] = flat.reshape(shape)
    return images


def _first_size(folder: Path, files: Sequence[str]) -> tuple[int, int]:
    """Return (height, width) of the first readable image, from which the work is planned."""
    for file in files:
        try:
            return decoder.decode_image((folder / file).read_bytes())[1]
        except Exception:  # reported when its block is decoded
            continue
    return 1, 1


def _count_sizes(sizes: Counter) -> dict[str, int]:
    """Return how many images there are of each "height x width", the most frequent first."""
    counts = {f"{height} x {width}": count for (height, width), count in sizes.most_common(_LISTED)}
    others = sizes.total() - sum(counts.values())
    return counts | ({"others": others} if others else {})


def _decode_blocks(blocks: Sequence[dict[str, Any]], workers: int) -> Iterator[dict[str, Any]]:
    """Yield what `decode_block` returns for each block of arguments, in order."""
    if workers < 2:
        yield from (decoder.decode_block(**block) for block in blocks)
        return
    idle: queue.SimpleQueue[subprocess.Popen] = queue.SimpleQueue()
    with ExitStack() as stack:
        for _ in range(workers):
            process = stack.enter_context(_start_worker())
            stack.callback(process.kill)
            idle.put(process)
        pool = stack.enter_context(ThreadPoolExecutor(workers))
        stack.callback(pool.shutdown, wait=False, cancel_futures=True)
        yield from pool.map(lambda block: _ask_worker(idle, block), blocks)


def _start_worker() -> subprocess.Popen:
    command = [sys.executable, "-P", decoder.__file__]  # -P: what lies beside the file is not importable
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    )


def _ask_worker(idle: "queue.SimpleQueue[subprocess.Popen]", block: dict[str, Any]) -> dict[str, Any]:
    process = idle.get()
    try:
        process.stdin.write(json.dumps(block) + "\n")
        process.stdin.flush()
        answer = process.stdout.readline()
    except BrokenPipeError:
        answer = ""
    finally:
        idle.put(process)  # a dead one too, or its successors in the queue would wait for ever
    if not answer:
        raise WorkbenchError(
            f"A process that decodes images ended early, with status {process.wait()}.\n"
            "It probably ran out of memory. Close other programs, or give a smaller image_size."
        )
    return json.loads(answer)


def _unreadable(folder: Path, errors: dict[str, str]) -> WorkbenchError:
    file, message = next(iter(errors.items()))
    return WorkbenchError(
        f"The image {show_path(folder / file)} cannot be read: {message}.\n"
        'Repair or remove the file, or give on_error="skip" to leave unreadable images out and list them.'
    )


def _mixed_sizes(folder: Path, sizes: Counter) -> WorkbenchError:
    shown = [f"{count} of {size}" for size, count in _count_sizes(sizes).items()]
    return WorkbenchError(
        f"The images in {show_path(folder)} have {len(sizes)} different sizes (height x width): "
        f"{', '.join(shown[:_SHOWN])}{', …' * (len(shown) > _SHOWN)}.\n"
        "A network needs one size: give image_size, such as [64, 64]."
    )

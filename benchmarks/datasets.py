"""How fast a folder of images becomes a Dataset, beside keras.utils.image_dataset_from_directory.

    python benchmarks/datasets.py [FOLDER] [--rounds N]

FOLDER holds train/<class>/ and test/<class>/, such as CIFAR-10 as 60,000 JPEGs; without it as many small
JPEGs are made. Both sides read the same files in turn, several times; medians and their ratios are printed
beside the targets: the first time within 1.5 times one pass of the peer, the second time at least 8 times
faster than it, peak memory beyond the imports under 1.5 times the arrays, and changed files noticed.
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

IMAGES = {"train": 5000, "test": 1000}  # for each class
CLASSES = 10
SIDE = 32  # pixels


def main() -> int:
    """Measure, print a table, and return 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, help="images under train/<class>/ and test/<class>/")
    parser.add_argument("--rounds", type=int, default=3, help="how often the two sides take turns")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "images"
        link_images(arguments.folder, folder) if arguments.folder else make_images(folder)
        figures = measure(folder, Path(temporary), arguments.rounds)
        figures["changes noticed"] = changes_noticed(folder, Path(temporary) / "cache-changes")
    return report(figures)


def measure(folder: Path, temporary: Path, rounds: int) -> dict[str, Any]:
    """Let the two sides take turns; return the medians, in seconds and bytes."""
    turns = []
    with start("peer", folder) as peer:
        ask(peer)  # not counted: warms the disk cache and TensorFlow
        for number in range(rounds):
            cache = temporary / f"cache-{number}"
            turn = {f"peer {key}": value for key, value in ask(peer).items()}
            for time_of_opening in ("first", "second"):
                with start("load", folder, cache) as process:
                    turn |= {f"{time_of_opening} {key}": value for key, value in ask(process).items()}
            turns.append(turn)
            print(json.dumps({key: round(value, 3) for key, value in turn.items()}), flush=True)
            shutil.rmtree(cache)
    return {key: statistics.median(turn[key] for turn in turns) for key in turns[0]}


def report(figures: dict[str, Any]) -> int:
    """Print the figures beside their targets; return how the process shall exit."""
    first = figures["first seconds"] / figures["peer seconds"]
    second = figures["peer seconds"] / figures["second seconds"]
    memory = figures["first peak"] / figures["first arrays"]
    checks = [
        (
            f"first time: {figures['first seconds']:.2f} s, {first:.2f} x the peer's pass",
            "<= 1.5",
            first <= 1.5,
        ),
        (f"second time: {figures['second seconds']:.3f} s, {second:.1f} x faster", ">= 8", second >= 8),
        (
            f"peak memory: {figures['first peak'] / 2**20:.0f} MiB, {memory:.2f} x the arrays",
            "< 1.5",
            memory < 1.5,
        ),
        (
            f"changes: {', '.join(figures['changes noticed']) or 'none'} noticed",
            "added, removed, changed",
            len(figures["changes noticed"]) == 3,
        ),
    ]
    print(f"peer: {figures['peer seconds']:.2f} s for one pass, {os.cpu_count()} cores, medians")
    print(
        f"processor time: peer {figures['peer processor']:.1f} s, "
        f"first {figures['first processor']:.1f} s, second {figures['second processor']:.2f} s"
    )
    for measured, target, passed in checks:
        print(f"{'pass' if passed else 'FAIL'}  {measured}  (target {target})")
    return 0 if all(passed for _, _, passed in checks) else 1


def changes_noticed(folder: Path, cache: Path) -> list[str]:
    """Add, remove and change one file in turn; return which of that the next opening saw."""
    from workbench.datasets import load_dataset

    noticed = []
    before = load_dataset(f"folder:{folder}", cache_dir=cache)
    original = next((folder / "train").glob("*/*"))
    added = original.with_name(f"added{original.suffix}")
    shutil.copy(original, added)
    after = load_dataset(f"folder:{folder}", cache_dir=cache)
    if len(after.train) + len(after.val) == len(before.train) + len(before.val) + 1:
        noticed.append("added")
    added.unlink()
    if load_dataset(f"folder:{folder}", cache_dir=cache).fingerprint == before.fingerprint:
        noticed.append("removed")
    replacement = next((folder / "test").glob("*/*")).read_bytes()
    original.unlink()  # it may be a hard link
    original.write_bytes(replacement)
    if load_dataset(f"folder:{folder}", cache_dir=cache).fingerprint != before.fingerprint:
        noticed.append("changed")
    return noticed


def run_peer(folder: Path) -> None:
    """Read all images once for every line on standard input, and print how long it took."""
    import keras

    for _ in sys.stdin:
        started, busy = time.perf_counter(), time.process_time()
        for part in IMAGES:
            batches = keras.utils.image_dataset_from_directory(
                folder / part, image_size=(SIDE, SIDE), batch_size=256, shuffle=False, verbose=False
            )
            for _images, _labels in batches:
                pass
        seconds, busy = time.perf_counter() - started, time.process_time() - busy
        print(json.dumps({"seconds": seconds, "processor": busy}), flush=True)


def run_load(folder: Path, cache: Path) -> None:
    """Open the dataset in this fresh process; print seconds and peak memory beyond the imports (bytes)."""
    from workbench.datasets import images, load_dataset

    subprocess.run([sys.executable, images.decoder.__file__], stdin=subprocess.DEVNULL, check=True)
    idle = peak(resource.RUSAGE_SELF), peak(resource.RUSAGE_CHILDREN)
    sys.stdin.readline()
    started, busy = time.perf_counter(), sum(os.times()[:4])
    dataset = load_dataset(f"folder:{folder}", cache_dir=cache)
    seconds, busy = time.perf_counter() - started, sum(os.times()[:4]) - busy
    own, workers = peak(resource.RUSAGE_SELF) - idle[0], peak(resource.RUSAGE_CHILDREN) - idle[1]
    arrays = sum(split.x.nbytes for split in dataset.splits().values())
    answer = {"seconds": seconds, "processor": busy, "peak": own + os.cpu_count() * workers, "arrays": arrays}
    print(json.dumps(answer), flush=True)


def peak(who: int) -> int:
    """Return the largest memory (bytes) that this process, or the largest of its children, has used."""
    return resource.getrusage(who).ru_maxrss * 1024


@contextmanager
def start(role: str, *paths: Path) -> Iterator[subprocess.Popen]:
    """Run this file as another process that answers each line with a line of JSON."""
    command = [sys.executable, __file__, role, *map(str, paths)]
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2"}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        yield process
        process.stdin.close()


def ask(process: subprocess.Popen) -> dict[str, float]:
    """Return the answer of a process to the next line."""
    process.stdin.write("\n")
    process.stdin.flush()
    return json.loads(process.stdout.readline())


def link_images(source: Path, folder: Path) -> None:
    """Make `folder` a copy of `source` without copying the files where the file system allows it."""

    def link(original: str, copy: str) -> None:
        try:
            os.link(original, copy)
        except OSError:
            shutil.copy2(original, copy)

    shutil.copytree(source, folder, copy_function=link)


def make_images(folder: Path) -> None:
    """Write as many JPEGs as CIFAR-10 has, of smooth random colours."""
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(0)
    for part, count in IMAGES.items():
        for label in range(CLASSES):
            target = folder / part / f"class-{label}"
            target.mkdir(parents=True)
            coarse = random.integers(0, 256, (count, 8, 8, 3), np.uint8)
            for number, pixels in enumerate(coarse):
                image = Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
                image.save(target / f"{number:04d}.jpg", quality=75)


if __name__ == "__main__":
    if sys.argv[1:2] == ["peer"]:
        run_peer(Path(sys.argv[2]))
    elif sys.argv[1:2] == ["load"]:
        run_load(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        sys.exit(main())

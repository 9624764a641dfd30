"""How fast networks train here, beside the article's script, KerasHub as it comes, and PyTorch.

    python benchmarks/training.py [FOLDER] [--rounds N] [--text] [--frozen] [--first-step] [--accuracy]

FOLDER holds CIFAR-10 as images under train/<class>/ and test/<class>/; without it, random images of its shape
are trained, which takes as long. Each side is a process of its own, and they take turns; medians over the
rounds and their ratios are printed beside the targets.

             the article's network, on a processor with bfloat16 instructions: at batch 32 at least 1.5 times,
             at batch 128 at least twice the images a second of the article's script; PyTorch (channels last,
             bfloat16 autocast, its data loader) is measured where it is installed
--text       MiniLM on film reviews: at least 20 times the texts a second of KerasHub's defaults; transformers
             on PyTorch (grouped by length, bfloat16) is measured where both are installed
--frozen     a classifier on a frozen MiniLM: at least 10 times faster an epoch, from the second one on, with
             features that are computed once
--first-step the notebook 02_train_cnn in a warm kernel: from its start to its first logged steps under 3 s,
             with FOLDER prepared; steps are logged half a second after the first one
--accuracy   five seeds of ten epochs: the mean test accuracy not inferior to that of the article's script by
             more than one point; that takes long
"""

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

from training import images, texts

ROOT = Path(__file__).resolve().parents[1]
MARGIN = 0.01


def main() -> int:
    """Measure, print a table, and return 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "folder", nargs="?", type=Path, help="CIFAR-10 under train/<class>/ and test/<class>/"
    )
    parser.add_argument("--rounds", type=int, default=5, help="how often the sides take turns")
    parser.add_argument("--text", action="store_true", help="fine-tune MiniLM on film reviews as well")
    parser.add_argument("--frozen", action="store_true", help="train on a frozen network as well")
    parser.add_argument(
        "--first-step", action="store_true", help="time the start of the notebook; needs FOLDER"
    )
    parser.add_argument(
        "--accuracy", action="store_true", help="compare accuracies over five seeds; needs FOLDER"
    )
    arguments = parser.parse_args()
    passed = [measure_images(arguments.folder, size, arguments.rounds) for size in (32, 128)]
    if arguments.text:
        passed.append(measure_texts(arguments.rounds))
    if arguments.frozen:
        passed.append(measure_frozen(arguments.rounds))
    if arguments.first_step:
        passed.append(measure_first_step(arguments.folder, arguments.rounds))
    if arguments.accuracy:
        passed.append(compare_accuracies(arguments.folder))
    return 0 if all(passed) else 1


def measure_images(folder: Path | None, batch_size: int, rounds: int) -> bool:
    """Let the sides train an epoch in turn; print the table and return whether the target is met."""
    from workbench.training.machine_speed import has_bfloat16_instructions

    sides = ["script", *images.PRECISIONS, *(["torch"] if importlib.util.find_spec("torch") else [])]
    rates = take_turns({side: [side, str(folder or ""), str(batch_size)] for side in sides}, rounds)
    print(f"CNN of the article, batch {batch_size}, images a second, medians of {rounds} rounds:")
    show(rates, "script")
    if "torch" not in rates:
        print("      torch is not installed, so that side is not measured: pip install torch")
    if not has_bfloat16_instructions():
        print("      no bfloat16 instructions here, so there is no target")
        return True
    return judge(rates["ours"] / rates["script"], 1.5 if batch_size == 32 else 2.0)


def measure_texts(rounds: int) -> bool:
    """Let the sides fine-tune MiniLM in turn; print the table and return whether the target is met."""
    peers = ["kerashub"]
    if importlib.util.find_spec("torch") and importlib.util.find_spec("transformers"):
        peers.append("transformers")
    else:
        print("      torch or transformers is not installed, so that side is not measured")
    rates = take_turns({side: [side, "", "32"] for side in (*peers, "our text")}, rounds)
    print(f"MiniLM on film reviews, batch 32, texts a second, medians of {rounds} rounds:")
    show(rates, "kerashub")
    return judge(rates["our text"] / rates["kerashub"], 20)


def measure_frozen(rounds: int) -> bool:
    """Let the sides train an epoch in turn, the first one uncounted; print and judge the ratio."""
    rates = take_turns({side: [side, "", "32"] for side in ("frozen", "features")}, rounds)
    print(f"classifier on a frozen MiniLM, batch 32, texts a second, medians of {rounds} rounds:")
    show(rates, "frozen")
    return judge(rates["features"] / rates["frozen"], 10)


def measure_first_step(folder: Path | None, rounds: int) -> bool:
    """Start the notebook several times; print and judge the median time until its first steps are logged."""
    if folder is None:
        sys.exit("--first-step needs the folder of CIFAR-10, as its notebook trains it.")
    os.chdir(ROOT)
    seconds = [start_notebook(folder.resolve(), seed) for seed in range(rounds + 1)][1:]
    median = statistics.median(seconds)
    print(f"02_train_cnn, from its start to its first logged steps: {[round(each, 2) for each in seconds]} s")
    print(f"{'pass' if median < 3 else 'FAIL'}  {median:.2f} s (target < 3)")
    return median < 3


def start_notebook(folder: Path, seed: int) -> float:
    """Return the seconds until the notebook has logged steps; the first time, data are prepared."""
    from workbench.events import read_events
    from workbench.kernels.choice import WARM_KERNEL
    from workbench.pipelines.execution import Execution, StepFailed

    with tempfile.TemporaryDirectory() as temporary:
        run = Path(temporary)
        parameters = {"dataset": f"folder:{folder}", "epochs": 10, "seed": seed, "run_dir": str(run)}
        notebook = ROOT / "notebooks/02_train_cnn.ipynb"
        execution = Execution(notebook, run / "executed.ipynb", parameters, {}, kernel_name=WARM_KERNEL)
        began = time.perf_counter()
        with ThreadPoolExecutor(1) as pool, suppress(StepFailed):  # its kernel is killed below
            running = pool.submit(execution.run)
            while not any(event["type"] == "step" for event in read_events(run / "events.jsonl")):
                if running.done():
                    running.result()
                time.sleep(0.01)
            seconds = time.perf_counter() - began
            execution.kill()
            running.result()
        return seconds


def compare_accuracies(folder: Path | None) -> bool:
    """Train both sides to the end with five seeds, and return whether ours is not inferior."""
    if folder is None:
        sys.exit("--accuracy needs the folder of CIFAR-10: random images cannot be learned.")
    means = {}
    for side in ("script", "ours"):
        with ExitStack() as stack:
            process = start(stack, [side, str(folder), "32", "accuracy"])
            means[side] = statistics.mean(ask(process, seed) for seed in range(5))
    print(f"test accuracy, means of 5 seeds: script {means['script']:.4f}, ours {means['ours']:.4f}")
    passed = means["ours"] > means["script"] - MARGIN
    print(f"{'pass' if passed else 'FAIL'}  not inferior with a margin of {MARGIN}")
    return passed


def take_turns(commands: dict[str, list[str]], rounds: int) -> dict[str, float]:
    """Return the median samples a second of each side; the first turn of each warms it and is not counted."""
    measured: dict[str, list[float]] = {side: [] for side in commands}
    with ExitStack() as stack:
        processes = {side: start(stack, command) for side, command in commands.items()}
        for number in range(rounds + 1):
            for side, process in processes.items():
                rate = ask(process, number)
                if number:
                    measured[side].append(rate)
    return {side: statistics.median(rates) for side, rates in measured.items()}


def show(rates: dict[str, float], peer: str) -> None:
    for side, rate in rates.items():
        print(f"      {side:14} {rate:8,.1f}   {rate / rates[peer]:5.2f} x {peer}")


def judge(ratio: float, target: float) -> bool:
    print(f"{'pass' if ratio >= target else 'FAIL'}  {ratio:.2f} x (target >= {target})")
    return ratio >= target


def start(stack: ExitStack, command: list[str]) -> subprocess.Popen:
    """Run this file as another process that answers each line with a line of JSON."""
    project = stack.enter_context(tempfile.TemporaryDirectory())
    Path(project, "workbench.toml").touch()
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    process = subprocess.Popen(
        [sys.executable, __file__, "side", *command],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=project,
    )  # fmt: skip
    stack.callback(process.wait)
    stack.callback(process.stdin.close)
    return process


def ask(process: subprocess.Popen, number: int) -> float:
    """Return the answer of a process to the next line."""
    process.stdin.write(f"{number}\n")
    process.stdin.flush()
    return json.loads(process.stdout.readline())


def serve(side: str, folder: str, batch_size: str, *wanted: str) -> None:
    """Answer each line with the speed of an epoch, or with the accuracy that its number as seed gives."""
    sides = images.SIDES if side in images.SIDES else texts.SIDES
    turn = sides[side](folder, int(batch_size))
    for line in sys.stdin:
        began = time.perf_counter()
        samples, accuracy = turn(int(line), 10 if wanted else 1, bool(wanted))
        answer = accuracy if wanted else samples / (time.perf_counter() - began)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["side"]:
        serve(*sys.argv[2:])
    else:
        sys.exit(main())

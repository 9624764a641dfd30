"""The figures beside their targets."""

import random
import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

Check = tuple[str, str, bool]  # what was measured, the target, and whether it is met
Times = dict[str, dict[str, list[float]]]  # seconds of every call, by callback and hook

PEERS = ("livelossplot", "FigureWidget")


def print_checks(figures: dict[str, Any]) -> int:
    """Print all figures that have a target; return how the script shall exit."""
    checks = [
        *check_costs(figures["costs"]),
        *check_updates(figures["updates"]),
        *check_traffic("in real trainings", [figures["training"]]),
        *(
            check
            for runs in figures["drawing"].values()
            for check in check_traffic(
                f"after {runs[0]['history']:,} bytes of history", [run["traffic"] for run in runs]
            )
        ),
        *check_drawing(figures["drawing"]),
        *check_scripts(figures["scripts"]),
        *check_clicks(figures["clicks"]),
    ]
    for measured, target, passed in checks:
        print(f"{'pass' if passed else 'FAIL'}  {measured}  (target {target})")
    return 0 if all(passed for _, _, passed in checks) else 1


def check_costs(costs: list[dict[str, Any]]) -> Iterator[Check]:
    """Judge the time in all callbacks of a training, without what Keras spends on calling them.

    The time a batch is that of the default settings. A probe is none of them: what looking at it costs is a
    share of `fit` by design, and is judged as that.
    """
    for cost in costs:
        ours = sum(sum(parts) for parts in split_costs(cost["times"]).values())
        batch, share = 1e6 * ours / cost["batches"], ours / cost["seconds"]
        if cost["default"]:
            yield f"all callbacks {cost['name']}: {batch:.1f} µs a batch", "< 30 µs", batch < 30
        else:
            print(f"all callbacks {cost['name']}: {batch:.1f} µs a batch")
        yield f"all callbacks {cost['name']}: {share:.2%} of fit", "<= 1 %", share <= 0.01


def check_updates(updates: dict[int, dict[str, list[float]]]) -> Iterator[Check]:
    """Judge what an update with the longest history takes in the training thread, beside the peers."""
    views = updates[max(updates)]
    ours = statistics.median(views["ours"])
    for peer in PEERS:
        ratio = statistics.median(views[peer]) / ours
        measured = f"update: {1e3 * ours:.3f} ms, {peer} {1e3 * ratio * ours:.1f} ms, {ratio:.0f} x as long"
        yield measured, ">= 100 x", ratio >= 100


def check_traffic(where: str, traffic: Sequence[dict[str, float]]) -> Iterator[Check]:
    """Judge size and number of the updates after the first transfer of history."""
    for what in ("answer of the server", "message of the kernel"):
        size = max(each[what] for each in traffic)
        yield f"largest {what} {where}: {size} bytes", "<= 2000", size <= 2000
    rate = max(each["in a second"] for each in traffic)
    yield f"updates in the busiest second {where}: {rate}", "<= 10", rate <= 10


def check_drawing(drawing: dict[str, list[dict[str, Any]]]) -> Iterator[Check]:
    """Judge how long drawing a long history keeps the browser from doing anything else."""
    longest = [max(run["tasks"]["panel"]) for run in drawing["long"]]
    clock, processor = (statistics.median(times) for times in zip(*longest, strict=True))
    measured = (
        f"longest task mostly in the panel's scripts: {clock:.0f} ms (median of {len(longest)} openings, "
        f"{max(run[0] for run in longest):.0f} at most), {processor:.0f} ms of them on the processor"
    )
    yield measured, "<= 50 ms", clock <= 50


def check_scripts(size: int) -> Iterator[Check]:
    """Judge the size of all scripts that a panel may load."""
    yield f"scripts of the panel: {size} bytes", "<= 60000", size <= 60_000


def check_clicks(clicks: dict[str, list[float]]) -> Iterator[Check]:
    """Judge how soon a click reaches the training."""
    for label, seconds in clicks.items():
        median = statistics.median(seconds)
        measured = (
            f"{label}: {median:.2f} s after the click (median of {len(seconds)}, {max(seconds):.2f} at most)"
        )
        yield measured, "<= 0.5 s", median <= 0.5


def print_costs(costs: list[dict[str, Any]]) -> None:
    """Print where the time in the callbacks goes: at batches, at ends of epochs, around the training."""
    for cost in costs:
        batches, epochs = cost["batches"], cost["epochs"]
        print(
            f"fit of {epochs} epochs of {batches // epochs} batches {cost['name']}: "
            f"{cost['seconds']:.1f} s, {1e3 * cost['seconds'] / batches:.1f} ms a batch; in the callbacks:"
        )
        for name, (batch, epoch, around) in split_costs(cost["times"]).items():
            print(
                f"    {name:<12} {1e6 * batch / batches:7.2f} µs a batch, "
                f"{1e3 * epoch / epochs:7.2f} ms an epoch, {1e3 * around:6.2f} ms around"
            )


def split_costs(times: Times) -> dict[str, tuple[float, float, float]]:
    """Return the seconds in each callback at batches, at epochs, and around the training.

    At every batch the call itself takes some time, as the empty callback shows; that is Keras's.
    """
    call = statistics.median(times["Empty"]["on_train_batch_end"])
    sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
    for name, hooks in times.items():
        for hook, seconds in hooks.items():
            place = 0 if "batch" in hook else 2 if hook in ("on_train_begin", "on_train_end") else 1
            sums[name][place] += sum(seconds) - (call * len(seconds) if place == 0 else 0.0)
    del sums["Empty"]
    return {name: tuple(parts) for name, parts in sums.items()}


def print_updates(updates: dict[int, dict[str, list[float]]]) -> None:
    """Print what an update of each view takes in the training thread, by the length of its history."""
    for points, views in updates.items():
        words = [f"{view} {1e3 * statistics.median(seconds):.3f} ms" for view, seconds in views.items()]
        print(f"an update after {points} points of history: {', '.join(words)}")


def print_pairs(pairs: list[dict[str, float]]) -> None:
    """Print how long trainings took with our callbacks and the panel, beside those without any callback."""
    ratios = [pair["with"] / pair["without"] for pair in pairs]
    low, high = bootstrap_median(ratios)
    sides = {side: statistics.median(pair[side] for pair in pairs) for side in ("with", "without")}
    print(
        f"fit with callbacks and panel {sides['with']:.2f} s, without {sides['without']:.2f} s; median ratio "
        f"{statistics.median(ratios):.4f}, 95 % interval {low:.4f} to {high:.4f} of {len(ratios)} pairs "
        f"({', '.join(f'{ratio:.3f}' for ratio in ratios)})"
    )


def bootstrap_median(values: Sequence[float], draws: int = 10_000) -> tuple[float, float]:
    """Return the 95 % percentile interval of the median (Efron and Tibshirani 1993, chapter 13)."""
    generator = random.Random(0)
    medians = sorted(statistics.median(generator.choices(values, k=len(values))) for _ in range(draws))
    return medians[round(0.025 * draws)], medians[round(0.975 * draws) - 1]


def print_drawing(kind: str, drawing: dict[str, Any]) -> None:
    """Print what the browser did to show one run."""
    words = []
    for whose, tasks in drawing["tasks"].items():
        three = [f"{clock:.0f} ({processor:.0f})" for clock, processor in sorted(tasks, reverse=True)[:3]]
        words.append(f"{whose} {', '.join(three)} ms")
    print(
        f"{kind} run: {drawing['history']:,} bytes read in {drawing['load']:.1f} s; "
        f"longest tasks (on the processor): {'; '.join(words)}; "
        f"updates: {drawing['traffic']}; output that stays: {drawing['lasting']:,} bytes",
        flush=True,
    )

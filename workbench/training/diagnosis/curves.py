"""Rules that need nothing but the curves."""

from collections.abc import Sequence
from itertools import pairwise

from workbench.findings import Finding
from workbench.training.diagnosis.history import History
from workbench.training.diagnosis.thresholds import Thresholds

_GOODFELLOW = "Goodfellow, Bengio and Courville 2016, Deep Learning, https://www.deeplearningbook.org"
_CS231N = "Karpathy, CS231n, https://cs231n.github.io/neural-networks-3/#loss"
_SMITH = (
    "Smith 2018, A disciplined approach to neural network hyper-parameters, https://arxiv.org/abs/1803.09820"
)


def find_overfitting(history: History, thresholds: Thresholds) -> Finding | None:
    """Validation has turned while training goes on ("warning"), or only a little, or the gap widens ("info").

    A loss that was small may become a multiple of that, and is still a little beside what guessing costs.
    """
    epochs, (train, val) = history.series("loss", "val_loss")
    baseline, patience = history.baseline, thresholds.patience
    if baseline is None or len(epochs) <= patience:
        return None
    best = val.index(min(val))
    rise = min(val[-patience:]) - val[best]
    fell = train[best] > max(train[-patience:])
    widened = (val[-1] - train[-1]) - max(0.0, val[0] - train[0])
    still = best < len(val) - patience
    if not (still and fell):
        return None
    evidence = {
        "best_epoch": epochs[best], "best_val_loss": val[best], "val_loss": val[-1],
        "loss_at_best": train[best], "loss": train[-1], "baseline": baseline,
    }  # fmt: skip
    what = (
        f"Validation loss was best in epoch {epochs[best] + 1} at {val[best]:.3g} and is {val[-1]:.3g} now, "
        f"while training loss fell from {train[best]:.3g} to {train[-1]:.3g}."
    )
    advice = (
        "Stop at the best epoch (EarlyStopping with restore_best_weights=True), or try more data, "
        "augmentation, dropout, weight decay or a smaller network."
    )
    if rise >= thresholds.rise * baseline:
        severity = "warning"
    elif widened >= thresholds.gap * baseline or rise >= (thresholds.multiple - 1) * val[best]:
        severity = "info"
    else:
        return None
    source = f"{_GOODFELLOW}, sections 5.2 and 7.8"
    return Finding("overfitting", severity, what, advice, evidence, source, epochs[-1])


def find_underfitting(history: History, thresholds: Thresholds) -> Finding | None:
    """The training loss no longer moves and is still near that of guessing."""
    epochs, (losses,) = history.series("loss")
    baseline, window = history.baseline, losses[-thresholds.flat_epochs - 1 :]
    if baseline is None or len(window) <= thresholds.flat_epochs or _crawls(losses, thresholds):
        return None
    level, moved = window[-1] / baseline, (max(window) - min(window)) / baseline
    if moved >= thresholds.flat_change or level < thresholds.high_loss or level > 1 / thresholds.high_loss:
        return None
    if history.chance is None and (history.first_loss is None or level < thresholds.guessing):
        return None  # a network may begin with good weights, or learn all there is in the first epoch
    if (history.accuracy or 0) >= thresholds.judge:
        return None
    name = "that of guessing" if history.chance else "its first value"
    return Finding(
        "underfitting",
        "warning" if level >= thresholds.guessing else "info",
        f"Training loss has been flat at {window[-1]:.3g} for {len(window) - 1} epochs, {level:.0%} of "
        f"{name}, {baseline:.3g}.",
        "Check that inputs and labels belong together, then try another learning rate (ten times higher, ten "
        "times lower), a larger network, or less regularization.",
        {"loss": window[-1], "baseline": baseline, "level": level, "epochs": len(window) - 1},
        f"{_GOODFELLOW}, sections 5.2 and 11.5",
        epochs[-1],
    )


def find_high_learning_rate(history: History, thresholds: Thresholds) -> Finding | None:
    """The training loss grows, stays above that of guessing, or jumps up again and again."""
    epochs, (losses,) = history.series("loss")
    baseline = history.baseline
    if baseline is None or len(losses) < 2:
        return None
    best, last, before = min(losses[:-1]), losses[-1], losses[-2]
    jumps = [
        later - earlier
        for earlier, later in pairwise(losses[-6:])
        if later - earlier >= thresholds.oscillation * baseline
    ]
    above = thresholds.divergence * baseline
    evidence = {"loss": last, "best_loss": best, "baseline": baseline, "learning_rate": history.rates[-1]}
    if last >= thresholds.divergence * best and last - best >= baseline:
        severity = "error"
        what = f"Training loss has grown from {best:.3g} to {last:.3g} and diverges."
    elif history.chance and (history.first_loss or above) < 0.75 * above < above < losses[0]:
        severity = "warning"
        what = (
            f"Training loss rose from {history.first_loss:.3g} in the first batches to {losses[0]:.3g} on "
            f"average in the first epoch, where guessing has {baseline:.3g}."
        )
    elif history.chance and min(last, before) > above and last > 0.5 * before:
        severity = "warning"
        what = f"Training loss is {last:.3g} after {len(losses)} epochs, where guessing has {baseline:.3g}."
    elif len(jumps) >= 2 and min(losses[-3:]) > losses[max(0, len(losses) - 6)] - 0.1 * baseline:
        severity = "warning"
        what = (
            f"Training loss jumped up {len(jumps)} times in {min(len(losses), 6) - 1} epochs, by up to "
            f"{max(jumps):.3g}, without getting lower."
        )
    else:
        return None
    advice = "Lower the learning rate three- to tenfold, warm it up, or clip gradients (clipnorm=1.0)."
    return Finding("learning_rate_too_high", severity, what, advice, evidence, _CS231N, epochs[-1])


def find_low_learning_rate(history: History, thresholds: Thresholds) -> Finding | None:
    """The training loss falls in every epoch, evenly, and would need very many more of them."""
    epochs, (losses,) = history.series("loss")
    baseline = history.baseline
    if baseline is None or not _crawls(losses, thresholds):
        return None
    window = losses[-thresholds.flat_epochs - 1 :]
    rates = history.rates[-len(window) :]
    if rates[0] is not None and rates[-1] is not None and rates[0] != rates[-1]:
        return None  # still warming up, or decaying on purpose
    falls = [earlier - later for earlier, later in pairwise(window)]
    pace = sum(falls) / len(falls)
    if pace >= thresholds.slow_pace * baseline or window[-1] < thresholds.high_loss * baseline:
        return None
    needed = (window[-1] - 0.5 * baseline) / pace
    if history.planned is not None and needed <= history.planned - epochs[-1] - 1:
        return None
    return Finding(
        "learning_rate_too_low",
        "warning",
        f"Training loss falls evenly but by {pace:.2g} an epoch only, from {window[0]:.4g} to "
        f"{window[-1]:.4g}; half of {baseline:.3g} would take {needed:,.0f} more epochs.",
        "Raise the learning rate three- to tenfold, or find a good one with a range test.",
        {"loss": window[-1], "pace": pace, "baseline": baseline, "learning_rate": rates[-1]},
        _SMITH,
        epochs[-1],
    )


def find_easier_validation(history: History, thresholds: Thresholds) -> Finding | None:
    """Validation is better than training from the start, and nothing makes training harder.

    Training metrics are means over an epoch in which the network still learned, so validation after one
    epoch is set against training in the next; not in the first epoch, when a network learns most.
    """
    epochs, (train, val) = history.series("loss", "val_loss")
    enough = thresholds.patience + 2
    if history.regularized is not False or len(epochs) < enough or epochs != list(range(len(epochs))):
        return None
    pairs = list(zip(val[1:], train[2:], strict=False))
    margin = thresholds.easier_validation
    if any(early > (1 - margin) * late for early, late in pairs) or not _is_more_accurate(history):
        return None
    if history.baseline is None or pairs[-1][1] < margin * history.baseline:
        return None  # next to nothing is left of either loss
    ratio = max(early / late for early, late in pairs)
    return Finding(
        "data_leak",
        "warning",
        f"Validation loss has been at least {1 - ratio:.0%} below the next epoch's training loss in "
        f"each of the first {len(val)} epochs but one ({val[-2]:.3g} against {train[-1]:.3g}), and no layer "
        "of the network makes training harder.",
        "Look for validation samples, or variants of them, among the training samples, for a split that is "
        "not random, and for a feature that gives the label away.",
        {"loss": train, "val_loss": val, "largest_ratio": ratio},
        "Kaufman et al. 2012, Leakage in Data Mining, https://doi.org/10.1145/2382577.2382579",
        epochs[-1],
    )


RULES = (
    find_overfitting,
    find_underfitting,
    find_high_learning_rate,
    find_low_learning_rate,
    find_easier_validation,
)


def _crawls(losses: Sequence[float], thresholds: Thresholds) -> bool:
    """Tell whether the loss fell in each of the last epochs, which is rare by chance, and evenly."""
    falls = [earlier - later for earlier, later in pairwise(losses[-thresholds.flat_epochs - 1 :])]
    half = (len(falls) + 1) // 2
    steady = sum(falls[-half:]) >= 0.7 * sum(falls[:half])
    return len(falls) == thresholds.flat_epochs and min(falls) > 0 and steady


def _is_more_accurate(history: History) -> bool:
    """Tell whether validation beats training in accuracy, too, where it is measured.

    Class and sample weights make the training loss alone larger.
    """
    for name in history.metrics[-1]:
        if f"val_{name}" in history.metrics[-1] and "acc" in name:
            _, (train, val) = history.series(name, f"val_{name}")
            return all(early > late for early, late in zip(val[1:], train[2:], strict=False))
    return True

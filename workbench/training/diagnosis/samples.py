"""Rules about the samples themselves."""

import numpy as np

from workbench.findings import Finding
from workbench.training.diagnosis.thresholds import Thresholds
from workbench.training.probe import Probe, Samples, leaves

_ROWS = 50_000  # training samples that held-out ones are looked for among
_POSITIONS = 16  # numbers of a sample that are compared first
_SHOWN = 10  # samples that a finding names


def find_imbalance(labels: np.ndarray, thresholds: Thresholds, epoch: int) -> Finding | None:
    """One class is much rarer than another.

    Args:
        labels: (n,) int classes of all samples that are known.
        thresholds: When to speak.
        epoch: The current one.
    """
    counts = np.bincount(labels)
    present = counts[counts > 0]
    if len(present) < 2:
        return None
    rarest, commonest = int(present.min()), int(present.max())
    # a class of which few were drawn may be larger than it looks: two standard deviations of a Poisson count
    if commonest < thresholds.imbalance * (rarest + 2 * rarest**0.5):
        return None
    rare, common = (int(np.flatnonzero(counts == count)[0]) for count in (rarest, commonest))
    return Finding(
        "class_imbalance",
        "warning",
        f"Class {common} has {commonest} of {len(labels)} samples and class {rare} has {rarest}, so that "
        f"always answering {common} is right in {commonest / len(labels):.0%}.",
        "Judge by balanced accuracy or by each class's recall, and try class_weight in fit or more samples "
        "of the rare classes.",
        {"commonest": common, "rarest": rare, "largest_count": commonest, "smallest_count": rarest},
        "He and Garcia 2009, Learning from Imbalanced Data, https://doi.org/10.1109/TKDE.2008.239",
        epoch,
    )


def find_leaked_samples(probe: Probe, thresholds: Thresholds, epoch: int) -> Finding | None:
    """Held-out samples occur among the training samples, number for number."""
    if probe.train is None or probe.held_out is None:
        return None
    held_out = probe.held_out.spread(thresholds.samples)
    train = probe.train
    if len(train) > _ROWS:
        train = train.take(np.linspace(0, len(train) - 1, _ROWS).astype(int))
    copies = _copies(held_out, train)
    part = len(copies) / len(held_out)
    if part < thresholds.duplicates:
        return None
    first = ", ".join(f"{ours} = {theirs}" for ours, theirs in list(copies.items())[:3])
    return Finding(
        "duplicates",
        "error" if part >= 10 * thresholds.duplicates else "warning",
        f"{len(copies)} of {len(held_out)} held-out samples are training samples, too ({first}).",
        "Remove copies before splitting, and give all variants of one sample to the same split.",
        {"copies": len(copies), "looked_at": len(held_out), "pairs": dict(list(copies.items())[:_SHOWN])},
        "Kaufman et al. 2012, Leakage in Data Mining, https://doi.org/10.1145/2382577.2382579",
        epoch,
    )


def find_wrong_labels(
    samples: Samples,
    labels: np.ndarray,
    probabilities: np.ndarray,
    trained: bool,
    thresholds: Thresholds,
    epoch: int,
) -> Finding | None:
    """An otherwise accurate network contradicts several labels with certainty.

    Args:
        samples: Whose ids are told.
        labels: (n,) int, as given.
        probabilities: (n, classes), as predicted.
        trained: Whether the network is trained with these samples.
        thresholds: When to speak.
        epoch: The current one.
    """
    predicted = probabilities.argmax(axis=1)
    of_given = probabilities[np.arange(len(labels)), labels]
    usual = _usual_confidence(labels, probabilities)
    doubted = (of_given < 0.05) & (probabilities.max(axis=1) >= usual[predicted])
    others = (predicted == labels)[~doubted]
    if doubted.sum() < max(5, thresholds.wrong_labels * (1 if trained else 2) * len(labels)):
        return None
    if others.mean() < thresholds.judge or doubted.mean() > 0.5:
        return None
    worst = [row for row in np.argsort(of_given, kind="stable") if doubted[row]][:_SHOWN]
    shown = [
        {
            "id": str(samples.ids[row]),
            "given": int(labels[row]),
            "predicted": int(predicted[row]),
            "loss": float(-np.log(max(of_given[row], 1e-12))),
        }
        for row in worst
    ]
    first = "; ".join(f"{item['id']} as {item['given']}, predicted {item['predicted']}" for item in shown[:3])
    return Finding(
        "wrong_labels",
        "info",
        f"{doubted.sum()} of {len(labels)} samples have a label that the network gives less than 5 % and "
        f"another that it is as sure of as ever, while it is right on {others.mean():.0%} of the others "
        f"({first}).",
        "Look at these samples, and correct or remove those with a wrong label.",
        {"doubted": int(doubted.sum()), "looked_at": len(labels), "samples": shown},
        "Northcutt, Jiang and Chuang 2021, Confident Learning, https://arxiv.org/abs/1911.00068",
        epoch,
    )


def _usual_confidence(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return (classes,) the mean probability of a class over its own samples; 1 for a class without any.

    Northcutt et al., equation 2.
    """
    classes = range(probabilities.shape[1])
    of_class = [probabilities[labels == number, number] for number in classes]
    return np.array([own.mean() if len(own) else 1.0 for own in of_class])


def _copies(held_out: Samples, train: Samples) -> dict[str, str]:
    """Return the id of an equal training sample by the id of each held-out one that has any."""
    rows: dict[bytes, list[int]] = {}
    for row, key in enumerate(_keys(train)):
        rows.setdefault(key, []).append(row)
    copies = {}
    for row, key in enumerate(_keys(held_out)):
        same = (other for other in rows.get(key, ())[:100] if _equal(held_out, row, train, other))
        if (found := next(same, None)) is not None:
            copies[str(held_out.ids[row])] = str(train.ids[found])
    return copies


def _keys(samples: Samples) -> list[bytes]:
    """Return a few numbers of each sample, which equal samples share."""
    keys = [b""] * len(samples)
    for array in leaves(samples.x):
        if array.dtype.kind in "TUO":
            parts = [str(text).encode() for text in array.reshape(len(array), -1)[:, 0]]
        else:
            flat = array.reshape(len(array), -1)
            chosen = np.unique(np.linspace(0, flat.shape[1] - 1, _POSITIONS).astype(int))
            parts = [row.tobytes() for row in np.ascontiguousarray(flat[:, chosen])]
        keys = [key + part for key, part in zip(keys, parts, strict=True)]
    return keys


def _equal(ours: Samples, row: int, theirs: Samples, other: int) -> bool:
    pairs = zip(leaves(ours.x), leaves(theirs.x), strict=True)
    return all(np.array_equal(a[row], b[other]) for a, b in pairs)

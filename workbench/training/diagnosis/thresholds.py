"""When the rules speak."""

from dataclasses import dataclass, fields

from workbench.errors import WorkbenchError


@dataclass(frozen=True)
class Thresholds:
    """The thresholds of all rules, set so that a healthy training hears nothing.

    Losses are set against a baseline: what guessing costs (the entropy of the classes) where the loss is a
    cross-entropy and the classes are known, else the loss of the first batch, else of the first epoch.

    Args:
        samples: At most so many samples of the probe go through the network at a time, but 64 at least of
            training and as many of held-out ones.
        cost: At most this part of the time since `fit` began is spent on the probe; a large number
            looks at it after every epoch.
        patience: Epochs that validation must have been getting worse.
        rise: How far the validation loss lies above its best, in baselines.
        multiple: How many times its best the validation loss has become, for a note.
        gap: How much wider the gap between the two losses is than at first, in baselines.
        flat_epochs: Epochs over which the training loss is looked at for progress.
        flat_change: It is flat when it moved by less than this over them, in baselines.
        high_loss: A flat training loss is high above this many baselines.
        guessing: It is no better than guessing above this many baselines.
        slow_pace: It falls slowly when it falls in every epoch by less than this, in baselines.
        divergence: How many times its best the training loss has become.
        oscillation: How far the training loss jumps up, in baselines, more than once.
        easier_validation: How far validation lies below training from the start, as a part.
        duplicates: Part of the held-out samples that are training samples, too.
        imbalance: How many times the rarest class the commonest one occurs.
        large_inputs: Root mean square of unscaled inputs.
        small_inputs: Largest absolute value of inputs that were scaled down too far.
        vanishing: Gradient norm of the first layers, as a part of that of the last ones.
        exploding: Gradient norm of the first layers in that of the last ones, or of all in baselines.
        dead: Part of a layer's units that are 0 for every sample.
        saturation: Largest probability of a saturated output.
        saturated_mistakes: Part of the samples that are mistaken with such a probability.
        wrong_labels: Part of the training samples whose label the network contradicts with certainty;
            twice as many of held-out samples, on which it errs more.
        judge: Accuracy on the other samples from which on the network may doubt labels.
        snapshot_bytes: Networks up to this size are kept at the end of an epoch, as far as `cost` allows, to
            look for NaN from.
        replay_seconds: At most so long samples are replayed to find where NaN comes from.

    Raises:
        WorkbenchError: One of them is not above zero.
    """

    samples: int = 256
    cost: float = 0.005
    patience: int = 3
    rise: float = 0.1
    multiple: float = 2.0
    gap: float = 0.3
    flat_epochs: int = 5
    flat_change: float = 0.01
    high_loss: float = 0.75
    guessing: float = 0.95
    slow_pace: float = 0.01
    divergence: float = 2.0
    oscillation: float = 0.15
    easier_validation: float = 0.25
    duplicates: float = 0.01
    imbalance: float = 10.0
    large_inputs: float = 10.0
    small_inputs: float = 0.02
    vanishing: float = 1e-3
    exploding: float = 1e3
    dead: float = 0.8
    saturation: float = 0.9999
    saturated_mistakes: float = 0.1
    wrong_labels: float = 0.02
    judge: float = 0.9
    snapshot_bytes: int = 256_000_000
    replay_seconds: float = 5.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not value > 0:
                raise WorkbenchError(
                    f"The threshold {field.name} is {value}, and every threshold lies above zero.\n"
                    "To silence a rule, give a number that is never reached."
                )

"""A methods paragraph written from the runs, which a researcher can paste and edit."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from workbench.reports.collect import Report, ReportedStep
from workbench.reports.costs import collect_costs
from workbench.reports.rendering import format_duration

_OPTIONS = {
    "epochs": "for {} epochs",
    "batch_size": "in batches of {}",
    "max_length": "on texts of at most {} tokens",
    "learning_rate": "with a learning rate of {:g}",
    "weight_decay": "with weight decay {:g}",
    "warmup": "after a warm-up over {:.0%} of the steps",
}


def write_methods(report: Report) -> list[str]:
    """Return the methods of a report as paragraphs of plain text: data, training, evaluation, machine."""
    paragraphs = [" ".join(_data(report)), " ".join(_training(report)), " ".join(_machine(report))]
    return [text for text in paragraphs if text]


def _data(report: Report) -> Iterator[str]:
    seen = set()
    for step in report.steps:
        dataset = step.run.dataset if step.run else None
        if not dataset or dataset["fingerprint"] in seen:
            continue
        seen.add(dataset["fingerprint"])
        card = step.data_card or {}
        sizes = dataset.get("sizes", {})
        counts = _join([f"{count:,} {_SPLITS.get(split, split)}" for split, count in sizes.items()])
        title = f"{card['title']} ({dataset['name']})" if card.get("title") else dataset["name"]
        split = _common([step], "split_seed")
        seed = "" if split is None else f" by the split seed {split}"
        classes = len(dataset.get("class_names", ()))
        of_classes = f" of {classes} classes" if classes else ""
        yield (
            f"The data {title} were split into {counts} samples{of_classes}{seed} "
            f"(content fingerprint {dataset['fingerprint'][:12]})."
        )


def _training(report: Report) -> Iterator[str]:
    groups: dict[tuple[str, str], list[ReportedStep]] = {}
    for step in report.steps:
        if step.is_training:
            groups.setdefault((step.notebook, step.name), []).append(step)
    for (notebook, _), steps in groups.items():
        details = steps[0].run.details
        model = details.get("model", steps[0].name)
        size = details.get("trainable_parameters")
        network = f"The network {model}" + (f" with {size:,} trainable parameters" if size else "")
        seeds = [step.run.parameters["seed"] for step in steps if "seed" in step.run.parameters]
        repeated = f", once for each of the seeds {_join(seeds)}" if len(seeds) > 1 else ""
        repeated = repeated or (f", with the seed {seeds[0]}" if seeds else "")
        yield f"{network} was trained {_options(steps)}{repeated} ({notebook})."
        times = [step.seconds for step in steps if step.seconds is not None]
        if times:
            yield f"A run took {format_duration(sum(times) / len(times))} on average."
        stopped = sum(any(ending.early for ending in step.training.endings) for step in steps)
        steered = sum(step.training.steered for step in steps)
        if stopped:
            yield f"{stopped} of {len(steps)} runs ended before their last epoch."
        if steered:
            yield f"The course of {steered} of {len(steps)} runs was changed by hand."


def _options(steps: Sequence[ReportedStep]) -> str:
    parts = []
    for name, form in _OPTIONS.items():
        value = _common(steps, name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            parts.append(form.format(value))
    schedule = _common(steps, "schedule")
    parts += [f"on a {schedule} schedule"] if isinstance(schedule, str) else []
    return " ".join(parts) or "as its notebook says"


def _machine(report: Report) -> Iterator[str]:
    for environment in report.environments:
        facts, packages = environment.facts, environment.facts.get("packages", {})
        machine = facts["machine"]
        threads = next(iter(facts.get("threads", {}).values()), None)
        versions = _join([f"{name} {packages[name]}" for name in _NAMED if name in packages])
        yield (
            f"Computed with Python {facts['python']}, {versions} (backend {facts['backend']}) on "
            f"{machine['processor']} with {machine['cores']} cores and {machine['memory']}"
            + (f", {threads} threads a step" if threads else "")
            + (", with deterministic operations." if facts.get("deterministic") else ".")
        )
    for costs in collect_costs(report):
        yield costs.sentence
    commits = [
        git["commit"][:10] + (" with uncommitted changes" if git["dirty"] else "") for git in report.commits
    ]
    if commits:
        yield f"The code is that of commit {_join(commits)}."


_SPLITS = {"train": "training", "val": "validation", "test": "test"}
_NAMED = ("keras", "tensorflow", "jax", "torch", "keras-hub", "scikit-learn", "numpy", "workbench")


def _common(steps: Sequence[ReportedStep], name: str) -> Any:
    """Return the value of a parameter that all steps share; None if they do not."""
    values = [_parameters(step).get(name) for step in steps]
    return values[0] if all(value == values[0] for value in values) else None


def _parameters(step: ReportedStep) -> Mapping[str, Any]:
    return step.run.parameters if step.run else {}


def _join(parts: Sequence[Any]) -> str:
    texts = list(map(str, parts))
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}" if texts else ""

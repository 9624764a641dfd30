"""How long a pipeline still takes, from how long its steps took before."""

from workbench.pipelines.state import PipelineState


def estimate_seconds(state: PipelineState) -> float | None:
    """Return about how many seconds a pipeline still takes; None while a step has never run.

    No schedule can be shorter than the longest chain of steps that wait for one another, nor than all work
    shared out to as many steps at once as run now.
    """
    left: dict[str, float] = {}
    for step in state.steps:
        if step.same_as or not step.wanted or step.state not in ("pending", "running"):
            left[step.label] = 0.0
        elif step.expected is None:
            return None
        else:
            left[step.label] = max(0.0, step.expected - step.seconds)
    chains: dict[str, float] = {}
    for step in state.steps:  # each stands after those that it needs
        chains[step.label] = left[step.label] + max(
            (chains.get(label, 0.0) for label in step.step.needs), default=0.0
        )
    at_once = max(1, sum(step.state == "running" for step in state.steps))
    return max(max(chains.values(), default=0.0), sum(left.values()) / at_once)

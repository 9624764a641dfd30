import json
import math

import numpy as np
import pytest

from workbench.errors import WorkbenchError
from workbench.events import EventLog, read_events
from workbench.findings import SEVERITIES, Finding, drop_lighter


@pytest.fixture
def finding():
    return Finding(
        "overfitting", "warning", "Validation loss turned.", "Stop earlier.", {"val_loss": 2.5}, "A book", 4
    )


def test_finding_comes_back_from_the_log_as_it_was(finding, tmp_path):
    log = EventLog(tmp_path / "events.jsonl")
    log.write("finding", **finding.as_event())
    (event,) = read_events(log.path)
    assert Finding.from_event(event) == finding


def test_event_is_strict_json_whatever_the_evidence_holds(finding):
    evidence = {"loss": math.nan, "norm": np.float32(math.inf), "counts": (np.int64(3), 4)}
    event = Finding("nonfinite", "error", "m", "a", evidence, "s").as_event()
    text = json.dumps(event, allow_nan=False)
    assert json.loads(text)["evidence"] == {"loss": "NaN", "norm": "Infinity", "counts": [3, 4]}
    assert math.isnan(Finding.from_event(json.loads(text)).evidence["loss"])


def test_severities_have_an_order():
    ranks = [Finding("rule", severity, "m", "a").rank for severity in SEVERITIES]
    assert ranks == sorted(ranks)


def test_severity_that_there_is_not_is_refused():
    with pytest.raises(WorkbenchError, match=r"'fatal'.*\n.*info, warning, error"):
        Finding("rule", "fatal", "m", "a")


def test_only_the_last_word_of_each_rule_and_training_counts():
    events = [
        {"type": "finding", "fit": fit, "rule": rule, "message": message}
        for fit, rule, message in [(1, "a", "light"), (1, "b", "b"), (2, "a", "other"), (1, "a", "worse")]
    ]
    kept = [(event["fit"], event["message"]) for event in drop_lighter([{"type": "start"}, *events])]
    assert kept == [(1, "b"), (2, "other"), (1, "worse")]

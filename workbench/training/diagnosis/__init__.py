"""What goes wrong in a training, said in plain words while it runs or read from its log afterwards."""

from workbench.training.diagnosis.callback import Diagnosis
from workbench.training.diagnosis.reading import diagnose
from workbench.training.diagnosis.thresholds import Thresholds
from workbench.training.probe import Probe

__all__ = ["Diagnosis", "Probe", "Thresholds", "diagnose"]

"""How a model bears inputs that are worse than those of the test set."""

from workbench.evaluation.robustness.corruptions import IMAGE_CORRUPTIONS, corrupt_images
from workbench.evaluation.robustness.curves import measure_robustness
from workbench.evaluation.robustness.typos import TEXT_CORRUPTIONS, corrupt_texts

__all__ = ["IMAGE_CORRUPTIONS", "TEXT_CORRUPTIONS", "corrupt_images", "corrupt_texts", "measure_robustness"]

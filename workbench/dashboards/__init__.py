"""Views of a run while it is under way; each follows the event log and knows nothing of training."""

from workbench.dashboards.live import live

__all__ = ["live"]

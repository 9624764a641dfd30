"""What a paper takes from a report: figures, tables, numbers and references, for LaTeX and others."""

from workbench.reports.paper.export import export_paper

__all__ = ["export_paper"]

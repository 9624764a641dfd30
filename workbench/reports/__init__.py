"""Run folders → one self-contained HTML file."""

from workbench.reports.page import build_report

__all__ = ["build_report"]

"""The page that says what a verification found, beside the report."""

from pathlib import Path

from workbench.reports.rendering import build_environment, content_policy, read_template
from workbench.runs import resolve_path, show_path, write_text
from workbench.verification.verify import Verification


def write_page(verification: Verification) -> Path:
    """Write `<report>.verified.html` beside the report, else `reports/<name>.verified.html`."""
    path = verification.subject.path
    if path.suffix not in (".html", ".htm"):
        path = resolve_path("reports") / f"{verification.subject.name}.html"
    path = path.with_suffix(".verified.html")
    path.parent.mkdir(parents=True, exist_ok=True)
    page = (
        build_environment()
        .get_template("verification.html")
        .render(
            verification=verification,
            steps=list(dict.fromkeys(line.step for line in verification.lines)),
            subject=show_path(verification.subject.path),
            folder=show_path(verification.folder),
            css=read_template("report.css"),
            policy=content_policy([]),
        )
    )
    write_text(path, page)
    return path

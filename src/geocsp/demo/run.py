"""Run the demo: an evaluation on Blue Marble tiles, and a page with pictures."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from geocsp.data.cache import cache_folder
from geocsp.demo.methods import demo_rows
from geocsp.demo.settings import DemoSettings
from geocsp.errors import MissingExtraError
from geocsp.evaluate.results import Results
from geocsp.evaluate.run import evaluate

DETAILS_FOLDER = "details"
"""Where the evaluation's own report is."""


def run_demo(
    settings: DemoSettings,
    output: Path,
    *,
    workers: int = 2,
    cache: Path | None = None,
    console: Console | None = None,
) -> Results:
    """Run the demo and leave ``results.json``, ``report.html`` and PNGs in ``output``.

    A run that was interrupted goes on where it was when called again with the same settings; what
    a run with other settings has left in the folder is removed.

    Args:
        settings: how large a demo.
        output: run folder, made if needed.
        workers: processes side by side; the numbers do not depend on it.
        cache: folder of the feature caches; by default the user's cache folder.
        console: where progress is shown; standard error if left out.

    Raises:
        MissingExtraError: a package of the extra "demo" is not installed.
        DataError: settings that cannot work, or another run is working in ``output``.
    """
    try:
        import jinja2  # noqa: F401
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(error.name or "matplotlib", "demo") from error
    from geocsp.demo.report import write_report
    from geocsp.evaluate import report

    source = settings.source(cache or cache_folder() / "features")
    results = evaluate(
        source,
        demo_rows(settings),
        settings.evaluation(),
        output,
        workers=workers,
        console=console,
        replace=True,
    )
    report.write_tables(results, output)
    report.write_report(results, output / DETAILS_FOLDER)
    write_report(results, source.data(), output)
    return results

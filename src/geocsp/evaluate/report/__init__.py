"""The report of an evaluation: a page, a page per class, and tables for papers."""

from geocsp.errors import MissingExtraError

try:
    import jinja2  # noqa: F401
    import matplotlib  # noqa: F401
except ImportError as error:
    raise MissingExtraError(error.name or "matplotlib", "evaluate") from error

from geocsp.evaluate.report.page import REPORT_FILE, ReportSettings, write_report
from geocsp.evaluate.report.tables import write_tables

__all__ = ["REPORT_FILE", "ReportSettings", "write_report", "write_tables"]

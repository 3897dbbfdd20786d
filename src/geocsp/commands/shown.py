"""An audit on the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from geocsp.data.audit import Audit, Severity
from geocsp.data.audit.classes import Classes, ClassSize
from geocsp.data.audit.contents import ImageFacts
from geocsp.data.audit.coordinates import Places
from geocsp.data.audit.leakage import DISTANCES_KM, Leakage
from geocsp.data.audit.reasons import Reason
from geocsp.data.audit.report import CHECK_FILE, DUPLICATES_FILE
from geocsp.data.quarantine import QUARANTINE_FILE
from geocsp.maps.coverage import COVERAGE_FILE

_COLOURS = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.INFO: "cyan"}
_MOST = 8
FILES = (CHECK_FILE, QUARANTINE_FILE, DUPLICATES_FILE, COVERAGE_FILE)
"""What a check leaves."""


def show_audit(found: Audit, source: str, output: Path, notes: Sequence[str]) -> None:
    """Print what was found: counts, findings, and tables of reasons and leaks.

    Args:
        found: the audit.
        source: what was read.
        output: where the files are.
        notes: what could not be done.
    """
    console = Console()
    console.print(_facts(found, source))
    if found.reasons:
        console.print(_reasons(found.reasons))
    if any(pair.near for pair in found.leakage):
        console.print(_leakage(found.leakage))
    if found.findings:
        console.print(_findings(found))
    for note in (*found.notes, *notes):
        console.print(Text(f" note: {plain(note)}", style="dim"))
    files = ", ".join(name for name in FILES if (output / name).exists())
    console.print(Text.assemble(" ", (plain(str(output)), "bold"), f" has {files}"))


def plain(text: str) -> str:
    """A text of a file without what a terminal would act on, or cannot show."""
    shown = (c if c.isprintable() else ascii(c)[1:-1] for c in text)
    return "".join(shown)


def _table(title: str, *columns: str) -> Table:
    table = Table(
        title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1)
    )
    for column in columns:
        table.add_column(column, justify="left" if column in ("", "reason", "what") else "right")
    return table


def _facts(found: Audit, source: str) -> Table:
    counts = found.counts
    table = Table(
        title=plain(source), title_justify="left", title_style="bold", box=None, padding=(0, 1)
    )
    table.show_header = False
    rows = {
        "images": f"{counts.images:,} that can be used, {counts.quarantined:,} quarantined",
        "known": f"place {counts.with_place:,}, time {counts.with_time:,}, "
        f"label {counts.with_label:,}",
        "splits": ", ".join(f"{plain(name)} {n:,}" for name, n in counts.splits.items()),
        "groups": f"{counts.groups:,}" if counts.groups else "",
        **_facts_of_places(found.places),
        **_facts_of_images(found.images),
        **_facts_of_classes(found.classes),
    }
    for name, text in rows.items():
        if text:
            table.add_row(Text(name, style="dim"), Text(text))
    return table


def _facts_of_places(places: Places | None) -> dict[str, str]:
    if places is None:
        return {}
    box_ = places.extent
    nearest = places.nearest_km
    near = "" if nearest is None else f", the nearest other {_km(nearest)} away (median)"
    return {
        "places": f"{places.distinct:,} different{near}",
        "extent": f"lon {box_.west:.6g} to {box_.east:.6g}, lat {box_.south:.6g} to "
        f"{box_.north:.6g}",
    }


def _facts_of_images(images: ImageFacts | None) -> dict[str, str]:
    if images is None or images.sizes is None:
        return {}
    formats = [f"{plain(name)} {count:,}" for name, count in images.formats.items()]
    width, height = images.sizes.width, images.sizes.height
    return {
        "formats": ", ".join(formats[:_MOST]),
        "pixels": f"width {_range(width)}, height {_range(height)} (min / median / max)",
    }


def _facts_of_classes(classes: Classes | None) -> dict[str, str]:
    if classes is None:
        return {}
    sizes = (classes.smallest, classes.median, classes.largest)
    return {
        "classes": f"{classes.count:,}, images of each {_range(sizes)}, "
        f"{classes.rare:,} with fewer than 5",
        "most": _names(classes.most),
        "least": _names(classes.least),
    }


def _names(sizes: Iterable[ClassSize]) -> str:
    return ", ".join(f"{plain(size.name)} {size.rows:,}" for size in sizes)


def _range(values: tuple[int, float, int]) -> str:
    return " / ".join(f"{value:,.10g}" for value in values)


def _km(km: float) -> str:
    return f"{1000 * km:.3g} m" if km < 1 else f"{km:,.3g} km"


def _reasons(reasons: Sequence[Reason]) -> Table:
    table = _table("Quarantined", "rows", "reason", "")
    for reason in reasons[:_MOST]:
        table.add_row(f"{reason.rows:,}", Text(plain(reason.reason)), Text(plain(reason.file)))
    if len(reasons) > _MOST:
        rest = sum(reason.rows for reason in reasons[_MOST:])
        table.add_row(f"{rest:,}", f"{len(reasons) - _MOST} more reasons", "")
    return table


def _leakage(leakage: Sequence[Leakage]) -> Table:
    far = [f"{km:g} km" for km in DISTANCES_KM[1:]]
    title = "Held-out images near training images, %"
    table = _table(title, "", "images", "0 km", *far, "group", "file")
    for pair in leakage:
        shares = [_percent(near.rows, pair.rows) for near in pair.near] or ["-"] * len(DISTANCES_KM)
        same = [_percent(count, pair.rows) for count in (pair.same_group, pair.same_file)]
        name = Text(f"{plain(pair.held_out)} / {plain(pair.against)}")
        table.add_row(name, f"{pair.rows:,}", *shares, *same)
    return table


def _percent(count: int | None, rows: int) -> str:
    return "-" if count is None else f"{100 * count / rows:.1f}"


def _findings(found: Audit) -> Table:
    table = _table("Findings", "", "images", "what")
    for finding in found.findings:
        severity = Text(finding.severity.value, style=_COLOURS[finding.severity])
        table.add_row(severity, f"{finding.rows:,}", Text(plain(finding.message)))
    return table

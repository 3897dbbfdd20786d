"""Tables in Markdown."""


def markdown_row(first: str, cells: list[str]) -> str:
    return f"| {first} | " + " | ".join(cells) + " |"


def markdown_table(headings: list[str], rows: list[list[str]]) -> str:
    """A table whose first column is text and whose others are numbers."""
    lines = [markdown_row(headings[0], headings[1:])]
    lines.append(markdown_row("---", ["---:"] * (len(headings) - 1)))
    lines += [markdown_row(row[0], row[1:]) for row in rows]
    return "\n".join(lines) + "\n"


def sections(report: dict, titles: dict[str, str]) -> str:
    """A titled table for each section of a report; the headings are the keys of its rows."""
    parts = []
    for name, title in titles.items():
        rows = report[name]
        table = markdown_table(list(rows[0]), [[shown(v) for v in row.values()] for row in rows])
        parts.append(f"**{title}**\n\n{table}")
    return "\n".join(parts)


def shown(value: object) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return str(value)

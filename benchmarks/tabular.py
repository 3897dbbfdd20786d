"""Tables in Markdown."""


def markdown_row(first: str, cells: list[str]) -> str:
    return f"| {first} | " + " | ".join(cells) + " |"


def markdown_table(headings: list[str], rows: list[list[str]]) -> str:
    """A table whose first column is text and whose others are numbers."""
    lines = [markdown_row(headings[0], headings[1:])]
    lines.append(markdown_row("---", ["---:"] * (len(headings) - 1)))
    lines += [markdown_row(row[0], row[1:]) for row in rows]
    return "\n".join(lines) + "\n"

"""What Ctrl-C says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer


@contextmanager
def resumable() -> Iterator[None]:
    """One line on Ctrl-C in work that goes on when it is called again."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("geocsp: interrupted; the same command goes on from here", err=True)
        raise typer.Exit(130) from None

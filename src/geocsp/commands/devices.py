"""The option ``--device``."""

from __future__ import annotations

from typing import Annotated

import torch
import typer

Device = Annotated[
    str | None, typer.Option(help="Such as cpu or cuda; default: a GPU if there is one.")
]


def device_of(name: str | None) -> torch.device:
    """The device that ``--device`` names; a GPU, if there is one, where it names none.

    Raises:
        BadParameter: there is no such device.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        first = str(error).splitlines()[0]
        raise typer.BadParameter(f"no device {name!r} here: {first}") from error
    return device

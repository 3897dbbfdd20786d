"""Waiting for what other threads compute, for a while."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import TypeVar

from fastapi import Request

from geocsp.app.worker import BusyError

_LOOK = 0.25
"""Seconds between looks at whether anybody waits for an answer."""
_Out = TypeVar("_Out")


class Unwanted(Exception):  # noqa: N818
    """The one who asked has gone."""


async def soon(future: Future[_Out], seconds: float) -> _Out:
    """The result, or :class:`BusyError` if it takes longer; then it is not begun any more."""
    try:
        return await asyncio.wait_for(asyncio.wrap_future(future), seconds)
    except TimeoutError as error:
        raise BusyError(f"no answer within {seconds:g} seconds; try again in a moment") from error


async def while_wanted(future: Future[_Out], request: Request, seconds: float) -> _Out:
    """The result, which others may wait for too.

    Raises:
        Unwanted: the browser has closed the connection, as it does when the map has moved on.
        BusyError: it takes longer than so many seconds.
    """
    waiting = asyncio.wrap_future(future)
    try:
        for _ in range(max(1, round(seconds / _LOOK))):
            await asyncio.wait({waiting}, timeout=_LOOK)
            if waiting.done():
                return waiting.result()
            if await request.is_disconnected():
                raise Unwanted
    except asyncio.CancelledError:
        if not waiting.cancelled():
            raise
        raise BusyError("the tile was given up; ask again") from None
    raise BusyError(f"no tile within {seconds:g} seconds; try again in a moment")

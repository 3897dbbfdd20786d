"""Running the application until it is asked to end."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from geocsp.errors import DataError
from geocsp.images.pictures import quiet

_LONGEST_HEADERS = 16 * 2**10
_PATIENCE = 30
"""Seconds that requests under way may take after the app was asked to end."""


def listen(host: str, port: int) -> socket.socket:
    """Take a port; 0 takes any that is free.

    Raises:
        DataError: the port is taken, or the address is none of this computer's.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        taken = socket.socket(family, kind, protocol)  # with it, asyncio sends at once
    except (OSError, UnicodeError) as error:
        raise DataError(f"--host {host} is no address of this computer") from error
    try:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(address)
        taken.listen(128)
    except OSError as error:
        taken.close()
        raise DataError(
            f"cannot listen on port {port} of {host}: {error.strerror}; choose another with --port"
        ) from error
    return taken


def serve(app: FastAPI, listening: socket.socket, started: Callable[[], None]) -> None:
    """Answer requests until SIGINT or SIGTERM; requests under way are answered first.

    Args:
        app: the application.
        listening: from :func:`listen`.
        started: called when the application answers.
    """
    with quiet():
        _Server(config_of(app), started).run(sockets=[listening])


def config_of(app: FastAPI) -> uvicorn.Config:
    """How the application is served."""
    return uvicorn.Config(
        app,
        http="h11",
        ws="none",
        loop="asyncio",
        log_level="warning",
        access_log=False,
        server_header=False,
        h11_max_incomplete_event_size=_LONGEST_HEADERS,
        timeout_graceful_shutdown=_PATIENCE,
    )


class _Server(uvicorn.Server):
    """Ends without an error when it is asked to."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_start = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_start()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        both = (signal.SIGINT, signal.SIGTERM)
        former = {number: signal.signal(number, self.handle_exit) for number in both}
        try:
            yield
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)

"""A real server of the app on a free port of this computer."""

import threading
from contextlib import contextmanager

import uvicorn

from geocsp.app.create import create_app
from geocsp.app.explorer import AppSettings
from geocsp.app.serve import config_of, listen

SETTINGS = AppSettings(max_upload_bytes=2**20, max_pixels=4_000_000, spacing_km=400.0)


@contextmanager
def serving(explorer):
    """The address of a server that runs until the end of the block."""
    server = uvicorn.Server(config_of(create_app(explorer)))  # only the main thread has signals
    with listen("127.0.0.1", 0) as listening:
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        while not server.started and thread.is_alive():
            thread.join(0.01)
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()

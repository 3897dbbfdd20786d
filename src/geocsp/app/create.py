"""The application: what stands before its routes, and the files it serves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

import geocsp
from geocsp.app import problems
from geocsp.app.explorer import Explorer
from geocsp.app.guards import LOOPBACK, Guard
from geocsp.app.routes import routes_of

STATIC = Path(str(files("geocsp.app"))) / "static"
_REPORT_FILES = (".html", ".png", ".svg", ".jpg", ".webp")


def create_app(
    explorer: Explorer, *, hosts: tuple[str, ...] = LOOPBACK, any_address: bool = False
) -> FastAPI:
    """The application over a model.

    Args:
        explorer: the model; closed when the application ends.
        hosts: names of this computer that it is called by.
        any_address: it may also be called by any IP address.
    """

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(explorer.close)

    app = FastAPI(
        title="geocsp app",
        version=geocsp.__version__,
        summary="What a model knows of places and photos.",
        lifespan=life,
        docs_url=None,  # these pages load scripts from elsewhere
        redoc_url=None,
    )
    app.add_middleware(Guard, hosts=hosts, any_address=any_address)
    problems.install(app)
    app.include_router(routes_of(explorer))
    app.add_api_route("/", _index, methods=["GET", "HEAD"], include_in_schema=False)
    app.mount("/static", StaticFiles(directory=STATIC))
    if explorer.report is not None:
        app.mount("/report", _ReportFiles(directory=explorer.report))
    return app


async def _index() -> FileResponse:
    return FileResponse(STATIC / "index.html")


class _ReportFiles(StaticFiles):
    """Pages and pictures of a run folder, and nothing else in it."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        if not path.lower().endswith(_REPORT_FILES):
            raise HTTPException(404)
        return await super().get_response(path, scope)

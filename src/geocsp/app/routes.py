"""The routes under ``/api``."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from functools import cache, partial
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from geocsp.app.answers import (
    Health,
    Info,
    Layer,
    Legend,
    PhotoAnswer,
    Place,
    Report,
    Similar,
)
from geocsp.app.explorer import Explorer
from geocsp.app.mercator import Tile
from geocsp.app.photos import read_photo
from geocsp.app.problems import may_fail
from geocsp.app.report import curves_of
from geocsp.app.upload import FORM, read_upload
from geocsp.app.waiting import Unwanted, soon, while_wanted
from geocsp.maps.natural_earth import Detail, land_geojson

_UPLOADS = 8
"""Photos that are read or decoded at once, which bounds the memory."""
_PNG: dict[str, Any] = {
    "content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}
}
_GEOJSON = {"content": {"application/geo+json": {"schema": {"type": "object"}}}}

Lon = Annotated[float, Query(ge=-180, le=180, allow_inf_nan=False, description="Degrees.")]
Lat = Annotated[float, Query(ge=-90, le=90, allow_inf_nan=False, description="Degrees.")]
MaybeLon = Annotated[
    float | None, Query(ge=-180, le=180, allow_inf_nan=False, description="Of layer similar.")
]
MaybeLat = Annotated[
    float | None, Query(ge=-90, le=90, allow_inf_nan=False, description="Of layer similar.")
]
Count = Annotated[int, Query(ge=1, le=100, description="How many at most.")]
ClassName = Annotated[str | None, Query(alias="class", description="Of layer class.")]


def routes_of(explorer: Explorer) -> APIRouter:
    """All routes over a model."""
    router = APIRouter(prefix="/api")
    _add_facts(router, explorer)
    _add_map(router, explorer)
    _add_places(router, explorer)
    _add_photos(router, explorer)
    return router


def _add_facts(router: APIRouter, explorer: Explorer) -> None:
    @router.get("/health")
    async def health() -> Health:
        """The app runs."""
        return Health()

    @router.get("/info")
    async def info() -> Info:
        """What the model is and can do."""
        return explorer.info()

    @router.get("/report", responses=may_fail(404))
    async def report() -> Report:
        """Label efficiency, from the run folder of an evaluation."""
        if explorer.report is None:
            raise HTTPException(404, "the app was started without --report")
        return await asyncio.to_thread(curves_of, explorer.report)


def _add_map(router: APIRouter, explorer: Explorer) -> None:
    @router.get("/land", responses={200: _GEOJSON, **may_fail()}, response_class=Response)
    async def land(
        detail: Detail = Detail.LOW, accept_encoding: Annotated[str, Header()] = ""
    ) -> Response:
        """Land, coasts and borders as GeoJSON."""
        packed = await asyncio.to_thread(_land, detail)
        headers = {"Cache-Control": "max-age=86400", "Vary": "Accept-Encoding"}
        if "gzip" in accept_encoding:
            headers["Content-Encoding"] = "gzip"
        content = packed if "gzip" in accept_encoding else gzip.decompress(packed)
        return Response(content, 200, headers, "application/geo+json")

    @router.get("/legend/{layer}", responses=may_fail())
    async def legend(layer: Layer, class_name: ClassName = None) -> Legend:
        """What the colours of a layer mean."""
        return await asyncio.to_thread(explorer.legend, layer, class_name)

    @router.get(
        "/tiles/{layer}/{z}/{x}/{y}.png",
        responses={200: _PNG, 304: {"description": "Not changed"}, **may_fail(404)},
        response_class=Response,
    )
    async def tile(
        request: Request,
        layer: Layer,
        z: int,
        x: int,
        y: int,
        class_name: ClassName = None,
        lon: MaybeLon = None,
        lat: MaybeLat = None,
    ) -> Response:
        """256 x 256 pixels of a layer in web mercator, numbered from the north-west (XYZ)."""
        try:
            where = Tile(z, x, y)
        except ValueError as error:
            raise HTTPException(404, str(error)) from error
        place = None if lon is None or lat is None else (lon, lat)
        key = (where, layer, class_name, place)
        future = explorer.tiles.ask(key, partial(explorer.tile, *key))
        try:
            content = await while_wanted(future, request, explorer.settings.seconds)
        except Unwanted:
            return Response(status_code=204)  # nobody reads it
        finally:
            explorer.tiles.leave(key, future)
        return _tagged(content, request.headers.get("if-none-match", ""))


def _add_places(router: APIRouter, explorer: Explorer) -> None:
    seconds = explorer.settings.seconds

    @router.get("/place", responses=may_fail())
    async def place(lon: Lon, lat: Lat, count: Count = 10) -> Place:
        """What the model says of a place."""
        return await soon(explorer.worker.submit(explorer.places, (lon, lat, count)), seconds)

    @router.get("/similar", responses=may_fail())
    async def similar(lon: Lon, lat: Lat, count: Count = 10) -> Similar:
        """Places on land that are most like one, 500 km and more from it and from each other."""
        return await soon(explorer.worker.submit(explorer.similar, (lon, lat, count)), seconds)


def _add_photos(router: APIRouter, explorer: Explorer) -> None:
    settings, slots = explorer.settings, asyncio.Semaphore(_UPLOADS)

    @router.post("/photos", responses=may_fail(403, 404, 408, 413), openapi_extra=FORM)
    async def photos(request: Request) -> PhotoAnswer:
        """What the model says of a photo; it is kept in memory only while it is looked at."""
        model = explorer.geo_model
        if model is None:
            raise HTTPException(404, "the model takes no photos")
        async with slots:
            upload = await read_upload(request, settings.max_upload_bytes, settings.seconds)
            reading = explorer.files.submit(read_photo, upload, model, settings.max_pixels)
            dropped = await soon(reading, settings.seconds)
        looking = explorer.worker.submit(explorer.photos, dropped, alone=True)
        return await soon(looking, settings.seconds)


@cache
def _land(detail: Detail) -> bytes:
    return gzip.compress(land_geojson(detail), 6, mtime=0)


def _tagged(content: bytes, known: str) -> Response:
    """A tile, unless the browser has it already."""
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    if tag in known:
        return Response(status_code=304, headers=headers)
    return Response(content, 200, headers, "image/png")

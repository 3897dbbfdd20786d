"""Reading a form with one photo, no further than the limits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

from fastapi import HTTPException, Request
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

_ENVELOPE = 16 * 2**10
"""Bytes of a form beside the photo."""
_LONGEST_NAME = 200
_CLOSE = {"Connection": "close"}
_NUMBER = {"type": "string", "description": "Degrees, where the photo was taken if it is known."}
FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["photo"],
                    "properties": {
                        "photo": {"type": "string", "format": "binary"},
                        "lon": _NUMBER,
                        "lat": _NUMBER,
                    },
                }
            }
        },
    }
}
"""The form, as OpenAPI describes it."""


@dataclass(frozen=True)
class Upload:
    """A photo as it came.

    Attributes:
        content: the file.
        name: what the browser calls it.
        place: what the user gives, degrees.
    """

    content: bytes
    name: str
    place: tuple[float, float] | None


async def read_upload(request: Request, max_bytes: int, seconds: float) -> Upload:
    """Read the form; nothing of it is written to disk.

    Args:
        request: with the form.
        max_bytes: largest photo.
        seconds: longest time for all of it to come.

    Raises:
        HTTPException: 413 for a form that is too large, of which no more is read; 408 for one that
            does not come; 422 for one that is not as it should be.
    """
    try:
        async with asyncio.timeout(seconds):
            return await _read(request, max_bytes)
    except TimeoutError:
        raise HTTPException(408, "the photo did not arrive in time", _CLOSE) from None


async def _read(request: Request, max_bytes: int) -> Upload:
    limit = max_bytes + _ENVELOPE
    length = request.headers.get("content-length", "0")
    if length.isdigit() and int(length) > limit:
        raise _too_large(max_bytes)
    kind = request.headers.get("content-type", "")
    if not kind.lower().startswith("multipart/form-data"):
        raise HTTPException(422, "send the photo as multipart/form-data, in the field photo")
    parser = MultiPartParser(
        request.headers,
        _limited(request.stream(), limit, max_bytes),
        max_files=1,
        max_fields=2,
        max_part_size=1024,
    )
    parser.spool_max_size = limit + 1
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise HTTPException(422, f"the form cannot be read: {error.message}") from error
    except (KeyError, ValueError, UnicodeError) as error:
        raise HTTPException(422, "the form cannot be read") from error
    try:
        return await _upload_of(form, max_bytes)
    finally:
        await form.close()


async def _limited(
    stream: AsyncGenerator[bytes, None], limit: int, max_bytes: int
) -> AsyncGenerator[bytes, None]:
    read = 0
    async for part in stream:
        read += len(part)
        if read > limit:
            raise _too_large(max_bytes)
        yield part


def _too_large(max_bytes: int) -> HTTPException:
    return HTTPException(
        413,
        f"the photo is larger than {max_bytes / 2**20:g} MB; --max-upload sets the limit",
        _CLOSE,
    )


async def _upload_of(form: FormData, max_bytes: int) -> Upload:
    unknown = set(form) - {"photo", "lon", "lat"}
    if unknown:
        raise HTTPException(422, f"the form has a field {min(unknown)!r}; known: photo, lon, lat")
    photo = form.get("photo")
    if not isinstance(photo, UploadFile):
        raise HTTPException(422, "the form has no file in the field photo")
    content = await photo.read()
    if len(content) > max_bytes:
        raise _too_large(max_bytes)
    if not content:
        raise HTTPException(422, "the photo is empty")
    return Upload(content, _shown(photo.filename), _place_of(form))


def _shown(name: str | None) -> str:
    """A file name to show: without folders or control characters, and not too long."""
    last = (name or "").replace("\\", "/").rpartition("/")[2]
    return "".join(c for c in last if c.isprintable())[:_LONGEST_NAME] or "photo"


def _place_of(form: FormData) -> tuple[float, float] | None:
    given = [form.get(name) for name in ("lon", "lat")]
    if all(value in (None, "") for value in given):
        return None
    try:
        lon, lat = (float(str(value)) for value in given)
    except ValueError:
        raise HTTPException(422, "lon and lat must be two numbers, degrees") from None
    if not (-180 <= lon <= 180 and -90 <= lat <= 90):
        raise HTTPException(422, "lon must be in [-180, 180] and lat in [-90, 90]")
    return lon, lat

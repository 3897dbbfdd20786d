"""Errors as one line of JSON."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from geocsp.app.answers import Problem
from geocsp.app.worker import BusyError
from geocsp.errors import DataError, MissingExtraError

Responses = dict[int | str, dict[str, Any]]


def may_fail(*codes: int) -> Responses:
    """What a route's schema says of errors; any route may be busy or asked wrongly."""
    return {code: {"model": Problem} for code in (*codes, 422, 503)}


def install(app: FastAPI) -> None:
    """Answer every error with ``{"detail": one line}``."""
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(BusyError, _busy)
    app.add_exception_handler(DataError, _unusable)
    app.add_exception_handler(MissingExtraError, _unusable)
    app.add_exception_handler(Exception, _failure)


def problem(code: int, detail: object, headers: dict[str, str] | None = None) -> JSONResponse:
    """An error as an answer."""
    line = " ".join(str(detail).split())
    return JSONResponse(Problem(detail=line).model_dump(), code, headers)


async def _http(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return problem(error.status_code, error.detail, dict(error.headers or {}))


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    return problem(422, f"{first['loc'][-1]}: {first['msg']}")


async def _busy(_: Request, error: Exception) -> JSONResponse:
    return problem(503, error, {"Retry-After": "1"})


async def _unusable(_: Request, error: Exception) -> JSONResponse:
    return problem(422, error)


async def _failure(_: Request, error: Exception) -> JSONResponse:
    return problem(500, f"the app failed ({type(error).__name__}); its terminal says more")

"""The platform behind HTTP: JSON in, JSON out.

- `GET /recommendations/{user}?n=`: her list, how it came about, and what was replaced.
- `POST /clicks` `{"user": 1, "item": 2, "time": 1700000000}`: her next list knows of it. Without
  `time` it happened now.
- `GET /health`: `ok`, or `degraded` while lists are made without the store.
- `GET /metrics`: for Prometheus.

Errors are `{"error": "what, what was expected"}`: 400 and 415 the body is no JSON, 413 it is too
large, 422 something in it is not valid, 503 the store is busy (try again), 500 ours, with the id
under which the log has the cause. There is no authentication: this is meant for a network that has
its own.
"""

from __future__ import annotations

import logging
import time
from dataclasses import asdict
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, ConfigDict, StrictInt, StrictStr
from starlette.exceptions import HTTPException

from mindlib.online.serving.platform import InvalidSlateSize, PersonalityPlatform
from mindlib.online.serving.request_limits import RequestLimitMiddleware
from mindlib.online.serving.slate import Slate
from mindlib.online.serving.store import InvalidId, RefusedClick, StoreError

log = logging.getLogger(__name__)

CLICK = '{"user": id, "item": id, "time": seconds since 1970 (or leave it out)}'


class Click(BaseModel):
    """The body of `POST /clicks`."""

    model_config = ConfigDict(extra="forbid")

    user: StrictInt | StrictStr
    item: StrictInt | StrictStr
    time: StrictInt | None = None


def create_app(platform: PersonalityPlatform) -> FastAPI:
    """The app of a platform, for uvicorn or any other ASGI server."""
    app = FastAPI(title="mindlib", docs_url=None, redoc_url=None)
    # The middleware added last stands first.
    responses = platform.metrics.responses
    app.add_middleware(
        RequestLimitMiddleware, count=lambda status: responses.labels(str(status)).inc()
    )

    # {user:path}: an id may have a slash.
    @app.get("/recommendations/{user:path}")
    def recommendations(user: str, n: int | None = None) -> dict[str, Any]:
        return slate_to_json(platform.recommend(user, n))

    @app.post("/clicks", status_code=201)
    def clicks(click: Click) -> dict[str, Any]:
        at = int(time.time()) if click.time is None else click.time
        platform.record_click(click.user, click.item, at)
        return {
            "user": click.user,
            "item": click.item,
            "time": at,
            "version": platform.bundle.version,
        }

    @app.get("/health")
    def health() -> dict[str, Any]:
        up = platform.is_store_available()
        return {
            "status": "ok" if up else "degraded",
            "store": "ok" if up else "unavailable",
            "version": platform.bundle.version,
        }

    @app.get("/metrics")
    def metrics() -> PlainTextResponse:
        return PlainTextResponse(platform.metrics.render(), media_type=CONTENT_TYPE_LATEST)

    app.add_exception_handler(RequestValidationError, _unreadable)
    app.add_exception_handler(HTTPException, _refused)
    for kind in (InvalidId, InvalidSlateSize, RefusedClick):
        app.add_exception_handler(kind, _invalid)
    app.add_exception_handler(StoreError, _busy)
    return app


def slate_to_json(answer: Slate) -> dict[str, Any]:
    """An answer as JSON has it: an object for each item."""
    columns = ("items", "titles", "scores", "interests")
    names = ("id", "title", "score", "interest")
    content = asdict(answer)
    rows = zip(*(content.pop(column) for column in columns), strict=True)
    return {**content, "items": [dict(zip(names, row, strict=True)) for row in rows]}


def _error(status: int, text: str, **headers: str) -> JSONResponse:
    return JSONResponse({"error": text}, status, headers)


def _unreadable(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]  # its "input" is not repeated: it can be anything
    if first["type"] == "json_invalid":
        return _error(400, f"the body is no JSON; expected {CLICK}")
    where, *place = first["loc"]
    if where == "body" and not place and "json" not in request.headers.get("content-type", ""):
        return _error(415, f"expected Content-Type: application/json, and {CLICK}")
    if where == "body":
        field = f"{place[0]}: " if place else ""
        return _error(422, f"{field}{first['msg']}; expected {CLICK}")
    return _error(422, f"{'.'.join(map(str, place))}: {first['msg']}; expected a whole number")


def _refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


def _invalid(request: Request, error: Exception) -> JSONResponse:
    return _error(422, str(error))


def _busy(request: Request, error: Exception) -> JSONResponse:
    # The message names a file: that is for the log.
    log.warning("%s", error)
    return _error(503, "the click could not be stored now; try again", **{"Retry-After": "1"})

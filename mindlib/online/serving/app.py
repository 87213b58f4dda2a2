"""The platform over HTTP, with JSON requests and responses.

- `GET /recommendations/{user}?n=` returns the user's slate and the fallbacks that were used.
- `POST /clicks` `{"user": 1, "item": 2, "time": 1700000000, "key": "c-17"}` stores a click, which
  the user's next slate takes into account. `time` defaults to now. A click that is sent again with
  its optional `key` is stored once.
- `GET /health` returns `ok`, or `degraded` while the store cannot be written.
- `GET /metrics` returns the metrics in the text format of Prometheus.

Errors are `{"error": "..."}`: 400 and 415 for a body that is not JSON, 413 for a body that is too
large, 422 for an invalid value, 503 while the store cannot be written (try again), 500 for an
internal error, with the id under which the log has its cause. There is no authentication: put the
server behind a gateway that authenticates its users.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, ConfigDict, StrictInt, StrictStr
from starlette.exceptions import HTTPException
from starlette.middleware.body_limit import RequestBodyLimitMiddleware

from mindlib.online.serving.database import StoreError
from mindlib.online.serving.platform import PersonalityPlatform
from mindlib.online.serving.stages import Slate
from mindlib.online.serving.store import InvalidRequest

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 4096  # a click has about 80
CLICK_FORMAT = '{"user": id, "item": id, "time": seconds since 1970 (optional), "key": (optional)}'


class Click(BaseModel):
    """The body of `POST /clicks`."""

    model_config = ConfigDict(extra="forbid")

    user: StrictInt | StrictStr
    item: StrictInt | StrictStr
    time: StrictInt | None = None
    key: StrictInt | StrictStr | None = None


def create_app(platform: PersonalityPlatform) -> FastAPI:
    """Build the ASGI application of a platform."""
    app = FastAPI(title="mindlib", docs_url=None, redoc_url=None)
    responses = platform.metrics.responses
    app.add_middleware(RequestBodyLimitMiddleware, max_body_size=MAX_BODY_BYTES)

    @app.middleware("http")
    async def explain_and_count(
        request: Request, call_next: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        response = await call_next(request)
        if response.status_code == 413:  # Starlette's text names neither the limit nor the remedy
            text = f"the body is larger than {MAX_BODY_BYTES} bytes; send one click at a time"
            response = _error(413, text, Connection="close")
        responses.labels(str(response.status_code)).inc()
        return response

    # The converter `path` admits ids that contain a slash.
    @app.get("/recommendations/{user:path}")
    def recommendations(user: str, n: int | None = None) -> dict[str, Any]:
        return slate_to_json(platform.recommend(user, n))

    @app.post("/clicks", status_code=201)
    def clicks(click: Click) -> dict[str, Any]:
        at = platform.record_click(click.user, click.item, click.time, key=click.key)
        version = platform.bundle.version
        return {"user": click.user, "item": click.item, "time": at, "version": version}

    @app.get("/health")
    def health() -> dict[str, Any]:
        is_up = platform.is_store_available()
        return {
            "status": "ok" if is_up else "degraded",
            "store": "ok" if is_up else "unavailable",
            "version": platform.bundle.version,
        }

    @app.get("/metrics")
    def metrics() -> PlainTextResponse:
        return PlainTextResponse(platform.metrics.render(), media_type=CONTENT_TYPE_LATEST)

    def internal_error(request: Request, error: Exception) -> JSONResponse:
        incident = uuid.uuid4().hex
        text = "request %s %s failed: %s"
        log.error(text, request.method, request.url.path, incident, exc_info=error)
        responses.labels("500").inc()  # this handler runs outside of the middleware
        content = {"error": "internal error; the log has its cause under the id", "id": incident}
        return JSONResponse(content, 500)

    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(InvalidRequest, lambda request, error: _error(422, str(error)))
    app.add_exception_handler(StoreError, _store_unavailable)
    app.add_exception_handler(Exception, internal_error)
    return app


def slate_to_json(slate: Slate) -> dict[str, Any]:
    """Convert a slate to JSON, with one object for each item."""
    columns = ("items", "titles", "scores", "interests")
    names = ("id", "title", "score", "interest")
    content = asdict(slate)
    rows = zip(*(content.pop(column) for column in columns), strict=True)
    return {**content, "items": [dict(zip(names, row, strict=True)) for row in rows]}


def _error(status: int, text: str, **headers: str) -> JSONResponse:
    return JSONResponse({"error": text}, status, headers)


def _malformed(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]  # its "input" is not repeated, because it can be anything
    if first["type"] == "json_invalid":
        return _error(400, f"the body is not valid JSON; expected {CLICK_FORMAT}")
    where, *path = first["loc"]
    if where == "body" and not path and "json" not in request.headers.get("content-type", ""):
        return _error(415, f"expected Content-Type: application/json, and {CLICK_FORMAT}")
    if where == "body":
        field = f"{path[0]}: " if path else ""
        return _error(422, f"{field}{first['msg']}; expected {CLICK_FORMAT}")
    return _error(422, f"{'.'.join(map(str, path))}: {first['msg']}; expected a whole number")


def _http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


def _store_unavailable(request: Request, error: Exception) -> JSONResponse:
    log.warning("%s", error)  # the message names a file, which the response must not
    return _error(503, "the click could not be stored now; try again", **{"Retry-After": "1"})

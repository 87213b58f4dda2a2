"""What stands before the app: no body that is too large gets in, no stack trace gets out."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Bytes; a click has some 80.
MAX_BODY_BYTES = 4096

log = logging.getLogger(__name__)


class RequestLimitMiddleware:
    """An ASGI application around another.

    Args:
        count: is told the status of each response.
    """

    def __init__(self, app: ASGIApp, count: Callable[[int], None]) -> None:
        self.app = app
        self.count = count

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on whose body is small, and see to it that there is a response."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                self.count(message["status"])
            await send(message)

        body = await _body(scope, receive)
        if body is None:
            text = f"the body is larger than {MAX_BODY_BYTES} bytes; send one click at a time"
            await _respond(watched, 413, {"error": text})
            return
        messages = [body]

        async def replayed() -> Message:
            return messages.pop() if messages else await receive()

        try:
            await self.app(scope, replayed, watched)
        except Exception:
            incident = uuid.uuid4().hex
            log.exception("request %s %s failed: %s", scope["method"], scope["path"], incident)
            if begun:  # too late for another status: the server cuts the connection
                raise
            text = "the request failed for a reason of ours; the server's log has it under this id"
            await _respond(watched, 500, {"error": text, "id": incident})


async def _body(scope: Scope, receive: Receive) -> Message | None:
    """The whole body as one message; None if it is too large. No more than that is read."""
    announced = dict(scope["headers"]).get(b"content-length", b"0")
    if not announced.isdigit() or int(announced[:20]) > MAX_BODY_BYTES:
        return None
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return message  # the client has gone
        body += message.get("body", b"")
        if len(body) > MAX_BODY_BYTES:
            return None
        more = message.get("more_body", False)
    return {"type": "http.request", "body": body, "more_body": False}


async def _respond(send: Send, status: int, content: dict[str, str]) -> None:
    headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(content).encode()})

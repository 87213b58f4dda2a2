"""The HTTP server, with limits that keep slow or silent clients from stopping it.

uvicorn limits neither the time in which a request must arrive nor the number of open connections: a
few hundred clients that send half a request would use up the process's file descriptors for good.
"""

from __future__ import annotations

import asyncio

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from mindlib.online.serving.app import create_app
from mindlib.online.serving.platform import PersonalityPlatform

HOST = "127.0.0.1"  # local only, because there is no authentication
REQUEST_SECONDS = 10.0  # from the connection, or the last response, to the end of the next response
MAX_CONNECTIONS = 256
# A connection needs a descriptor, and while its request runs two more for the store.
DESCRIPTORS_PER_CONNECTION, DESCRIPTORS_OF_PROCESS = 3, 48
REFUSAL = (
    "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n"
    "Retry-After: 1\r\nConnection: close\r\n\r\n{body}"
)


class LimitedProtocol(H11Protocol):
    """HTTP/1.1 with at most `max_connections()` connections, each with a time limit per request.

    A connection above the limit gets 503 and is closed. A client whose request is not answered in
    time, because it sends too slowly, gets 408; one that does not read is disconnected.
    """

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore
        super().connection_made(transport)
        if len(self.connections) > max_connections():
            self._refuse("503 Service Unavailable", "too many connections; try again")
        else:
            self._restart_timer()

    def on_response_complete(self) -> None:
        self._restart_timer()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def _restart_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(REQUEST_SECONDS, self._expire)

    def _expire(self) -> None:
        if self.transport.get_write_buffer_size():
            self.transport.abort()  # closing would wait until the client has read the response
        elif not self.transport.is_closing():
            text = f"the request took longer than {REQUEST_SECONDS:g} seconds"
            self._refuse("408 Request Timeout", text)

    def _refuse(self, status: str, text: str) -> None:
        body = f'{{"error": "{text}"}}'
        response = REFUSAL.format(status=status, length=len(body), body=body)
        self.transport.write(response.encode())
        self.transport.close()


def server_config(platform: PersonalityPlatform, port: int) -> uvicorn.Config:
    """Return the configuration of a platform's server on this machine."""
    return uvicorn.Config(
        create_app(platform),
        host=HOST,
        port=port,
        http=LimitedProtocol,
        ws="none",
        log_level="warning",
        server_header=False,
    )


def max_connections() -> int:
    """Return the largest number of connections for which the process has enough descriptors."""
    try:
        import resource
    except ImportError:  # not on Windows, where descriptors are not limited like this
        return MAX_CONNECTIONS
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    affordable = (soft - DESCRIPTORS_OF_PROCESS) // DESCRIPTORS_PER_CONNECTION
    return max(1, min(MAX_CONNECTIONS, affordable))

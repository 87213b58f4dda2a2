"""Deployment of new versions to a running platform, without losing a request.

A new version is loaded and checked beside the one that serves; then the platform replaces it in one
assignment. A request keeps the version that it began with.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from mindlib.online.refresh.pipeline import load_version
from mindlib.online.refresh.registry import Registry
from mindlib.online.serving.bundle import Bundle


class Follower:
    """Polls a registry and deploys its current version whenever it changes.

    As a context manager it polls in a background thread; `poll` does it once.

    Args:
        deploy: receives a loaded version, such as `PersonalityPlatform.use`.
        seconds: time between two polls; above 0, or ValueError is raised.

    Attributes:
        serving: number of the version deployed last; None before the first.
        error: why the current version could not be deployed; None if it was.
    """

    def __init__(
        self, registry: Registry, deploy: Callable[[Bundle], object], *, seconds: float = 5.0
    ) -> None:
        if not seconds > 0:
            raise ValueError(f"seconds={seconds}: expected a positive time between two polls")
        self._registry, self._deploy, self._seconds = registry, deploy, seconds
        self.serving: int | None = None
        self.error: Exception | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="follower", daemon=True)

    def poll(self) -> bool:
        """Deploy the current version if it is new, and return whether it was.

        Every error is stored in `error`, and the platform keeps the version that it has.
        """
        try:
            current = self._registry.current()
            if current is None or current == self.serving:
                self.error = None
                return False
            self._deploy(load_version(self._registry, current))
        except Exception as error:  # a damaged file must not end the service
            self.error = error
            return False
        self.serving, self.error = current, None
        return True

    def __enter__(self) -> Follower:
        self.poll()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._seconds):
            self.poll()

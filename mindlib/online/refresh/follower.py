"""A running platform takes up what the registry points at, without losing a request.

The new version is loaded and checked beside the old one; then the platform is handed it, which is
one assignment. A request that has begun keeps the version it began with.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType

from mindlib.online.refresh.pipeline import RankerFactory, load_version
from mindlib.online.refresh.registry import Registry
from mindlib.online.serving.bundle import Bundle


class Follower:
    """Looks at the registry from time to time, and hands over each new current version.

    As a context it does so in a thread of its own; `look` does it once.

    Args:
        registry: whose current version is followed; back, too, after a rollback.
        use: takes a loaded version, such as `PersonalityPlatform.use`.
        seconds: between two looks.
        ranking: as in `refresh`.

    Attributes:
        serving: the number of the version that was handed over last; None before the first.
        error: why the current version is not the one that is served, if so.
    """

    def __init__(
        self,
        registry: Registry,
        use: Callable[[Bundle], object],
        *,
        seconds: float = 5.0,
        ranking: RankerFactory | None = None,
    ) -> None:
        if not seconds > 0:
            raise ValueError(f"seconds={seconds}: expected a positive time between two looks")
        self._registry, self._use, self._seconds, self._ranking = registry, use, seconds, ranking
        self.serving: int | None = None
        self.error: Exception | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="follower", daemon=True)

    def poll(self) -> bool:
        """Whether there was a new version, which the platform has now.

        Whatever is wrong with it is kept in `error`: the platform goes on with what it has.
        """
        try:
            current = self._registry.current()
            if current is None or current == self.serving:
                self.error = None
                return False
            self._use(load_version(self._registry, current, self._ranking))
        except Exception as error:  # nothing that a file holds may end the service
            self.error = error
            return False
        self.serving, self.error = current, None
        return True

    def __enter__(self) -> Follower:
        self.poll()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(self._seconds):
            self.poll()

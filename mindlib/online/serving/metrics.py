"""Metrics of the platform, for Prometheus."""

from __future__ import annotations

from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)  # seconds


class Metrics:
    """Counters and histograms of one platform, safe to use from any thread."""

    def __init__(self) -> None:
        # A registry of its own, so that several platforms in one process count separately.
        self._registry = registry = CollectorRegistry()
        histogram = partial(Histogram, buckets=BUCKETS, registry=registry)
        text = "Duration of one recommendation request."
        self.requests = histogram("mindlib_request_seconds", text)
        text = "Duration of one stage of a request, up to its timeout."
        self.stages = histogram("mindlib_stage_seconds", text, ["stage"])
        counter = partial(Counter, registry=registry)
        labels = ("stage", "reason", "fallback")
        self.fallbacks = counter("mindlib_fallbacks", "Fallbacks used.", labels)
        self.clicks = counter("mindlib_clicks", "Clicks by outcome.", ["outcome"])
        self.responses = counter("mindlib_responses", "HTTP responses by status.", ["status"])
        text = "Versions taken into service since the start."
        self.swaps = counter("mindlib_swaps", text)
        self._version = Gauge(
            "mindlib_version_info", "The version in service.", ["version"], registry=registry
        )

    def record_swap(self, version: str) -> None:
        """Record which version is in service from now on."""
        self.swaps.inc()
        self._version.clear()
        self._version.labels(version).set(1)

    def render(self) -> str:
        """Return all metrics in the text format of Prometheus."""
        return generate_latest(self._registry).decode()

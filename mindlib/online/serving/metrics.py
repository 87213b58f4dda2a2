"""Metrics of the platform, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)  # seconds


class Metrics:
    """Counters and histograms of one platform, safe to use from any thread."""

    def __init__(self) -> None:
        # A registry of its own, so that several platforms in one process count separately.
        self._registry = registry = CollectorRegistry()
        self.requests = Histogram(
            "mindlib_request_seconds",
            "Duration of one recommendation request.",
            buckets=BUCKETS,
            registry=registry,
        )
        self.stages = Histogram(
            "mindlib_stage_seconds",
            "Duration of one stage of a request, up to its timeout.",
            ["stage"],
            buckets=BUCKETS,
            registry=registry,
        )

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"mindlib_{name}", text, labels, registry=registry)

        self.fallbacks = counter("fallbacks", "Fallbacks used.", "stage", "reason", "fallback")
        self.clicks = counter("clicks", "Clicks by outcome.", "outcome")
        self.responses = counter("responses", "HTTP responses by status.", "status")
        self.swaps = counter("swaps", "Versions taken into service since the start.")
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

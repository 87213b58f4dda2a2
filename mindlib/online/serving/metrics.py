"""What the platform counts, as Prometheus reads it."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

# Seconds: from what a stage takes when all is well to what nobody waits for.
BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)


class Metrics:
    """Counters and histograms of one platform; of any thread."""

    def __init__(self) -> None:
        # Its own registry: two platforms in a process (a test, a notebook) count apart.
        self._registry = registry = CollectorRegistry()
        self.requests = Histogram(
            "mindlib_request_seconds",
            "One recommendation, from the user's id to her list.",
            buckets=BUCKETS,
            registry=registry,
        )
        self.stages = Histogram(
            "mindlib_stage_seconds",
            "One stage of a recommendation, until it answered or was given up.",
            ["stage"],
            buckets=BUCKETS,
            registry=registry,
        )
        self.fallbacks = Counter(
            "mindlib_fallbacks",
            "Stages that something else stood in for.",
            ["stage", "reason", "fallback"],
            registry=registry,
        )
        self.clicks = Counter(
            "mindlib_clicks", "Clicks, by what became of them.", ["outcome"], registry=registry
        )
        self.responses = Counter(
            "mindlib_responses", "HTTP responses, by status.", ["status"], registry=registry
        )
        self.swaps = Counter(
            "mindlib_swaps", "Versions taken into service since the start.", registry=registry
        )
        self._version = Gauge(
            "mindlib_version_info", "The version that serves.", ["version"], registry=registry
        )

    def record_swap(self, version: str) -> None:
        """Say which version serves from now on."""
        self.swaps.inc()
        self._version.clear()
        self._version.labels(version).set(1)

    def render(self) -> str:
        """All of it, in Prometheus' text format."""
        return generate_latest(self._registry).decode()

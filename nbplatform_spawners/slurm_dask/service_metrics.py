"""The Prometheus metrics of the service for Slurm.  What is unknown has no series, never a 0."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

_OURS = "nbplatform_slurm_"
_BUCKETS = (0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 300)


class ServiceMetrics:
    """What Prometheus is told; each service has a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.tokens = Counter(
            f"{_OURS}tokens", "Requests for tokens, by what became of them", ["outcome"], registry=self.registry
        )
        self.jobs = Gauge(f"{_OURS}jobs", "Jobs of this hub's servers that have not ended", registry=None)
        self.ended = Counter(
            f"{_OURS}ended_jobs", "Jobs without a server that were told to end", registry=self.registry
        )
        self.passes = Histogram(
            f"{_OURS}pass_seconds", "How long a look for such jobs took", registry=self.registry, buckets=_BUCKETS
        )
        self.failures = Counter(
            f"{_OURS}failed_passes",
            "Looks that could not be made, by who did not answer",
            ["who"],
            registry=self.registry,
        )
        self.last = Gauge(f"{_OURS}last_pass_timestamp_seconds", "When the last good look ended", registry=None)
        self._known: set[Gauge] = set()

    def tell(self, gauge: Gauge, value: float) -> None:
        """Set one of the gauges that have no series as long as nobody knows their value."""
        gauge.set(value)
        if gauge not in self._known:
            self._known.add(gauge)
            self.registry.register(gauge)

    def serve(self, ip: str, port: int) -> None:
        """Answer Prometheus.

        Args:
            ip, port: where.

        Raises:
            OSError: somebody else listens there.
        """
        start_http_server(port, addr=ip, registry=self.registry)

"""What the Prometheus metrics of every service have in common.  What is unknown has no series, never a 0."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Gauge, start_http_server


class ServedMetrics:
    """A registry of its own, and how it is served."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
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

"""The Prometheus metrics of the service for Slurm.  What is unknown has no series, never a 0."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from ..served_metrics import ServedMetrics

_OURS = "nbplatform_slurm_"
_BUCKETS = (0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 300)


class ServiceMetrics(ServedMetrics):
    """What Prometheus is told; each service has a registry of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = Counter(
            f"{_OURS}tokens", "Requests for tokens, by what became of them", ["outcome"], registry=self.registry
        )
        self.jobs = Gauge(f"{_OURS}jobs", "Jobs of this hub's servers that have not ended", registry=None)
        self.unknown = Gauge(
            f"{_OURS}unknown_users", "Users of whom the hub says nothing usable: their jobs stay", registry=None
        )
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

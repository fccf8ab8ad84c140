"""The culler's Prometheus metrics.  What is unknown has no series, never a 0."""

from __future__ import annotations

from collections import Counter as Count
from collections.abc import Sequence

from prometheus_client import Counter, Gauge, Histogram

from ..served_metrics import ServedMetrics
from .examine import Seen

_SECONDS_AN_HOUR = 3600.0
_BUCKETS = (0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800)


class Metrics(ServedMetrics):
    """What Prometheus is told; each culler has a registry of its own."""

    def __init__(self) -> None:
        super().__init__()
        self._last_gpu: dict[str, float] = {}
        self._last_pass: float | None = None
        ours = "nbplatform_culler_"
        self.servers = Gauge(
            f"{ours}servers",
            "Running servers, by class and by what was decided",
            ["class", "verdict"],
            registry=self.registry,
        )
        self.unknown = Gauge(f"{ours}unanswered_servers", "Servers that did not answer", registry=None)
        self.off = Gauge(f"{ours}no_longer_allowed_servers", "Servers that the rules no longer allow", registry=None)
        self.idle_gpus = Gauge(
            f"{ours}idle_gpu_busy_kernel_servers", "Servers with a busy kernel and an idle GPU", registry=None
        )
        self.held = Counter(f"{ours}gpu_hours_held", "Hours for which GPUs were held", registry=self.registry)
        self.used = Counter(f"{ours}gpu_hours_used", "Hours of full use of GPUs", registry=self.registry)
        self.warnings = Counter(f"{ours}warnings", "Users warned of a stop", ["reason"], registry=self.registry)
        self.extensions = Counter(f"{ours}extensions", "Stops that users put off", registry=self.registry)
        self.stops = Counter(
            f"{ours}stops", "Stops, by reason and outcome", ["reason", "outcome"], registry=self.registry
        )
        self.passes = Histogram(f"{ours}pass_seconds", "How long a pass took", registry=self.registry, buckets=_BUCKETS)
        self.failures = Counter(f"{ours}failed_passes", "Passes that could not be made", registry=self.registry)
        self.last = Gauge(f"{ours}last_pass_timestamp_seconds", "When the last good pass ended", registry=None)
        self.rules_bad = Gauge(
            f"{ours}rules_bad", "1 while the rule files are bad, 0 while they are good", registry=None
        )

    def note_servers(self, seen: Sequence[Seen], passed: float) -> None:
        """Note what a pass found.

        Args:
            seen: every running server.
            passed: seconds on a clock that only goes forward.
        """
        self.servers.clear()
        for (kind, found), count in Count((_class(one), one.verdict.kind) for one in seen).items():
            self.servers.labels(kind, found).set(count)
        self.tell(self.unknown, sum(one.unanswered is not None for one in seen))
        self.tell(self.off, sum(one.standing.off is not None for one in seen))
        self.tell(self.idle_gpus, sum(one.idle_gpu for one in seen))
        between = 0.0 if self._last_pass is None else max(passed - self._last_pass, 0.0)
        self.held.inc(sum(one.server.gpu_count for one in seen) * between / _SECONDS_AN_HOUR)
        self._last_pass = passed
        self._note_use(seen, between)

    def _note_use(self, seen: Sequence[Seen], between: float) -> None:
        """Add what each server's GPUs did since the last pass: at most what it holds could do, whatever it says."""
        told = {one.server.key: one for one in seen if one.activity.gpu_seconds is not None}
        for key, one in told.items():
            before, now = self._last_gpu.get(key), one.activity.gpu_seconds or 0.0
            if before is not None:
                gain = min(max(now - before, 0.0), one.server.gpu_count * between)
                self.used.inc(gain / _SECONDS_AN_HOUR)
            self._last_gpu[key] = now
        running = {one.server.key for one in seen}
        self._last_gpu = {key: seconds for key, seconds in self._last_gpu.items() if key in running}


def _class(seen: Seen) -> str:
    return "gpu" if seen.server.gpu_count else "cpu"

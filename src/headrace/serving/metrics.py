"""Prometheus metrics of a server, by version and arm; added up over its processes."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess

if TYPE_CHECKING:
    from headrace.serving.batching import Batch
    from headrace.serving.loading import Slot

DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 1024, 10_000)


class Metrics:
    """Everything that is counted; children are looked up once, as a lookup costs as much as the counting."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter(
            "headrace_requests", "Requests by path and status.", ["path", "status"], registry=registry
        )
        self.seconds = Histogram(
            "headrace_request_seconds",
            "From the first byte of a request to its answer.",
            ["path", "version", "arm"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.model_seconds = Histogram(
            "headrace_model_seconds",
            "Guard and model, one call.",
            ["version", "arm"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.batch_rows = Histogram(
            "headrace_batch_rows", "Rows of one call.", ["version", "arm"], buckets=_ROWS, registry=registry
        )
        self.batch_requests = Histogram(
            "headrace_batch_requests",
            "Requests of one call.",
            ["version", "arm"],
            buckets=_ROWS,
            registry=registry,
        )
        self.rows = Counter("headrace_rows", "Rows answered.", ["version", "arm"], registry=registry)
        self.findings = Counter(
            "headrace_guard_rows",
            "Rows with values that training has not seen.",
            ["version", "arm", "column", "check", "rejected"],
            registry=registry,
        )
        self.labels = Counter("headrace_feedback_labels", "True labels received.", registry=registry)
        self.shadow_failures = Counter(
            "headrace_shadow_failures", "Requests that a shadow could not answer.", registry=registry
        )
        self.reloads = Counter("headrace_reloads", "Models exchanged.", ["arm", "result"], registry=registry)
        self.under_way = Gauge(
            "headrace_requests_under_way",
            "Requests under way.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.served = Gauge(
            "headrace_model_served",
            "1 for the version that answers.",
            ["version", "arm", "runtime"],
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._request = functools.lru_cache(maxsize=256)(self.requests.labels)
        self._seconds = functools.lru_cache(maxsize=256)(self.seconds.labels)
        self._batch = functools.lru_cache(maxsize=64)(
            lambda version, arm: (
                self.model_seconds.labels(version, arm),
                self.batch_rows.labels(version, arm),
                self.batch_requests.labels(version, arm),
                self.rows.labels(version, arm),
            )
        )

    def request(self, path: str, status: int, seconds: float, version: str, arm: str) -> None:
        """Count one request."""
        self._request(path, str(status)).inc()
        if version or path != "/v1/predict":
            self._seconds(path, version, arm).observe(seconds)

    def batch(self, batch: Batch) -> None:
        """Count one call of a model."""
        arm = f"{batch.slot.arm} shadow" if batch.shadow else batch.slot.arm
        version = batch.slot.version
        seconds, rows, requests, answered = self._batch(version, arm)
        total = sum(batch.request_rows)
        seconds.observe(batch.seconds)
        rows.observe(total)
        requests.observe(len(batch.request_ids))
        answered.inc(total)
        for finding in batch.answer.findings:
            self.findings.labels(
                version, arm, finding.column, finding.check, str(finding.rejected).lower()
            ).inc(len(finding.rows))

    def serves(self, slot: Slot, old: Slot | None = None) -> None:
        """Say which version answers."""
        if old is not None:
            self.served.labels(old.version, old.arm, old.predictor.runtime).set(0)
        self.served.labels(slot.version, slot.arm, slot.predictor.runtime).set(1)

    def text(self) -> bytes:
        """Write the metrics, of all processes when there are several, as Prometheus reads them."""
        if DIRECTORY in os.environ:
            registry = CollectorRegistry()
            multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # the library types it partly
            return generate_latest(registry)
        return generate_latest(self.registry)

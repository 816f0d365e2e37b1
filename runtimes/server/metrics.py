"""What /metrics shows, in the names and units that Prometheus asks for."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from runtimes.server.batching.ledger import Ledger

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_TOKENS = (8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """The metrics of one server, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.requests = Counter(
            "bert_onnx_requests", "Requests that were answered.", ("route", "model", "status"), registry=registry
        )
        self.seconds = Histogram(
            "bert_onnx_request_seconds",
            "From headers to answer.",
            ("route", "model"),
            buckets=_SECONDS,
            registry=registry,
        )
        self.faults = Counter("bert_onnx_faults", "Texts that a model failed on.", ("model",), registry=registry)
        self.reloads = Counter(
            "bert_onnx_reloads", "Artifacts that were opened again.", ("model", "result"), registry=registry
        )
        self.open_models = Gauge("bert_onnx_open_models", "Models that are open.", registry=registry)
        self._queue = Gauge("bert_onnx_queue_tokens", "Tokens that wait or run.", ("model",), registry=registry)
        self._dropped = Counter(
            "bert_onnx_dropped_texts",
            "Texts that were dropped before they ran.",
            ("model", "reason"),
            registry=registry,
        )
        self._tokens = Counter("bert_onnx_tokens", "Tokens that were run.", ("model",), registry=registry)
        self._padding = Counter(
            "bert_onnx_padding_tokens",
            "Padding that was run beside them, where the graph computes it.",
            ("model",),
            registry=registry,
        )
        self._saved = Counter(
            "bert_onnx_padding_saved_tokens", "Padding that the graph skipped.", ("model",), registry=registry
        )
        self._batch_tokens = Histogram(
            "bert_onnx_batch_tokens", "Tokens of a batch.", ("model",), buckets=_TOKENS, registry=registry
        )
        self._batch_rows = Histogram(
            "bert_onnx_batch_texts", "Texts of a batch.", ("model",), buckets=_ROWS, registry=registry
        )
        self._batch_seconds = Histogram(
            "bert_onnx_batch_seconds", "How long a batch ran.", ("model",), buckets=_SECONDS, registry=registry
        )

    def watch(self, model: str, pads: bool) -> ModelMetrics:
        """The metrics of one model."""
        return ModelMetrics(self, model, pads)

    def show_queue(self, model: str, ledger: Ledger) -> None:
        """From now on the queue of `model` is this one."""
        self._queue.labels(model).set_function(lambda: ledger.tokens)

    def text(self) -> bytes:
        """In Prometheus' format."""
        return generate_latest(self._registry)


class ModelMetrics:
    """Counts what a lane does; see `scheduler.Observer`."""

    def __init__(self, metrics: Metrics, model: str, pads: bool) -> None:
        self._model = model
        self._dropped = metrics._dropped
        self._faults = metrics.faults.labels(model)
        self._tokens = metrics._tokens.labels(model)
        self._padding = (metrics._padding if pads else metrics._saved).labels(model)
        self._batch_tokens = metrics._batch_tokens.labels(model)
        self._batch_rows = metrics._batch_rows.labels(model)
        self._batch_seconds = metrics._batch_seconds.labels(model)

    def ran(self, lengths: Sequence[int], seconds: float) -> None:
        """A batch ran."""
        tokens = sum(lengths)
        self._tokens.inc(tokens)
        self._padding.inc(max(lengths) * len(lengths) - tokens)
        self._batch_tokens.observe(tokens)
        self._batch_rows.observe(len(lengths))
        self._batch_seconds.observe(seconds)

    def dropped(self, rows: int, reason: str) -> None:
        """Rows were dropped."""
        self._dropped.labels(self._model, reason).inc(rows)

    def fault(self, error: Exception) -> None:
        """A row failed."""
        self._faults.inc()

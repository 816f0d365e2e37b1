"""Spans of OpenTelemetry (extra `otel`): a request, its wait in the queue, its batches.

OpenTelemetry's own variables ask for them, and choose the collector and the name of the service; where they do not,
nothing of it is imported. Spans are made when a request is over, of times that were taken anyway.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from bert_onnx.errors import RuntimeUnavailableError
from bert_onnx.version import __version__
from runtimes.server.batching.work import Stage

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

    from runtimes.server.exchange import Record

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_SERVICE = "service.name"


class Tracing:
    """Makes spans.

    Args:
        provider: exports them.
        clock: seconds, of which all times are.
    """

    def __init__(self, provider: TracerProvider, clock: Callable[[], float]) -> None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = provider
        self._tracer = provider.get_tracer("bert_onnx.server", __version__)
        self._parent = TraceContextTextMapPropagator()
        self._offset = time.time() - clock()

    def note(
        self, record: Record, headers: Mapping[str, str], attributes: Mapping[str, Any], began: float, ended: float
    ) -> None:
        """The spans of a request: of the trace that its header `traceparent` names, else of one of its own."""
        from opentelemetry import trace

        span = self._tracer.start_span(
            f"{attributes['http.request.method']} {record.route}",
            self._parent.extract(headers),
            trace.SpanKind.SERVER,
            {
                **attributes,
                "http.route": record.route,
                "bert_onnx.model": record.model,
                "bert_onnx.tokens": record.tokens,
            },
            start_time=self._nanoseconds(began),
        )
        if attributes["http.response.status_code"] >= 500:
            span.set_status(trace.StatusCode.ERROR, type(record.error).__name__)
        within = trace.set_span_in_context(span)
        for stage in (stage for ticket in record.tickets for stage in ticket.stages):
            self._stage(stage, within)
        span.end(self._nanoseconds(ended))

    def _stage(self, stage: Stage, within: Any) -> None:
        child = self._tracer.start_span(
            stage.name, within, attributes={"bert_onnx.rows": stage.rows}, start_time=self._nanoseconds(stage.began)
        )
        child.end(self._nanoseconds(stage.ended))

    def close(self) -> None:
        """Export what has not been yet."""
        self._provider.shutdown()

    def _nanoseconds(self, seconds: float) -> int:
        """Since 1970."""
        return int((seconds + self._offset) * 1e9)


def open_tracing(clock: Callable[[], float]) -> Tracing | None:
    """To the collector that the environment names; None where it names none.

    Raises:
        RuntimeUnavailableError: it names one, and OpenTelemetry is not installed.
    """
    if (
        not any(os.environ.get(name) for name in _ENDPOINTS)
        or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    ):
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise RuntimeUnavailableError(
            f"{error.name} is not installed, and the environment asks for traces; install it with "
            'pip install "bert-onnx[otel]", or unset OTEL_EXPORTER_OTLP_ENDPOINT.'
        ) from None
    named = os.environ.get("OTEL_SERVICE_NAME") or "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    provider = TracerProvider(resource=Resource.create({} if named else {_SERVICE: "bert-onnx"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Tracing(provider, clock)

"""Spans of OpenTelemetry, in a memory exporter; and that nothing of it is imported where nobody asks for it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from repository import ROOT
from served import Served, serving

from bert_onnx.errors import InferenceError, RuntimeUnavailableError
from runtimes.server.tracing import Tracing, open_tracing

V1 = "/v1/embeddings"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture(scope="module")
def traced(artifact: Path) -> Iterator[tuple[Served, InMemorySpanExporter]]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with serving(artifact) as served:
        served.service.tracing = Tracing(provider, served.service.scheduler.clock)
        yield served, exporter


def test_a_request_its_wait_and_its_batch(traced: tuple[Served, InMemorySpanExporter]) -> None:
    served, exporter = traced
    exporter.clear()
    body = {"input": ["hello world", "hello"]}
    code, _, headers = served.post(V1, body, traceparent=f"00-{TRACE}-{PARENT}-01")
    assert code == 200
    queue, batch, request = exporter.get_finished_spans()
    assert (request.name, request.kind) == (f"POST {V1}", SpanKind.SERVER)
    assert request.context.trace_id == int(TRACE, 16)
    assert request.parent is not None
    assert request.parent.span_id == int(PARENT, 16)
    assert request.attributes is not None
    assert request.attributes["http.response.status_code"] == 200
    assert request.attributes["bert_onnx.model"] == "toy"
    assert request.attributes["bert_onnx.request_id"] == headers["x-request-id"]
    assert "hello" not in request.to_json()
    for child, name in ((queue, "queue"), (batch, "batch")):
        assert (child.name, child.parent.span_id) == (name, request.context.span_id)
    assert batch.attributes["bert_onnx.rows"] == 2
    times = [request.start_time, queue.start_time, queue.end_time, batch.start_time, batch.end_time, request.end_time]
    assert times == sorted(times)
    assert queue.end_time == batch.start_time


@pytest.mark.parametrize("header", [None, "", "00-zz-zz-01", f"00-{'0' * 32}-{PARENT}-01", "x" * 5000])
def test_a_trace_of_its_own_where_none_is_named(
    traced: tuple[Served, InMemorySpanExporter], header: str | None
) -> None:
    served, exporter = traced
    exporter.clear()
    assert served.post(V1, {"input": "hello"}, **({} if header is None else {"traceparent": header}))[0] == 200
    assert exporter.get_finished_spans()[-1].parent is None


def test_faults_are_errors_and_refusals_are_not(traced: tuple[Served, InMemorySpanExporter]) -> None:
    served, exporter = traced
    gate = served.gate()
    exporter.clear()
    gate.fault = InferenceError("secret")
    assert served.post(V1, {"input": "hello"})[0] == 500
    gate.fault = None
    assert served.post(V1, {})[0] == 422
    assert served.get("/health/live")[0] == 200  # not logged, and not traced
    fault, refusal = (span for span in exporter.get_finished_spans() if span.kind is SpanKind.SERVER)
    assert (fault.status.status_code, fault.status.description) == (StatusCode.ERROR, "InferenceError")
    assert refusal.status.status_code is StatusCode.UNSET
    assert "secret" not in fault.to_json()


def test_nothing_is_imported_where_nobody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    program = """
import sys
from runtimes.server import serve
from runtimes.server.tracing import open_tracing
assert open_tracing(lambda: 0.0) is None
sys.exit(any(name.startswith("opentelemetry") for name in sys.modules))
"""
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0


def test_the_environment_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    made = open_tracing(lambda: 0.0)
    assert made is not None
    assert made._provider.resource.attributes["service.name"] == "bert-onnx"
    made.close()
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(RuntimeUnavailableError, match=r"bert-onnx\[otel\]"):
        open_tracing(lambda: 0.0)
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert open_tracing(lambda: 0.0) is None

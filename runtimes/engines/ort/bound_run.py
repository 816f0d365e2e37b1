"""Tensors on a GPU that are bound to a session once, and run many times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bert_onnx.tasks import Port
from runtimes.engines.ort.cuda_graphs import NO_GRAPH, buffer, run_options
from runtimes.engines.ort.cuda_session import GpuSession
from runtimes.engines.ort.session import run_failure


class BoundRun:
    """One set of inputs and outputs of a session.

    Outputs are buffers of their own, not of the session's arena: a captured graph that is replayed later writes there.

    Args:
        engine: the session.
        model: the file's name, for messages.
        outputs: the outputs that are computed.
        values: OrtValues on the GPU, one for each input.
        sizes: lengths of their axes.
        capture: the first run captures its kernels, later ones replay them.
    """

    def __init__(
        self,
        engine: GpuSession,
        model: str,
        outputs: Sequence[Port],
        values: Mapping[str, Any],
        sizes: Mapping[str, int],
        capture: bool = False,
    ) -> None:
        self._engine, self._model = engine, model
        self._binding = engine.session.io_binding()
        self._outputs: dict[str, Any] = {}
        for name, value in values.items():
            self._binding.bind_ortvalue_input(name, value)
        for port in outputs:
            self._outputs[port.name] = buffer(engine.library, port, sizes, engine.options.device_id)
            self._binding.bind_ortvalue_output(port.name, self._outputs[port.name])
        self._own_stream = engine.options.stream is not None
        number = engine.next_graph() if capture else NO_GRAPH
        self._options = run_options(engine.library, number, wait=not self._own_stream)

    def run(self, wait: bool | None = None) -> dict[str, Any]:
        """Compute; the outputs by name, OrtValues on the GPU, which the next run overwrites.

        Args:
            wait: return when they are there; None: unless the session has a stream of the caller's, whose later work
                finds them.

        Raises:
            InferenceError: the graph failed.
        """
        try:
            with self._engine.turn():
                self._engine.session.run_with_iobinding(self._binding, self._options)
                if wait or (wait is None and not self._own_stream):
                    self._binding.synchronize_outputs()
        except Exception as error:  # onnxruntime's exceptions share no base class of their own
            raise run_failure(self._model, error) from error
        return dict(self._outputs)

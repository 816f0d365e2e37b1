"""Runs graphs that are still being made, in ONNX Runtime; no file is written."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any

import numpy as np
import onnx_ir as ir

from bert_onnx.errors import ExportError
from export.onnx_file.stream import message_with_weights_apart
from export.quantization.feeds import Feed
from runtimes.engines.ort.library import CPU_PROVIDER, import_onnxruntime
from runtimes.engines.ort.session import EXACT_INTEGERS
from runtimes.machine.cpu import usable_threads

_SEVERITY_ERROR = 3


def in_memory(model: ir.Model) -> ir.Model:
    """A copy of `model` whose weights are arrays: what is computed as it is read, or lies in a file, is read once."""
    copy = model.clone()
    for value in copy.graph.initializers.values():
        if value.const_value is not None and not isinstance(value.const_value, (ir.Tensor, ir.StringTensor)):
            value.const_value = ir.Tensor(value.const_value.numpy(), dtype=value.const_value.dtype, name=value.name)
    return copy


class GraphSession:
    """An ONNX Runtime session of a graph in memory; weights stay where they are, and are not copied into a message.

    Args:
        model: the graph; it is left as it is.
    """

    def __init__(self, model: ir.Model) -> None:
        library = import_onnxruntime()
        options: Any = library.SessionOptions()
        options.intra_op_num_threads = usable_threads()
        options.log_severity_level = _SEVERITY_ERROR
        options.use_deterministic_compute = True
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # A file is judged by what it gives on the processors that it is made for, which may not be this one.
        options.add_session_config_entry(EXACT_INTEGERS, "1")
        message, weights = message_with_weights_apart(model)
        # ONNX Runtime takes arrays as they are where their elements lie one after the other.
        arrays = [np.ascontiguousarray(tensor.numpy()) for tensor in weights.values()]
        values = [library.OrtValue.ortvalue_from_numpy(array) for array in arrays]
        options.add_external_initializers(list(weights), values)
        try:
            self._session: Any = library.InferenceSession(
                message.SerializeToString(), sess_options=options, providers=[CPU_PROVIDER]
            )
        except Exception as error:  # onnxruntime's exceptions share no base class of their own
            raise ExportError(f"the graph does not open in onnxruntime: {str(error).strip()}.") from error
        self._inputs = {value.name for value in self._session.get_inputs()}

    def run(self, names: Sequence[str], feed: Feed) -> list[np.ndarray]:
        """The outputs `names` for one batch."""
        inputs = {name: array for name, array in feed.inputs.items() if name in self._inputs}
        return list(self._session.run(list(names), inputs))

    def close(self) -> None:
        """Give back its memory."""
        self._session = None

    def __enter__(self) -> GraphSession:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

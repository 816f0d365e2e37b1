"""onnx's ReferenceEvaluator: the standard's own Python, slow, and as far from the other runtimes as it gets."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from bert_onnx.errors import ArtifactError, InferenceError, RuntimeUnavailableError
from bert_onnx.tasks import REQUIRES
from runtimes.engines.base import RuntimeOptions
from runtimes.engines.graph_file import GraphFile, Opened
from runtimes.engines.guard import GuardedRuntime

INSTALL = "pip install onnx"


class OnnxReference(GuardedRuntime[Any]):
    """Evaluates the graph node by node in numpy; of the options it has use for none."""

    name = "reference"
    hard_links = False  # onnx takes them for an attack

    @classmethod
    def _open_engine(cls, graph: GraphFile, options: RuntimeOptions) -> Opened[Any]:
        try:
            import onnx
            from onnx.reference import ReferenceEvaluator
        except ImportError as error:
            raise RuntimeUnavailableError(f"onnx cannot be imported ({error}); install it with {INSTALL}.") from None
        try:
            model = onnx.load(graph.path)
        except Exception as error:  # protobuf's errors depend on its implementation
            raise ArtifactError(f"{graph.path} is not a graph that onnx can open: {error}.") from error
        try:
            evaluator = ReferenceEvaluator(model)
        except Exception as error:
            reason = str(error).rstrip(".")
            raise RuntimeUnavailableError(
                f"onnx's reference evaluator cannot run {graph.path.name}: {reason}."
            ) from error
        return Opened(
            engine=evaluator,
            takes=[value.name for value in model.graph.input],
            returns=[value.name for value in model.graph.output],
            requires={entry.key: entry.value for entry in model.metadata_props}.get(REQUIRES, ""),
            providers=("numpy",),
            library=f"onnx {onnx.__version__}",
            threads=1,
        )

    def _compute(self, engine: Any, names: list[str], inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        try:
            with warnings.catch_warnings():  # numpy's, about rows that are all padding
                warnings.simplefilter("ignore", RuntimeWarning)
                values = engine.run(names, inputs)
        except Exception as error:
            raise InferenceError(f"onnx's reference evaluator failed in {self._guard.model}: {error}.") from error
        return dict(zip(names, values, strict=True))

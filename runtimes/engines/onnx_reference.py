"""onnx's ReferenceEvaluator: the standard's own Python, slow, and as far from the other runtimes as it gets."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bert_onnx.errors import ArtifactError, InferenceError, RuntimeUnavailableError
from bert_onnx.tasks import REQUIRES, RIGHT_PADDING, Port
from runtimes.engines.base import RuntimeDescription, RuntimeOptions
from runtimes.engines.guard import Guard, GuardedRuntime
from runtimes.engines.inputs import Limits

INSTALL = "pip install onnx"


class Reference(GuardedRuntime[Any]):
    """Evaluates the graph node by node in numpy."""

    name = "reference"

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        inputs: Sequence[Port],
        outputs: Sequence[Port],
        options: RuntimeOptions | None = None,
        limits: Limits | None = None,
    ) -> Reference:
        """A runtime for the graph in `path`; of `options` it has use for none.

        Raises:
            RuntimeUnavailableError: onnx is not installed, or lacks an operator of the graph.
            ArtifactError: the file is missing, damaged, or has other inputs or outputs.
        """
        (options or RuntimeOptions()).require_compute(cls.name, "fp32")
        try:
            import onnx
            from onnx.reference import ReferenceEvaluator
        except ImportError as error:
            raise RuntimeUnavailableError(f"onnx cannot be imported ({error}); install it with {INSTALL}.") from None
        file = Path(path)
        if not file.is_file():
            raise ArtifactError(f"the model file {file} is missing; export the model again.")
        try:
            model = onnx.load(file)
        except Exception as error:  # protobuf's errors depend on its implementation
            raise ArtifactError(f"{file} is not a graph that onnx can open: {error}.") from error
        takes = {value.name for value in model.graph.input}
        returns = {value.name for value in model.graph.output}
        if takes != {port.name for port in inputs} or not {port.name for port in outputs} <= returns:
            raise ArtifactError(f"{file.name} has other inputs or outputs than its manifest says; export it again.")
        requires = {entry.key: entry.value for entry in model.metadata_props}.get(REQUIRES, "")
        guard = Guard(file.name, tuple(inputs), tuple(outputs), limits, requires == RIGHT_PADDING)
        try:
            evaluator = ReferenceEvaluator(model)
        except Exception as error:
            reason = str(error).rstrip(".")
            raise RuntimeUnavailableError(f"onnx's reference evaluator cannot run {file.name}: {reason}.") from error
        description = RuntimeDescription(cls.name, ("numpy",), f"onnx {onnx.__version__}", 1, file.name)
        return cls(evaluator, guard, description)

    def _compute(self, engine: Any, names: list[str], inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        try:
            with warnings.catch_warnings():  # numpy's, about rows that are all padding
                warnings.simplefilter("ignore", RuntimeWarning)
                values = engine.run(names, inputs)
        except Exception as error:
            raise InferenceError(f"onnx's reference evaluator failed in {self._guard.model}: {error}.") from error
        return dict(zip(names, values, strict=True))

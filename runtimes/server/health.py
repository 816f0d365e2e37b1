"""Is a model well? One forward, compared with the artifact's vectors.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from bert_onnx.errors import InferenceError
from runtimes.engines.base import Runtime

_VECTORS = "vectors.json"
#: A model that computes something else is far beyond this; what a precision costs was judged before it was published.
_TOLERANCE = 0.05


class Probe:
    """The first case of vectors.json; where there is none, one token, of which the outputs must be finite.

    Args:
        folder: the artifact.
        variant: the graph that runs; in int8 and int4 it has outputs of its own.
    """

    def __init__(self, folder: Path, variant: str, runtime: Runtime) -> None:
        self._runtime = runtime
        self._expected: dict[str, dict[str, Any]] = {}
        try:
            case = json.loads((folder / _VECTORS).read_text(encoding="utf-8"))["cases"][0]
        except FileNotFoundError:
            self._inputs = {port.name: np.ones([1] * len(port.axes), np.int64) for port in runtime.inputs}
            return
        self._inputs = {
            name: np.array(tensor["values"], np.int64).reshape(tensor["shape"])
            for name, tensor in case["inputs"].items()
        }
        self._expected = case["variants"].get(variant) or case["outputs"]

    def check(self) -> None:
        """Run it.

        Raises:
            InferenceError: the graph failed, or its outputs are other ones than the artifact's.
        """
        outputs = self._runtime.run(self._inputs)
        for name, tensor in self._expected.items():
            expected = np.array(tensor["values"], np.float64)
            found = outputs[name].astype(np.float64).ravel()
            found = found[tensor["offsets"]] if "offsets" in tensor else found
            scale = max(1e-6, float(np.abs(expected).max()))
            if float(np.abs(found - expected).max()) > _TOLERANCE * scale:
                raise InferenceError(
                    f"{name} is not what vectors.json has; restart the server, or verify the artifact."
                )

"""What every runtime does around a run: names, the check of what goes in, the check of what comes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bert_onnx.errors import UsageError
from bert_onnx.tasks import Port
from runtimes.base import check_finite, chosen_outputs
from runtimes.inputs import Limits, check_inputs, check_right_padding


@dataclass(frozen=True)
class Guard:
    """The checks of one graph.

    Args:
        model: the file's name, for messages.
        inputs, outputs: the graph's ports.
        limits: what its tables can look up, where that is known.
        right_padding: its masks must have all real tokens before the padding.
    """

    model: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    limits: Limits | None = None
    right_padding: bool = False

    def enter(
        self, inputs: Mapping[str, np.ndarray], outputs: Sequence[str] | None
    ) -> tuple[list[str], dict[str, np.ndarray]]:
        """Names of the outputs to compute, and the inputs, checked and in the graph's dtypes.

        Raises:
            InputError: the data does not fit the model.
            UsageError: an output that there is not.
        """
        names = chosen_outputs(self.outputs, outputs)
        checked = check_inputs(inputs, self.inputs, self.limits)
        if self.right_padding:
            check_right_padding(checked)
        return names, checked

    def leave(self, results: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """`results`, if all of it is finite.

        Raises:
            InferenceError: it is not.
        """
        check_finite(results, self.model)
        return results

    def closed(self) -> UsageError:
        """The error of a run after `close`."""
        return UsageError(f"the runtime of {self.model} is closed; open it again.")

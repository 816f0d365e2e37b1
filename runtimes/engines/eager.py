"""A PyTorch module behind the Runtime protocol: the reference that graphs are compared with. Torch loads on use."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from bert_onnx.errors import RuntimeUnavailableError, UsageError
from bert_onnx.tasks import Port
from runtimes.engines.base import RuntimeDescription, check_finite, chosen_outputs
from runtimes.engines.inputs import Limits, check_inputs

if TYPE_CHECKING:
    from torch import Tensor


class EagerRuntime:
    """Calls `module` with one tensor for each input port, in order; it returns one for each output port, in order.

    Args:
        module: a module in evaluation mode, or any function of tensors.
        inputs, outputs: what its arguments and results are.
        limits: what its tables can look up.
    """

    name = "eager"

    def __init__(
        self,
        module: Callable[..., Sequence[Tensor]],
        inputs: Sequence[Port],
        outputs: Sequence[Port],
        limits: Limits | None = None,
    ) -> None:
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self._module: Callable[..., Sequence[Tensor]] | None = module
        self._model_name = type(getattr(module, "model", module)).__name__
        self._limits = limits
        self._torch = _import_torch()

    def run(self, inputs: Mapping[str, np.ndarray], outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """Outputs by name, floats as float32 whatever the module computes in; all of them where `outputs` names none.

        Raises:
            InputError: the data does not fit the model.
            UsageError: an output that there is not, or the runtime is closed.
            InferenceError: the answer is not finite.
        """
        if self._module is None:
            raise UsageError("this runtime is closed; make another.")
        names = chosen_outputs(self.outputs, outputs)
        checked = check_inputs(inputs, self.inputs, self._limits)
        torch = self._torch
        with torch.inference_mode():
            tensors = self._module(*(torch.tensor(checked[port.name]) for port in self.inputs))
        by_name = {port.name: tensor for port, tensor in zip(self.outputs, tensors, strict=True)}
        results = {name: _array(by_name[name]) for name in names}
        check_finite(results, self._model_name)
        return results

    def describe(self) -> RuntimeDescription:
        """What runs."""
        torch = self._torch
        return RuntimeDescription(
            self.name, ("cpu",), f"torch {torch.__version__}", torch.get_num_threads(), self._model_name
        )

    def close(self) -> None:
        """Let go of the module."""
        self._module = None

    def __enter__(self) -> EagerRuntime:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _array(tensor: Tensor) -> np.ndarray:
    tensor = tensor.float() if tensor.is_floating_point() else tensor
    return np.asarray(tensor.cpu().numpy())


def _import_torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise RuntimeUnavailableError(
            f'torch cannot be imported ({error}); install it with pip install "bert-onnx[export]".'
        ) from None
    return torch

"""A PyTorch module behind the Runtime protocol: the reference that graphs are compared with. Torch loads on use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bert_onnx.errors import RuntimeUnavailableError
from bert_onnx.tasks import Port
from runtimes.engines.base import RuntimeDescription
from runtimes.engines.guard import Guard, GuardedRuntime
from runtimes.engines.inputs import Limits

if TYPE_CHECKING:
    from torch import Tensor


class EagerRuntime(GuardedRuntime[Any]):
    """Calls `module` with one tensor for each input port, in order; it returns one for each output port, in order.

    Floats come back as float32, whatever the module computes in.

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
        torch = self._torch = _import_torch()
        model = type(getattr(module, "model", module)).__name__
        description = RuntimeDescription(
            self.name, ("cpu",), f"torch {torch.__version__}", torch.get_num_threads(), model
        )
        super().__init__(module, Guard(model, tuple(inputs), tuple(outputs), limits), description)

    def _compute(self, engine: Any, names: list[str], inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        torch = self._torch
        with torch.inference_mode():
            tensors = engine(*(torch.tensor(inputs[port.name]) for port in self.inputs))
        by_name = {port.name: tensor for port, tensor in zip(self.outputs, tensors, strict=True)}
        return {name: _array(by_name[name]) for name in names}


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

"""The eager model behind the Runtime protocol: what every graph is compared with."""

from __future__ import annotations

from export.load_model import Eager
from runtimes.base import Runtime
from runtimes.eager import EagerRuntime
from runtimes.inputs import InputLimits


def eager_runtime(eager: Eager) -> Runtime:
    """The reference for graphs of `eager`."""
    return EagerRuntime(eager.module, eager.module.inputs, eager.module.outputs, input_limits(eager))


def input_limits(eager: Eager) -> InputLimits:
    """What the model's tables can look up."""
    config = eager.config
    return InputLimits(config.vocab_size, config.max_position_embeddings, config.type_vocab_size)

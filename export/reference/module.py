"""GraphModule: a BERT model as a function of positional tensors, in the order of the task table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from bert_onnx.modeling.postprocess import Postprocessing
from bert_onnx.modeling.sentence_chain import SentenceChain
from bert_onnx.tasks import PROMPT_LENGTH, Port, Task, TaskOptions, arrays_for

_CACHE_INPUT = "past_key_values."
_DTYPES = {"int64": torch.int64, "float32": torch.float32}


class GraphModule(nn.Module):
    """Calls `model` with the inputs that `inputs` names and returns the tensors that `outputs` names.

    This is both what the exporter traces and the eager reference that its graph is compared with.

    Args:
        model: a model of `bert_onnx.modeling`, in evaluation mode.
        task: its row of the task table.
        options: optional outputs.
        inputs, outputs: `input_ports` and `output_ports` of the same task and options.
        chain: makes the embedding of the task's first output; None for the modules of `options` as they are built.
    """

    def __init__(
        self,
        model: nn.Module,
        task: Task,
        options: TaskOptions,
        inputs: Sequence[Port],
        outputs: Sequence[Port],
        chain: SentenceChain | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.chain = SentenceChain(options.modules) if chain is None else chain
        self.task = task
        self.options = options
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self.postprocessing = Postprocessing.of(task.name, model.config, options)  # type: ignore[arg-type]

    def without_postprocess(self) -> GraphModule:
        """The same model without postprocess outputs: what is traced, before `export.postprocess` adds them."""
        outputs = [port for port in self.outputs if port.name not in self.postprocessing.names]
        options = replace(self.options, postprocess=False)
        return GraphModule(self.model, self.task, options, self.inputs, outputs, self.chain).eval()

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """One tensor for each input port, in order; returns one for each output port, in order."""
        named = {port.name: tensor for port, tensor in zip(self.inputs, tensors, strict=True)}
        cache = [named.pop(port.name) for port in self.inputs if port.name.startswith(_CACHE_INPUT)]
        arguments: dict[str, Any] = {name: tensor for name, tensor in named.items() if name != PROMPT_LENGTH}
        if self.task.decoder:
            arguments["use_cache"] = self.task.cached
        if self.task.cached:
            arguments["past_key_values"] = tuple(zip(cache[::2], cache[1::2], strict=True))
        result = self.model(
            **arguments,
            output_attentions=self.options.output_attentions,
            output_hidden_states=self.options.output_hidden_states,
            return_dict=True,
        )
        derived = self.postprocessing.names
        found = {port.name: self._pick(port.name, result, named) for port in self.outputs if port.name not in derived}
        found |= self.postprocessing.tensors(found, named)
        return tuple(found[port.name] for port in self.outputs)

    def _pick(self, name: str, result: Any, named: dict[str, Tensor]) -> Tensor:
        """The tensor that output port `name` stands for."""
        if name == self.task.embedding:
            tokens = getattr(result, self.task.reads)
            return self.chain.embed(tokens, named["attention_mask"], named.get(PROMPT_LENGTH), name)
        family, _, rest = name.partition(".")
        if family == "present":
            layer, part = rest.split(".")
            return result.past_key_values[int(layer)][("key", "value").index(part)]
        return getattr(result, family)[int(rest)] if rest else getattr(result, name)


def example_inputs(inputs: Sequence[Port], lengths: dict[str, int]) -> tuple[Tensor, ...]:
    """Distinct tensors of the right shapes to trace with; every named axis has the length that `lengths` gives.

    Values do not matter to a trace, but each tensor must be an object of its own: torch.export takes one tensor
    that is passed twice for one input.
    """
    return tuple(arrays_for(inputs, lengths, lambda port, shape: torch.ones(shape, dtype=_DTYPES[port.dtype])).values())

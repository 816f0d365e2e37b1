"""What a pass is: a function that changes a graph in place, counts how often it fired, and says why it did not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import onnx_ir as ir

from bert_onnx.config import BertConfig


@dataclass(frozen=True)
class PassContext:
    """What a pass may know beside the graph.

    Args:
        opset: the opset that the graph is to have in the end.
        config: the model's config, where it is known; None for a graph from elsewhere.
    """

    opset: int
    config: BertConfig | None = None


@dataclass(frozen=True)
class Refusal:
    """A place that looked like a pass's pattern and was left alone: the node and the reason."""

    node: str
    reason: str


@dataclass(frozen=True)
class PassOutcome:
    """How often a pass fired, where it refused to, and how many nodes of each operator it added, as its run counts."""

    count: int
    refusals: tuple[Refusal, ...] = ()
    operators: Mapping[str, int] = field(default_factory=dict)


#: A pass leaves the model correct whether it fires or not.
Pass = Callable[[ir.Model, PassContext], PassOutcome]

"""Runtimes that answer by a rule, so that pipelines are tested without a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import numpy as np

from bert_onnx.config import BertConfig
from bert_onnx.tasks import TaskOptions, find_task, input_ports, output_ports
from bert_onnx.tokenization import load_tokenizer
from runtimes.engines.base import RuntimeDescription, chosen_outputs
from runtimes.engines.inputs import check_inputs
from runtimes.loading import make_pipeline
from runtimes.pipelines.base import PipelineParts

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *ascii_lowercase]

Rule = Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]


class RuleRuntime:
    """Checks its inputs as every runtime does, remembers them, and answers with `rule`."""

    name = "rule"

    def __init__(self, task: str, config: BertConfig, rule: Rule) -> None:
        row = find_task(task)
        self.inputs = input_ports(row, config)
        self.outputs = output_ports(row, config, TaskOptions())
        self.calls: list[dict[str, np.ndarray]] = []
        self._config = config
        self._rule = rule

    def run(self, inputs: Mapping[str, np.ndarray], outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        checked = check_inputs(inputs, self.inputs, self._config)
        self.calls.append(checked)
        answers = self._rule(checked)
        return {name: answers[name] for name in chosen_outputs(self.outputs, outputs)}

    def describe(self) -> RuntimeDescription:
        return RuntimeDescription(self.name, (), "none", 1, "rule")

    def close(self) -> None:
        """Nothing to give back."""


def tiny_config(**changes: Any) -> BertConfig:
    values: dict[str, Any] = {
        "vocab_size": len(VOCABULARY),
        "hidden_size": 4,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 4,
        "max_position_embeddings": 12,
    }
    return BertConfig(**{**values, **changes})


def rule_pipeline(folder: Path, task: str, rule: Rule, vocabulary: Sequence[str] = VOCABULARY, **changes: Any) -> Any:
    """The pipeline of `task` on a RuleRuntime; `pipeline.runtime.calls` is what the runtime was asked."""
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    config = tiny_config(**changes)
    runtime = RuleRuntime(task, config, rule)
    return make_pipeline(PipelineParts(task, runtime, load_tokenizer(folder), config, config.max_position_embeddings))


def zeros(**shapes: str) -> Rule:
    """A rule that answers zeros; a shape is written in B, C, S and numbers, e.g. `logits="B S 31"`."""

    def rule(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        shape = inputs["input_ids"].shape
        sizes = {"B": shape[0], "C": shape[1], "S": shape[-1]}
        return {
            name: np.zeros([sizes[axis] if axis in sizes else int(axis) for axis in axes.split()], np.float32)
            for name, axes in shapes.items()
        }

    return rule

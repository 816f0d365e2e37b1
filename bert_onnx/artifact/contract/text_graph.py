"""A graph that takes text: a variant with a tokenizer in front, what it takes and returns, and what was measured."""

from __future__ import annotations

from dataclasses import dataclass

from bert_onnx.artifact.contract.kinds import Count, Positive, Sha256
from bert_onnx.artifact.contract.parity import Parity
from bert_onnx.tasks import Port


@dataclass(frozen=True)
class Conformance:
    """How many texts the tokenizer in the graph turns into the ids that the artifact's own tokenizer makes.

    Args:
        texts: name of the text set.
        texts_sha256: its sha256.
        count: rows that were compared, a text or a pair each.
        identical: rows whose ids, mask and types are the same.
    """

    texts: str
    texts_sha256: Sha256
    count: Positive
    identical: Count

    @property
    def passed(self) -> bool:
        """Whether all rows are the same."""
        return self.identical == self.count


@dataclass(frozen=True)
class TextGraph:
    """One .onnx file that takes text. It is no variant: what takes tokens never finds it.

    Args:
        name: stem of the file, `<variant>_text`.
        file: its path within the folder, with forward slashes.
        data_file: the external data of its variant, which it shares; None where the weights are inside.
        variant: name of the variant that stands behind its tokenizer.
        tokenizer: operators of onnxruntime-extensions in it.
        inputs, outputs: its ports, in order; the model's outputs come first.
        nodes: nodes in the graph.
        size_bytes: the file, without data that it shares; `seal` fills it in.
        conformance: its tokenizer against the artifact's own.
        parity: its outputs against tokenizer and variant, run one after the other.
        prompt: what the graph itself puts before a text; where it is empty, a program puts the model's prompt there.
    """

    name: str
    file: str
    data_file: str | None
    variant: str
    tokenizer: tuple[str, ...]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    nodes: Count
    size_bytes: Count
    conformance: Conformance
    parity: Parity
    prompt: str = ""

    @property
    def passed(self) -> bool:
        """Whether it may be published."""
        return self.parity.passed and self.conformance.passed

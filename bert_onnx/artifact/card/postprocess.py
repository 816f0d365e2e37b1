"""The part of a model card that says what the outputs of --postprocess mean."""

from __future__ import annotations

from bert_onnx.artifact.contract.manifest import Manifest
from bert_onnx.postprocess import CONTEXT_TYPE, LONGEST_ANSWER, output_meanings

_SPAN_RULE = (
    f"An answer lies in the second segment (token type {CONTEXT_TYPE}) but for its last token, which is `[SEP]`, and "
    f"has at most {LONGEST_ANSWER} tokens. Its probability is that of its start times that of its end, each a softmax "
    "over these tokens and `[CLS]`, which stands for no answer."
)
_LABELS = "`config.json` has the names of labels: `id2label`."


def postprocess_text(manifest: Manifest) -> str:
    """What each of these outputs is; empty where the graph has none."""
    if not manifest.options.postprocess:
        return ""
    meanings = output_meanings(manifest.task, {port.name: len(port.axes) for port in manifest.outputs})
    lines = [f"- `{name}`: {meaning}" for name, meaning in meanings.items()]
    rules = [_SPAN_RULE] if manifest.task == "question-answering" else []
    rules += [_LABELS] if manifest.task in ("text-classification", "token-classification") else []
    head = "The graph postprocesses, too, so that a program needs no maths beside it:"
    return "\n\n".join([head, "\n".join(lines), *rules])

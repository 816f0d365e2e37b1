"""What is said of a model_type that is not in the table."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

#: model_types that look like rows and are not -> (the nearest row, what differs).
NEAR: dict[str, tuple[str, str]] = {
    "deberta": ("bert", "disentangled attention"),
    "deberta-v2": ("bert", "disentangled attention"),
    "sew-d": ("bert", "disentangled attention"),
    "convbert": ("bert", "convolutions in the place of some of the attention heads"),
    "squeezebert": ("bert", "grouped convolutions in the place of linear layers"),
    "mobilebert": ("bert", "bottlenecks and stacked feed-forward layers"),
    "ibert": ("roberta", "integer arithmetic in every layer"),
    "funnel": ("bert", "layers that pool their sequence"),
    "big_bird": ("bert", "attention to blocks of the sequence"),
    "bigbird_pegasus": ("bert", "attention to blocks of the sequence"),
    "longformer": ("roberta", "attention to a window of the sequence"),
    "nystromformer": ("bert", "approximated attention"),
    "fnet": ("bert", "Fourier transforms in the place of attention"),
    "megatron-bert": ("bert", "layer norms before each block"),
    "roberta-prelayernorm": ("roberta", "layer norms before each block"),
    "xmod": ("xlm-roberta", "adapters for each language"),
    "xlm": ("bert", "language embeddings and layers of its own"),
    "flaubert": ("bert", "language embeddings and layers of its own"),
    "xlnet": ("bert", "two-stream attention with relative positions"),
    "luke": ("roberta", "entities beside the words"),
    "layoutlm": ("bert", "positions on a page"),
    "layoutlmv2": ("bert", "positions on a page, and pixels"),
    "layoutlmv3": ("roberta", "positions on a page, and pixels"),
    "nomic_bert": ("bert", "rotary positions"),
    "new": ("bert", "rotary positions"),
    "roformer": ("bert", "rotary positions"),
    "esm": ("bert", "rotary positions and layer norms before each block"),
    "eurobert": ("bert", "rotary positions"),
    "neobert": ("bert", "rotary positions"),
    "jina_bert": ("bert", "linear biases of distance (ALiBi)"),
    "nezha": ("bert", "fixed relative positions in keys and values"),
    "rembert": ("bert", "embeddings for input and output of different widths"),
    "canine": ("bert", "characters in the place of tokens"),
    "bert-generation": ("bert", "no token types, and a decoder's head"),
    "bert_japanese": ("bert", "nothing but its tokenizer; call it bert in config.json"),
}  # fmt: skip


def refusal(model_type: object, rows: Iterable[str]) -> str:
    """Why a model of `model_type` is not opened: what differs from the nearest row, and which rows there are."""
    known = list(rows)
    listed = ", ".join(known)
    if model_type in NEAR:
        near, difference = NEAR[str(model_type)]
        nearest = f"the nearest that bert-onnx supports is {near} ({listed})"
        return f"model_type {model_type}: {difference}, not in the table; {nearest}."
    close = get_close_matches(str(model_type)[:80], known, 1)
    hint = f"; did you mean {close[0]!r}?" if close else "."
    return f"model_type {str(model_type)[:80]!r} is not in the table of bert-onnx, which has {listed}{hint}"

"""What a config.json says that does not fit together, mended as transformers 4.57 loads it; each thing is a warning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bert_onnx.config_rules import DTYPES, MAX_LABELS, TOKEN_IDS, is_int


def mended(values: Mapping[str, Any], classes: int | None) -> tuple[dict[str, Any], tuple[str, ...]]:
    """`values` of a config.json that a BertConfig takes, and what was mended, one sentence each.

    Args:
        values: by the names of BertConfig's fields, `num_labels` and `label2id` beside them.
        classes: rows of the checkpoint's classifier, where it has one: they decide, where the labels leave it open.
    """
    result, warnings = dict(values), []
    for mend in (_labels, _token_ids, _dtype, _cross_encoder):
        result, said = mend(result, classes)
        warnings += said
    return result, tuple(warnings)


def _labels(values: dict[str, Any], classes: int | None) -> tuple[dict[str, Any], list[str]]:
    """Gaps get the names that transformers gives unnamed labels; a label without a class is left out."""
    given: Any = values.get("id2label")
    stated: Any = values.get("num_labels")
    ids = _ids(given)
    if ids is None or not isinstance(given, Mapping):
        return values, []
    names = dict(zip(ids, given.values(), strict=True))
    warnings = []
    by_label = values.get("label2id")
    if isinstance(by_label, Mapping) and {str(name): index for index, name in names.items()} != by_label:
        warnings.append("label2id says other than id2label, which decides")
    counted = is_int(stated) and stated != len(names)
    if sorted(ids) == list(range(len(ids))) and not counted:
        return values, warnings
    gap = max(ids) >= len(ids)
    count = stated if gap and isinstance(stated, int) and max(ids) < stated <= MAX_LABELS else len(ids)
    count = classes or count
    warnings.append(
        f"id2label names the ids {_few(ids)}{f' beside num_labels {stated}' if counted else ''}; the model has {count} "
        f"classes, 0 to {count - 1}, and those without a name are called LABEL_<id>"
    )
    return values | {"id2label": {index: names.get(index, f"LABEL_{index}") for index in range(count)}}, warnings


def _ids(labels: Any) -> list[int] | None:
    """The keys of id2label as numbers; None where they are not whole numbers, each once: BertConfig refuses that."""
    if not isinstance(labels, Mapping) or not labels or len(labels) > MAX_LABELS:
        return None
    ids = []
    for key in labels:
        text = str(key)
        if isinstance(key, bool) or not (text.isascii() and text.isdigit() and len(text) < 10):
            return None
        ids.append(int(text))
    return ids if len(set(ids)) == len(ids) else None


def _token_ids(values: dict[str, Any], classes: int | None) -> tuple[dict[str, Any], list[str]]:
    """Ids without a row in the embedding are taken for unset: the tokenizer's files say which tokens are special."""
    size, warnings = values.get("vocab_size", 30522), []
    result = dict(values)
    for name in TOKEN_IDS:
        value = values.get(name)
        if name == "eos_token_id" and isinstance(value, (list, tuple)) and all(map(is_int, value)) and is_int(size):
            result[name] = tuple(one for one in value if 0 <= one < size)  # each of them ends a text
            outside = [one for one in value if one not in result[name]]
            if outside:
                warnings.append(f"{name} has {_few(outside)}, outside the vocabulary of {size} tokens; left out")
            continue
        if isinstance(value, (list, tuple)) and value and all(is_int(one) for one in value):
            value = result[name] = value[0]
            if len(values[name]) > 1:
                warnings.append(f"{name} is the list {_few(values[name])}, of which the first counts")
        if isinstance(value, int) and is_int(size) and not 0 <= value < size:
            result[name] = None
            warnings.append(f"{name} is {value}, outside the vocabulary of {size} tokens; it is taken for unset")
    return result, warnings


def _dtype(values: dict[str, Any], classes: int | None) -> tuple[dict[str, Any], list[str]]:
    """Weights carry their own dtypes; what config.json says matters to `from_pretrained(dtype="auto")` alone."""
    dtype = values.get("dtype")
    if dtype is None or dtype in DTYPES:
        return values, []
    said = [] if dtype in ("float64", "auto") else [f"dtype is {str(dtype)[:40]!r}, which is no type of weights here"]
    return values | {"dtype": "float32"}, said


def _cross_encoder(values: dict[str, Any], classes: int | None) -> tuple[dict[str, Any], list[str]]:
    """Keys of a library's own: what it could not read itself is left out."""
    kinds = {"sentence_transformers": dict, "sbert_ce_default_activation_function": str}
    wrong = [name for name, kind in kinds.items() if not isinstance(values.get(name), (kind, type(None)))]
    warnings = [f"{name} is a {type(values[name]).__name__}, which says nothing; it is left out" for name in wrong]
    return values | dict.fromkeys(wrong), warnings


def _few(ids: Any) -> str:
    shown = ", ".join(str(one)[:12] for one in list(ids)[:5])
    return f"{shown} ..." if len(ids) > 5 else shown

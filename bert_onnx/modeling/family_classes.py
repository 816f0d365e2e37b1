"""The classes of every family beside BERT by the names that transformers has for them: thin names over the table.

`RobertaForMaskedLM` is `BertForMaskedLM` that takes configs of the model_type roberta only; what differs is in the
row (`bert_onnx.family`), and every class of `bert_onnx.modeling` reads it there.
"""

from __future__ import annotations

from typing import Any

from bert_onnx.family import FAMILIES, Family
from bert_onnx.modeling.classes import MODEL_CLASSES, model_class


def _named(name: str, family: Family, base: str) -> type[Any]:
    """The class `name`, for configs of `family` only."""
    doc = f"`{base}` for model_type {family.model_type!r}."
    members = {"model_type": family.model_type, "__module__": __name__, "__doc__": doc}
    return type(name, (model_class(base),), members)  # type: ignore[arg-type]


_CLASSES: dict[str, type[Any]] = {
    name: _named(name, family, base)
    for family in FAMILIES.values()
    for base, name in family.classes.items()
    if name not in MODEL_CLASSES
}


def __getattr__(name: str) -> Any:
    """The class of that name."""
    if name not in _CLASSES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _CLASSES[name]

"""Labels in files to classes of a model."""

from __future__ import annotations

from bert_onnx.config import BertConfig
from bert_onnx.errors import InputError


def label_index(label: str | float | int | None, config: BertConfig, where: str) -> int:
    """The class that `label` names: a name of the model's labels, or a number.

    Raises:
        InputError: the model has no such class.
    """
    for index, name in config.id2label.items():
        if label == name:
            return int(index)
    text = str(label)
    if text.isascii() and text.isdecimal() and int(text) < config.num_labels:
        return int(text)
    if isinstance(label, float) and label.is_integer() and 0 <= label < config.num_labels:
        return int(label)
    known = ", ".join(str(name) for name in list(config.id2label.values())[:10])
    raise InputError(
        f"{where}: the label {label!r} is none of the model's {config.num_labels} ({known}); "
        "use their names or their numbers from 0."
    )

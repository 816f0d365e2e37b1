"""What a folder has in the place of weights in safetensors, and how a user makes those of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

from bert_onnx.errors import CheckpointError

ADAPTER_CONFIG = "adapter_config.json"
_TRANSFORMERS = (
    'python -c "from transformers import AutoModelForPreTraining as M; '
    "M.from_pretrained('{folder}', {option}=True).save_pretrained('{folder}')\", with transformers 4 and {package}"
)
#: Names of files -> what they are, and the way on; the first row that matches counts.
_KINDS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), text)
    for pattern, text in (
        (r"tf_model\.h5|tf_model-.*\.h5", "TensorFlow's weights; convert them once: "
         + _TRANSFORMERS.replace("{option}", "from_tf").replace("{package}", "TensorFlow")),
        (r"flax_model.*\.msgpack", "Flax's weights; convert them once: "
         + _TRANSFORMERS.replace("{option}", "from_flax").replace("{package}", "Flax")),
        (r".*\.ckpt\.(index|meta|data-.*)", "a checkpoint of TensorFlow 1; convert it once: transformers-cli convert "
         "--model_type bert --tf_checkpoint PREFIX --config {folder}/config.json --pytorch_dump_output "
         "{folder}/pytorch_model.bin, with transformers 4 and TensorFlow, then bert-onnx convert-weights {folder}"),
        (r"model\.\w+\.safetensors", "a variant of the weights; to take it, name it model.safetensors"),
        (r".*\.onnx", "a graph; verify and optimise it with: bert-onnx optimize {folder}/{file}"),
        (r".*\.gguf", "weights of llama.cpp, which are not read; take the checkpoint that they were made of"),
        (r".*\.(pdparams|ot|mlmodel|npz|h5|msgpack|xml)", "of another program, which is not read; save the model with "
         "save_pretrained of transformers, or take its checkpoint in safetensors"),
    )
)  # fmt: skip
#: The task of an adapter -> the class of peft that opens it.
_PEFT_CLASSES = {
    "SEQ_CLS": "AutoPeftModelForSequenceClassification",
    "TOKEN_CLS": "AutoPeftModelForTokenClassification",
    "QUESTION_ANS": "AutoPeftModelForQuestionAnswering",
}


def described(names: Iterable[str], folder: str) -> str | None:
    """What one of the files `names` of `folder` is, and the way on; None where nothing is known of them."""
    for pattern, text in _KINDS:
        for name in sorted(names):
            if pattern.fullmatch(name):
                return f"{name} is {text.replace('{folder}', folder).replace('{file}', name)}"
    return None


def adapter(folder: str, settings: object) -> str:
    """What is said of a folder that holds an adapter and no model.

    Args:
        settings: its adapter_config.json.
    """
    stated = settings if isinstance(settings, dict) else {}
    model = str(stated.get("base_model_name_or_path") or "its base model")[:120]
    opener = _PEFT_CLASSES.get(str(stated.get("task_type")), "AutoPeftModelForFeatureExtraction")
    return (
        f"{folder} holds an adapter (PEFT) for {model}, not the model itself; merge them once and export what comes of "
        f"it: python -c \"from peft import {opener} as M; M.from_pretrained('{folder}').merge_and_unload()"
        ".save_pretrained('merged')\", with the tokenizer's files copied beside it."
    )


def refuse_adapter(folder: Path) -> None:
    """Raises CheckpointError where `folder` holds an adapter."""
    path = folder / ADAPTER_CONFIG
    if not path.is_file():
        return
    try:
        settings = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        settings = None
    raise CheckpointError(adapter(str(folder), settings))

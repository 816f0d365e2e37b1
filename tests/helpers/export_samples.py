"""Tiny checkpoints and exports of them."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import torch

import bert_onnx
from bert_onnx.config import BertConfig
from bert_onnx.tasks import TASKS, TaskOptions, find_task, input_ports, output_ports
from export.reference.load import Eager
from export.reference.module import GraphModule

#: Words of the tiny vocabulary; enough to write a sentence with.
WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "a", "cat", "dog", "sat", "ran", "on", "mat", ".", "##s")


def tiny_config(task: str = "feature-extraction", **changes: Any) -> BertConfig:
    """Two layers with weights large enough that a mistake shows."""
    values: dict[str, Any] = {
        "vocab_size": 40,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 48,
        "max_position_embeddings": 40,
        "initializer_range": 0.25,
        "is_decoder": find_task(task).decoder,
        "architectures": (find_task(task).model_class,),
    }
    if task in ("text-classification", "token-classification"):
        values["num_labels"] = 3
    if task == "text-ranking":
        values["num_labels"] = 1
    return BertConfig().replace(**values | changes)


def tiny_model(task: str, config: BertConfig, seed: int = 0) -> Any:
    """A random model whose biases are not zero, so that a lost bias shows."""
    torch.manual_seed(seed)
    model = getattr(bert_onnx, find_task(task).model_class)(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(0.0, 0.2)
    return model


def tiny_eager(task: str, options: TaskOptions | None = None, **changes: Any) -> Eager:
    """The model of a tiny config as a function of tensors."""
    row, config = find_task(task), tiny_config(task, **changes)
    options = options or TaskOptions(pooler=task == "feature-extraction")
    inputs, outputs = input_ports(row, config), output_ports(row, config, options)
    module = GraphModule(tiny_model(task, config), row, options, inputs, outputs).eval()
    return Eager(module, config, row, options, ())


def save_checkpoint(folder: Path, task: str, tokenizer: bool = True, **changes: Any) -> Path:
    """A tiny checkpoint folder of the class that serves `task`; of Stanford's ColBERT for late-interaction."""
    model = tiny_model(task, tiny_config(task, **changes))
    if task == "late-interaction":
        model.linear = torch.nn.Linear(model.config.hidden_size, 8, bias=False)
    model.save_pretrained(folder)
    if task == "late-interaction":
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        (folder / "config.json").write_text(json.dumps(config | {"architectures": ["HF_ColBERT"]}), encoding="utf-8")
        markers = {"query_token_id": "[UNK]", "doc_token_id": "[MASK]", "query_maxlen": 12, "doc_maxlen": 24}
        (folder / "artifact.metadata").write_text(json.dumps(markers), encoding="utf-8")
    if tokenizer:
        (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    return folder


ALL_TASKS = tuple(TASKS)


def write_texts(path: Path, count: int, seed: int) -> str:
    """Sentences of the tiny vocabulary, no two alike in two files of different seeds."""
    rng, words = random.Random(seed), [word for word in WORDS if word.isalpha()]
    texts = {" ".join(rng.choices(words, k=rng.randint(6, 24))) for _ in range(count)}
    path.write_text("\n".join(sorted(texts)) + "\n", encoding="utf-8")
    return str(path)

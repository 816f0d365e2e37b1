"""ColBERT checkpoints of PyLate and of Stanford's library, and PyLate's procedure spelled out on transformers."""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from safetensors.torch import load_file, save_file

_PLAIN = "hello world paris is big old the . , ##s a b c query : find river town ? ! ' - /"
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[unused0]", "[unused1]", *_PLAIN.split()]
QUERIES = ("hello world ?", "find paris [unused0] river", "the " * 60)
DOCUMENTS = ("paris is big . the old a b c", "the town , a river !", " hello ", "a . b " * 12, "[unused1] x hello")

_CONFIG: dict[str, Any] = {
    "vocab_size": len(WORDS), "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
    "intermediate_size": 64, "max_position_embeddings": 64, "initializer_range": 0.2,
}  # fmt: skip


def _write(path: Path, values: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values), encoding="utf-8")


def save_bert(folder: Path) -> Path:
    torch.manual_seed(0)
    transformers.BertModel(transformers.BertConfig(**_CONFIG), add_pooling_layer=False).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    _write(folder / "tokenizer_config.json", {"tokenizer_class": "BertTokenizer", "model_max_length": 64})
    return folder


def save_pylate(folder: Path, *layers: tuple[dict[str, Any], dict[str, torch.Tensor]], **settings: Any) -> Path:
    """A folder of PyLate with a Dense for each (config, weights); `settings` in config_sentence_transformers.json."""
    save_bert(folder)
    listed = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}]
    for place, (config, weights) in enumerate(layers, 1):
        name = f"{place}_Dense"
        listed.append({"idx": place, "name": str(place), "path": name, "type": "pylate.models.Dense.Dense"})
        _write(folder / name / "config.json", config)
        save_file(weights, folder / name / "model.safetensors", metadata={"format": "pt"})
    _write(folder / "modules.json", listed)
    _write(folder / "sentence_bert_config.json", {"max_seq_length": 31, "do_lower_case": False})
    _write(folder / "config_sentence_transformers.json", {"similarity_fn_name": "MaxSim", **settings})
    return folder


def dense(rows: int, columns: int, seed: int = 1, **config: Any) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Config and weights of one Dense of PyLate."""
    generator = torch.Generator().manual_seed(seed)
    stated = {
        "in_features": columns,
        "out_features": rows,
        "bias": False,
        "activation_function": "torch.nn.modules.linear.Identity",
        "use_residual": False,
        **config,
    }
    weights = {"linear.weight": torch.randn(rows, columns, generator=generator) * 0.3}
    if stated["bias"]:
        weights["linear.bias"] = torch.randn(rows, generator=generator)
    if stated["use_residual"] and rows != columns:
        weights["residual.weight"] = torch.randn(rows, columns, generator=generator) * 0.3
    return stated, weights


def save_stanford(folder: Path, **metadata: Any) -> Path:
    """A folder of Stanford's library, with its settings where there are any."""
    save_bert(folder)
    path = folder / "model.safetensors"
    tensors = {f"bert.{name}": tensor for name, tensor in load_file(path).items()}
    save_file({**tensors, **dense(12, 32)[1]}, path, metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    _write(folder / "config.json", {**config, "architectures": ["HF_ColBERT"]})
    if metadata:
        _write(folder / "artifact.metadata", metadata)
    return folder


class Reference:
    """What PyLate 1.6 computes (`pylate.models.ColBERT.tokenize` and `encode`), for one text at a time."""

    def __init__(self, folder: Path, query: str, document: str, lengths: tuple[int, int], **options: Any) -> None:
        self.model = transformers.BertModel.from_pretrained(folder, add_pooling_layer=False).eval()
        self.tokenizer = transformers.BertTokenizerFast.from_pretrained(folder)
        self.tokenizer.add_tokens([marker for marker in (query, document) if marker])
        self.markers, self.lengths = (query, document), lengths
        self.attend = options.get("attend", False)
        words = options.get("skip", list(string.punctuation))
        self.skipped = set(self.tokenizer.convert_tokens_to_ids(words))
        self.project = options["project"]

    def encode(self, text: str, is_query: bool) -> np.ndarray:
        marker, length = self.markers[not is_query], self.lengths[not is_query]
        encoded = self.tokenizer(text.strip(), truncation=True, max_length=length - bool(marker))
        ids, types = encoded["input_ids"], encoded["token_type_ids"]
        if marker:
            ids = [ids[0], self.tokenizer.convert_tokens_to_ids(marker), *ids[1:]]
            types = [0, *types]
        mask = [1] * len(ids)
        if is_query:
            missing = length - len(ids)
            ids, types = ids + [self.tokenizer.mask_token_id] * missing, types + [0] * missing
            mask += [int(self.attend)] * missing
        with torch.no_grad():
            states = self.model(*(torch.tensor([row]) for row in (ids, mask, types))).last_hidden_state[0]
            vectors = torch.nn.functional.normalize(self.project(states), dim=-1)
        kept = [place for place, token in enumerate(ids) if is_query or token not in self.skipped]
        return vectors[kept].numpy()

"""Writes modules.json and the folders of the modules, so that sentence-transformers opens what the graph has in it.

The artifact may not have the checkpoint's chain, but one that a user chose. So the files are written from the chain;
weights are copied.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bert_onnx.checkpoint.checkpoint import Checkpoint
from bert_onnx.checkpoint.reading import SINGLE_FILE, weight_files
from bert_onnx.checkpoint.sentence_files import read_json
from bert_onnx.errors import CheckpointError
from bert_onnx.sentence_modules import (
    POOLING_MODES,
    SENTENCE,
    TOKENS,
    Dense,
    LayerNorm,
    Module,
    Pooling,
    SpladePooling,
    is_sparse,
)

#: Packages of class names that every version of the library knows.
_PACKAGE, _SPARSE_PACKAGE = "sentence_transformers.models", "sentence_transformers.sparse_encoder.models"
#: Switches of a pooling config that every version of the library and its ports know, and those of later ones.
_SWITCHES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
}
_LATER_SWITCHES = {"pooling_mode_weightedmean_tokens": "weightedmean", "pooling_mode_lasttoken": "lasttoken"}


def write_sentence_modules(stage: Path, checkpoint: Checkpoint, modules: Sequence[Module]) -> None:
    """Write modules.json, the config of each of `modules` and its weights into `stage`."""
    sparse = is_sparse(modules)
    kinds = [("", "MLMTransformer" if sparse else "Transformer")]
    kinds += [(f"{place}_{type(module).__name__}", type(module).__name__) for place, module in enumerate(modules, 1)]
    listed = [
        {"idx": index, "name": str(index), "path": folder, "type": f"{_package(kind)}.{kind}"}
        for index, (folder, kind) in enumerate(kinds)
    ]
    write_json(stage / "modules.json", listed)
    width = checkpoint.config.vocab_size if sparse else checkpoint.config.hidden_size
    for module, (folder, _) in zip(modules, kinds[1:], strict=True):
        if isinstance(module, Dense) and module.writes == TOKENS:
            width = module.width
        config = _config(module, width)
        if config is not None:
            (stage / folder).mkdir()
            write_json(stage / folder / "config.json", config)
        if isinstance(module, (Dense, LayerNorm)) and checkpoint.source.kind != "random":
            _copy_weights(checkpoint.root / module.folder, stage / folder)


def write_model_type(path: Path, model_type: str) -> None:
    """State in `path`, config_sentence_transformers.json, which class of the library opens the folder as it is.

    Where it states so already nothing is written.
    """
    values = read_json(path) if path.is_file() else {"prompts": {}, "default_prompt_name": None}
    if values.get("model_type") != model_type:
        write_json(path, {**values, "model_type": model_type})


def _package(kind: str) -> str:
    return _SPARSE_PACKAGE if kind in ("MLMTransformer", "SpladePooling") else _PACKAGE


def _config(module: Module, width: int) -> dict[str, Any] | None:
    """The config.json of `module`; `width` is that of the token vectors."""
    if isinstance(module, Pooling):
        return _pooling_config(module, width)
    if isinstance(module, SpladePooling):
        config = {"pooling_strategy": module.strategy, "activation_function": module.activation}
        chunk = {} if module.chunk_size is None else {"chunk_size": module.chunk_size}
        return {**config, "word_embedding_dimension": width, **chunk}
    if isinstance(module, LayerNorm):
        return {"dimension": module.dimension}
    if not isinstance(module, Dense):
        return None
    package = "torch.nn.modules.linear" if module.activation == "Identity" else "torch.nn.modules.activation"
    dense: dict[str, Any] = {
        "in_features": module.in_features,
        "out_features": module.out_features,
        "bias": module.bias,
        "activation_function": f"{package}.{module.activation}",
    }
    if (module.reads, module.writes) != (SENTENCE, SENTENCE):
        dense |= {"module_input_name": module.reads, "module_output_name": module.writes}
    return dense


def _pooling_config(module: Pooling, width: int) -> dict[str, Any]:
    """By switches, which all tools read, where they can say it: they have an order of their own, and each mode once."""
    config: dict[str, Any] = {"word_embedding_dimension": width}
    if list(module.modes) == [mode for mode in POOLING_MODES if mode in module.modes]:
        later = {switch: mode for switch, mode in _LATER_SWITCHES.items() if mode in module.modes}
        config |= {switch: mode in module.modes for switch, mode in {**_SWITCHES, **later}.items()}
    else:
        config["pooling_mode"] = list(module.modes)
    return config if module.include_prompt else {**config, "include_prompt": False}


def _copy_weights(source: Path, target: Path) -> None:
    (path, *shards) = weight_files(source)
    if shards or path.name != SINGLE_FILE:
        raise CheckpointError(f"{source} has its weights in shards, which sentence-transformers does not read.")
    shutil.copyfile(path, target / SINGLE_FILE)


def write_json(path: Path, values: Any) -> None:
    """Write `values` as the files of the library are written."""
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")

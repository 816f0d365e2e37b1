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
from bert_onnx.errors import CheckpointError
from bert_onnx.sentence_modules import POOLING_MODES, SENTENCE, TOKENS, Dense, LayerNorm, Module, Pooling

#: Class names that every version of the library knows.
_PACKAGE = "sentence_transformers.models"
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
    kinds = [("", "Transformer")]
    kinds += [(f"{place}_{type(module).__name__}", type(module).__name__) for place, module in enumerate(modules, 1)]
    listed = [
        {"idx": index, "name": str(index), "path": folder, "type": f"{_PACKAGE}.{kind}"}
        for index, (folder, kind) in enumerate(kinds)
    ]
    _write(stage / "modules.json", listed)
    width = checkpoint.config.hidden_size
    for module, (folder, _) in zip(modules, kinds[1:], strict=True):
        if isinstance(module, Dense) and module.writes == TOKENS:
            width = module.width
        config = _config(module, width)
        if config is not None:
            (stage / folder).mkdir()
            _write(stage / folder / "config.json", config)
        if isinstance(module, (Dense, LayerNorm)) and checkpoint.source.kind != "random":
            _copy_weights(checkpoint.root / module.folder, stage / folder)


def _config(module: Module, width: int) -> dict[str, Any] | None:
    """The config.json of `module`; `width` is that of the token vectors."""
    if isinstance(module, Pooling):
        return _pooling_config(module, width)
    if isinstance(module, LayerNorm):
        return {"dimension": module.dimension}
    if not isinstance(module, Dense):
        return None
    package = "torch.nn.modules.linear" if module.activation == "Identity" else "torch.nn.modules.activation"
    config: dict[str, Any] = {
        "in_features": module.in_features,
        "out_features": module.out_features,
        "bias": module.bias,
        "activation_function": f"{package}.{module.activation}",
    }
    if (module.reads, module.writes) != (SENTENCE, SENTENCE):
        config |= {"module_input_name": module.reads, "module_output_name": module.writes}
    return config


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


def _write(path: Path, values: Any) -> None:
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")

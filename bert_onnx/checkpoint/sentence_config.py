"""The chain of modules that a sentence-transformers folder states.

Class names are those of any version of the library: `sentence_transformers.models.Pooling` as well as
`sentence_transformers.sentence_transformer.modules.pooling.Pooling`; the last part counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bert_onnx.checkpoint.checkpoint import Checkpoint
from bert_onnx.checkpoint.late_interaction import (
    is_late_interaction,
    is_stanford,
    read_projections,
    stanford_projection,
)
from bert_onnx.checkpoint.sentence_files import (
    MODULES_FILE,
    TRANSFORMERS,
    WAY_OUT,
    ModuleEntry,
    module_entries,
    read_json,
    read_size,
    refuse_others,
    torch_activation,
)
from bert_onnx.checkpoint.transformer_config import check_output, read_transformer_config
from bert_onnx.errors import CheckpointError, UsageError
from bert_onnx.sentence_modules import (
    ACTIVATIONS,
    SENTENCE,
    Dense,
    LayerNorm,
    Module,
    Normalize,
    Pooling,
    SpladePooling,
    embedding_width,
    is_sparse,
)

#: Switches of an old pooling config -> mode; the library joins those that are on in this order.
_POOLING_SWITCHES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
#: What the library takes for an activation that it does not trust, or that nobody named.
_DEFAULT_ACTIVATION = "Tanh"


def read_modules(checkpoint: Checkpoint) -> tuple[Module, ...] | None:
    """What modules.json puts behind the transformer; None where there is no such file, or nothing stands there.

    Of a late-interaction model, whose projection may have no modules.json, its projections and scaling.

    Raises:
        CheckpointError: one of the files is damaged, or states something that bert-onnx does not compute.
    """
    if is_stanford(checkpoint):
        return stanford_projection(checkpoint)
    entries = module_entries(checkpoint.root)
    if entries is None:
        return None
    path = checkpoint.root / MODULES_FILE
    refuse_others(path, entries)
    if entries[0].kind not in TRANSFORMERS:
        raise CheckpointError(f"{path} begins with {entries[0].kind}, not with a Transformer; {WAY_OUT}.")
    check_output(checkpoint)
    if is_late_interaction(checkpoint, entries):
        return _fitting(path, read_projections(checkpoint, entries), checkpoint.config.hidden_size)
    modules: list[Module] = []
    for entry in entries[1:]:
        if entry.kind == "Dropout":  # does nothing at inference
            continue
        if entry.kind not in _READERS:
            raise CheckpointError(
                f"{path} has the module {entry.kind}, and bert-onnx computes {', '.join(_READERS)} behind a "
                f"Transformer; {WAY_OUT}."
            )
        modules.append(_read_module(checkpoint.root, entry))
    if not modules:
        return None
    sparse = is_sparse(modules)
    if sparse != _gives_logits(checkpoint, entries[0]):
        reads, gives = ("logits", "hidden states") if sparse else ("hidden states", "logits")
        raise CheckpointError(f"{path}: its pooling is made for {reads}, and its transformer gives {gives}; {WAY_OUT}.")
    return _fitting(path, modules, checkpoint.config.vocab_size if sparse else checkpoint.config.hidden_size)


def _fitting(path: Path, modules: Sequence[Module], token_width: int) -> tuple[Module, ...]:
    """`modules`, if each reads what one before it wrote."""
    try:
        embedding_width(modules, token_width)
    except UsageError as error:
        raise CheckpointError(f"{path}: {str(error).rstrip('.')}; {WAY_OUT}.") from None
    return tuple(modules)


def _gives_logits(checkpoint: Checkpoint, transformer: ModuleEntry) -> bool:
    stated = read_transformer_config(checkpoint).transformer_task
    return (stated or ("fill-mask" if transformer.kind == "MLMTransformer" else None)) == "fill-mask"


def _read_module(root: Path, entry: ModuleEntry) -> Module:
    path = root / entry.folder / "config.json"
    if entry.kind == "Normalize":
        return Normalize()
    values = read_json(path)
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} is not a JSON object; {WAY_OUT}.")
    try:
        return _READERS[entry.kind](values, entry.folder)
    except (UsageError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path}: {str(error).rstrip('.')}; {WAY_OUT}.") from None


def _pooling(values: Mapping[str, Any], folder: str) -> Pooling:
    stated = values.get("pooling_mode")
    if stated is None:
        stated = [mode for switch, mode in _POOLING_SWITCHES.items() if values.get(switch)] or ["mean"]
    modes = [stated] if isinstance(stated, str) else stated
    if not isinstance(modes, list) or not all(isinstance(mode, str) for mode in modes):
        raise ValueError(f"pooling_mode is {str(stated)[:80]}, neither a name nor a list of names")
    return Pooling(tuple(modes), bool(values.get("include_prompt", True)))


def _splade_pooling(values: Mapping[str, Any], folder: str) -> SpladePooling:
    stated = {"strategy": "pooling_strategy", "activation": "activation_function", "chunk_size": "chunk_size"}
    chosen = {field: values[key] for field, key in stated.items() if key in values}
    chunk = chosen.get("chunk_size")
    if chunk is not None and not isinstance(chunk, int):
        raise ValueError(f"chunk_size is {str(chunk)[:80]}, not a number of tokens")
    return SpladePooling(**chosen)


def _dense(values: Mapping[str, Any], folder: str) -> Dense:
    reads = values.get("module_input_name") or SENTENCE
    writes = values.get("module_output_name") or reads
    if not isinstance(reads, str) or not isinstance(writes, str):
        raise ValueError("module_input_name and module_output_name must be names")
    sizes = read_size(values, "in_features"), read_size(values, "out_features")
    stated = values.get("activation_function", f"torch.nn.{_DEFAULT_ACTIVATION}")
    activation = read_activation(stated, "activation_function", _DEFAULT_ACTIVATION)
    return Dense(folder, *sizes, bool(values.get("bias", True)), activation, reads, writes)


def _layer_norm(values: Mapping[str, Any], folder: str) -> LayerNorm:
    return LayerNorm(folder, read_size(values, "dimension"))


def read_activation(path: Any, key: str, default: str, known: Sequence[str] = ACTIVATIONS) -> str:
    """The class of torch.nn that the `path` of an activation ends with; `default` for code that the library does not
    trust.

    Args:
        path: what a config has for `key`.
        known: the classes that may be named.

    Raises:
        ValueError: not a path, or one of torch that is no activation among `known`.
    """
    if not isinstance(path, str):
        raise ValueError(f"{key} is {str(path)[:80]}, not the path of a class")
    return torch_activation(path, key, known) if path.startswith("torch.") else default


_READERS: dict[str, Callable[[Mapping[str, Any], str], Module]] = {
    "Pooling": _pooling,
    "SpladePooling": _splade_pooling,
    "Dense": _dense,
    "LayerNorm": _layer_norm,
    "Normalize": lambda values, folder: Normalize(),
}

"""Which tensor of a checkpoint goes into which parameter of a model; everything that does not fit is named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bert_onnx.checkpoint.header import TensorInfo
from bert_onnx.checkpoint.names import (
    CLASSIFIER_HEAD,
    CLASSIFIERS,
    WORD_EMBEDDING,
    canonical,
    changes_layers,
    find_holder,
    is_buffer,
    is_head,
    left_behind,
    listed,
    way_on,
)
from bert_onnx.errors import CheckpointError
from bert_onnx.family import Family, canonical_class

if TYPE_CHECKING:
    from bert_onnx.checkpoint.checkpoint import Checkpoint
    from bert_onnx.config import BertConfig

#: Ends of names of tables -> what the table is, what its rows are, and the field that counts them.
_COUNTED: dict[str, tuple[str, str, str]] = {
    WORD_EMBEDDING: ("embedding", "tokens", "vocab_size"),
    "embeddings.position_embeddings.weight": ("table of positions", "positions", "max_position_embeddings"),
    "embeddings.token_type_embeddings.weight": ("table of token types", "token types", "type_vocab_size"),
    "embeddings.task_type_embeddings.weight": ("table of tasks", "tasks", "task_type_vocab_size"),
}

#: dtypes that a parameter can be read from.
FLOAT_DTYPES = ("F32", "F16", "BF16", "F64")


@dataclass(frozen=True)
class Slot:
    """One parameter of a model.

    Args:
        names: its state-dict names, several where it is tied; the one whose tensor decides comes first.
        shape: its sizes.
    """

    names: tuple[str, ...]
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """What to read, and what was left out.

    Args:
        reads: parameters and the tensors that fill them.
        compared: (tensor left out, tensor read instead), for parameters that the checkpoint holds twice.
        new: parameters of heads that the checkpoint lacks.
        unused: tensors of heads that the model lacks.
        ignored: constants that old checkpoints store as tensors.
        left_behind: tensors of a training loop or of heads that no BERT has.
    """

    reads: tuple[tuple[Slot, TensorInfo], ...]
    compared: tuple[tuple[TensorInfo, TensorInfo], ...]
    new: tuple[Slot, ...]
    unused: tuple[str, ...]
    ignored: tuple[str, ...]
    left_behind: tuple[str, ...]


def make_plan(
    model_class: str,
    slots: Sequence[Slot],
    tensors: Mapping[str, TensorInfo],
    checkpoint: Checkpoint,
    allow_new_heads: bool,
) -> Plan:
    """Match `tensors` with the parameters `slots` of a `model_class`.

    Raises:
        CheckpointError: naming what is missing, unexpected, misshapen or not of a floating-point type.
    """
    family = checkpoint.config.family
    found = _by_canonical_name(tensors, checkpoint)
    other_head = _other_classifier(model_class, checkpoint.config.architectures)
    usable = {name: tensor for name, tensor in found.items() if not (other_head and name.startswith(CLASSIFIER_HEAD))}
    reads: list[tuple[Slot, TensorInfo]] = []
    compared: list[tuple[TensorInfo, TensorInfo]] = []
    missing: list[Slot] = []
    for slot in slots:
        names = slot_names(slot, family)
        held = [usable[name] for name in names if name in usable]
        if not held or (allow_new_heads and is_head(names[0], family) and held[0].shape != slot.shape):
            missing.append(slot)
            continue
        for tensor in held:
            _check_fit(slot, tensor, checkpoint)
        reads.append((slot, held[0]))
        compared.extend((tensor, held[0]) for tensor in held[1:])
    taken = {name for slot, _ in reads for name in slot_names(slot, family)}
    left_over = _left_over(found, taken, checkpoint)
    _check_missing(model_class, missing, checkpoint, allow_new_heads)
    return Plan(tuple(reads), tuple(compared), tuple(missing), *left_over)


def slot_names(slot: Slot, family: Family) -> tuple[str, ...]:
    """The canonical names of a parameter, each once."""
    return tuple(dict.fromkeys(canonical(family.tensor_name(name), family) for name in slot.names))


def _by_canonical_name(tensors: Mapping[str, TensorInfo], checkpoint: Checkpoint) -> dict[str, TensorInfo]:
    found: dict[str, TensorInfo] = {}
    family = checkpoint.config.family
    holder = find_holder(tensors, family)
    for name, tensor in tensors.items():
        key = canonical(name, family, holder)
        if key in found:
            raise CheckpointError(
                f"{checkpoint.folder} holds the same tensor under two names, {found[key].name!r} and {name!r}."
            )
        found[key] = tensor
    return found


def _other_classifier(model_class: str, architectures: Sequence[str]) -> bool:
    """Whether the tensors `classifier.*` were trained for another of the heads that share this name."""
    trained_for = [name for name in map(canonical_class, architectures) if name in CLASSIFIERS]
    return model_class in CLASSIFIERS and bool(trained_for) and model_class not in trained_for


def _check_fit(slot: Slot, tensor: TensorInfo, checkpoint: Checkpoint) -> None:
    """Shape and kind of dtype."""
    if tensor.shape != slot.shape:
        raise CheckpointError(
            f"tensor {tensor.name!r} of {checkpoint.folder} has the shape {list(tensor.shape)}, but the model needs "
            f"{list(slot.shape)}{_contradiction(slot, tensor, checkpoint.config)}."
        )
    if tensor.dtype not in FLOAT_DTYPES:
        raise CheckpointError(
            f"tensor {tensor.name!r} of {checkpoint.folder} is of type {tensor.dtype}; weights are read from "
            f"{', '.join(FLOAT_DTYPES)} only; save the model dequantised (transformers: model.dequantize())."
        )


def _contradiction(slot: Slot, tensor: TensorInfo, config: BertConfig) -> str:
    """What config.json says that the rows of a table do not bear out, or what to do about a head."""
    name = slot_names(slot, config.family)[0]
    if 0 in tensor.shape:
        return (
            ": it is empty, as training programs save a model that they have split (DeepSpeed ZeRO-3); gather the "
            "weights first, as by zero_to_fp32.py of its checkpoint"
        )
    if is_head(name, config.family):
        return "; check num_labels or id2label in config.json, or start with an untrained head by --new-head"
    found = next((row for ending, row in _COUNTED.items() if name.endswith(config.family.tensor_name(ending))), None)
    if found is None or tensor.shape[1:] != slot.shape[1:]:
        return " by config.json, so that config and weights do not belong together"
    table, rows, field = found
    counted = ""
    if field == "max_position_embeddings" and config.first_position:
        counted = f" (positions count from pad_token_id + 1 = {config.first_position})"
    return (
        f": the {table} holds {tensor.shape[0]} {rows} and config.json says {field} {slot.shape[0]}{counted}, so that "
        "config and weights do not belong together"
    )


def _left_over(
    found: Mapping[str, TensorInfo], taken: set[str], checkpoint: Checkpoint
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Names in the file of (tensors of other heads, constants, what training left).

    Raises:
        CheckpointError: for any other tensor.
    """
    unused: list[str] = []
    ignored: list[str] = []
    training: list[str] = []
    unknown: dict[str, str] = {}
    family = checkpoint.config.family
    for key, tensor in found.items():
        if key in taken:
            continue
        if is_buffer(key, family):
            ignored.append(tensor.name)
        elif left_behind(key) and not is_head(key, family):
            training.append(tensor.name)
        elif is_head(key, family) and not changes_layers(key):
            unused.append(tensor.name)
        else:
            unknown[key] = tensor.name
    if unknown:
        raise CheckpointError(
            f"{checkpoint.folder} holds {len(unknown)} tensor(s) that a BERT of this config.json does not have: "
            f"{listed(sorted(unknown.values()))}; {way_on(unknown, family, checkpoint.config.num_hidden_layers)}."
        )
    return tuple(sorted(unused)), tuple(sorted(ignored)), tuple(sorted(training))


def _check_missing(model_class: str, missing: Sequence[Slot], checkpoint: Checkpoint, allow_new_heads: bool) -> None:
    """The encoder must be complete; heads too, unless new ones are allowed."""
    family = checkpoint.config.family
    encoder = dict.fromkeys(
        family.stack_of(family.tensor_name(slot.names[0]))
        for slot in missing
        if not is_head(slot_names(slot, family)[0], family)
    )
    if encoder:
        raise CheckpointError(
            f"{checkpoint.folder} lacks {len(encoder)} tensor(s) that its config.json calls for: {listed(encoder)}; "
            "fetch or save it again if it is incomplete, or else the config that belongs to it."
        )
    if missing and not allow_new_heads:
        head = listed(family.tensor_name(slot.names[0]) for slot in missing)
        raise CheckpointError(
            f"{checkpoint.folder} has no trained weights for the head of {model_class}: {head}; choose the task that "
            "it was trained for, or start with an untrained head by --new-head (in Python allow_new_heads=True)."
        )

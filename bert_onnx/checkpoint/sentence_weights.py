"""Weights of the modules behind a transformer: each lies in a folder of its own, named as torch names it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bert_onnx.checkpoint.checkpoint import Checkpoint
from bert_onnx.checkpoint.header import TensorInfo
from bert_onnx.checkpoint.late_interaction import STANFORD_WEIGHT
from bert_onnx.checkpoint.names import listed
from bert_onnx.checkpoint.planning import FLOAT_DTYPES, Slot
from bert_onnx.checkpoint.reading import SINGLE_FILE, read_tensors
from bert_onnx.checkpoint.sentence_files import TRANSFORMERS, module_entries
from bert_onnx.errors import CheckpointError
from bert_onnx.sentence_modules import Dense, LayerNorm, Module, Projection

if TYPE_CHECKING:
    from torch import nn

    from bert_onnx.modeling.sentence_chain import SentenceChain

#: Kinds of modules that have weights in a folder of their own; old checkpoints put the transformer into one, too.
_WEIGHTED = (*TRANSFORMERS, "Dense", "LayerNorm")


def module_weight_folders(root: Path) -> tuple[Path, ...]:
    """The folders of the modules with weights that modules.json names, in order; none where it cannot be read."""
    try:
        entries = module_entries(root) or ()
    except CheckpointError:  # reported where the modules are used, if they are
        return ()
    return tuple(root / entry.folder for entry in entries if entry.kind in _WEIGHTED and entry.folder)


def module_weight_files(root: Path, transformer: Path) -> tuple[Path, ...]:
    """The weights in safetensors of the modules behind the one in the folder `transformer`."""
    folders = [folder for folder in module_weight_folders(root) if folder != transformer]
    return tuple(folder / SINGLE_FILE for folder in folders if (folder / SINGLE_FILE).is_file())


def load_module_weights(chain: SentenceChain, checkpoint: Checkpoint) -> None:
    """Read the weights of every module of `chain` that has some.

    Raises:
        CheckpointError: weights that are missing, unexpected, misshapen, damaged, or in a pickle format only.
    """
    for module, layer in zip(chain.chain, chain.layers, strict=True):
        if isinstance(module, Projection) and not module.folder:
            tensors = read_tensors(checkpoint.folder)
            _load(layer, checkpoint.folder, {name: tensors[name] for name in tensors if name == STANFORD_WEIGHT})
        elif isinstance(module, (Dense, LayerNorm, Projection)):
            folder = checkpoint.root / module.folder
            _load(layer, folder, read_tensors(folder))


def elsewhere(modules: Sequence[Module]) -> tuple[str, ...]:
    """Names of tensors among those of the transformer that `modules` read."""
    return tuple(STANFORD_WEIGHT for module in modules if isinstance(module, Projection) and not module.folder)


def _load(layer: nn.Module, folder: Path, tensors: Mapping[str, TensorInfo]) -> None:
    from bert_onnx.checkpoint.filling import fill

    slots = {name: Slot((name,), tuple(parameter.shape)) for name, parameter in layer.named_parameters()}
    if slots.keys() != tensors.keys():
        parts = [f"lacks {listed(sorted(slots.keys() - tensors.keys()))}"] if slots.keys() - tensors.keys() else []
        parts += [f"holds {listed(sorted(tensors.keys() - slots.keys()))}"] if tensors.keys() - slots.keys() else []
        raise CheckpointError(f"{folder} does not fit its config.json: it {' and '.join(parts)}.")
    for name, slot in slots.items():
        tensor = tensors[name]
        if tensor.shape != slot.shape or tensor.dtype not in FLOAT_DTYPES:
            raise CheckpointError(
                f"tensor {name!r} of {tensor.file} is {tensor.dtype} {list(tensor.shape)}, and config.json beside it "
                f"makes it floating-point {list(slot.shape)}."
            )
    fill(layer, [(slot, tensors[name]) for name, slot in slots.items()], mapped=False)

"""Weights from safetensors into a model, in place: each tensor is read from the file into its parameter, once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bert_onnx.checkpoint.names import listed
from bert_onnx.checkpoint.planning import Slot, make_plan
from bert_onnx.checkpoint.reading import read_tensors
from bert_onnx.checkpoint.stacks import parts_of_stacks
from bert_onnx.errors import CheckpointError
from bert_onnx.family import canonical_class

if TYPE_CHECKING:
    import torch

    from bert_onnx.checkpoint.checkpoint import Checkpoint


@dataclass(frozen=True)
class LoadReport:
    """What `load_weights` did.

    Args:
        newly_initialised: parameters of a head that the checkpoint lacks; they hold their initial, untrained values.
        unused: tensors of the checkpoint that belong to heads the model does not have.
        ignored: constants that old checkpoints store as tensors.
        overruled: tensors that the checkpoint holds with other values than the parameter they are tied to,
            whose values won.
        left_behind: tensors of a training loop or of heads that no BERT has; nothing here computes with them.
    """

    newly_initialised: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    overruled: tuple[str, ...] = ()
    left_behind: tuple[str, ...] = ()

    def messages(self) -> tuple[str, ...]:
        """One sentence for each thing that a user should know; untrained parameters first."""
        rows = (
            ("NOT TRAINED, so that outputs mean nothing before training", self.newly_initialised),
            ("left out since they are tied to another tensor, whose values differ", self.overruled),
            ("left out since this model has no such head", self.unused),
            ("left out as what training left behind, with which BERT does not compute", self.left_behind),
        )
        return tuple(f"{text}: {listed(names)}." for text, names in rows if names)


def load_weights(
    model: torch.nn.Module,
    checkpoint: Checkpoint,
    *,
    allow_new_heads: bool = False,
    strict: bool = False,
    elsewhere: Sequence[str] = (),
    mapped: bool = False,
) -> LoadReport:
    """Read the weights of `checkpoint` into the parameters of `model`, converting dtypes tensor by tensor.

    Every name and shape is settled before any data is read. Parameters on the meta device get memory
    first; all others are filled where they are.

    Args:
        model: a class of `bert_onnx.modeling`; its parameters are named as in transformers.
        checkpoint: from `find_checkpoint`.
        allow_new_heads: leave a head that the checkpoint lacks, or has in another shape, as it is in `model`; the
            caller sees to it that it is initialised, and not on the meta device.
        strict: refuse what a training loop left behind in the file, rather than leave it out.
        elsewhere: tensors that modules behind `model` read.
        mapped: let parameters lie in the files where dtype and shape are the same, so that processes share them.
            Writing to one changes no file; the files must stay as they are while `model` is used.

    Raises:
        CheckpointError: a tensor is missing, unexpected, misshapen, non-finite or damaged; it is named.
    """
    from bert_onnx.checkpoint.filling import fill, same_values

    if checkpoint.source.kind == "random":
        raise CheckpointError(
            f"{checkpoint.source.model} was asked for with random weights (seed {checkpoint.source.seed}); it has no "
            "weights to load."
        )
    held = {name: tensor for name, tensor in read_tensors(checkpoint.folder).items() if name not in elsewhere}
    tensors = parts_of_stacks(held, checkpoint.config.family)
    plan = make_plan(canonical_class(type(model).__name__), model_slots(model), tensors, checkpoint, allow_new_heads)
    if strict and plan.left_behind:
        raise CheckpointError(
            f"{checkpoint.folder} holds {len(plan.left_behind)} tensor(s) with which BERT does not compute: "
            f"{listed(plan.left_behind)}; without strict they are left out, with a note."
        )
    fill(model, plan.reads, mapped)
    overruled = tuple(loser.name for loser, winner in plan.compared if not same_values(loser, winner))
    new = tuple(name for slot in plan.new for name in slot.names[:1])
    return LoadReport(new, plan.unused, plan.ignored, overruled, plan.left_behind)


def model_slots(model: torch.nn.Module) -> tuple[Slot, ...]:
    """The parameters of `model`, each once, with all its names; the name that decides comes first."""
    tied = set(getattr(model, "tied_weights_keys", None) or ())
    names: dict[int, list[str]] = {}
    shapes: dict[int, tuple[int, ...]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
        shapes[id(parameter)] = tuple(parameter.shape)
    return tuple(Slot(tuple(sorted(names[key], key=lambda name: name in tied)), shapes[key]) for key in names)

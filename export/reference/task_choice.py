"""Which task a checkpoint is exported for, and what its graphs return."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from bert_onnx.checkpoint import Checkpoint, read_modules, tensor_names
from bert_onnx.checkpoint.cross_encoder import check_modules, has_modules, is_cross_encoder, read_activation_fn
from bert_onnx.checkpoint.head_class import class_of_heads
from bert_onnx.checkpoint.names import POOLER_WEIGHT, canonical_names
from bert_onnx.errors import CheckpointError, UsageError
from bert_onnx.family import canonical_class
from bert_onnx.postprocess import postprocess_of
from bert_onnx.sentence_modules import Module, Normalize, SpladePooling, is_sparse, keeps_tokens, pooled
from bert_onnx.tasks import TASK_OF_ARCHITECTURE, TASKS, Task, TaskOptions, check_family, find_task, infer_task
from export.request import AUTO, ExportRequest

logger = logging.getLogger(__name__)

_SENTENCES, _SPARSE, _LATE = "sentence-similarity", "sparse-embedding", "late-interaction"
_CLASSES, _RANKING = "text-classification", "text-ranking"


def choose_task(request: ExportRequest, checkpoint: Checkpoint) -> tuple[Task, TaskOptions]:
    """The task and its options: what was asked for, else what the checkpoint says, else mean and normalised.

    A classifier with one label ranks, unless it says that it predicts numbers (its problem_type is regression) and
    nothing says that it is a cross-encoder: each then gives the scores of the library that it comes from.

    Raises:
        UsageError: `auto` cannot tell, the family has no model for the task, or the task has no postprocess outputs
            and they were asked for.
        CheckpointError: the checkpoint's modules are damaged, or some that we do not compute.
    """
    ranks_by_modules = has_modules(checkpoint)
    if ranks_by_modules and request.task == AUTO:
        check_modules(checkpoint)
    chained = request.task in (AUTO, *_MODULES) and not ranks_by_modules
    stated = _stated_modules(request, checkpoint) if chained else None
    if request.task != AUTO:
        task = find_task(request.task)
    elif stated and request.pooling is None:
        task = TASKS[_task_of(stated)]
    else:
        task = TASKS[_SENTENCES] if stated else _infer_task(checkpoint, request.pooling is not None)
    check_family(task, checkpoint.config)
    activation_fn = read_activation_fn(checkpoint) if task.name == _RANKING else None
    if request.postprocess:
        postprocess_of(task.name, checkpoint.config, activation_fn)
    return task, TaskOptions(
        modules=_MODULES[task.name](request, stated) if task.name in _MODULES else (),
        pooler=task.name == "feature-extraction" and _has_pooler(checkpoint),
        output_attentions=request.output_attentions,
        output_hidden_states=request.output_hidden_states,
        postprocess=request.postprocess,
        activation_fn=activation_fn,
    )


def _infer_task(checkpoint: Checkpoint, pooled: bool) -> Task:
    """The task of the class that config.json names; where it names none that is known, of the heads in the weights."""
    config = checkpoint.config
    known = any(canonical_class(name) in TASK_OF_ARCHITECTURE for name in config.architectures)
    found = None if known else class_of_heads(checkpoint)
    task = infer_task(config if known else config.replace(architectures=(found or "BertModel",)), pooled)
    if task.name == _CLASSES and _ranks(checkpoint):
        task = TASKS[_RANKING]
    if not known:
        named = ", ".join(config.architectures) or "no class"
        fits = f"the weights fit {found}" if found else "the weights have heads of several classes"
        logger.warning("config.json names %s and %s: the task is %s. --task chooses another.", named, fits, task.name)
    return task


def _ranks(checkpoint: Checkpoint) -> bool:
    """Whether the classifier of `checkpoint` has one label that is a score to rank by."""
    config = checkpoint.config
    return config.num_labels == 1 and (config.problem_type != "regression" or is_cross_encoder(checkpoint))


def _task_of(modules: Sequence[Module]) -> str:
    if keeps_tokens(modules):
        return _LATE
    return _SPARSE if is_sparse(modules) else _SENTENCES


def _stated_modules(request: ExportRequest, checkpoint: Checkpoint) -> tuple[Module, ...] | None:
    """What the checkpoint says of its modules; one that we do not compute matters only if it is to be used."""
    try:
        return read_modules(checkpoint)
    except CheckpointError:
        if request.pooling is None:
            raise
        return None


def _sentence_modules(request: ExportRequest, stated: tuple[Module, ...] | None) -> tuple[Module, ...]:
    """What was asked for, else what the checkpoint says, else mean and normalised."""
    if request.pooling == "none":
        return ()
    if request.pooling is None and stated and _task_of(stated) != _SENTENCES:
        raise UsageError(f"the checkpoint is for {_task_of(stated)}; leave --task out, or choose a --pooling, too.")
    modules = (stated or pooled("mean")) if request.pooling is None else _repooled(request.pooling, stated)
    if request.normalize is None or (bool(modules) and isinstance(modules[-1], Normalize) is request.normalize):
        return modules
    return (*modules, Normalize()) if request.normalize else modules[:-1]


def _repooled(pooling: str, stated: tuple[Module, ...] | None) -> tuple[Module, ...]:
    """The chain that --pooling names: a pooling and, where the checkpoint ends so or says nothing, normalising."""
    return pooled(pooling, normalize=stated is None or isinstance(stated[-1], Normalize))


def _sparse_modules(request: ExportRequest, stated: tuple[Module, ...] | None) -> tuple[Module, ...]:
    """What the checkpoint says, else what SparseEncoder makes of a masked language model."""
    _check_as_stated(request, _SPARSE)
    return stated if stated and is_sparse(stated) else (SpladePooling(),)


def _token_modules(request: ExportRequest, stated: tuple[Module, ...] | None) -> tuple[Module, ...]:
    """What the checkpoint says."""
    _check_as_stated(request, _LATE)
    if not stated or not keeps_tokens(stated):
        raise UsageError(
            "the checkpoint has no trained projection of its tokens, as PyLate and Stanford's ColBERT save it; "
            "choose the task that it was trained for."
        )
    return stated


def _check_as_stated(request: ExportRequest, task: str) -> None:
    if request.normalize is not None:
        raise UsageError(f"--normalize and --no-normalize have no meaning for {task}; leave them out.")


_MODULES = {_SENTENCES: _sentence_modules, _SPARSE: _sparse_modules, _LATE: _token_modules}


def _has_pooler(checkpoint: Checkpoint) -> bool:
    """Whether the checkpoint has a trained pooler; a random model has one where its family does."""
    if checkpoint.source.kind == "random":
        return checkpoint.config.family.pooler
    family = checkpoint.config.family
    return family.tensor_name(POOLER_WEIGHT) in canonical_names(tensor_names(checkpoint), family)

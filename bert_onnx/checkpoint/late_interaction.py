"""ColBERT checkpoints, of PyLate and of Stanford's library: where each has its projection and its settings.

PyLate saves a folder of sentence-transformers: Transformer, one Dense or several on token vectors, and its settings in
config_sentence_transformers.json. Stanford's library saves one file of weights, in which `linear.weight` is the
projection, under the architecture HF_ColBERT, and its settings in `artifact.metadata`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bert_onnx.checkpoint.checkpoint import Checkpoint
from bert_onnx.checkpoint.names import STANFORD_FILE
from bert_onnx.checkpoint.reading import read_tensors
from bert_onnx.checkpoint.sentence_files import (
    MAX_SIM,
    MODULES_FILE,
    SETTINGS_FILE,
    ModuleEntry,
    read_json,
    read_size,
    torch_activation,
)
from bert_onnx.errors import CheckpointError, UsageError
from bert_onnx.late_interaction import LateInteraction
from bert_onnx.sentence_modules import Module, NormalizeTokens, Projection

#: What the weights of Stanford's projection are called; they lie among those of the transformer.
STANFORD_WEIGHT = "linear.weight"
_STANFORD_CLASS = "HF_ColBERT"
#: Names in artifact.metadata -> PyLate's.
_STANFORD_NAMES = {
    "query_token_id": "query_prefix",
    "doc_token_id": "document_prefix",
    "query_maxlen": "query_length",
    "doc_maxlen": "document_length",
    "attend_to_mask_tokens": "attend_to_expansion_tokens",
}
_STANFORD_MARKERS = {"query_prefix": "[unused0]", "document_prefix": "[unused1]"}
_TYPE = "ColBERT"


def is_stanford(checkpoint: Checkpoint) -> bool:
    """Whether Stanford's library has saved `checkpoint`."""
    return checkpoint.config.architectures[:1] == (_STANFORD_CLASS,) and not (checkpoint.root / MODULES_FILE).is_file()


def is_late_interaction(checkpoint: Checkpoint, entries: Sequence[ModuleEntry]) -> bool:
    """Whether a folder with `entries` in its modules.json is PyLate's: a class of its own, or its settings."""
    path = checkpoint.root / SETTINGS_FILE
    values = read_json(path) if path.is_file() else {}
    stated = isinstance(values, dict) and (
        values.get("model_type") == _TYPE or values.get("similarity_fn_name") == MAX_SIM
    )
    return stated or any(entry.pylate for entry in entries)


def read_projections(checkpoint: Checkpoint, entries: Sequence[ModuleEntry]) -> tuple[Module, ...]:
    """The modules behind the transformer: every Dense, on token vectors, and scaling; PyLate leaves out all others.

    Raises:
        CheckpointError: there is no Dense, or one is damaged, or states what bert-onnx does not compute.
    """
    found = [_projection(checkpoint, entry) for entry in entries if entry.kind == "Dense"]
    if not found:
        raise CheckpointError(
            f"{checkpoint.root / MODULES_FILE} has no Dense behind its transformer: PyLate would make one of random "
            "weights, which have to be trained before they mean anything; train it and save it with PyLate."
        )
    return (*found, NormalizeTokens())


def stanford_projection(checkpoint: Checkpoint) -> tuple[Module, ...]:
    """The projection whose weights lie among the transformer's, and scaling.

    Raises:
        CheckpointError: it is not there, or no matrix.
    """
    if checkpoint.source.kind == "random":
        rows, columns = int(_metadata(checkpoint).get("dim") or 128), checkpoint.config.hidden_size
    else:
        weight = read_tensors(checkpoint.folder).get(STANFORD_WEIGHT)
        if weight is None or len(weight.shape) != 2:
            raise CheckpointError(
                f"{checkpoint.folder} says that it is a {_STANFORD_CLASS}, and has no matrix {STANFORD_WEIGHT} to "
                "project with; set architectures in its config.json to the class that its weights are for."
            )
        rows, columns = weight.shape
    return (Projection("", columns, rows, False, "Identity"), NormalizeTokens())


def read_late_interaction(checkpoint: Checkpoint) -> LateInteraction:
    """How the model reads queries and documents, with PyLate's defaults for what is not stated.

    Raises:
        CheckpointError: a file is damaged, or states what is not computed here.
    """
    stanford = is_stanford(checkpoint)
    path = checkpoint.folder / STANFORD_FILE if stanford else checkpoint.root / SETTINGS_FILE
    values = _metadata(checkpoint) if stanford else read_json(path) if path.is_file() else {}
    try:
        if not isinstance(values, dict):
            raise ValueError("is not a JSON object")
        settings = LateInteraction.from_dict(_renamed(values) if stanford else values)
    except (UsageError, ValueError) as error:
        raise CheckpointError(f"{path}: {str(error).rstrip('.')}; mend or remove it.") from None
    longest = checkpoint.config.longest_sequence
    if settings.do_query_expansion and settings.query_length > longest:
        raise CheckpointError(
            f"{path}: query_length is {settings.query_length}, and queries are filled up to it, but the model has "
            f"{longest} positions; state a shorter one."
        )
    return settings


def written_settings(checkpoint: Checkpoint, settings: LateInteraction) -> dict[str, Any]:
    """config_sentence_transformers.json as PyLate writes it, with what else the checkpoint's says."""
    path = checkpoint.root / SETTINGS_FILE
    stated = read_json(path) if path.is_file() else {}
    return {
        "prompts": {},
        "default_prompt_name": None,
        **stated,
        "model_type": _TYPE,
        "similarity_fn_name": MAX_SIM,
        **settings.to_dict(),
    }


def _metadata(checkpoint: Checkpoint) -> dict[str, Any]:
    path = checkpoint.folder / STANFORD_FILE
    values = read_json(path) if path.is_file() else {}
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} is not a JSON object; mend or remove it.")
    return values


def _renamed(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """PyLate's names for what Stanford's library states. Raises ValueError: vectors that are not compared by cosine."""
    similarity = metadata.get("similarity")
    if similarity not in (None, "cosine"):
        raise ValueError(f"similarity is {str(similarity)[:40]!r}, and late interaction compares by cosine here")
    named = {new: metadata[old] for old, new in _STANFORD_NAMES.items() if metadata.get(old) is not None}
    if metadata.get("mask_punctuation") is False:
        named["skiplist_words"] = []
    return {**_STANFORD_MARKERS, **named}


def _projection(checkpoint: Checkpoint, entry: ModuleEntry) -> Projection:
    path = checkpoint.root / entry.folder / "config.json"
    values = read_json(path)
    try:
        if not isinstance(values, dict):
            raise ValueError("it is not a JSON object")
        sizes = read_size(values, "in_features"), read_size(values, "out_features")
        activation = torch_activation(values.get("activation_function"), "activation_function")
        residual = values.get("use_residual") is True
        return Projection(entry.folder, *sizes, bool(values.get("bias", True)), activation, residual)
    except (UsageError, ValueError) as error:
        raise CheckpointError(f"{path}: {str(error).rstrip('.')}; save the model again with PyLate.") from None

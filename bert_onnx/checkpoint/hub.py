"""Fetches a checkpoint from a model hub: the files that are needed, and no others."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from bert_onnx.checkpoint.names import SENTENCE_FILES, TOKENIZER_FILES, listed
from bert_onnx.checkpoint.reading import INDEX_FILE, SINGLE_FILE, pickle_names
from bert_onnx.config import CONFIG_NAME, BertConfig
from bert_onnx.errors import HubError
from bert_onnx.hub.client import cached, conversation, download, download_file, listing
from bert_onnx.hub.names import check_revision

_SHARD = re.compile(r"model-[A-Za-z0-9_-]+\.safetensors")
#: Config and weights of the modules of sentence-transformers.
_MODULE_FILE = re.compile(r"[0-9]+_[A-Za-z]+/(?:config\.json|model\.safetensors)")


def fetch(model: str, revision: str | None, *, offline: bool, weights: bool) -> tuple[Path, str]:
    """(folder in the local cache, commit) of the hub model `model`.

    The config is fetched and read first, so that nothing large is downloaded of a model that is not a BERT.
    HF_ENDPOINT, HF_HOME, HF_HUB_CACHE and HF_TOKEN count as they are set at the time of the call.

    Args:
        model: full hub id.
        revision: branch, tag or commit; None means `main`.
        offline: look into the cache only.
        weights: fetch the weights, too; else only config and tokenizer.

    Raises:
        UsageError: a revision that cannot be one.
        ConfigError: the model is not a BERT.
        HubError: the hub cannot be reached, refuses, or does not have what was asked for.
        StorageError: the cache cannot be written.
    """
    check_revision(revision)
    with conversation(model, revision, offline):
        folder = cached(model, revision) if offline else _download(model, revision, weights)
    _check_complete(folder, model, weights, offline)
    return folder, folder.name


def _download(model: str, revision: str | None, weights: bool) -> Path:
    names, commit = listing(model, revision)
    chosen = needed_files(names, model, weights)
    BertConfig.from_pretrained(download_file(model, commit, CONFIG_NAME).parent)
    return download(model, revision, chosen)


def needed_files(names: Sequence[str], model: str, weights: bool) -> list[str]:
    """Those of a repository's files that a checkpoint needs; one file of weights is preferred to shards.

    Raises:
        HubError: there is no config.json, or there are no weights in safetensors.
    """
    if CONFIG_NAME not in names:
        raise HubError(f"{model} has no {CONFIG_NAME} on the hub, so it is not a BERT checkpoint.")
    literal = {CONFIG_NAME, *TOKENIZER_FILES, *SENTENCE_FILES}
    chosen = [name for name in names if name in literal or _MODULE_FILE.fullmatch(name)]
    if not weights:
        return chosen
    if SINGLE_FILE in names:
        return [*chosen, SINGLE_FILE]
    if INDEX_FILE in names:
        return [*chosen, INDEX_FILE, *(name for name in names if _SHARD.fullmatch(name))]
    others = pickle_names(names)
    has = f" (it has {listed(others, 2)})" if others else ""
    raise HubError(
        f"{model} has no weights in safetensors on the hub{has}; download it with `hf download {model} --local-dir "
        "DIR` and convert it with `bert-onnx convert-weights DIR`."
    )


def _check_complete(folder: Path, model: str, weights: bool, offline: bool) -> None:
    """huggingface_hub falls back to what the cache has; that may be less than is needed."""
    has_weights = (folder / SINGLE_FILE).is_file() or (folder / INDEX_FILE).is_file()
    if not (folder / CONFIG_NAME).is_file() or (weights and not has_weights):
        way = "run once without --offline" if offline else "try again"
        raise HubError(f"the cache holds only a part of {model} ({folder}); {way}, or name a folder that has it all.")

"""Fetches a checkpoint from a model hub: the files that are needed, and no others."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from bert_onnx.checkpoint.generation import GENERATION_FILE
from bert_onnx.checkpoint.names import SENTENCE_FILES, TOKENIZER_FILES, listed
from bert_onnx.checkpoint.other_weights import ADAPTER_CONFIG, adapter, described
from bert_onnx.checkpoint.reading import INDEX_FILE, SINGLE_FILE, pickle_names
from bert_onnx.checkpoint.sentence_files import MODULES_FILE, transformer_folder
from bert_onnx.config import CONFIG_NAME, BertConfig
from bert_onnx.errors import HubError
from bert_onnx.hub.client import cached, conversation, download, download_file, listing
from bert_onnx.hub.errors import FETCH_CHECKPOINT
from bert_onnx.hub.names import check_revision

_SHARD = re.compile(r"model-[A-Za-z0-9_-]+\.safetensors")
#: Config and weights of the modules of sentence-transformers. A pickle is fetched to say that it is one, never opened.
_MODULE_FILE = re.compile(r"[0-9]+_[A-Za-z]+/(?:config\.json|model\.safetensors)")
_MODULE_PICKLE = re.compile(r"([0-9]+_[A-Za-z]+/)pytorch_model\.bin")


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
    with conversation(model, revision, offline, FETCH_CHECKPOINT):
        folder = cached(model, revision) if offline else _download(model, revision, weights)
    _check_complete(folder, model, weights, offline)
    return folder, folder.name


def _download(model: str, revision: str | None, weights: bool) -> Path:
    names, commit = listing(model, revision)
    place = ""
    if CONFIG_NAME not in names and MODULES_FILE in names:
        root = download_file(model, commit, MODULES_FILE).parent
        within = transformer_folder(root).relative_to(root).as_posix()
        place = "" if within == "." else f"{within}/"
    chosen = needed_files(names, model, weights, place)
    BertConfig.from_pretrained(download_file(model, commit, place + CONFIG_NAME).parent)
    return download(model, revision, chosen)


def needed_files(names: Sequence[str], model: str, weights: bool, place: str = "") -> list[str]:
    """Those of a repository's files that a checkpoint needs; one file of weights is preferred to shards.

    Args:
        place: the folder of the transformer within the repository, with a slash behind it, or "".

    Raises:
        HubError: there is no config.json, or there are no weights in safetensors.
    """
    if place + CONFIG_NAME not in names and place + ADAPTER_CONFIG in names:
        raise HubError(adapter(model, None))
    if place + CONFIG_NAME not in names:
        raise HubError(f"{model} has no {place}{CONFIG_NAME} on the hub, so it is not a BERT checkpoint.")
    beside = {CONFIG_NAME, GENERATION_FILE, *TOKENIZER_FILES, *SENTENCE_FILES}
    literal = beside | {place + name for name in beside}
    chosen = [name for name in names if name in literal or _is_module_file(name, place, names)]
    if not weights:
        return chosen
    if place + SINGLE_FILE in names:
        return [*chosen, place + SINGLE_FILE]
    if place + INDEX_FILE in names:
        shards = [name for name in names if name.startswith(place) and _SHARD.fullmatch(name[len(place) :])]
        return [*chosen, place + INDEX_FILE, *shards]
    others = [name for name in pickle_names(names) if name.rpartition("/")[0] == place.rstrip("/")]
    if not others and (other := described(names, model)):
        raise HubError(f"{model} has no weights in safetensors on the hub: {other}.")
    has = f" (it has {listed(others, 2)})" if others else ""
    raise HubError(
        f"{model} has no weights in safetensors on the hub{has}; download it with `hf download {model} --local-dir "
        "DIR` and convert it with `bert-onnx convert-weights DIR`."
    )


def _is_module_file(name: str, place: str, names: Sequence[str]) -> bool:
    if place and name.startswith(place):
        return False
    pickled = _MODULE_PICKLE.fullmatch(name)
    return bool(_MODULE_FILE.fullmatch(name) or (pickled and pickled[1] + SINGLE_FILE not in names))


def _check_complete(root: Path, model: str, weights: bool, offline: bool) -> None:
    """huggingface_hub falls back to what the cache has; that may be less than is needed."""
    folder = transformer_folder(root)
    has_weights = (folder / SINGLE_FILE).is_file() or (folder / INDEX_FILE).is_file()
    if not (folder / CONFIG_NAME).is_file() or (weights and not has_weights):
        way = "run once without --offline" if offline else "try again"
        raise HubError(f"the cache holds only a part of {model} ({folder}); {way}, or name a folder that has it all.")

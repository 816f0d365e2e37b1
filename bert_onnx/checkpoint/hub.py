"""Fetches a checkpoint from a model hub with huggingface_hub: the files that are needed, and no others."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bert_onnx.checkpoint.hub_errors import explain
from bert_onnx.checkpoint.names import SENTENCE_FILES, TOKENIZER_FILES, listed
from bert_onnx.checkpoint.reading import INDEX_FILE, SINGLE_FILE, pickle_names
from bert_onnx.config import CONFIG_NAME, BertConfig
from bert_onnx.errors import BertOnnxError, HubError, UsageError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

#: Seconds to wait for a connection, and then for each response. Without a network the error comes at once.
CONNECT_TIMEOUT = 5.0
READ_TIMEOUT = 20.0
#: Times that a download is begun or resumed when the connection breaks in the middle.
_ATTEMPTS = 4

_SHARD = re.compile(r"model-[A-Za-z0-9_-]+\.safetensors")
#: Config and weights of the modules of sentence-transformers.
_MODULE_FILE = re.compile(r"[0-9]+_[A-Za-z]+/(?:config\.json|model\.safetensors)")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_REVISION = re.compile(r"[A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)*")
#: Read by huggingface_hub when it is imported: no statistics, no advice about symlinks.
_QUIET = {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_SYMLINKS_WARNING": "1"}


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
    if revision is not None and (not _REVISION.fullmatch(revision) or ".." in revision):
        raise UsageError(f"revision {revision!r} is not the name of a branch, a tag or a commit.")
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import huggingface_hub  # noqa: F401  # here to say it clearly where it is missing
    except ImportError:
        raise HubError(
            f"fetching {model} needs huggingface_hub, which is not installed: pip install 'bert-onnx[export]'"
        ) from None
    with _quiet():
        try:
            folder = _cached(model, revision) if offline else _download(model, revision, weights)
        except BertOnnxError:
            raise
        except Exception as error:  # whatever a network library meets becomes one sentence
            raise explain(error, model, revision, offline) from error
    _check_complete(folder, model, weights, offline)
    return folder, folder.name


def cache_folder() -> str:
    """Where huggingface_hub keeps downloads, by the environment as it is now (it reads it once, at its import)."""
    environment = os.environ
    home = environment.get("HF_HOME") or os.path.join(environment.get("XDG_CACHE_HOME") or "~/.cache", "huggingface")
    cache = environment.get("HF_HUB_CACHE") or environment.get("HUGGINGFACE_HUB_CACHE") or os.path.join(home, "hub")
    return os.path.expanduser(os.path.expandvars(cache))


def _endpoint() -> str | None:
    return (os.environ.get("HF_ENDPOINT") or "").rstrip("/") or None


def _cached(model: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(model, revision=revision, cache_dir=cache_folder(), local_files_only=True))


def _download(model: str, revision: str | None, weights: bool) -> Path:
    from huggingface_hub import HfApi, hf_hub_download, snapshot_download
    from requests.exceptions import ChunkedEncodingError

    names, commit = _listing(HfApi(endpoint=_endpoint(), library_name="bert-onnx"), model, revision)
    chosen = needed_files(names, model, weights)
    options: dict[str, Any] = {
        "cache_dir": cache_folder(),
        "endpoint": _endpoint(),
        "etag_timeout": READ_TIMEOUT,
        "library_name": "bert-onnx",
    }
    BertConfig.from_pretrained(Path(hf_hub_download(model, CONFIG_NAME, revision=commit, **options)).parent)
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            # By its branch rather than by the commit, so that the cache knows the branch when there is no network.
            return Path(snapshot_download(model, revision=revision, allow_patterns=chosen, max_workers=4, **options))
        except ChunkedEncodingError:  # cut off in the middle, which huggingface_hub resumes only when called again
            if attempt == _ATTEMPTS:
                raise
    raise AssertionError("the last attempt returns or raises")


def _listing(api: HfApi, model: str, revision: str | None) -> tuple[list[str], str]:
    """(names of all files, commit). This call is the first, and it is not retried."""
    timeout: Any = (CONNECT_TIMEOUT, READ_TIMEOUT)  # requests takes the pair, though the annotation says float
    info = api.model_info(model, revision=revision, timeout=timeout)
    if not _COMMIT.fullmatch(info.sha or ""):
        raise HubError(f"the hub did not say which commit {model} is at; check HF_ENDPOINT.")
    return [sibling.rfilename for sibling in info.siblings or ()], info.sha or ""


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


@contextmanager
def _quiet() -> Iterator[None]:
    """No log lines of huggingface_hub; its progress bars only where a person watches. Restored afterwards."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    hide_bars = not (sys.stderr and sys.stderr.isatty()) and not are_progress_bars_disabled()
    logger.setLevel(logging.CRITICAL)
    if hide_bars:
        disable_progress_bars()
    try:
        yield
    finally:
        logger.setLevel(level)
        if hide_bars:
            enable_progress_bars()

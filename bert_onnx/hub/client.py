"""Talks to a hub with huggingface_hub: lists, downloads into its cache, quietly; every fault is one sentence."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bert_onnx.errors import BertOnnxError, HubError
from bert_onnx.hub import http
from bert_onnx.hub.errors import Aim, explain, is_incomplete

if TYPE_CHECKING:
    from huggingface_hub import HfApi

#: Times that a download is begun or resumed when the connection breaks in the middle.
_ATTEMPTS = 4

_COMMIT = re.compile(r"[0-9a-f]{40}")
#: Read by huggingface_hub when it is imported: no statistics, no advice about symlinks.
_QUIET = {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_SYMLINKS_WARNING": "1"}


def offline_by_environment() -> bool:
    """Whether HF_HUB_OFFLINE says now that no hub is to be asked."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def cache_folder() -> str:
    """Where huggingface_hub keeps downloads, by the environment as it is now (it reads it once, at its import)."""
    environment = os.environ
    home = environment.get("HF_HOME") or os.path.join(environment.get("XDG_CACHE_HOME") or "~/.cache", "huggingface")
    cache = environment.get("HF_HUB_CACHE") or environment.get("HUGGINGFACE_HUB_CACHE") or os.path.join(home, "hub")
    return os.path.expanduser(os.path.expandvars(cache))


@contextmanager
def conversation(model: str, revision: str | None, offline: bool, aim: Aim) -> Iterator[None]:
    """Inside, the functions below may be called; whatever they meet becomes an error about `model`.

    Raises:
        HubError: the hub cannot be reached, refuses, or does not have what was asked for; huggingface_hub is missing.
        StorageError: the cache cannot be written.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import huggingface_hub  # noqa: F401  # here to say it clearly where it is missing
    except ImportError:
        raise HubError(
            f'without huggingface_hub {model} cannot be {aim.done}; install it with pip install "bert-onnx[hub]".'
        ) from None
    with _quiet():
        try:
            yield
        except BertOnnxError:
            raise
        except Exception as error:  # whatever a network library meets becomes one sentence
            raise explain(error, model, revision, offline, aim) from error


def cached(model: str, revision: str | None) -> Path:
    """The folder of `model` in the cache, without asking the hub. It may hold a part of the files."""
    from huggingface_hub import snapshot_download

    # Without patterns huggingface_hub 1 asks for every file that the hub has.
    options: dict[str, Any] = {"cache_dir": cache_folder(), "local_files_only": True, "allow_patterns": []}
    return Path(snapshot_download(model, revision=revision, **options))


def listing(model: str, revision: str | None) -> tuple[list[str], str]:
    """(names of all files, commit). This call is the first, and it is not retried."""
    info = api().model_info(model, revision=revision, timeout=http.http().timeout)
    if not _COMMIT.fullmatch(info.sha or ""):
        raise HubError(f"the hub did not say which commit {model} is at; check HF_ENDPOINT.")
    return [sibling.rfilename for sibling in info.siblings or ()], info.sha or ""


def download_file(model: str, commit: str, name: str) -> Path:
    """One file, in the cache."""
    from huggingface_hub import hf_hub_download

    return Path(hf_hub_download(model, name, revision=commit, **_options()))


def download(model: str, revision: str | None, names: Sequence[str], cache: str | None = None) -> Path:
    """The folder in `cache` (None: where the environment says) with the files `names`, missing ones downloaded.

    Asked for by its branch rather than by the commit, the cache knows the branch when there is no network.
    """
    from huggingface_hub import snapshot_download

    options = _options() if cache is None else {**_options(), "cache_dir": cache}
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return Path(
                snapshot_download(model, revision=revision, allow_patterns=list(names), max_workers=4, **options)
            )
        except Exception as error:  # cut off in the middle, which huggingface_hub resumes only when called again
            if attempt == _ATTEMPTS or not is_incomplete(error):
                raise
    raise AssertionError("the last attempt returns or raises")


def api() -> HfApi:
    """huggingface_hub's client of the hub that HF_ENDPOINT names now."""
    from huggingface_hub import HfApi

    return HfApi(endpoint=_endpoint(), library_name="bert-onnx")


def _endpoint() -> str | None:
    return (os.environ.get("HF_ENDPOINT") or "").rstrip("/") or None


def _options() -> dict[str, Any]:
    return {
        "cache_dir": cache_folder(),
        "endpoint": _endpoint(),
        "etag_timeout": http.READ_TIMEOUT,
        "library_name": "bert-onnx",
    }


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

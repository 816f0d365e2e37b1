"""What huggingface_hub and the HTTP library below it raise -> one sentence that says what happened and what to do."""

from __future__ import annotations

from dataclasses import dataclass

from bert_onnx.errors import BertOnnxError, HubError, StorageError
from bert_onnx.hub.http import http


@dataclass(frozen=True)
class Aim:
    """What a hub is spoken to for: what cannot be done to a model where that fails, and what to do instead."""

    done: str
    instead: str


FETCH_CHECKPOINT = Aim("fetched", "name a local folder, use 'sample', or pass --offline to take what the cache has")
FETCH_ARTIFACT = Aim("fetched", "name a local folder, or pass --offline to take what the cache has")
PUBLISH = Aim("published", "check the network; nothing was published")

_LOG_IN = "log in with `hf auth login` or set HF_TOKEN"


def explain(error: BaseException, model: str, revision: str | None, offline: bool, aim: Aim) -> BertOnnxError:
    """The error to raise in place of `error`, which came up on the way to `aim`."""
    from huggingface_hub import errors as hub

    if isinstance(error, hub.LocalEntryNotFoundError):
        if offline or error.__cause__ is None:
            return HubError(
                f"{_named(model, revision)} is not in the local cache; run once without --offline, or name a folder."
            )
        # "looked into the cache instead, in vain": the reason is the error that made it look there
        return explain(error.__cause__, model, revision, offline, aim)
    if isinstance(error, RuntimeError) and error.__cause__ is not None:  # which file an upload failed with
        return explain(error.__cause__, model, revision, offline, aim)
    if isinstance(error, hub.GatedRepoError):
        return HubError(f"{model} is gated: accept its terms on its page on the hub, then {_LOG_IN}.")
    if isinstance(error, hub.RepositoryNotFoundError):
        return HubError(f"the hub has no model {model}, or it is private; check the name, or {_LOG_IN}.")
    if isinstance(error, hub.RevisionNotFoundError):
        return HubError(f"{model} has no revision {revision!r} on the hub; name a branch, a tag or a commit of it.")
    return _network_error(error, model, aim)


def _network_error(error: BaseException, model: str, aim: Aim) -> BertOnnxError:
    """Errors of HTTP, of the disk, and all others."""
    kinds = http()
    status = getattr(getattr(error, "response", None), "status_code", 0)
    if status in (401, 403):
        return HubError(f"the hub refuses access to {model} (HTTP {status}); {_LOG_IN}.")
    if status >= 400:
        return HubError(
            f"the hub responded with HTTP {status} to a request for {model}; try again later, or {aim.instead}."
        )
    if isinstance(error, kinds.slow):
        return HubError(f"the hub did not respond in time when asked for {model}; try again later, or {aim.instead}.")
    # ConnectionError is what hf_xet raises, and a base of huggingface_hub's OfflineModeIsEnabled.
    if isinstance(error, (*kinds.unreachable, ConnectionError)):
        return HubError(f"the hub cannot be reached, so {model} cannot be {aim.done}; {aim.instead}.")
    if is_incomplete(error) and aim is not PUBLISH:
        return HubError(
            f"a file of {model} arrived incomplete; try again (what has arrived is kept), or {aim.instead}."
        )
    if isinstance(error, kinds.others):
        return _other(error, aim)
    if isinstance(error, OSError) and error.errno is not None:
        return StorageError(f"the download of {model} could not be stored: {error.strerror}.")
    return _other(error, aim)


def is_incomplete(error: BaseException) -> bool:
    """Whether a download ended before it was whole; where sizes differ huggingface_hub raises a bare OSError."""
    return isinstance(error, http().cut) or (type(error) is OSError and error.errno is None)


def _other(error: BaseException, aim: Aim) -> HubError:
    first = str(error).strip().splitlines()[:1]
    return HubError(
        f"the hub's response could not be used ({type(error).__name__}{': ' + first[0][:160] if first else ''}); check "
        f"HF_ENDPOINT and your proxy, or {aim.instead}."
    )


def _named(model: str, revision: str | None) -> str:
    return model if revision is None else f"{model} at revision {revision!r}"

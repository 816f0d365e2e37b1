"""The closed error hierarchy: one sentence each, one table of exit statuses.

Every failure that a user can cause or meet is one of these classes. A message says what is wrong,
where, and what to do about it. Anything else that escapes is a bug of ours.
"""

from __future__ import annotations


class BertOnnxError(Exception):
    """Base class. Catch it to catch everything that bert-onnx raises on purpose."""


class UsageError(BertOnnxError):
    """An option, task or argument that does not exist or does not fit the others."""


class VerificationError(BertOnnxError):
    """A graph that is not equal to its reference within the tolerances; nothing was published."""


class ConfigError(BertOnnxError):
    """A config.json that is missing, unreadable, not a BERT, or inconsistent in itself."""


class CheckpointError(BertOnnxError):
    """Weights that are missing, unexpected, misshapen, non-finite, damaged or in a refused format."""


class TokenizerError(BertOnnxError):
    """A vocabulary or tokenizer file that is missing, damaged or does not match the model."""


class InputError(BertOnnxError):
    """Data at run time that the model cannot take: ids, lengths, shapes, dtypes, text."""


class ArtifactError(BertOnnxError):
    """An artifact folder that is missing, damaged, changed since publication, or in the way."""


class HubError(BertOnnxError):
    """A model hub that cannot be reached, or does not have what was asked for."""


class ExportError(BertOnnxError):
    """A model that could not be turned into a graph that opens."""


class RuntimeUnavailableError(BertOnnxError):
    """A runtime, provider or library that this machine does not have."""


class InferenceError(BertOnnxError):
    """A graph that failed while it ran, ran out of memory, or gave an answer that is not a number."""


class StorageError(BertOnnxError):
    """A disk that is full, read-only or otherwise refuses to store; the old state is intact."""


#: Exit status of the command line for each error class; 0 is success, 1 an unforeseen error.
EXIT_STATUS: dict[type[BertOnnxError], int] = {
    UsageError: 2,
    VerificationError: 3,
    ConfigError: 4,
    CheckpointError: 5,
    TokenizerError: 6,
    InputError: 7,
    ArtifactError: 8,
    HubError: 9,
    ExportError: 10,
    RuntimeUnavailableError: 11,
    StorageError: 12,
    InferenceError: 13,
}


def exit_status(error: BaseException) -> int:
    """Exit status for `error`: its row of `EXIT_STATUS`, else 1."""
    return EXIT_STATUS.get(type(error), 1)  # type: ignore[arg-type]

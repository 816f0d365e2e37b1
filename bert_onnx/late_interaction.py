"""How a late-interaction model (ColBERT) reads queries and documents: markers, lengths, expansion, skipped words.

The names are PyLate's; an artifact keeps them in config_sentence_transformers.json, as PyLate does.
"""

from __future__ import annotations

import json
import string
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from bert_onnx.errors import ArtifactError, UsageError

#: Shortest text of a special token before, the marker, and a special token after it.
_SHORTEST = 3


@dataclass(frozen=True)
class LateInteraction:
    """The settings of a model.

    Args:
        query_prefix, document_prefix: the marker tokens that stand behind the first token; empty for none.
        query_length, document_length: most tokens of a text, markers and special ones included.
        do_query_expansion: queries are filled up with [MASK] to `query_length`, and the vectors of those count.
        attend_to_expansion_tokens: other tokens see those.
        skiplist_words: tokens whose vectors are left out of documents.

    Raises:
        UsageError: a value of another type, or a length that leaves no room for text.
    """

    query_prefix: str = "[Q] "
    document_prefix: str = "[D] "
    query_length: int = 32
    document_length: int = 180
    do_query_expansion: bool = True
    attend_to_expansion_tokens: bool = False
    skiplist_words: tuple[str, ...] = tuple(string.punctuation)

    def __post_init__(self) -> None:
        for name in ("query_prefix", "document_prefix"):
            _check(name, isinstance(getattr(self, name), str), "a text")
        for name in ("query_length", "document_length"):
            length = getattr(self, name)
            whole = isinstance(length, int) and not isinstance(length, bool)
            _check(name, whole and _SHORTEST < length < 2**31, f"a number of tokens above {_SHORTEST}")
        for name in ("do_query_expansion", "attend_to_expansion_tokens"):
            _check(name, isinstance(getattr(self, name), bool), "true or false")
        _check("skiplist_words", all(isinstance(word, str) for word in self.skiplist_words), "a list of texts")

    @property
    def markers(self) -> tuple[str, ...]:
        """The marker tokens that there are."""
        return tuple(marker for marker in (self.query_prefix, self.document_prefix) if marker)

    @property
    def attends(self) -> bool:
        """Whether expansion tokens are seen by others: only where there are any."""
        return self.do_query_expansion and self.attend_to_expansion_tokens

    def to_dict(self) -> dict[str, Any]:
        """JSON form, by PyLate's names."""
        return {**asdict(self), "skiplist_words": list(self.skiplist_words)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> LateInteraction:
        """Inverse of `to_dict`; what is missing or null has its default, as in PyLate.

        Raises:
            UsageError: a value that PyLate cannot use.
        """
        given = {field.name: values[field.name] for field in fields(cls) if values.get(field.name) is not None}
        if "skiplist_words" in given:
            _check("skiplist_words", isinstance(given["skiplist_words"], list), "a list of texts")
            given["skiplist_words"] = tuple(given["skiplist_words"])
        return cls(**given)


def read_late_interaction(folder: Path) -> LateInteraction:
    """The settings of the artifact in `folder`.

    Raises:
        ArtifactError: they are missing or damaged.
    """
    path = folder / "config_sentence_transformers.json"
    try:
        values = json.loads(path.read_bytes())
        return LateInteraction.from_dict(values)
    except (OSError, ValueError, AttributeError, UsageError) as error:
        raise ArtifactError(f"{path} does not say how queries and documents are read: {error}; export again.") from None


def _check(name: str, fits: bool, wanted: str) -> None:
    if not fits:
        raise UsageError(f"{name} is not {wanted}.")

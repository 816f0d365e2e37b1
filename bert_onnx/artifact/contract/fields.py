"""Reading a JSON object strictly: each field has its type, each complaint names the field."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, TypeVar

from bert_onnx.errors import ArtifactError

T = TypeVar("T")

_LARGEST = sys.float_info.max


def load_object(text: bytes, where: str) -> dict[str, Any]:
    """The JSON object in `text`, which came from `where`.

    Raises:
        ArtifactError: it is not UTF-8, not JSON, not an object, has a key twice, or NaN or an infinity in it.
    """
    try:
        values = json.loads(text.decode("utf-8"), object_pairs_hook=_distinct, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{where} is damaged: it is not valid JSON ({_brief(error)}); export it again.") from None
    if not isinstance(values, dict):
        raise ArtifactError(f"{where} is damaged: it holds no JSON object; export it again.")
    return values


def _brief(error: Exception) -> str:
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)[:120]


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        names = sorted(name for name, _ in pairs)
        twice = next(name for name, following in pairwise(names) if name == following)
        raise ValueError(f"the key {twice!r} appears twice")
    return values


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


class Fields:
    """The fields of one JSON object; `path` is where it lies in the document, for messages.

    Raises:
        ArtifactError: from every method, where a field is missing or of the wrong type.
    """

    def __init__(self, values: object, path: str) -> None:
        if not isinstance(values, Mapping):
            raise ArtifactError(f"{path} must be an object; the artifact is damaged, export it again.")
        self._values = values
        self._path = path
        self._read: set[str] = set()

    def fail(self, name: str, need: str) -> ArtifactError:
        """The complaint that field `name` is not `need`."""
        shown = repr(self._values.get(name))
        shown = shown if len(shown) <= 60 else shown[:57] + "..."
        return ArtifactError(f"{self._path}.{name} is {shown} but must be {need}; the artifact is damaged.")

    def raw(self, name: str) -> Any:
        """The field as it is."""
        if name not in self._values:
            raise ArtifactError(f"{self._path} lacks the field {name}; the artifact is damaged.")
        self._read.add(name)
        return self._values[name]

    def text(self, name: str) -> str:
        """A string."""
        value = self.raw(name)
        if not isinstance(value, str):
            raise self.fail(name, "a text")
        return value

    def optional_text(self, name: str) -> str | None:
        """A string or null."""
        return None if self.raw(name) is None else self.text(name)

    def flag(self, name: str) -> bool:
        """A boolean."""
        value = self.raw(name)
        if not isinstance(value, bool):
            raise self.fail(name, "true or false")
        return value

    def count(self, name: str, low: int = 0) -> int:
        """An integer of at least `low`."""
        value = self.raw(name)
        if not _is_count(value) or value < low:
            raise self.fail(name, f"a whole number of at least {low}")
        return int(value)

    def optional_count(self, name: str) -> int | None:
        """An integer of at least 0, or null."""
        return None if self.raw(name) is None else self.count(name)

    def number(self, name: str) -> float:
        """A finite number of at least 0."""
        value = self.raw(name)
        if not _is_number(value) or value < 0:
            raise self.fail(name, "a finite number of at least 0")
        return float(value)

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of strings."""
        value = self._list(name)
        if not all(isinstance(item, str) for item in value):
            raise self.fail(name, "a list of texts")
        return tuple(value)

    def counts(self, name: str) -> tuple[int, ...]:
        """A list of integers of at least 0."""
        value = self._list(name)
        if not all(_is_count(item) for item in value):
            raise self.fail(name, "a list of whole numbers")
        return tuple(value)

    def text_table(self, name: str) -> dict[str, str]:
        """An object of strings."""
        value = self._object(name)
        if not all(isinstance(item, str) for item in value.values()):
            raise self.fail(name, "an object of texts")
        return dict(value)

    def count_table(self, name: str) -> dict[str, int]:
        """An object of integers of at least 0."""
        value = self._object(name)
        if not all(_is_count(item) for item in value.values()):
            raise self.fail(name, "an object of whole numbers")
        return dict(value)

    def number_table(self, name: str) -> dict[str, float]:
        """An object of finite numbers."""
        value = self._object(name)
        if not all(_is_number(item) for item in value.values()):
            raise self.fail(name, "an object of finite numbers")
        return {key: float(item) for key, item in value.items()}

    def optional_one(self, name: str, parse: Callable[[Fields], T]) -> T | None:
        """An object that `parse` reads, or null."""
        return None if self.raw(name) is None else self.one(name, parse)

    def one(self, name: str, parse: Callable[[Fields], T]) -> T:
        """An object that `parse` reads."""
        return self._parse(self.raw(name), f"{self._path}.{name}", parse)

    def many(self, name: str, parse: Callable[[Fields], T]) -> tuple[T, ...]:
        """A list of objects that `parse` reads."""
        items = self._list(name)
        return tuple(self._parse(item, f"{self._path}.{name}[{i}]", parse) for i, item in enumerate(items))

    def table(self, name: str, parse: Callable[[Fields], T]) -> dict[str, T]:
        """An object of objects that `parse` reads."""
        items = self._object(name)
        return {key: self._parse(item, f"{self._path}.{name}[{key!r}]", parse) for key, item in items.items()}

    @staticmethod
    def _parse(values: object, path: str, parse: Callable[[Fields], T]) -> T:
        fields = Fields(values, path)
        result = parse(fields)
        fields.finish()
        return result

    def finish(self) -> None:
        """Complain of fields that nobody read."""
        unknown = [name for name in self._values if name not in self._read]
        if unknown:
            raise ArtifactError(f"{self._path} has the unknown field {unknown[0]!r}; the artifact is damaged.")

    def _list(self, name: str) -> list[Any]:
        value = self.raw(name)
        if not isinstance(value, list):
            raise self.fail(name, "a list")
        return value

    def _object(self, name: str) -> dict[str, Any]:
        value = self.raw(name)
        if not isinstance(value, dict):
            raise self.fail(name, "an object")
        return value


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -_LARGEST <= value <= _LARGEST

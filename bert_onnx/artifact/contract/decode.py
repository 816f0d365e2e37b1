"""manifest.json in: bytes to `Manifest`, whose annotations say what each field may hold."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any, TypeVar

import msgspec

from bert_onnx.artifact.contract.consistency import check_manifest
from bert_onnx.artifact.contract.kinds import Positive
from bert_onnx.artifact.contract.manifest import SCHEMA_VERSION, Manifest
from bert_onnx.errors import ArtifactError, UsageError

T = TypeVar("T")

#: The older schema that is read, too.
_UPGRADED = 5
# What a message quotes of a damaged manifest at most.
_QUOTED = 200


def decode_manifest(text: bytes, where: str) -> Manifest:
    """The manifest in `text`; `where` names the document in messages. The inverse of `Manifest.to_json`.

    Raises:
        ArtifactError: naming the field that is missing, unknown or wrong, or another schema.
    """
    values = load_object(text, where)
    # Asked first: of another schema, other fields would be complained of for the wrong reason.
    version = _convert(values, _Schema, where).schema_version
    if version == _UPGRADED:
        _upgrade(values, where)
    elif version != SCHEMA_VERSION:
        way_on = "update bert-onnx" if version > SCHEMA_VERSION else "export the model again"
        raise ArtifactError(
            f"{where} has schema version {version} and this bert-onnx reads {_UPGRADED} and {SCHEMA_VERSION}; {way_on}."
        )
    manifest = _convert(values, Manifest, where)
    _check_fields(values, manifest, where)
    check_manifest(manifest, where)
    return manifest


def _upgrade(values: dict[str, Any], where: str) -> None:
    """Make a document of schema 5 one of 6, in which passes tell what became of operators; whatever else it holds."""
    values["schema_version"] = SCHEMA_VERSION
    for variant in _objects(values.get("variants")):
        for record in _objects(variant.get("passes")):
            if "operators" in record:
                raise _damaged(where, "Object contains unknown field 'operators'")
            record["operators"] = None


def _objects(values: Any) -> Iterator[dict[str, Any]]:
    """Those of a list that are objects."""
    return (value for value in values if isinstance(value, dict)) if isinstance(values, list) else iter(())


class _Schema(msgspec.Struct):
    schema_version: Positive


def _convert(values: dict[str, Any], kind: type[T], where: str) -> T:
    try:
        return msgspec.convert(values, kind)
    except (msgspec.ValidationError, UsageError) as error:  # UsageError: from the checks of TaskOptions
        problem, _, path = str(error)[:_QUOTED].partition(" - at `$")
        raise _damaged(f"{where}{path.rstrip('`')}", problem.rstrip(".")) from None


def _check_fields(found: Any, read: Any, where: str) -> None:
    """Compare the names in the document with the fields of `read`: decoding skips unknown ones, fills in defaults."""
    if dataclasses.is_dataclass(read):
        names = [field.name for field in dataclasses.fields(read)]
        _check_present(found, names, where)
        for name, value in found.items():
            if name not in names:
                raise _damaged(where, f"Object contains unknown field {name[:_QUOTED]!r}")
            _check_fields(value, getattr(read, name), f"{where}.{name}")
    elif isinstance(read, msgspec.Struct):  # a module of a chain; it knows its unknown fields itself
        _check_present(found, read.__struct_fields__, where)
    elif isinstance(read, dict):
        for key, value in found.items():
            _check_fields(value, read[key], f"{where}[{key!r}]")
    elif isinstance(read, tuple):
        for index, value in enumerate(found):
            _check_fields(value, read[index], f"{where}[{index}]")


def _check_present(found: Any, names: Iterable[str], where: str) -> None:
    for name in names:
        if name not in found:
            raise _damaged(where, f"Object missing required field `{name}`")


def _damaged(where: str, problem: str) -> ArtifactError:
    return ArtifactError(f"{where}: {problem}; the artifact is damaged, export it again.")


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

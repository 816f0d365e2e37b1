"""The inputs of a request, in the forms that APIs have: a text, texts, token ids, lists of token ids."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from runtimes.server.refusals import BadRequestError
from runtimes.server.texts import Input

_IDS = {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1}
_TEXT = {"type": "string"}


def several(*kinds: dict[str, Any]) -> dict[str, Any]:
    """The JSON schema of a list that is not empty, of values of `kinds`."""
    return {"type": "array", "items": {"anyOf": list(kinds)}, "minItems": 1}


def any_of(*kinds: dict[str, Any]) -> msgspec.Meta:
    """For a field that the route itself reads: its JSON schemas."""
    return msgspec.Meta(extra_json_schema={"anyOf": list(kinds)})


#: What `read_inputs` takes, as a field of a body; and where ids alone are taken.
Inputs = Annotated[Any, any_of(_TEXT, _IDS, several(_TEXT, _IDS))]
Ids = Annotated[list[Any], any_of(_IDS, several(_IDS))]
#: A whole number of at least 1.
Count = Annotated[int, msgspec.Meta(ge=1)]
#: The same where the model says how many there are, and the refusal with it.
Dimensions = Annotated[int, msgspec.Meta(extra_json_schema={"minimum": 1})]


def read_inputs(given: Any) -> list[Input]:
    """A list of texts and of lists of ids.

    Raises:
        BadRequestError: it is something else.
    """
    if isinstance(given, str):
        return [given]
    if isinstance(given, list):
        if given and all(_is_id(one) for one in given):
            return [given]
        if all(isinstance(one, str) or _is_ids(one) for one in given):
            return given
    raise BadRequestError("the input must be a string, a list of strings, token ids, or lists of token ids.")


def _is_id(value: Any) -> bool:
    return type(value) is int


def _is_ids(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_id, value))

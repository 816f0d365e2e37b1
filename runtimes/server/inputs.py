"""The inputs of a request, in the forms that APIs have: a text, texts, token ids, lists of token ids."""

from __future__ import annotations

from typing import Any

from runtimes.server.refusals import BadRequestError
from runtimes.server.texts import Input


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

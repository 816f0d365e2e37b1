"""What every result of a pipeline is: a frozen dataclass that turns itself into JSON."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np


class Result:
    """Base of the results. Subclasses are frozen dataclasses."""

    def to_dict(self) -> dict[str, Any]:
        """JSON form: field names to numbers, texts, lists and objects; arrays become nested lists."""
        return {field.name: _plain(getattr(self, field.name)) for field in dataclasses.fields(self)}  # type: ignore[arg-type]

    def for_people(self) -> dict[str, Any]:
        """What a terminal shows of it: the JSON form, or what is worth a look where that is long."""
        return self.to_dict()


def _plain(value: Any) -> Any:
    if isinstance(value, Result):
        return value.to_dict()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value

"""What commands print for programs."""

from __future__ import annotations

import json
from typing import Any


def print_json(values: Any) -> None:
    """One line of JSON on standard output."""
    print(json.dumps(values, ensure_ascii=False))

"""What the tests of clients share: where things lie, reading an artifact's JSON, spoiling its test vectors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


def read(folder: Path, name: str) -> dict[str, Any]:
    """A JSON file of an artifact."""
    content: dict[str, Any] = json.loads((folder / name).read_text(encoding="utf-8"))
    return content


def spoil(document: dict[str, Any]) -> None:
    """Change one number of a vectors.json by ten times what fp32 may differ."""
    document["cases"][0]["outputs"]["sentence_embedding"]["values"][5] += 1e-3

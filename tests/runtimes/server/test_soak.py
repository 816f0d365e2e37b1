"""The short form of the soak: `python -m benchmarks.server.soak` is the one of ten minutes."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.server.soak import soak

pytestmark = pytest.mark.long

TEXTS = ["hello", "hello world", "good night", "my world .", "goodbye", "my night is good", "hello hello hello"]


def test_nothing_is_lost_and_nothing_is_wrong(artifact: Path) -> None:
    found = soak(artifact, TEXTS, 6.0, ("--max-queue-tokens", "24"), most=250.0)
    assert found.wrong == []
    assert found.lost == 0
    assert found.statuses[200] > 200
    assert set(found.statuses) <= {200, 429, 503, 0}
    assert set(found.refused) == {"abandoned", "oversized", "broken JSON"}
    assert found.reloads == 6

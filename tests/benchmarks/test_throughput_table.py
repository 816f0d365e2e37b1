"""The table of the throughput benchmark: ratios round by round, and texts that are the same every time."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.options import Options
from benchmarks.throughput import PEERS, Timed, docstrings, measure, table


def test_ratios_are_to_the_best_peer_of_each_round() -> None:
    times = {
        PEERS[0]: Timed([2.0, 4.0], [4.0, 8.0], 1.0),
        PEERS[1]: Timed([4.0, 2.0], [4.0, 4.0], 0.99999),
        "ours": Timed([1.0, 1.0], [1.0, 2.0], 0.999),
    }
    rows = table(times, 10).splitlines()
    assert rows[2].startswith(f"| {PEERS[0]} | 4 [2, 5] | 0.75 [0.50, 1.00] | 600.0 | 0.75 [0.50, 1.00] | 1.00000 |")
    assert rows[4] == "| ours | 10 [10, 10] | 2.00 [2.00, 2.00] | 150.0 | 3.00 [2.00, 4.00] | 0.99900 |"


def test_texts_are_the_same_every_time_and_keep_to_their_lengths() -> None:
    texts = docstrings(40, 20, 300)
    assert texts == docstrings(40, 20, 300)
    assert len(texts) == len(set(texts)) == 40
    assert all(20 <= len(text) <= 300 for text in texts)


def test_programs_take_turns_and_are_compared_with_the_first() -> None:
    called: list[str] = []

    def program(name: str, vector: list[float]) -> object:
        def embed(texts: list[str]) -> np.ndarray:
            called.append(name)
            return np.array([vector] * len(texts))

        return embed

    programs = {"a": program("a", [1.0, 0.0]), "b": program("b", [1.0, 1.0])}
    timed = measure(programs, ["x", "y"], 2, Options(True, None, lambda line: None))  # type: ignore[arg-type]
    assert called == ["a", "b", "a", "b", "b", "a"]
    assert timed["a"].cosine == 1.0
    assert timed["b"].cosine == pytest.approx(2**-0.5)
    assert len(timed["b"].wall) == len(timed["b"].processor) == 2

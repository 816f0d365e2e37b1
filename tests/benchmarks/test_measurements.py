"""The tables of measurements: ratios point the right way, costs are those of the program, sections keep their place."""

from __future__ import annotations

import sys

import pytest

from benchmarks.__main__ import MEASUREMENTS, with_section
from benchmarks.cold_start import BARE, PROGRAMS, start
from benchmarks.export_time import _verified_tokens
from benchmarks.machine import describe_machine
from benchmarks.measure import Cost, Spread, markdown_table, run_process, summarise, take_turns


def test_spread() -> None:
    assert Spread.of([3.0, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0)
    assert Spread.of([3.0, 1.0, 2.0]).show(1) == "2.0 [1.0, 3.0]"


def test_ratios_are_taken_round_by_round() -> None:
    costs = {"ours": [Cost(1, 1, 50), Cost(30, 1, 50)], "theirs": [Cost(2, 1, 100), Cost(40, 1, 25)]}
    summary = summarise(costs, "theirs")["ours"]
    assert summary.time_ratio == Spread(0.625, 0.5, 0.75)
    assert summary.memory_ratio == Spread(1.25, 0.5, 2.0)
    assert summary.seconds == Spread(15.5, 1, 30)


def test_turns_are_reversed_each_round() -> None:
    seen: list[str] = []

    def program(name: str) -> Cost:
        seen.append(name)
        return Cost(len(seen), 0, 0)

    costs = take_turns({"a": lambda: program("a"), "b": lambda: program("b")}, 3)
    assert seen == ["a", "b", "b", "a", "a", "b"]
    assert [cost.seconds for cost in costs["b"]] == [2, 3, 6]


def test_cost_of_a_process() -> None:
    program = "import time; block = bytearray(200 * 10**6); time.sleep(0.3)"
    large = run_process([sys.executable, "-c", program])
    small = run_process([sys.executable, "-c", "pass"])
    assert large.seconds >= 0.3
    assert 190 < large.megabytes - small.megabytes < 220


def test_children_count_with_their_parent() -> None:
    child = "import time; block = bytearray(80 * 10**6); time.sleep(0.5)"
    program = (
        f"import subprocess, sys; block = bytearray(50 * 10**6); subprocess.run([sys.executable, '-c', {child!r}])"
    )
    small = run_process([sys.executable, "-c", "pass"])
    assert 125 < run_process([sys.executable, "-c", program]).megabytes - small.megabytes < 160


def test_a_program_that_fails_is_told_with_its_last_words() -> None:
    with pytest.raises(SystemExit, match=r"status 3:\nlast words"):
        run_process([sys.executable, "-c", "print('last words'); raise SystemExit(3)"])


def test_markdown_table() -> None:
    assert markdown_table(("a", "b"), [("x", "1")]) == "| a | b |\n| --- | ---: |\n| x | 1 |"


def test_sections_keep_their_order_and_their_neighbours() -> None:
    first, second = list(MEASUREMENTS)[:2]
    page = with_section("", second, "## Second\n\ntext")
    page = with_section(page, first, "## First\n\nstale")
    page = with_section(page, first, "## First\n\nnew\n")
    assert "stale" not in page
    assert page.index("# Benchmarks") < page.index("## First\n\nnew") < page.index("## Second\n\ntext")
    assert with_section(page, first, "## First\n\nnew") == page


def test_machine_names_versions_and_missing_packages() -> None:
    text = describe_machine(("numpy", "no-such-package"))
    assert "numpy 2" in text
    assert "no-such-package not installed" in text


def test_a_process_that_loads_torch_is_refused() -> None:
    with pytest.raises(SystemExit, match="must not load torch"):
        start("import sys\nsys.modules['torch'] = sys\nvector = [1.0]\n")


def test_cold_programs_report_their_vector_and_their_cost() -> None:
    cost, vector = start("vector = [1.0, 2.0]\nblock = bytearray(100 * 10**6)\n")
    assert vector == [1.0, 2.0]
    assert cost.seconds > 0
    assert cost.megabytes > 100
    assert BARE in PROGRAMS


def test_verified_tokens_are_those_of_the_cases() -> None:
    assert _verified_tokens() == 1 + 3 * 17 + 2 * 128 + 512 + 3 * 4 * 17 + 3 * 17

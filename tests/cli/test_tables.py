"""Tables on terminals and in pipes: nothing is wider than its terminal, and nothing is ever cut."""

from __future__ import annotations

import pytest

from bert_onnx.cli.tables import format_notes, format_rows, format_table, size_text

HEADER = ("variant", "target", "verdict")
ROW = ("onnx/model_ort_cpu_unpadded_qint8_avx512_vnni.onnx", "ort-cpu-unpadded", "pass (8 cases)")


def test_a_pipe_gets_whole_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    lines = format_table(HEADER, [ROW, ("a", "b", "c")]).splitlines()
    assert len(lines) == 4
    assert lines[2].split() == [ROW[0], ROW[1], *ROW[2].split()]
    assert format_rows([("name", "word " * 60)]).count("\n") == 0


@pytest.mark.parametrize("columns", [100, 80, 60, 40])
def test_a_terminal_gets_what_fits(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = format_table(HEADER, [ROW, ("a", "b", "c")]).splitlines()
    assert max(map(len, lines)) <= columns
    assert "".join(line.split("  ")[0].strip() for line in lines[2:-1]) == ROW[0] if columns >= 60 else True


def test_a_long_cell_loses_no_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    lines = format_table(("name",), [("x" * 100,)]).splitlines()
    assert "".join(lines[2:]) == "x" * 100
    assert max(map(len, lines)) == 30


def test_cells_break_behind_separators(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    assert format_table(("name",), [("model_ort_cpu_unpadded_int8",)]).splitlines()[2:] == [
        "model_ort_cpu_",
        "unpadded_int8",
    ]


def test_values_wrap_at_spaces_and_stay_aligned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    assert format_rows([("a", "one two three four"), ("bcd", "five")]) == "a    one two three\n     four\nbcd  five"


def test_paths_in_rows_are_never_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    path = "/a/very/long/path/that-can/be/copied"
    assert path in format_rows([("file", path)])


def test_notes_are_numbered() -> None:
    assert format_notes(["first", "second"]) == "[1]  first\n[2]  second"


def test_sizes() -> None:
    assert [size_text(size) for size in (0, 999, 1000, 90_900_000, 5 * 10**12)] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "90.9 MB",
        "5000.0 GB",
    ]

"""Reading texts: every kind of file, every kind of damage, and the project's own sets."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import sys
from pathlib import Path
from typing import Any

import pytest

from bert_onnx.errors import BertOnnxError, InputError, RuntimeUnavailableError, UsageError
from export.evaluation import data
from export.evaluation.data import built_in, read_text_set
from export.evaluation.examples import Example, text_set


def write(folder: Path, content: bytes | str, name: str = "texts.txt") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def rows(folder: Path, *records: Any) -> Path:
    return write(folder, "".join(json.dumps(record) + "\n" for record in records), "texts.jsonl")


def test_lines_of_text(tmp_path: Path) -> None:
    content = "\ufeffone text\r\n\r\n  another text \n\n日本語\u2028still the same line\nlast".encode()
    found = read_text_set(write(tmp_path, content))
    assert found.texts == ("one text", "another text", "日本語\u2028still the same line", "last")
    assert found.name == "texts.txt"
    assert found.sha256 == hashlib.sha256(content).hexdigest()
    assert found.examples[1].where == "texts.txt line 3"


def test_objects_with_every_field(tmp_path: Path) -> None:
    path = rows(
        tmp_path,
        "a text alone",
        {"sentence1": "a", "sentence2": "b", "score": 0.5, "id": 7},
        {"question": "who?", "context": "Ada.", "answers": {"text": ["Ada"], "answer_start": [0]}},
        {"question": "who?", "context": "Ada.", "answers": []},
        {"tokens": ["Ada", "Lovelace"], "tags": ["B-PER", 2]},
        {"text": "It rained, so", "choices": ["x", "y"], "label": 1},
        {"text": "good", "label": True, "pair": None},
    )
    where = "texts.jsonl line {}".format
    assert read_text_set(path).examples == (
        Example("a text alone", where(1)),
        Example("a", where(2), pair="b", label=0.5),
        Example("who?", where(3), pair="Ada.", answers=("Ada",)),
        Example("who?", where(4), pair="Ada.", answers=()),
        Example("Ada Lovelace", where(5), words=("Ada", "Lovelace"), tags=("B-PER", 2)),
        Example("It rained, so", where(6), choices=("x", "y"), label=1),
        Example("good", where(7), label=1),
    )


def test_texts_of_pairs_count_once(tmp_path: Path) -> None:
    path = rows(tmp_path, {"text": "a", "pair": "b"}, {"text": "b", "pair": "c"})
    assert read_text_set(path).texts == ("a", "b", "c")


@pytest.mark.parametrize(
    ("record", "complaint"),
    [
        ({"title": "x"}, "line 2 has no text; name the field 'text'"),
        ({"text": 3}, "line 2: text is a int; it must be a text"),
        ({"text": "  "}, "line 2: text is empty"),
        ({"text": "a\0b"}, "line 2: text has a NUL character"),
        ({"text": "\ud800"}, "line 2: text has half of a surrogate pair"),
        ({"text": "a", "label": [1]}, r"line 2: label is \[1\]"),
        ({"text": "a", "label": float("inf")}, "line 2: label is inf"),
        ({"text": "a", "pair": 1}, "line 2: pair is a int"),
        ({"tokens": [], "tags": []}, "line 2: tokens must be a list"),
        ({"tokens": ["a"], "tags": ["O", "O"]}, "line 2: tags must be a list of 1 labels"),
        ({"tokens": ["a"], "tags": [None]}, r"line 2: tags\[0\] is None"),
        ({"text": "a", "choices": "b"}, "line 2: choices must be a list"),
        ({"text": "a", "answers": {"start": 1}}, "line 2: answers must be a text"),
        ([1, 2], "line 2 holds a list"),
        (None, "line 2 holds a NoneType"),
    ],
)
def test_a_wrong_row_is_named(tmp_path: Path, record: Any, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        read_text_set(rows(tmp_path, {"text": "fine"}, record))


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("t.txt", b"", "holds no text"),
        ("t.txt", b"\n \n\t\n", "holds no text"),
        ("t.txt", b"\xef\xbb\xbf", "holds no text"),
        ("t.txt", b"fine\nna\xefve\n", "line 2: it is not UTF-8"),
        ("t.txt", "text".encode("utf-16"), "is in UTF-16"),
        ("t.txt", "text".encode("utf-32"), "is in UTF-32"),
        ("t.txt", b"PK\x03\x04\x00\x00", "line 1: the row has a NUL character"),
        ("t.jsonl", b'{"text": "a"}\n{"text": \n', "line 2: it is not JSON: Expecting value at character"),
        ("t.jsonl", b"[" * 100_000, "line 1: it is not JSON that can be read"),
        ("t.jsonl", b"1" * 10_000, "line 1: it is not JSON that can be read"),
    ],
)
def test_damaged_files(tmp_path: Path, name: str, content: bytes, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        read_text_set(write(tmp_path, content, name))


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_text_set(tmp_path / "none.txt")
    (tmp_path / "folder.txt").mkdir()
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        read_text_set(tmp_path / "folder.txt")
    with pytest.raises(UsageError, match=r"texts\.pdf ends with \.pdf; texts are read from \.txt, \.jsonl, \.csv, "):
        read_text_set(write(tmp_path, "a,b", "texts.pdf"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_without_permission(tmp_path: Path) -> None:
    path = write(tmp_path, "text")
    path.chmod(0)
    with pytest.raises(InputError, match="cannot be read: Permission denied"):
        read_text_set(path)


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "MAX_BYTES", 10)
    with pytest.raises(InputError, match="Take a sample"):
        read_text_set(write(tmp_path, "eleven bytes"))


def test_columns_of_csv_are_the_fields_of_examples(tmp_path: Path) -> None:
    path = write(tmp_path, 'text,pair,label,id\na,b,good,1\n"c,\nd",,,2\n', "texts.csv")
    assert read_text_set(path).examples == (
        Example("a", "texts.csv line 2", pair="b", label="good"),
        Example("c,\nd", "texts.csv line 3"),
    )
    with pytest.raises(InputError, match="line 2: it has 1 fields and the header 2"):
        read_text_set(write(tmp_path, "text,label\na\n", "texts.csv"))


def test_parquet_without_pyarrow_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("pyarrow", "pyarrow.parquet"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(RuntimeUnavailableError, match=r'pip install "bert-onnx\[parquet\]", or use jsonl'):
        read_text_set(write(tmp_path, b"PAR1", "texts.parquet"))


def test_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "texts.parquet"
    table = pyarrow.table({"text": ["a", "b"], "label": [0, 1], "tokens": [["a"], ["b"]], "tags": [["O"], ["O"]]})
    parquet.write_table(table, path)
    assert [example.label for example in read_text_set(path).examples] == [0, 1]
    assert read_text_set(path).examples[1].where == "texts.parquet row 2"
    with pytest.raises(InputError, match="is not a parquet file"):
        read_text_set(write(tmp_path, b"PAR1 and no more", "cut.parquet"))


def test_too_few_texts() -> None:
    three = text_set("mine", ["a", "b", "b", "c"])
    assert three.at_least(3, "calibration") is three
    with pytest.raises(InputError, match="mine has 3 different texts; calibration needs at least 4"):
        three.at_least(4, "calibration")
    with pytest.raises(InputError, match="mine is empty; evaluation needs at least 1"):
        text_set("mine", []).at_least(1, "evaluation")


def test_what_calibration_saw_is_left_out() -> None:
    seen = text_set("seen", ["b", "d"])
    assert text_set("all", ["a", "b", "c", "d"]).without(seen).texts == ("a", "c")


def test_the_built_in_sets_are_disjoint_and_large_enough() -> None:
    calibration, evaluation = built_in("calibration"), built_in("evaluation")
    assert len(evaluation.texts) >= 512
    assert len(calibration.texts) >= 100
    assert not set(evaluation.texts) & set(calibration.texts)
    assert evaluation.name == "built-in evaluation"


@pytest.mark.parametrize("name", ["t.txt", "t.jsonl"])
def test_random_bytes_are_refused_or_read_but_never_crash(tmp_path: Path, name: str) -> None:
    for seed in range(200):
        content = random.Random(seed).randbytes(seed)
        with contextlib.suppress(BertOnnxError):
            assert read_text_set(write(tmp_path, content, name)).texts

"""Graphs that take text, with input that nobody expects: empty, huge, no Unicode, no text, too many or too few."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from bert_onnx.errors import ArtifactError, InputError, RuntimeUnavailableError, UsageError
from bert_onnx.tasks import TASKS
from bert_onnx.text_input import takes_pairs, text_inputs, token_outputs
from bert_onnx.tokenization import BertTokenizerFast
from export.onnx_file.stream import write_model
from export.text_input.front import TextPlan, tokenizer_graph
from export.text_input.settings import TokenizerTables, tokenizer_tables
from runtimes.engines.base import RuntimeOptions
from runtimes.engines.ort.text import TextRuntime

pytestmark = pytest.mark.slow

pytest.importorskip("onnxruntime_extensions")

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "sat", ".", "##s"]
LONGEST = 16


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> TokenizerTables:
    path = tmp_path_factory.mktemp("vocabulary") / "vocab.txt"
    path.write_text("\n".join(WORDS) + "\n")
    return tokenizer_tables(BertTokenizerFast(path))


def model_for(task: str, tables: TokenizerTables) -> ir.Model:
    row = TASKS[task]
    return tokenizer_graph(TextPlan(row, takes_pairs(row, True), tables, LONGEST), 18, 8)


def save(model: ir.Model, folder: Path) -> Path:
    write_model(model, folder / "tokenizer.onnx")
    return folder / "tokenizer.onnx"


@pytest.fixture
def open_for(tables: TokenizerTables, tmp_path: Path) -> Callable[[str], TextRuntime]:
    def opened(task: str) -> TextRuntime:
        row = TASKS[task]
        path = save(model_for(task, tables), tmp_path)
        return TextRuntime.open(
            path, text_inputs(row, takes_pairs(row, True)), token_outputs(row), RuntimeOptions(threads=1)
        )

    return opened


def ids(runtime: TextRuntime, *texts: str) -> list[list[int]]:
    rows: list[list[int]] = runtime.run(list(texts))["input_ids"].tolist()
    return rows


def test_empty_texts(open_for: Callable[[str], TextRuntime]) -> None:
    runtime = open_for("fill-mask")
    assert ids(runtime, "") == ids(runtime, " \t\n") == ids(runtime, "\0") == [[2, 3]]
    assert ids(runtime, "", "cat") == [[2, 3, 0], [2, 6, 3]]
    with pytest.raises(InputError, match="there are no texts"):
        runtime.run([])


def test_what_is_no_text_is_named(open_for: Callable[[str], TextRuntime]) -> None:
    runtime = open_for("fill-mask")
    for wrong in (None, 5, b"cat", ["cat"]):
        with pytest.raises(InputError, match=f"text 1 is a {type(wrong).__name__}"):
            runtime.run(["cat", wrong])  # type: ignore[list-item]
    with pytest.raises(InputError, match=r"text 0 holds U\+D83D at character 4, half of a surrogate"):
        runtime.run(["cat \ud83d"])


def test_nul_is_left_out_as_tokenizers_do(open_for: Callable[[str], TextRuntime]) -> None:
    assert ids(open_for("fill-mask"), "c\0at \0 sat\0") == [[2, 6, 7, 3]]


def test_bytes_that_are_no_utf8_are_unknown_words(tables: TokenizerTables, tmp_path: Path) -> None:
    """Python cannot hand them over; a program in C can. Here a constant stands for the input."""
    import onnxruntime
    import onnxruntime_extensions

    model = model_for("fill-mask", tables)
    (text,) = model.graph.inputs
    wrong = [b"cat \xff\xfe sat", b"\xe4\xb8", b"cat\xc3", b"the cat"]
    text.const_value = ir.StringTensor(wrong, shape=ir.Shape([len(wrong)]), name=text.name)
    text.shape = ir.Shape([len(wrong)])
    model.graph.register_initializer(text)
    options = onnxruntime.SessionOptions()
    options.register_custom_ops_library(onnxruntime_extensions.get_library_path())
    session = onnxruntime.InferenceSession(str(save(model, tmp_path)), options, providers=["CPUExecutionProvider"])
    rows = dict(zip([value.name for value in session.get_outputs()], session.run(None, {}), strict=True))["input_ids"]
    assert rows.shape[0] == len(wrong)
    assert rows.min() >= 0
    assert rows.max() < len(WORDS)
    assert [token for token in rows[-1] if token] == [2, 5, 6, 3]
    assert rows[0].tolist()[:2] == [2, 6]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a" * 1_000_000, [2, 1, 3]),
        ("." * 1_000_000, [2, *[8] * (LONGEST - 2), 3]),
        ("\u0301" * 300_000 + "cat", [2, 6, 3]),
        ("cat " * 250_000, [2, *[6] * (LONGEST - 2), 3]),
        ("[MASK]" * 150_000, [2, *[4] * (LONGEST - 2), 3]),
    ],
    ids=["word", "dots", "accents", "words", "special"],
)
def test_a_megabyte(open_for: Callable[[str], TextRuntime], text: str, expected: list[int]) -> None:
    runtime = open_for("fill-mask")
    started = time.monotonic()
    found = runtime.run([text, "cat"])
    assert time.monotonic() - started < 60  # seconds at most, with room for machines under load
    assert found["input_ids"][0].tolist() == expected
    assert found["truncated"].tolist() == [int(len(expected) == LONGEST), 0]


def test_second_texts_that_do_not_fit(open_for: Callable[[str], TextRuntime]) -> None:
    single, paired, choosing = open_for("fill-mask"), open_for("question-answering"), open_for("multiple-choice")
    with pytest.raises(InputError, match="takes single texts"):
        single.run(["cat"], ["cat"])
    with pytest.raises(InputError, match="needs a second text for each"):
        paired.run(["cat"])
    with pytest.raises(InputError, match="2 texts but 1 second ones"):
        paired.run(["cat", "sat"], ["cat"])
    with pytest.raises(InputError, match="the same number of choices"):
        choosing.run(["cat", "sat"], [["the"], ["cat", "sat"]])
    with pytest.raises(InputError, match="the same number of choices"):
        choosing.run(["cat"], [[]])
    with pytest.raises(InputError, match="choice of text 0, number 1 is a int"):
        choosing.run(["cat"], [["cat", 3]])
    assert choosing.run(["cat"], [["sat", "the"]])["input_ids"].tolist() == [[[2, 6, 3, 7, 3], [2, 6, 3, 5, 3]]]


def test_outputs_are_chosen_and_closing_ends_it(open_for: Callable[[str], TextRuntime]) -> None:
    runtime = open_for("fill-mask")
    assert list(runtime.run(["cat"], outputs=["truncated"])) == ["truncated"]
    with pytest.raises(UsageError, match="no output 'logits'"):
        runtime.run(["cat"], outputs=["logits"])
    assert "onnxruntime-extensions" in runtime.describe().library
    runtime.close()
    with pytest.raises(UsageError, match="is closed"):
        runtime.run(["cat"])


def test_another_graph_and_a_missing_library(
    tables: TokenizerTables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(model_for("fill-mask", tables), tmp_path)
    task = TASKS["question-answering"]
    with pytest.raises(ArtifactError, match="not what its manifest says"):
        TextRuntime.open(path, text_inputs(task, True), token_outputs(task))
    monkeypatch.setitem(sys.modules, "onnxruntime_extensions", None)
    with pytest.raises(RuntimeUnavailableError, match=r'pip install "bert-onnx\[text\]"'):
        TextRuntime.open(path, text_inputs(task, True), token_outputs(task))


def test_threads_share_a_session(open_for: Callable[[str], TextRuntime]) -> None:
    from concurrent.futures import ThreadPoolExecutor

    runtime = open_for("fill-mask")
    texts = [["cat " * (index % 9), "the sats"] for index in range(64)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(runtime.run, texts))
    for index, outputs in enumerate(found):
        assert np.array_equal(outputs["input_ids"], runtime.run(texts[index])["input_ids"])

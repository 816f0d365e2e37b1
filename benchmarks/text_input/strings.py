"""Tokens of 20,000 real strings: the graph's and those of onnxruntime-extensions' own BertTokenizer against ours."""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from onnx import TensorProto, helper

from benchmarks.measure import REPOSITORY
from bert_onnx.tasks import TASKS
from bert_onnx.text_input import text_inputs, token_outputs
from bert_onnx.tokenization import BertTokenizerFast
from export.onnx_file.stream import write_model
from export.text_input.front import TextPlan, tokenizer_graph
from export.text_input.settings import tokenizer_tables
from runtimes.engines.ort.text import TextRuntime, import_extensions, text_array

Rows = list[list[int]]
Encode = Callable[[Sequence[str]], Rows]

_TASK = TASKS["fill-mask"]
_BATCH = 200
_OTHER = "several of these at once"


@dataclass(frozen=True)
class Found:
    """What one tokenizer made of the strings.

    Args:
        count: strings.
        differences: by class, the strings whose ids differ.
    """

    count: int
    differences: dict[str, list[str]]

    @property
    def identical(self) -> int:
        """Strings whose ids are the same."""
        return self.count - sum(map(len, self.differences.values()))


def real_strings() -> tuple[str, ...]:
    """The strings that the tests tokenise."""
    folder = str(REPOSITORY / "tests" / "parity")
    if folder not in sys.path:
        sys.path.append(folder)
    from tokenizer_corpus import real_strings as strings

    return tuple(strings())


def graph_encoder(tokenizer: BertTokenizerFast, longest: int, raw: bool) -> Encode:
    """The tokenizer in the graph; `raw` gives it strings as they are, as a program that is not ours does."""
    plan = TextPlan(_TASK, False, tokenizer_tables(tokenizer), longest)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "tokenizer.onnx"
        write_model(tokenizer_graph(plan, 18, 8), path)
        runtime = TextRuntime.open(path, text_inputs(_TASK, False), token_outputs(_TASK))

    def encode(texts: Sequence[str]) -> Rows:
        if raw:
            names = ["input_ids", "attention_mask"]
            ids, mask = runtime._session.run(names, {"text": np.array(texts, dtype=object)})
        else:
            found = runtime.run(texts)
            ids, mask = found["input_ids"], found["attention_mask"]
        return [row[own > 0].tolist() for row, own in zip(ids, mask, strict=True)]

    return encode


def operator_encoder(tokenizer: BertTokenizerFast, longest: int) -> Encode:
    """The operator BertTokenizer alone, one text at a time: it takes no more."""
    import onnxruntime

    lower = int(tokenizer.settings.do_lower_case)
    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda row: row[1])
    node = helper.make_node(
        "BertTokenizer",
        ["text"],
        ["ids", "types", "mask"],
        domain="ai.onnx.contrib",
        vocab_file="\n".join(token for token, _ in vocabulary),
        do_lower_case=lower,
        strip_accents=lower,
        max_length=longest,
    )
    ports = [helper.make_tensor_value_info(name, TensorProto.INT64, None) for name in ("ids", "types", "mask")]
    text = helper.make_tensor_value_info("text", TensorProto.STRING, [1])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.contrib", 1)]
    model = helper.make_model(helper.make_graph([node], "g", [text], ports), opset_imports=opsets, ir_version=8)
    options = onnxruntime.SessionOptions()
    options.register_custom_ops_library(import_extensions().get_library_path())
    session = onnxruntime.InferenceSession(
        onnx.ModelProto.SerializeToString(model), options, providers=["CPUExecutionProvider"]
    )

    def encode(texts: Sequence[str]) -> Rows:
        return [session.run(["ids"], {"text": text_array([text], "text")})[0].tolist() for text in texts]

    return encode


def compare(encode: Encode, tokenizer: BertTokenizerFast, longest: int, strings: Sequence[str]) -> Found:
    """`encode` against `tokenizer` on `strings`; each difference is explained by what makes it go away."""

    def reference(texts: Sequence[str]) -> Rows:
        rows: Rows = tokenizer(list(texts), truncation="longest_first", max_length=longest)["input_ids"]
        return rows

    differences: dict[str, list[str]] = {}
    for start in range(0, len(strings), _BATCH):
        batch = strings[start : start + _BATCH]
        for text, found, expected in zip(batch, encode(batch), reference(batch), strict=True):
            if found != expected:
                differences.setdefault(_reason(text, encode, reference, tokenizer), []).append(text)
    return Found(len(strings), dict(sorted(differences.items(), key=lambda item: -len(item[1]))))


def _reason(text: str, encode: Encode, reference: Encode, tokenizer: BertTokenizerFast) -> str:
    """What `text` must be without to give the same ids."""

    def covered(text: str) -> str:
        words = text.split(" ")
        return " ".join(word for word in words if tokenizer.unk_token not in tokenizer.tokenize(word))

    classes = {**_VERBATIM, "words that pieces cover in part, or not at all": covered, **_CHARACTERS}
    for name, without in classes.items():
        shorter = without(text)
        if shorter != text and encode([shorter]) == reference([shorter]):
            return name
    return _OTHER


def _remover(matches: Callable[[str], bool]) -> Callable[[str], str]:
    return lambda text: "".join(char for char in text if not matches(char))


def _is_accented(char: str) -> bool:
    return not 0xAC00 <= ord(char) < 0xD7A4 and (
        unicodedata.category(char) == "Mn" or unicodedata.normalize("NFD", char) != char
    )


#: What is left out of a text to see whether it is to blame: first what is looked for as it is, then characters.
_VERBATIM: dict[str, Callable[[str], str]] = {
    "what follows a NUL": lambda text: text.replace("\0", ""),
    "special tokens in the text": lambda text: re.sub(r"\[(CLS|SEP|MASK|PAD|UNK)\]", "", text),
}
_CHARACTERS: dict[str, Callable[[str], str]] = {
    "Hangul syllables, which are taken apart": _remover(lambda char: 0xAC00 <= ord(char) < 0xD7A4),
    "capital letters": _remover(lambda char: ord(char) > 127 and char.lower() != char),
    "accents and other marks": _remover(_is_accented),
    "punctuation": _remover(lambda char: ord(char) > 127 and unicodedata.category(char)[0] == "P"),
    "white space": _remover(lambda char: unicodedata.category(char)[0] == "Z" and char != " "),
    "controls and invisible characters": _remover(
        lambda char: unicodedata.category(char)[0] == "C" and char not in "\t\n\r"
    ),
}

"""Oracle's graph: a tokenizer of one operator in front of the variant.

    input [1], a string  ->  BertTokenizer  ->  input_ids, attention_mask, token_type_ids [1, S]
    sentence_embedding [1, E]  ->  embedding [W]: its first values

BertTokenizer, of onnxruntime-extensions, takes a text at a time. It is what Oracle's converter puts in front of models,
and the one operator of a tokenizer that is known to be loaded; it differs from BERT's on some texts, which are counted.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx import helper
from tokenizers import Tokenizer

from bert_onnx.sentence_modules import SENTENCE
from bert_onnx.tokenization import load_tokenizer
from export.hosts.compare import check_difference
from export.hosts.graph import save_graph
from export.hosts.host import Subject, refuse
from export.hosts.spread import first_values, keep
from export.hosts.tokenizer import TOKENIZER_NAME
from export.text_input.operators import EXTENSIONS, EXTENSIONS_VERSION
from export.text_input.samples import sample_texts
from runtimes.engines.ort.library import import_onnxruntime
from runtimes.engines.ort.text import import_extensions
from runtimes.pipelines.batches import pad
from runtimes.pipelines.encoding import encode

_TOKENIZER, _INPUT = "BertTokenizer", "input"
#: What the operator returns, in its order.
_TOKENS = ("input_ids", "token_type_ids", "attention_mask")
#: Texts whose vectors are compared, of those that have the model's tokens.
_COMPARED = 12


@dataclass(frozen=True)
class Found:
    """What a comparison on texts found.

    Args:
        count: texts.
        same: those of which both tokenizers make the same tokens.
        difference: the largest between vectors of such texts.
    """

    count: int
    same: int
    difference: float


def write_text_graph(title: str, subject: Subject, folder: Path) -> Path:
    """Write `folder`/model.onnx.

    Raises:
        UsageError: the operator cannot hold the vocabulary; weights do not fit one file.
    """
    attributes = _attributes(title, subject)

    def edit(model: ir.Model) -> ir.Model:
        op, vector = first_values(model.graph, subject.width)
        text = ir.Value(name=_INPUT, type=ir.TensorType(ir.DataType.STRING), shape=ir.Shape([None]))
        made = op.node(_TOKENIZER, [text], attributes, (ir.DataType.INT64,) * 3, EXTENSIONS)
        tokens = dict(zip(_TOKENS, made, strict=True))
        for value in model.graph.inputs:
            value.replace_all_uses_with(op.Unsqueeze(tokens[str(value.name)], op.integers([0])))
        model.graph.inputs[:] = [text]
        model.graph.opset_imports[EXTENSIONS] = EXTENSIONS_VERSION
        return keep(model, op.Squeeze(vector, op.integers([0])), "embedding", (subject.width,))

    return save_graph(title, subject, folder, edit)


def _attributes(title: str, subject: Subject) -> dict[str, Any]:
    """What the operator is told of the artifact's tokenizer."""
    path = subject.folder / TOKENIZER_NAME
    settings = json.loads(path.read_text(encoding="utf-8"))
    rows = sorted(Tokenizer.from_file(str(path)).get_vocab().items(), key=lambda row: row[1])
    tokens = [token for token, _ in rows]
    if [index for _, index in rows] != list(range(len(rows))) or any("\n" in token for token in tokens):
        raise refuse(title, "numbers tokens by their lines", "package a model whose vocabulary has no gaps")
    normalizer, special = settings["normalizer"], load_tokenizer(subject.folder)
    lower = bool(normalizer["lowercase"])
    accents = normalizer.get("strip_accents")
    return {
        "vocab_file": "\n".join(tokens),
        "do_lower_case": int(lower),
        "strip_accents": int(lower if accents is None else accents),
        "tokenize_chinese_chars": int(normalizer["handle_chinese_chars"]),
        "unk_token": settings["model"]["unk_token"],
        "cls_token": special.cls_token,
        "sep_token": special.sep_token,
        "suffix_indicator": settings["model"]["continuing_subword_prefix"],
        "max_length": subject.longest,
    }


def compare_texts(title: str, subject: Subject, graph: Path) -> Found:
    """Run built-in texts through `graph`, one at a time, and through tokenizer and variant.

    Raises:
        VerificationError: vectors of texts with the same tokens differ by more than rounding.
        RuntimeUnavailableError: onnxruntime-extensions is missing.
    """
    texts = sample_texts().texts
    tokenizer = load_tokenizer(subject.folder)
    rows = [pad([window], tokenizer.padding_id) for window in encode(tokenizer, list(texts), None, subject.longest)]
    made = _operator_ids(graph, texts)
    same = [place for place, row in enumerate(rows) if row["input_ids"][0].tolist() == made[place]]
    ort = import_onnxruntime()
    variant = ort.InferenceSession(str(subject.folder / subject.variant.file), providers=["CPUExecutionProvider"])
    names = [port.name for port in variant.get_inputs()]
    whole = _session(graph.read_bytes())
    largest = 0.0
    for place in sorted(same, key=lambda place: len(made[place]))[:: max(1, len(same) // _COMPARED)]:
        wanted = variant.run([SENTENCE], {name: rows[place][name] for name in names})[0][0, : subject.width]
        got = whole.run(None, {_INPUT: np.array([texts[place]], dtype=object)})[0]
        largest = max(largest, check_difference(title, SENTENCE, got, wanted))
    return Found(len(texts), len(same), largest)


def _operator_ids(graph: Path, texts: Sequence[str]) -> list[list[int]]:
    """The ids that the tokenizer in `graph` makes, without running what follows it."""
    model = onnx.load(graph)
    (node,) = [node for node in model.graph.node if node.op_type == _TOKENIZER]
    outputs = [helper.make_tensor_value_info(name, onnx.TensorProto.INT64, [None]) for name in node.output]
    alone = helper.make_graph([node], "tokenizer", model.graph.input, outputs)
    content = helper.make_model(alone, opset_imports=model.opset_import, ir_version=model.ir_version)
    session = _session(content.SerializeToString())
    return [session.run([node.output[0]], {_INPUT: np.array([text], dtype=object)})[0].tolist() for text in texts]


def _session(content: bytes) -> Any:
    ort = import_onnxruntime()
    options = ort.SessionOptions()
    options.register_custom_ops_library(import_extensions().get_library_path())
    return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])

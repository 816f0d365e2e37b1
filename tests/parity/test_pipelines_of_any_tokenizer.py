"""Pipelines with tokenizers that are not BERT's, against those of transformers, on the same weights."""

from __future__ import annotations

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers
from pipeline_models import MAX_LENGTH, open_artifact, open_eager, tiny_model
from tokenizers import Tokenizer
from trained_tokenizers import KINDS, ROLES, write_folder
from vocabularies import TINY_VOCAB, edit_json

import runtimes
from bert_onnx.errors import InputError, TokenizerError, UsageError
from export.pipeline import export
from export.request import ExportRequest

TOLERANCE = 1e-4
CLASSES = {"unigram": "XLMRobertaTokenizer", "bpe": "RobertaTokenizer", "words": "TokenizersBackend"}
TEXTS = [
    "The quick brown fox jumps over the lazy dog.",
    "Paris is the capital of France, isn't it?",
    "naïve café — 東京 and emoji 🙂 stay in place!",
    "a",
]
LABELS = {"id2label": dict(enumerate(["O", "B-PER", "I-PER", "B-LOC"]))}


def checkpoint(folder: Path, kind: str, class_name: str, **changes: Any) -> tuple[Path, Any, Any]:
    """A checkpoint with a tokenizer of that kind, its model and transformers' tokenizer."""
    name = CLASSES.get(kind, "PreTrainedTokenizerFast")
    config = {"tokenizer_class": name, **ROLES, "model_max_length": MAX_LENGTH}
    write_folder(folder, kind, config)
    model = tiny_model(class_name, pad_token_id=1, bos_token_id=0, eos_token_id=2, **changes)
    model.save_pretrained(folder)
    reference = write_folder(folder.parent / "reference", kind, config)
    if name == "TokenizersBackend":  # what transformers 5 calls it
        edit_json(reference / "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast")
    return folder, model, transformers.AutoTokenizer.from_pretrained(reference)


@pytest.mark.parametrize("kind", KINDS)
def test_fill_mask(tmp_path: Path, kind: str) -> None:
    folder, model, tokenizer = checkpoint(tmp_path / "a", kind, "BertForMaskedLM", vocab_size=2500)
    texts = ["The capital of <mask> is Paris.", "<mask>", "I <mask> you, café 東京 <mask>!"]
    expected = transformers.pipeline("fill-mask", model=model, tokenizer=tokenizer, device="cpu")(texts, top_k=4)
    open_pipeline = open_artifact if kind in ("bpe", "unigram") else lambda task, at, _: open_eager(task, at)
    with open_pipeline("fill-mask", folder, tmp_path / "b") as ours:
        for found, reference in zip(ours(texts, top_k=4), expected, strict=True):
            masks = reference if isinstance(reference[0], list) else [reference]
            for guesses, wanted in zip(found.masks, masks, strict=True):
                assert [(g.token, g.sequence) for g in guesses] == [(w["token"], w["sequence"]) for w in wanted]
                np.testing.assert_allclose([g.score for g in guesses], [w["score"] for w in wanted], atol=TOLERANCE)


@pytest.mark.parametrize("kind", KINDS)
def test_token_classification(tmp_path: Path, kind: str) -> None:
    folder, model, tokenizer = checkpoint(tmp_path / "a", kind, "BertForTokenClassification", vocab_size=2500, **LABELS)
    with open_eager("token-classification", folder) as ours:
        for aggregation in ("none", "simple", "first", "average", "max"):
            options = {"aggregation_strategy": aggregation, "ignore_labels": []}
            reader = transformers.pipeline("token-classification", model=model, tokenizer=tokenizer, device="cpu")
            for found, wanted in zip(ours(TEXTS, aggregation, ()), reader(TEXTS, **options), strict=True):
                assert [(e.label, e.word, e.start, e.end) for e in found.entities] == [
                    (w.get("entity", w.get("entity_group")), w["word"], w["start"], w["end"]) for w in wanted
                ]


@pytest.mark.parametrize("kind", KINDS)
def test_question_answering(tmp_path: Path, kind: str) -> None:
    folder, model, tokenizer = checkpoint(tmp_path / "a", kind, "BertForQuestionAnswering", vocab_size=2500)
    reader = transformers.pipeline("question-answering", model=model, tokenizer=tokenizer, device="cpu")
    with open_eager("question-answering", folder) as ours:
        for context in (" ".join(TEXTS), " ".join(TEXTS * 3)):
            for options in ({}, {"max_seq_len": 60, "doc_stride": 10}):
                (found,) = ours("Who jumps over the dog?", context, top_k=2, **options)
                if found.windows > 1:  # where transformers compares what cannot be compared
                    assert all(0 < answer.score <= 1 for answer in found.answers)
                    continue
                wanted = reader(question="Who jumps over the dog?", context=context, top_k=2, **options)
                assert [(a.answer, a.start, a.end) for a in found.answers] == [
                    (w["answer"], w["start"], w["end"]) for w in wanted
                ]
                np.testing.assert_allclose([a.score for a in found.answers], [w["score"] for w in wanted], rtol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_pairs_and_dicts(tmp_path: Path, kind: str) -> None:
    folder, model, tokenizer = checkpoint(tmp_path / "a", kind, "BertForSequenceClassification", vocab_size=2500)
    reader = transformers.pipeline("text-classification", model=model, tokenizer=tokenizer, device="cpu", top_k=None)
    inputs: list[dict[str, str]] = [
        {"text": text, "text_pair": pair} for text, pair in zip(TEXTS, reversed(TEXTS), strict=True)
    ]
    inputs += [{"text": "would", "text_pair": ""}, {"text": "would"}]
    with open_eager("text-classification", folder) as ours:
        for found, given in zip(ours(inputs), inputs, strict=True):
            wanted = {row["label"]: row["score"] for row in reader(given)}
            assert {label.label: pytest.approx(label.score, abs=TOLERANCE) for label in found.labels} == wanted
        assert ours(inputs[0])[0].to_dict() == ours(TEXTS[0], TEXTS[-1])[0].to_dict()
        assert ours("would", "")[0].to_dict() == ours("would")[0].to_dict()
        bad: list[Any] = [None, 5, b"x", {"txt": "a"}, [{"text": "a"}, "b"], {"text": None}, ["a", None]]
        for value in bad:
            with pytest.raises(InputError):
                ours(value)


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_generation(tmp_path: Path, kind: str) -> None:
    folder, model, tokenizer = checkpoint(tmp_path / "a", kind, "BertLMHeadModel", vocab_size=2500, is_decoder=True)
    prompt = "The quick brown"
    row = tokenizer(prompt, add_special_tokens=False, return_tensors="pt")
    made = model.generate(row["input_ids"], max_new_tokens=6, do_sample=False, pad_token_id=1)[0]
    with open_eager("text-generation", folder) as ours:
        (found,) = ours(prompt, max_new_tokens=6, add_special_tokens=False)
    assert list(found.tokens) == made[row["input_ids"].shape[1] :].tolist()
    assert found.text == prompt + tokenizer.decode(made, skip_special_tokens=True)[len(prompt) :]


def test_what_stands_in_an_artifact(tmp_path: Path) -> None:
    """vectors.json, read by a client that knows tokenizer.json alone; what only word pieces can do is refused."""
    folder, _, _ = checkpoint(tmp_path / "a", "unigram", "BertModel", vocab_size=2500)
    export(ExportRequest(str(folder), "sentence-similarity", str(tmp_path / "b")))
    tokenizer = Tokenizer.from_file(str(tmp_path / "b" / "tokenizer.json"))
    cases = json.loads((tmp_path / "b" / "vectors.json").read_text(encoding="utf-8"))["cases"]
    for case in cases:
        rows = np.reshape(case["inputs"]["input_ids"]["values"], case["inputs"]["input_ids"]["shape"])
        for row, pair in zip(rows, zip(case["texts"], case["pairs"] or [None] * len(rows), strict=True), strict=True):
            ids = tokenizer.encode(*pair).ids[: len(row)]
            assert row[: len(ids) - 1].tolist() == ids[:-1]  # a long one ends in </s> where it was cut
    with pytest.raises(UsageError, match="Unigram one, and its operators know word pieces only"):
        export(ExportRequest(str(folder), "sentence-similarity", str(tmp_path / "c"), text_input=True))


def test_a_text_that_reaches_a_token_without_an_embedding(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    tiny_model("BertModel", vocab_size=len(TINY_VOCAB)).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join([*TINY_VOCAB, "newword", "", ""]) + "\n")
    export(ExportRequest(str(folder), "sentence-similarity", str(tmp_path / "b")))
    with runtimes.load(tmp_path / "b") as ours:
        assert ours.embed(["hello world"]).shape == (1, 32)
        with pytest.raises(InputError, match="'newword'"):
            ours.embed(["hello", "hello newword"])
    (folder / "vocab.txt").write_text("\n".join([t for t in TINY_VOCAB if t != "[SEP]"] + ["more"]) + "\n")
    with pytest.raises(TokenizerError, match="stands in every row"):
        export(ExportRequest(str(folder), "sentence-similarity", str(tmp_path / "c")))


@pytest.mark.parametrize("available", [True, False])
def test_japanese(tmp_path: Path, available: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if available:
        pytest.importorskip("fugashi", reason="MeCab is not installed (extra `japanese`)")
        pytest.importorskip("unidic_lite", reason="the dictionary is not installed (extra `japanese`)")
    else:
        monkeypatch.setitem(sys.modules, "fugashi", None)
    folder = tmp_path / "a"
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "日本", "語", "は", "##語", "猫", "で", "ある"]
    model = tiny_model("BertModel", vocab_size=len(words))
    model.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    config = {"tokenizer_class": "BertJapaneseTokenizer", "word_tokenizer_type": "mecab", "do_lower_case": False}
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, "model_max_length": 64}))
    done = export(ExportRequest(str(folder), "feature-extraction", str(tmp_path / "b")))
    assert any("MeCab" in warning for warning in done.warnings)
    assert not (tmp_path / "b" / "tokenizer.json").exists()
    if not available:
        return
    text = "日本語は猫である。"
    row = transformers.BertJapaneseTokenizer.from_pretrained(folder)(text, return_tensors="pt")
    with runtimes.load(tmp_path / "b") as ours:
        (found,) = ours(text)
    np.testing.assert_allclose(found.vectors, model(**row).last_hidden_state[0].detach().numpy(), atol=TOLERANCE)

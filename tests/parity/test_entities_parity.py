"""Named entities against transformers' pipeline where that is right; where not, by what the documentation says."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from typing import Any

import pytest
import transformers
from pipeline_models import open_eager, reference_tokenizer, save_checkpoint, tiny_model

from bert_onnx.errors import InputError, UsageError

LABELS = {"id2label": dict(enumerate(["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-O", "MISC"]))}
AGGREGATIONS = ("none", "simple", "first", "average", "max")
TEXTS = [
    "Angela Merkel met Barack Obama in Berlin on 3 May 2013, antidisestablishmentarianism notwithstanding.",
    "서울특별시는 대한민국의 수도이다. 김치를 좋아해요!",
    "東京都とパリは姉妹都市です。北京大学在中国。",
    "Café Zürich, São Tomé é naïve: Dvořák’s Łódź; İstanbul ß.",
    "e-mail me@example.org / http://a.b c_d  \t mid​dle",
    "",
]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Any]]:
    model = tiny_model("BertForTokenClassification", **LABELS)
    folder = save_checkpoint(model, tmp_path_factory.mktemp("entities") / "checkpoint")
    reader = transformers.pipeline("token-classification", model=model, tokenizer=reference_tokenizer(), device="cpu")
    with open_eager("token-classification", folder) as ours:
        yield ours, reader


def rows(entities: Any) -> list[tuple[Any, ...]]:
    return [(e.label, e.word, e.start, e.end, e.index, pytest.approx(e.score, abs=1e-4)) for e in entities]


def wanted(found: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [
        (e.get("entity", e.get("entity_group")), e["word"], e["start"], e["end"], e.get("index"), e["score"])
        for e in found
    ]


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("delimiter", [" ", "", "--"])
def test_words_that_are_given(pair: tuple[Any, Any], aggregation: str, delimiter: str) -> None:
    ours, reader = pair
    words = [text.split() for text in (TEXTS[0], "Ann-Marie O'Neill, of New York", "x")]
    given = {"aggregation_strategy": aggregation, "is_split_into_words": True, "delimiter": delimiter}
    options = {"is_split_into_words": True, "delimiter": delimiter, "ignore_labels": ["MISC"]}
    found = ours(words, aggregation, **options)
    expected = reader(words, ignore_labels=["MISC"], **given)
    assert [rows(one.entities) for one in found] == [wanted(one) for one in expected]
    (alone,) = ours(words[1], aggregation, **options)
    assert rows(alone.entities) == rows(found[1].entities)
    assert rows(alone.entities) == wanted(reader(words[1], ignore_labels=["MISC"], **given)[0])


def test_offsets_that_are_given(pair: tuple[Any, Any]) -> None:
    ours, reader = pair
    text = TEXTS[0]
    mapping = [(2 * a, 2 * b) for a, b in reference_tokenizer()(text, return_offsets_mapping=True)["offset_mapping"]]
    (found,) = ours(text, "none", offset_mapping=mapping)
    assert rows(found.entities) == wanted(reader(text, aggregation_strategy="none", offset_mapping=mapping))
    both = ours([text, "x"], "none", offset_mapping=[mapping, [(0, 0), (0, 1), (0, 0)]])
    assert rows(both[0].entities) == rows(found.entities)
    with pytest.raises(InputError, match="has 1 tokens, and the text has 3"):
        ours("x", offset_mapping=[(0, 1)])
    with pytest.raises(InputError, match="2 texts but 1 offset mappings"):
        ours(["x", "y"], offset_mapping=[[(0, 0), (0, 1), (0, 0)]])
    with pytest.raises(UsageError, match="read in one window"):
        ours("x", stride=0, offset_mapping=[(0, 0), (0, 1), (0, 0)])


@pytest.mark.parametrize(
    "bad", ["a text", b"x", 5, None, ["a", ["b"]], [["a"], "b"], [["a", 5]], [[["a"]]], {"a": "b"}]
)
def test_words_that_are_none(pair: tuple[Any, Any], bad: Any) -> None:
    with pytest.raises(InputError):
        pair[0](bad, is_split_into_words=True)
    assert pair[0]([], is_split_into_words=True) == []
    assert pair[0]([[]], is_split_into_words=True)[0].entities == ()


def in_a_word(character: str) -> bool:
    """Letters, digits and what combines with them; each Chinese character is a word of its own."""
    kind = unicodedata.category(character)[0]
    return kind in "LMN" and not "\u4e00" <= character <= "\u9fff"


def cuts(text: str, at: int) -> bool:
    return 0 < at < len(text) and in_a_word(text[at - 1]) and in_a_word(text[at])


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("stride", [None, 0, 7])
def test_the_word_strategy_never_cuts_a_word(pair: tuple[Any, Any], form: str, stride: int | None) -> None:
    ours, _ = pair
    texts = [unicodedata.normalize(form, text) for text in [*TEXTS, " ".join(TEXTS * 3), "a" * 300 + " b"]]
    found = ours(texts, "word", ignore_labels=(), stride=stride)
    assert sum(len(one.entities) for one in found) > 40
    for text, one in zip(texts, found, strict=True):
        for entity in one.entities:
            assert not cuts(text, entity.start), (text[:80], entity)
            assert not cuts(text, entity.end), (text[:80], entity)
    every = [(e.start, e.end) for one in found for e in one.entities]
    simple = [(e.start, e.end) for one in ours(texts, "simple", (), stride=stride) for e in one.entities]
    assert every != simple


@pytest.mark.parametrize("aggregation", ["first", "average", "max", "word"])
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_words_of_korean_and_of_decomposed_text_stand_alone(pair: tuple[Any, Any], aggregation: str, form: str) -> None:
    """transformers glues a word to the one before it where its tokens are not as long as their text."""
    ours, _ = pair
    text = unicodedata.normalize(form, "서울 수도 café naïve Łódź")
    places = {at for at in range(len(text) + 1) if at in (0, len(text)) or text[at - 1] == " " or text[at] == " "}
    (found,) = ours(text, aggregation, ignore_labels=())
    assert {place for entity in found.entities for place in (entity.start, entity.end)} <= places
    assert "".join(text[e.start : e.end] for e in found.entities).replace(" ", "") == text.replace(" ", "")


def test_windows_of_the_word_strategy_are_one_text(pair: tuple[Any, Any]) -> None:
    ours, _ = pair
    (short,) = ours(TEXTS[0], "word", ignore_labels=())
    (same,) = ours(TEXTS[0], "word", ignore_labels=(), stride=10)
    assert rows(same.entities) == rows(short.entities)
    assert [e.word for e in ours(TEXTS[0], "average", ())[0].entities] == [e.word for e in short.entities]
    text = "ab " * 85 + "antidisestablishmentarianism" * 3
    (cut,) = ours(text, "word", ignore_labels=())
    assert cut.truncated
    assert cut.entities[-1].end == len(text)
    assert ours(text, "average", ())[0].entities[-1].end < len(text)

"""Tokenizer files: opening, refusing, writing."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from vocabularies import TINY_VOCAB, edit_json, write_vocab

from bert_onnx.errors import InputError, StorageError, TokenizerError
from bert_onnx.tokenization import (
    AddedToken,
    BertTokenizer,
    BertTokenizerFast,
    check_vocabulary,
    load_tokenizer,
)
from bert_onnx.tokenization.settings import NO_LIMIT

LOADERS = [BertTokenizer.from_pretrained, load_tokenizer]


@pytest.fixture(params=LOADERS, ids=["slow", "fast"])
def load(request: pytest.FixtureRequest) -> Any:
    return request.param


def refuse(load: Any, folder: Path, *named: str) -> None:
    """Loading raises a TokenizerError of a sentence or two that names what is expected."""
    with pytest.raises(TokenizerError) as caught:
        load(folder)
    message = str(caught.value)
    for name in named:
        assert name in message
    assert message.endswith(".")
    assert "\n" not in message


def test_options_come_from_the_folder(load: Any, folder: Path) -> None:
    edit_json(folder / "tokenizer_config.json", do_lower_case=False, strip_accents=True, model_max_length=9)
    tokenizer = load(folder)
    assert tokenizer.do_lower_case is False
    assert tokenizer.tokenize("Hello h\u00e9llo hello") == ["[UNK]", "hello", "hello"]
    assert tokenizer.model_max_length == 9


def test_vocab_alone_is_enough(load: Any, vocab_file: Path) -> None:
    tokenizer = load(vocab_file.parent)
    assert tokenizer("Hello").input_ids == [2, 19, 3]
    assert tokenizer.model_max_length > 10**9


def test_tokenizer_json_alone_is_enough_for_the_fast_one(folder: Path) -> None:
    for name in ("vocab.txt", "tokenizer_config.json", "special_tokens_map.json"):
        (folder / name).unlink()
    assert load_tokenizer(folder)("Hello").input_ids == [2, 19, 3]
    refuse(BertTokenizer.from_pretrained, folder, "vocab.txt", "BertTokenizerFast")


def test_truncation_and_padding_in_tokenizer_json_are_ignored(folder: Path) -> None:
    edit_json(
        folder / "tokenizer.json",
        truncation={"max_length": 3, "strategy": "LongestFirst", "stride": 0, "direction": "Right"},
        padding={
            "strategy": {"Fixed": 12},
            "direction": "Right",
            "pad_to_multiple_of": None,
            "pad_id": 0,
            "pad_type_id": 0,
            "pad_token": "[PAD]",
        },
    )
    assert load_tokenizer(folder)("a b c d").input_ids == [2, 10, 11, 12, 13, 3]


def test_no_folder(load: Any, tmp_path: Path) -> None:
    refuse(load, tmp_path / "absent", "There is no folder", "absent")


def test_empty_folder(load: Any, tmp_path: Path) -> None:
    refuse(load, tmp_path, "neither tokenizer.json nor vocab.txt")


@pytest.mark.parametrize("name", ["tokenizer_config.json", "special_tokens_map.json", "tokenizer.json"])
@pytest.mark.parametrize("content", ["{", "", "[1]", "nul", '{"a": 1}}', "\udcff", "[" * 100_000, '{"a":' * 100_000])
def test_damaged_json(load: Any, folder: Path, name: str, content: str) -> None:
    edit_json(folder / "tokenizer_config.json", added_tokens_decoder=...)
    (folder / name).write_bytes(content.encode("utf-8", "surrogateescape"))
    refuse(load, folder, name)


@pytest.mark.parametrize("name", ["RobertaTokenizerFast", "XLMRobertaTokenizer", "MPNetTokenizer"])
def test_word_pieces_are_all_that_the_plain_tokenizer_knows(folder: Path, name: str) -> None:
    edit_json(folder / "tokenizer_config.json", tokenizer_class=name)
    refuse(BertTokenizer.from_pretrained, folder, name, "word pieces only", "load_tokenizer")
    assert load_tokenizer(folder)("hello").input_ids == [2, 19, 3]


def test_a_class_is_a_name(load: Any, folder: Path) -> None:
    edit_json(folder / "tokenizer_config.json", tokenizer_class=5)
    refuse(load, folder, "tokenizer_class 5")


def test_generic_class_needs_tokenizer_json(load: Any, folder: Path) -> None:
    edit_json(folder / "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast")
    load(folder)
    (folder / "tokenizer.json").unlink()
    refuse(load, folder, "needs a tokenizer.json", "BertTokenizer")


@pytest.mark.parametrize("files", [["sentencepiece.bpe.model"], ["vocab.json", "merges.txt"]])
def test_files_that_only_transformers_reads(tmp_path: Path, files: list[str]) -> None:
    for name in files:
        (tmp_path / name).write_bytes(b"x")
    edit_json(tmp_path / "tokenizer_config.json", tokenizer_class="XLMRobertaTokenizer")
    with pytest.raises(TokenizerError, match=r"no tokenizer\.json.*AutoTokenizer\.from_pretrained") as caught:
        load_tokenizer(tmp_path)
    assert all(name in str(caught.value) for name in files)


@pytest.mark.parametrize(
    "changes",
    [
        {"do_lower_case": "yes"},
        {"strip_accents": 1},
        {"model_max_length": "512"},
        {"model_max_length": True},
        {"padding_side": "up"},
        {"truncation_side": 3},
        {"never_split": "word"},
        {"mask_token": 7},
        {"mask_token": {"lstrip": True}},
        {"mask_token": {"content": "[MASK]", "lstrip": "yes"}},
        {"additional_special_tokens": 5},
        {"additional_special_tokens": [5]},
        {"extra_special_tokens": 5},
        {"added_tokens_decoder": [1]},
        {"added_tokens_decoder": {"x": {"content": "a"}}},
        {"added_tokens_decoder": {"-1": {"content": "a"}}},
        {"added_tokens_decoder": {"9" * 5000: {"content": "a"}}},
        {"added_tokens_decoder": {"1": "a", "2": {"content": 5}}},
    ],
    ids=lambda changes: str(changes)[:60],
)
def test_bad_values(load: Any, folder: Path, changes: dict[str, Any]) -> None:
    edit_json(folder / "tokenizer_config.json", **changes)
    refuse(load, folder, next(iter(changes)))


def test_numbers_that_json_allows(load: Any, folder: Path) -> None:
    for text, limit in (("1e30", 10**30), ("1e400", 10**30), ("Infinity", 10**30), ("512.0", 512), ("null", 10**30)):
        (folder / "tokenizer_config.json").write_text(f'{{"model_max_length": {text}}}')
        assert load(folder).model_max_length == pytest.approx(limit)
    for text in ("NaN", "0", "-5"):
        (folder / "tokenizer_config.json").write_text(f'{{"model_max_length": {text}}}')
        assert load(folder).model_max_length == NO_LIMIT
        assert any("counts as no limit" in warning for warning in load(folder).warnings)


def test_the_older_name_of_the_longest_length(load: Any, folder: Path) -> None:
    edit_json(folder / "tokenizer_config.json", model_max_length=..., max_len=7)
    assert load(folder).model_max_length == 7
    edit_json(folder / "tokenizer_config.json", model_max_length=None, max_len=7)  # null counts, as in transformers
    assert load(folder).model_max_length == NO_LIMIT


def test_padding_on_the_left_is_named(load: Any, folder: Path) -> None:
    edit_json(folder / "tokenizer_config.json", padding_side="left")
    assert any("pads on the left" in warning for warning in load(folder).warnings)


def test_a_text_that_needs_a_token_that_is_not_there(tmp_path: Path) -> None:
    """Without [UNK] the tokenizers library reads what the vocabulary covers, and raises for everything else."""
    write_vocab(tmp_path / "vocab.txt", [t for t in TINY_VOCAB if t != "[UNK]"])
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.backend_tokenizer.model.unk_token == "[UNK]"
    assert len(tokenizer(["hello", "a b"]).input_ids) == 2
    with pytest.raises(InputError, match=r"Text 1 cannot be made into tokens .*no token for the unknown"):
        tokenizer(["hello", "龍龍"])


NULLS = ("do_lower_case", "tokenize_chinese_chars", "padding_side", "truncation_side", "added_tokens_decoder")


@pytest.mark.parametrize("name", NULLS)
def test_null_counts_as_not_set(load: Any, folder: Path, name: str) -> None:
    expected = dict(load(folder)("Hello \u4e2d"))
    edit_json(folder / "tokenizer_config.json", **{name: None})
    tokenizer = load(folder)
    assert dict(tokenizer("Hello \u4e2d")) == expected
    assert any(f"null for {name}" in warning for warning in tokenizer.warnings)


@pytest.mark.parametrize("token", ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"])
def test_missing_special_tokens(load: Any, tmp_path: Path, token: str) -> None:
    write_vocab(tmp_path / "vocab.txt", [t for t in TINY_VOCAB if t != token])
    tokenizer = load(tmp_path)
    assert tokenizer.convert_tokens_to_ids(token) == len(TINY_VOCAB) - 1
    assert any("lacks" in warning and repr(token) in warning for warning in tokenizer.warnings)
    if token in ("[CLS]", "[SEP]"):
        with pytest.raises(TokenizerError, match="stands in every row"):
            check_vocabulary(tokenizer, len(TINY_VOCAB) - 1)
        return
    assert check_vocabulary(tokenizer, len(TINY_VOCAB) - 1)
    assert len(tokenizer(["a", "a b"], padding=True).input_ids[0]) == 4
    assert tokenizer.padding_id == (0 if token in ("[PAD]", "[MASK]") else tokenizer.pad_token_id)
    with pytest.raises(InputError, match=re.escape(f"{token!r} with the id {len(TINY_VOCAB) - 1}")):
        tokenizer(f"a {token}")


def test_missing_special_tokens_in_tokenizer_json(folder: Path) -> None:
    edit_json(folder / "tokenizer_config.json", cls_token="<s>", added_tokens_decoder=...)
    edit_json(folder / "special_tokens_map.json", cls_token="<s>")
    tokenizer = load_tokenizer(folder)
    assert tokenizer("a").input_ids[0] == 2  # tokenizer.json builds the rows, whatever the class calls cls
    assert any("cls_token '<s>'" in warning for warning in tokenizer.warnings)


def test_files_that_name_other_special_tokens(load: Any, folder: Path) -> None:
    edit_json(folder / "special_tokens_map.json", mask_token="hello")
    assert any("name other tokens as mask_token" in warning for warning in load(folder).warnings)


def test_a_mask_token_may_be_absent(load: Any, tmp_path: Path) -> None:
    write_vocab(tmp_path / "vocab.txt", [t for t in TINY_VOCAB if t != "[MASK]"])
    edit_json(tmp_path / "tokenizer_config.json", mask_token=None)
    tokenizer = load(tmp_path)
    assert tokenizer.mask_token is None
    assert tokenizer.mask_token_id is None
    assert "[MASK]" not in tokenizer.all_special_tokens
    tokenizer.save_pretrained(tmp_path / "again")
    assert load(tmp_path / "again").mask_token is None


@pytest.mark.parametrize("token", ["[UNK]", "[CLS]", "[PAD]"])
def test_of_repeated_special_tokens_the_last_counts(load: Any, tmp_path: Path, token: str) -> None:
    write_vocab(tmp_path / "vocab.txt", [*TINY_VOCAB, token])
    tokenizer = load(tmp_path)
    assert tokenizer.convert_tokens_to_ids(token) == len(TINY_VOCAB)
    assert any(repr(token) in warning and "more than once" in warning for warning in tokenizer.warnings)


def test_byte_order_mark_hides_the_first_token(load: Any, tmp_path: Path) -> None:
    write_vocab(tmp_path / "vocab.txt", ["\ufeff[PAD]", *TINY_VOCAB[1:]])
    assert any("'[PAD]'" in warning for warning in load(tmp_path).warnings)


@pytest.mark.parametrize("lines", [[*TINY_VOCAB, "", ""], [*TINY_VOCAB[:8], "", "", *TINY_VOCAB[8:]]])
def test_blank_lines_are_tokens_that_no_text_reaches(load: Any, tmp_path: Path, lines: list[str]) -> None:
    write_vocab(tmp_path / "vocab.txt", lines)
    tokenizer = load(tmp_path)
    assert tokenizer("hello").input_ids == [2, lines.index("hello"), 3]
    assert len(check_vocabulary(tokenizer, len(lines) - 1)) == 1
    assert tokenizer("hello world", "").input_ids


def test_unreadable_vocabularies(load: Any, tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_bytes(b"")
    refuse(load, tmp_path, "is empty")
    (tmp_path / "vocab.txt").write_bytes(b"[PAD]\n\xff\xfe\n")
    refuse(load, tmp_path, "not UTF-8")


def test_missing_files() -> None:
    for make in (BertTokenizer, BertTokenizerFast):
        with pytest.raises(TokenizerError, match=r"no vocabulary file absent\.txt"):
            make("absent.txt")
    with pytest.raises(TokenizerError, match=r"no file absent\.json"):
        BertTokenizerFast(tokenizer_file="absent.json")
    with pytest.raises(TokenizerError, match="vocab_file or a tokenizer_file"):
        BertTokenizerFast()


def test_rows_are_those_of_the_post_processor(folder: Path) -> None:
    edit_json(folder / "tokenizer.json", post_processor=None)
    assert load_tokenizer(folder)("a", "b").input_ids == [10, 11]
    edit_json(
        folder / "tokenizer.json",
        post_processor={"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[MASK]", 4]},
    )
    assert load_tokenizer(folder)("a", "b").input_ids == [4, 10, 3, 11, 3]
    edit_json(
        folder / "tokenizer.json",
        post_processor={"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
    )
    assert load_tokenizer(folder)("a", "b").input_ids == [2, 10, 3, 11, 3]


def test_added_tokens_with_other_ids(tmp_path: Path, vocab_file: Path) -> None:
    size = len(TINY_VOCAB)
    edit_json(tmp_path / "tokenizer_config.json", added_tokens_decoder={str(size): {"content": "<e1>"}})
    assert load_tokenizer(tmp_path).convert_tokens_to_ids("<e1>") == size
    edit_json(tmp_path / "tokenizer_config.json", added_tokens_decoder={str(size + 5): {"content": "<e1>"}})
    tokenizer = load_tokenizer(tmp_path)  # as transformers numbers it
    assert tokenizer.convert_tokens_to_ids("<e1>") == size
    assert f"'<e1>' is listed with id {size + 5}" in tokenizer.warnings[-1]
    assert BertTokenizer.from_pretrained(tmp_path).convert_tokens_to_ids("<e1>") == size + 5


def test_saving_is_repeatable(tmp_path: Path, vocab_file: Path) -> None:
    for make in (BertTokenizer, BertTokenizerFast):
        written = []
        for name in ("one", "two"):
            tokenizer = make(vocab_file, additional_special_tokens=["<e1>", "<e2>"], model_max_length=64)
            tokenizer.add_tokens([AddedToken("x y", lstrip=True)])
            files = tokenizer.save_pretrained(tmp_path / make.__name__ / name)
            written.append({Path(file).name: Path(file).read_bytes() for file in files})
        assert written[0] == written[1]
        assert {"vocab.txt", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"} <= set(written[0])
        assert ("tokenizer.json" in written[0]) == (make is BertTokenizerFast)
        again = make.from_pretrained(tmp_path / make.__name__ / "one")
        assert again.settings.special == tokenizer.settings.special
        assert again.get_vocab() == tokenizer.get_vocab()
        assert again.added_tokens_decoder == tokenizer.added_tokens_decoder


def test_saved_configuration_names_no_path(folder: Path) -> None:
    load_tokenizer(folder).save_pretrained(folder / "again")
    for path in (folder / "again").iterdir():
        assert str(folder) not in path.read_text(encoding="utf-8")
    saved = json.loads((folder / "again" / "tokenizer.json").read_text(encoding="utf-8"))
    assert saved["truncation"] is None
    assert saved["padding"] is None


def test_saving_where_nothing_can_be_written(tmp_path: Path, vocab_file: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for make in (BertTokenizer, BertTokenizerFast):
        with pytest.raises(StorageError, match="cannot be written"):
            make(vocab_file).save_pretrained(tmp_path / "file")
        with pytest.raises(StorageError, match="cannot be written"):
            make(vocab_file).save_vocabulary(tmp_path / "absent")


def test_holes_in_a_vocabulary_keep_the_ids(tmp_path: Path, folder: Path) -> None:
    source = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    source["model"]["vocab"].pop("hello")
    (folder / "tokenizer.json").write_text(json.dumps(source), encoding="utf-8")
    (path,) = load_tokenizer(folder).save_vocabulary(folder, "holed")
    assert Path(path).read_text(encoding="utf-8").splitlines()[18:21] == [",", "", "world"]


def test_tokens_that_no_line_can_hold(folder: Path) -> None:
    source = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    source["model"]["vocab"]["two\nlines"] = 25
    (folder / "tokenizer.json").write_text(json.dumps(source), encoding="utf-8")
    with pytest.raises(TokenizerError, match="line break"):
        load_tokenizer(folder).save_vocabulary(folder)


def test_check_vocabulary(load: Any, vocab_file: Path) -> None:
    tokenizer = load(vocab_file.parent)
    size = len(TINY_VOCAB)
    assert check_vocabulary(tokenizer, size) == check_vocabulary(tokenizer, size + 100) == ()
    with pytest.raises(TokenizerError, match=rf"largest id is {size - 1} .* tokens have none"):
        check_vocabulary(tokenizer, 8)
    tokenizer.add_tokens("<e1>")
    (warning,) = check_vocabulary(tokenizer, size)
    assert "'<e1>'" in warning
    assert tokenizer("a b").input_ids == [2, 10, 11, 3]
    with pytest.raises(InputError, match=f"Text 1 holds the token '<e1>' with the id {size}"):
        tokenizer(["a", "a <e1>"])


def test_prefix_and_cleaning_of_tokenizer_json_stay(tmp_path: Path) -> None:
    path = write_vocab(tmp_path / "vocab.txt", TINY_VOCAB)
    BertTokenizerFast(path, do_lower_case=False).save_pretrained(tmp_path)
    document = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    document["model"]["vocab"] = {token.replace("##", "@@"): i for token, i in document["model"]["vocab"].items()}
    document["model"]["continuing_subword_prefix"] = document["decoder"]["prefix"] = "@@"
    document["normalizer"]["clean_text"] = False
    (tmp_path / "tokenizer.json").write_text(json.dumps(document), encoding="utf-8")
    edit_json(tmp_path / "tokenizer_config.json", do_lower_case=True, clean_text=True)
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.tokenize("UNaffable") == ["un", "@@aff", "@@able"]
    assert tokenizer.decode(tokenizer.encode("unaffable"), skip_special_tokens=True) == "unaffable"
    assert tokenizer.tokenize("hel\x00lo") == ["[UNK]"]
    tokenizer.save_pretrained(tmp_path / "saved")
    assert load_tokenizer(tmp_path / "saved").tokenize("unaff hel\x00lo") == ["un", "@@aff", "[UNK]"]


def test_every_failure_is_one_of_ours(folder: Path, load: Any) -> None:
    """Cut the files at many places: either the tokenizer opens, or a TokenizerError says why not."""
    for name in ("tokenizer_config.json", "special_tokens_map.json", "tokenizer.json", "vocab.txt"):
        whole = (folder / name).read_bytes()
        for length in range(0, len(whole), max(1, len(whole) // 40)):
            (folder / name).write_bytes(whole[:length])
            with suppress(TokenizerError):
                load(folder)
        (folder / name).write_bytes(whole)

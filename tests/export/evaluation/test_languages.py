"""Built-in texts in the language of the vocabulary, and texts that are no evidence."""

from __future__ import annotations

import json
import string
import unicodedata
from collections import Counter
from pathlib import Path

import pytest
from export_samples import save_checkpoint, write_texts
from tokenizers import BertWordPieceTokenizer
from trained_tokenizers import ROLES, write_folder

from bert_onnx.checkpoint.finding import sample_folder
from bert_onnx.errors import InputError
from bert_onnx.tokenization import FastTokenizer, load_tokenizer
from export.evaluation.data import BUILT_IN, built_in, covered_languages, is_built_in
from export.evaluation.evidence import check_evidence
from export.evaluation.examples import TextSet, text_set
from export.evaluation.languages import LANGUAGES, Coverage, choose_languages, unknown_share
from export.pipeline import export
from export.precision_texts import PrecisionTexts
from export.request import ExportRequest, PrecisionRequest
from export.verify import verify_artifact

CODES = tuple(LANGUAGES)
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
#: How Unicode's names of letters begin, by our script.
LETTERS = {"Han": ("CJK", "HIRAGANA", "KATAKANA"), **{s: (s.upper(),) for s in ("Latin", "Cyrillic", "Arabic")}}
LETTERS |= {s: (s.upper(),) for s in ("Devanagari", "Thai", "Hangul")}


def of_vocabulary(folder: Path, tokens: list[str], **config: object) -> FastTokenizer:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return load_tokenizer(folder)


def trained(folder: Path, codes: tuple[str, ...], size: int = 2500) -> FastTokenizer:
    """Word pieces of all built-in texts of some languages."""
    model = BertWordPieceTokenizer(lowercase=False)
    texts = [text for which in BUILT_IN for code in codes for text in built_in(which, [code]).texts]
    model.train_from_iterator(texts, size, min_frequency=1, limit_alphabet=6000, show_progress=False)
    tokens = model.get_vocab()
    return of_vocabulary(folder, sorted(tokens, key=tokens.__getitem__), do_lower_case=False)


def test_there_are_ten_languages_and_more_scripts_than_one_hand() -> None:
    assert len(LANGUAGES) >= 10
    assert len({language.script for language in LANGUAGES.values()}) >= 7


@pytest.mark.parametrize("code", CODES)
def test_texts_of_a_language_are_enough_apart_and_in_its_script(code: str) -> None:
    calibration, evaluation = built_in("calibration", [code]), built_in("evaluation", [code])
    assert len(calibration.texts) >= 32
    assert len(evaluation.texts) >= 24
    assert not set(calibration.texts) & set(evaluation.texts)
    letters = [letter for text in (*calibration.texts, *evaluation.texts) for letter in text if letter.isalpha()]
    scripts = Counter(unicodedata.name(letter).split()[0] for letter in letters)
    expected = LETTERS[LANGUAGES[code].script]
    assert sum(count for name, count in scripts.items() if name.startswith(expected)) > 0.9 * len(letters)


def test_english_texts_are_those_that_they_were() -> None:
    """Other ones would move the bytes and the verdicts of every English model."""
    calibration, evaluation = built_in("calibration"), built_in("evaluation")
    assert (calibration.name, len(calibration.texts)) == ("built-in calibration", 169)
    assert (evaluation.name, len(evaluation.texts)) == ("built-in evaluation", 533)
    assert calibration.sha256 == "83f7db524c92a7ca78157743ed0e2ee1969e4ee09475fbdc0c94805e4a4d1ac0"
    assert evaluation.sha256 == "30fb0e3afb78a3dcfd64031a99c6a148c9828172ef04f7acfa1be1b96009fcb0"


def test_a_mix_is_named_and_has_a_part_of_the_english_texts() -> None:
    mix = built_in("evaluation", ["en", "zh", "ar"])
    assert mix.name == "built-in evaluation (en, zh, ar)"
    assert mix.texts[:48] == built_in("evaluation").texts[:48]
    assert mix.texts[48:] == built_in("evaluation", ["zh"]).texts + built_in("evaluation", ["ar"]).texts
    assert is_built_in(mix.name)
    assert is_built_in("built-in calibration")
    assert not is_built_in("built-in evaluation.txt")
    assert not is_built_in("mine (en)")


def test_the_vocabulary_of_the_sample_is_english_cased_or_not(tmp_path: Path) -> None:
    assert covered_languages(load_tokenizer(sample_folder())) == ("en",)
    tokens = (sample_folder() / "vocab.txt").read_text(encoding="utf-8").splitlines()
    assert covered_languages(of_vocabulary(tmp_path, tokens, do_lower_case=False)) == ("en",)


@pytest.mark.parametrize("code", CODES)
def test_a_vocabulary_of_one_language_gets_its_texts(tmp_path: Path, code: str) -> None:
    tokenizer = trained(tmp_path, (code,))
    assert covered_languages(tokenizer) == (code,)
    assert unknown_share(tokenizer, built_in("evaluation", [code]).texts) == 0


def test_japanese_by_characters_and_by_mecab_gets_japanese_texts(tmp_path: Path) -> None:
    pytest.importorskip("fugashi")
    pytest.importorskip("unidic_lite")
    texts = built_in("calibration", ["ja"]).texts + built_in("evaluation", ["ja"]).texts
    tokens = [*SPECIAL, *sorted(set("".join(texts)))]
    options = {"tokenizer_class": "BertJapaneseTokenizer", "mecab_kwargs": {"mecab_dic": "unidic_lite"}}
    for words in ("basic", "mecab"):
        options |= {"word_tokenizer_type": words, "subword_tokenizer_type": "character", "do_lower_case": False}
        assert covered_languages(of_vocabulary(tmp_path / words, tokens, **options)) == ("ja",)


def test_a_multilingual_vocabulary_gets_a_mix(tmp_path: Path) -> None:
    assert covered_languages(trained(tmp_path, CODES, 9000)) == CODES


def test_byte_pairs_have_no_unknown_token_and_words_have(tmp_path: Path) -> None:
    generic = {"tokenizer_class": "PreTrainedTokenizerFast"}
    roles = {role: token for role, token in ROLES.items() if role != "unk_token"}
    pairs = load_tokenizer(write_folder(tmp_path / "bpe", "bpe", generic | roles))
    assert unknown_share(pairs, built_in("evaluation", ["th"]).texts) == 0
    assert covered_languages(pairs)
    words = load_tokenizer(write_folder(tmp_path / "words", "words", generic | ROLES))
    assert unknown_share(words, built_in("evaluation", ["th"]).texts) > 0.9


def test_letters_alone_and_nothing_at_all_stay_with_english(tmp_path: Path) -> None:
    letters = [*string.ascii_lowercase, *string.digits, *string.punctuation]
    spelled = of_vocabulary(tmp_path / "letters", [*SPECIAL, *letters, *(f"##{one}" for one in letters)])
    assert covered_languages(spelled) == ("en",)
    assert covered_languages(of_vocabulary(tmp_path / "nothing", [*SPECIAL, "qzx"])) == ("en",)


def test_a_language_that_is_spelled_out_is_not_taken_for_known() -> None:
    found = {code: Coverage(1.0, 0.5) for code in CODES}
    known = found | {"en": Coverage(0.12, 1.0), "ar": Coverage(0.05, 3.0)}
    assert choose_languages(known) == ("en",)
    assert choose_languages(known | {"ru": Coverage(0.0, 1.0)}) == ("ru",)
    assert choose_languages(known | {"en": Coverage(0.0, 1.1), "fr": Coverage(0.0, 1.0)}) == ("en",)
    assert choose_languages(found) == ("en",)


def half(tmp_path: Path, unknown: int, known: int) -> tuple[FastTokenizer, TextSet]:
    texts = [*(f"zz{number}" for number in range(unknown)), *("the " * (number + 1) for number in range(known))]
    return of_vocabulary(tmp_path, [*SPECIAL, "the"]), text_set("mine.txt", texts)


def test_unknown_text_is_refused_and_doubtful_text_is_noted(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"100% of the tokens of mine\.txt are \[UNK\].*language with --eval FILE"):
        check_evidence(*half(tmp_path, 30, 0), "--eval")
    (note,) = check_evidence(*half(tmp_path, 20, 10), "--calibration")  # 20 of 75
    assert note.startswith("27% of the tokens of mine.txt are [UNK], and say little of the model.")
    assert note.endswith("Give text in the model's language with --calibration FILE.")
    assert check_evidence(*half(tmp_path, 1, 10), "--eval") == ()
    own = built_in("evaluation")
    with pytest.raises(InputError, match="built-in texts in other languages are no better"):
        check_evidence(half(tmp_path, 1, 1)[0], own, "--eval")


@pytest.mark.slow
def test_an_export_with_unknown_text_says_so_before_it_searches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_checkpoint(tmp_path / "checkpoint", "sentence-similarity")
    unknown = tmp_path / "unknown.txt"
    unknown.write_text("".join(f"แมว {number} สุนัข\n" for number in range(60)), encoding="utf-8")
    known = write_texts(tmp_path / "known.txt", 40, 2)
    precision = PrecisionRequest(("int8",), calibration=str(unknown), evaluation=known)
    monkeypatch.setattr(PrecisionTexts, "feeds", property(lambda _: pytest.fail("it was searched")))
    request = ExportRequest(str(tmp_path / "checkpoint"), output=str(tmp_path / "out"), precision=precision)
    with pytest.raises(InputError, match=r"of the tokens of unknown\.txt are \[UNK\]"):
        export(request)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_verify_refuses_unknown_text_and_notes_doubtful_text_and_configs(tmp_path: Path) -> None:
    checkpoint = save_checkpoint(tmp_path / "checkpoint", "sentence-similarity")
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps(config | {"eos_token_id": 10**6}))
    known = write_texts(tmp_path / "known.txt", 40, 2)
    request = ExportRequest(
        str(checkpoint), output=str(tmp_path / "out"), precision=PrecisionRequest(("fp16",), evaluation=known)
    )
    mended = "eos_token_id is 1000000, outside the vocabulary of 40 tokens; it is taken for unset."
    about_config = [f"{checkpoint / 'config.json'}: {mended}"]
    assert [warning for warning in export(request).warnings if "eos_token_id" in warning] == about_config
    mixed = tmp_path / "mixed.txt"
    unknown = "".join(f"ก{number} ข{number} ค{number}\n" for number in range(60))
    mixed.write_text(Path(known).read_text(encoding="utf-8") + unknown, encoding="utf-8")
    report = verify_artifact(str(tmp_path / "out"), str(checkpoint), evaluation=str(mixed))
    assert any("of the tokens of mixed.txt are [UNK]" in warning for warning in report.warnings)
    assert list(report.warnings[:1]) == about_config
    assert report.to_dict()["warnings"] == list(report.warnings)
    mixed.write_text(unknown, encoding="utf-8")
    with pytest.raises(InputError, match=r"100% of the tokens of mixed\.txt are \[UNK\].*--eval FILE"):
        verify_artifact(str(tmp_path / "out"), str(checkpoint), evaluation=str(mixed))

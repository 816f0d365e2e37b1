"""Files beside the weights, and the pooling that a sentence-transformers folder states."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_checkpoints import tiny_folder

from bert_onnx.checkpoint import Pooling, companion_files, find_checkpoint, read_pooling
from bert_onnx.errors import CheckpointError
from bert_onnx.modeling.model import BertModel

WORDS = "sentence_transformers.models."


def sentence_folder(folder: Path, modules: Any, pooling: Any = None, place: str = "1_Pooling") -> Path:
    tiny_folder(folder, BertModel)
    text = modules if isinstance(modules, str) else json.dumps(modules)
    (folder / "modules.json").write_text(text)
    if pooling is not None:
        (folder / place).mkdir()
        (folder / place / "config.json").write_text(pooling if isinstance(pooling, str) else json.dumps(pooling))
    return folder


def modules(*kinds: str, place: str = "1_Pooling") -> list[dict[str, Any]]:
    places = {"Transformer": "", "Pooling": place}
    return [
        {"idx": i, "name": str(i), "path": places.get(kind, f"{i}_{kind}"), "type": WORDS + kind}
        for i, kind in enumerate(kinds)
    ]


def switches(*on: str) -> dict[str, Any]:
    names = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken")
    return {"word_embedding_dimension": 8, **{f"pooling_mode_{name}": name in on for name in names}}


PLAIN = modules("Transformer", "Pooling")
NORMAL = modules("Transformer", "Pooling", "Normalize")


@pytest.mark.parametrize(
    ("listed", "config", "expected"),
    [
        (PLAIN, switches("mean_tokens"), Pooling("mean", False)),
        (NORMAL, switches("mean_tokens"), Pooling("mean", True)),
        (NORMAL, switches("cls_token"), Pooling("cls", True)),
        (PLAIN, switches("max_tokens"), Pooling("max", False)),
        (PLAIN, {"embedding_dimension": 8, "pooling_mode": "cls"}, Pooling("cls", False)),
        (PLAIN, {"word_embedding_dimension": 8}, Pooling("mean", False)),
        (modules("Transformer"), None, None),
    ],
    ids=["mean", "mean-normal", "cls-normal", "max", "by-name", "nothing-said", "no-pooling"],
)
def test_pooling(listed: Any, config: Any, expected: Pooling | None, tmp_path: Path) -> None:
    checkpoint = find_checkpoint(str(sentence_folder(tmp_path, listed, config)))
    assert read_pooling(checkpoint) == expected


def test_pooling_as_sentence_transformers_reads_it(tmp_path: Path) -> None:
    from sentence_transformers.models import Pooling as Reference

    for mode in ("mean", "cls", "max"):
        folder = tmp_path / mode
        sentence_folder(folder, PLAIN)
        (folder / "1_Pooling").mkdir()
        Reference(8, pooling_mode=mode).save(str(folder / "1_Pooling"))
        assert read_pooling(find_checkpoint(str(folder))) == Pooling(mode, False)


def test_pooling_config_elsewhere_in_the_folder(tmp_path: Path) -> None:
    listed = modules("Transformer", "Pooling", place="my_pooling")
    folder = sentence_folder(tmp_path, listed, switches("cls_token"), "my_pooling")
    assert read_pooling(find_checkpoint(str(folder))) == Pooling("cls", False)


def test_no_modules_no_pooling(tmp_path: Path) -> None:
    assert read_pooling(find_checkpoint(str(tiny_folder(tmp_path, BertModel)))) is None


@pytest.mark.parametrize(
    "config",
    [
        switches("mean_sqrt_len_tokens"),
        switches("weightedmean_tokens"),
        switches("lasttoken"),
        switches("cls_token", "mean_tokens"),
        switches(),
        {"pooling_mode": "lasttoken"},
        {"pooling_mode": ["mean", "max"]},
        {"pooling_mode": "invented"},
        "[]",
        "{",
        "[" * 100_000,
        {"word_embedding_dimension": 9, "pooling_mode": "mean"},
    ],
    ids=lambda config: str(config)[:60],
)
def test_pooling_that_is_not_computed_is_refused_with_the_way_out(config: Any, tmp_path: Path) -> None:
    checkpoint = find_checkpoint(str(sentence_folder(tmp_path, PLAIN, config)))
    with pytest.raises(CheckpointError, match=r"1_Pooling/config\.json .*"):
        read_pooling(checkpoint)
    if "word_embedding_dimension" not in config or config["word_embedding_dimension"] == 8:
        with pytest.raises(CheckpointError, match="--pooling"):
            read_pooling(checkpoint)


@pytest.mark.parametrize(
    "listed",
    [
        modules("Transformer", "Pooling", "Dense"),
        modules("Transformer", "Normalize", "Pooling"),
        modules("WordEmbeddings", "Pooling"),
        modules("Pooling"),
        [],
        {},
        "{",
        [{"type": 3}],
        ["Pooling"],
    ],
    ids=lambda listed: str([m.get("type") if isinstance(m, dict) else m for m in listed])[:60],
)
def test_modules_that_are_not_computed_are_refused(listed: Any, tmp_path: Path) -> None:
    checkpoint = find_checkpoint(str(sentence_folder(tmp_path, listed, switches("mean_tokens"))))
    with pytest.raises(CheckpointError, match=r"modules\.json .*--pooling"):
        read_pooling(checkpoint)


@pytest.mark.parametrize("place", ["../outside", "/etc", "a/../../outside", "..", "..\\outside", "C:outside"])
def test_a_module_outside_the_folder_is_refused(place: str, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "config.json").write_text(json.dumps(switches("mean_tokens")))
    folder = sentence_folder(tmp_path / "inner", modules("Transformer", "Pooling", place=place))
    with pytest.raises(CheckpointError, match="leads out of its folder"):
        read_pooling(find_checkpoint(str(folder)))


def test_a_missing_pooling_config_is_named(tmp_path: Path) -> None:
    checkpoint = find_checkpoint(str(sentence_folder(tmp_path, PLAIN)))
    with pytest.raises(CheckpointError, match=r"1_Pooling/config\.json cannot be read"):
        read_pooling(checkpoint)


def test_companions_are_those_that_exist(tmp_path: Path) -> None:
    folder = sentence_folder(tmp_path, PLAIN, switches("mean_tokens"))
    (folder / "vocab.txt").write_text("[PAD]\n")
    (folder / "tokenizer.json").mkdir()
    (folder / "pytorch_model.bin").write_bytes(b"")
    names = [str(path.relative_to(folder)) for path in companion_files(find_checkpoint(str(folder)))]
    assert names == ["vocab.txt", "modules.json", "1_Pooling/config.json"]
    sample = find_checkpoint("sample")
    assert [path.name for path in companion_files(sample)] == [
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "vocab.txt",
        "modules.json",
        "config.json",
        "config_sentence_transformers.json",
        "sentence_bert_config.json",
    ]

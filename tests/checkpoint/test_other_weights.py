"""Folders with something in the place of weights in safetensors: each refusal is true and has the way on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from loading_helpers import load
from tiny_checkpoints import rewrite, tiny_folder, tiny_model

from bert_onnx.checkpoint import find_checkpoint
from bert_onnx.checkpoint.hub import needed_files
from bert_onnx.errors import CheckpointError, HubError
from bert_onnx.modeling.model import BertModel

#: A file -> what is said of it.
OTHERS = {
    "tf_model.h5": r"TensorFlow's weights.*from_tf=True\)\.save_pretrained",
    "flax_model.msgpack": r"Flax's weights.*from_flax=True\)\.save_pretrained",
    "bert_model.ckpt.index": r"a checkpoint of TensorFlow 1.*transformers-cli convert.*bert-onnx convert-weights",
    "model.fp16.safetensors": r"a variant of the weights; to take it, name it model\.safetensors",
    "model.onnx": r"a graph; .*: bert-onnx optimize .*/model\.onnx",
    "model.gguf": r"llama\.cpp",
    "model_state.pdparams": r"of another program.*save_pretrained",
    "rust_model.ot": r"of another program",
    "pytorch_model.bin.index.json": r"a pickle format only .*bert-onnx convert-weights",
    "pytorch_model.fp16.bin": r"a pickle format only .*bert-onnx convert-weights",
}


@pytest.mark.parametrize("file", OTHERS)
def test_what_is_there_is_named_with_the_way_on(file: str, tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path / "m", BertModel)
    (folder / "model.safetensors").unlink()
    for beside in ("optimizer.pt", "openvino_model.bin", file):
        (folder / beside).write_bytes(b"x")
    with pytest.raises(CheckpointError, match=OTHERS[file]):
        find_checkpoint(str(folder))
    (folder / file).unlink()
    with pytest.raises(CheckpointError, match=r"has no weights; looked for model\.safetensors"):
        find_checkpoint(str(folder))


@pytest.mark.parametrize("config", [True, False], ids=["config.json", "adapter alone"])
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ('{"base_model_name_or_path": "org/base", "task_type": "SEQ_CLS"}', r"for org/base.*ForSequenceClassification"),
        ('{"task_type": null}', r"for its base model.*AutoPeftModelForFeatureExtraction"),
        ("[", r"for its base model.*AutoPeftModelForFeatureExtraction"),
    ],
)
def test_an_adapter_says_how_it_is_merged(config: bool, settings: str, said: str, tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path / "m", BertModel)
    (folder / "model.safetensors").rename(folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(settings)
    if not config:
        (folder / "config.json").unlink()
    with pytest.raises(CheckpointError, match=rf"holds an adapter \(PEFT\) {said}.*merge_and_unload"):
        find_checkpoint(str(folder))


def test_an_adapter_beside_the_model_is_left_alone(tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path / "m", BertModel)
    (folder / "adapter_config.json").write_text("{}")
    assert find_checkpoint(str(folder)).source.kind == "folder"


def test_on_the_hub() -> None:
    with pytest.raises(HubError, match="org/m holds an adapter"):
        needed_files(["adapter_config.json", "adapter_model.safetensors"], "org/m", True)
    with pytest.raises(HubError, match=r"safetensors on the hub: tf_model\.h5 is TensorFlow's"):
        needed_files(["config.json", "tf_model.h5"], "org/m", True)


def test_a_pointer_of_git_lfs(tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path / "m", BertModel)
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(CheckpointError, match="pointer of Git LFS, not the file itself; run: git lfs pull"):
        find_checkpoint(str(folder))


QUERY = "encoder.layer.0.attention.self.query"


@pytest.mark.parametrize(
    ("extra", "way"),
    [
        (f"{QUERY}.SCB", "quantised model.*dequantize"),
        (f"{QUERY}.weight.absmax", "quantised model"),
        (f"{QUERY}.weight_mask", r"prune\.remove"),
        (f"{QUERY}.parametrizations.weight.original0", "remove_parametrizations"),
        (f"{QUERY}.lora_A.default.weight", "merge_and_unload"),
        ("encoder.layer.2.output.dense.bias", "set num_hidden_layers"),
        ("encoder.layer.0.output.further.bias", "not left out silently"),
    ],
)
def test_tensors_without_a_place_have_a_way_on_that_fits(extra: str, way: str, tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path / "m", BertModel)
    rewrite(folder / "model.safetensors", lambda tensors: tensors | {extra: torch.ones(2)})
    with pytest.raises(CheckpointError, match=way):
        load(tiny_model(BertModel), folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensor: torch.zeros(0), r"it is empty, as .* ZeRO-3.* zero_to_fp32\.py"),
        (lambda tensor: tensor.to(torch.int8), r"of type I8; .* save the model dequantised"),
        (lambda tensor: torch.zeros(8, 9), "config and weights do not belong together"),
    ],
    ids=["empty", "int8", "wider"],
)
def test_a_tensor_that_does_not_fit_says_why(change: object, message: str, tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path / "m", BertModel)
    weight = f"{QUERY}.weight"
    rewrite(folder / "model.safetensors", lambda tensors: tensors | {weight: change(tensors[weight])})  # type: ignore[operator]
    with pytest.raises(CheckpointError, match=message):
        load(tiny_model(BertModel), folder)

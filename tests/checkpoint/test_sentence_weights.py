"""Weights of the modules behind a transformer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny_checkpoints import tiny_folder

from bert_onnx.checkpoint import Checkpoint, convert_checkpoint, find_checkpoint
from bert_onnx.checkpoint.sentence_weights import load_module_weights
from bert_onnx.errors import CheckpointError
from bert_onnx.modeling.model import BertModel
from bert_onnx.modeling.sentence_chain import SentenceChain
from bert_onnx.sentence_modules import Dense, Module, Pooling

DENSE = Dense("2_Dense", 8, 4, True, "PReLU")
CHAIN: tuple[Module, ...] = (Pooling(("mean",)), DENSE)


def state() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "linear.weight": torch.randn(4, 8, generator=generator),
        "linear.bias": torch.randn(4, generator=generator),
        "activation_function.weight": torch.tensor([0.7]),
    }


def folder_with(folder: Path, tensors: dict[str, torch.Tensor]) -> Path:
    tiny_folder(folder, BertModel)
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Dense", "Dense")]
    entries = [{"path": path, "type": f"sentence_transformers.models.{kind}"} for path, kind in kinds]
    (folder / "modules.json").write_text(json.dumps(entries))
    (folder / "2_Dense").mkdir()
    save_file(tensors, folder / "2_Dense" / "model.safetensors")
    return folder


def load(checkpoint: Checkpoint) -> SentenceChain:
    chain = SentenceChain(CHAIN)
    load_module_weights(chain, checkpoint)
    return chain


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64])
def test_weights_are_read(dtype: torch.dtype, tmp_path: Path) -> None:
    tensors = {name: tensor.to(dtype) for name, tensor in state().items()}
    chain = load(find_checkpoint(str(folder_with(tmp_path, tensors))))
    for name, parameter in chain.layers[1].named_parameters():
        assert torch.equal(parameter, tensors[name].float())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"linear.bias": None}, "lacks linear.bias"),
        ({"linear.extra": torch.ones(1)}, "holds linear.extra"),
        ({"linear.weight": torch.ones(8, 4)}, r"'linear.weight' .* F32 \[8, 4\].*\[4, 8\]"),
        ({"linear.bias": torch.ones(4, dtype=torch.int64)}, "'linear.bias' .* I64"),
        ({"linear.bias": torch.full((4,), float("nan"))}, "'linear.bias' .* nan"),
    ],
)
def test_weights_that_do_not_fit_are_named(change: dict[str, torch.Tensor | None], reason: str, tmp_path: Path) -> None:
    tensors = {name: tensor for name, tensor in {**state(), **change}.items() if tensor is not None}
    checkpoint = find_checkpoint(str(folder_with(tmp_path, tensors)))
    with pytest.raises(CheckpointError, match=reason):
        load(checkpoint)


def test_weights_of_modules_count_for_the_digest(tmp_path: Path) -> None:
    first = find_checkpoint(str(folder_with(tmp_path / "a", state()))).source.weights_sha256
    second = find_checkpoint(str(folder_with(tmp_path / "b", {**state(), "linear.bias": torch.zeros(4)})))
    assert first != second.source.weights_sha256
    (tmp_path / "b" / "2_Dense" / "model.safetensors").unlink()
    assert find_checkpoint(str(tmp_path / "b")).source.weights_sha256 not in (first, second.source.weights_sha256)


def test_pickled_modules_are_refused_and_converted(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, state())
    (folder / "2_Dense" / "model.safetensors").unlink()
    torch.save(state(), folder / "2_Dense" / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="bert-onnx convert-weights"):
        load(find_checkpoint(str(folder)))
    assert convert_checkpoint(folder) == (folder / "2_Dense" / "model.safetensors",)
    assert torch.equal(load(find_checkpoint(str(folder))).layers[1].linear.bias, state()["linear.bias"])
    with pytest.raises(CheckpointError, match="nothing to convert"):
        convert_checkpoint(folder)

"""The eager runtime: the same protocol over a function of tensors."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from toy_artifacts import CONFIG, INPUTS, OUTPUTS

from bert_onnx.errors import InferenceError, InputError, RuntimeUnavailableError, UsageError
from runtimes.engines.eager import EagerRuntime


def module(ids: torch.Tensor, mask: torch.Tensor, types: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    states = (ids[..., None] + torch.arange(4)).to(torch.bfloat16)
    return states, (states * mask[..., None]).sum(1)


def arrays() -> dict[str, np.ndarray]:
    ids = np.array([[2, 5, 3], [2, 3, 0]])
    return {"input_ids": ids, "attention_mask": (ids != 0).astype(np.int64), "token_type_ids": np.zeros_like(ids)}


def test_it_answers_in_float32_by_name() -> None:
    with EagerRuntime(module, INPUTS, OUTPUTS, CONFIG) as runtime:
        results = runtime.run(arrays())
    assert list(results) == ["last_hidden_state", "sentence_embedding"]
    assert all(array.dtype == np.float32 for array in results.values())
    np.testing.assert_array_equal(results["sentence_embedding"], [[10, 13, 16, 19], [5, 7, 9, 11]])
    np.testing.assert_array_equal(results["last_hidden_state"][0, :, 0], [2, 5, 3])


def test_it_returns_only_what_is_asked_for() -> None:
    runtime = EagerRuntime(module, INPUTS, OUTPUTS)
    assert list(runtime.run(arrays(), ["sentence_embedding"])) == ["sentence_embedding"]
    with pytest.raises(UsageError, match="no output 'logits'"):
        runtime.run(arrays(), ["logits"])


def test_it_checks_what_goes_in_and_what_comes_out() -> None:
    runtime = EagerRuntime(module, INPUTS, OUTPUTS, CONFIG)
    with pytest.raises(InputError, match=r"input_ids\[0, 0\] is 99"):
        runtime.run({**arrays(), "input_ids": np.array([[99, 5, 3], [2, 3, 0]])})
    broken = EagerRuntime(lambda *tensors: tuple(t / 0.0 for t in module(*tensors)), INPUTS, OUTPUTS)
    with pytest.raises(InferenceError, match=r"returned inf in last_hidden_state\[0, 0, 0\]"):
        broken.run(arrays())


def test_it_does_not_share_memory_with_its_inputs() -> None:
    def writes(ids: torch.Tensor, mask: torch.Tensor, types: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        result = module(ids, mask, types)
        ids.zero_()
        return result

    inputs = arrays()
    EagerRuntime(writes, INPUTS, OUTPUTS).run(inputs)
    np.testing.assert_array_equal(inputs["input_ids"], arrays()["input_ids"])


def test_it_describes_itself_and_closes() -> None:
    runtime = EagerRuntime(module, INPUTS, OUTPUTS)
    assert runtime.describe().library == f"torch {torch.__version__}"
    assert runtime.describe().name == "eager"
    runtime.close()
    with pytest.raises(UsageError, match="closed"):
        runtime.run(arrays())


def test_without_torch_the_message_has_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(RuntimeUnavailableError, match=r'pip install "bert-onnx\[export\]"'):
        EagerRuntime(module, INPUTS, OUTPUTS)

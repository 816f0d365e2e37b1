"""Activations against those of torch, element by element."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bert_onnx.errors import UsageError
from bert_onnx.sentence_modules import SCORE_ACTIVATIONS
from runtimes.pipelines.activations import find_activation

VALUES = np.array([[-90.0, -6.5, -3.0], [-1.0, -0.5, -1e-4], [0.0, 1e-4, 0.3], [0.5, 1.0, 3.0], [6.0, 21.0, 90.0]])


@pytest.mark.parametrize("name", SCORE_ACTIVATIONS)
@pytest.mark.parametrize("width", [1, 3])
def test_every_activation_is_torch_s(name: str, width: int) -> None:
    logits = VALUES.astype(np.float32).reshape(-1, width)
    module = getattr(torch.nn, name)(**({"dim": -1} if name in ("Softmax", "Softmin", "LogSoftmax") else {}))
    with torch.no_grad():
        expected = module(torch.tensor(logits)).numpy()
    found = find_activation(name)(logits)
    assert found.dtype == np.float32
    # tanhshrink is a difference of near numbers, which torch takes in float32
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=5e-7)


def test_nothing_to_activate() -> None:
    assert find_activation("GELU")(np.empty((0, 1), np.float32)).shape == (0, 1)


def test_an_unknown_one_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(UsageError, match="'GLU' is unknown; choose from Identity"):
        find_activation("GLU")

"""raise_masked_scores: scores overwritten by a mask become scores with a bias, which the next passes understand."""

from __future__ import annotations

import numpy as np
import pytest
from spelled_out import apply, assert_same_answers, assert_untouched, operators
from spelled_out_attention import OUTPUT, STATE_INPUTS, Spelling, feeds

LOWEST = float(np.finfo(np.float32).min)
INPUTS = f"{STATE_INPUTS}, bool[B,1,1,R] hidden"


def masked(line: str, **others: str) -> Spelling:
    return Spelling(**{"biased": line, "inputs": INPUTS, **others})


@pytest.mark.parametrize("fill", [LOWEST, -1e30, -np.inf])
@pytest.mark.parametrize("line", ["b = Where(hidden, fill, t)", "n = Not(hidden) b = Where(n, t, fill)"])
def test_masked_fill(line: str, fill: float) -> None:
    spelling = masked(line)
    model = spelling.model(fill=np.float32(fill))
    assert apply(model, "raise_masked_scores").count == 1
    assert apply(model, "raise_attention").count == 1
    arrays = feeds(model)
    arrays["hidden"] = np.zeros((2, 1, 1, 7), bool)
    arrays["hidden"][1, ..., 3:] = True
    passes = ["raise_masked_scores", "raise_attention"]
    assert_same_answers(spelling.model(fill=np.float32(fill)), passes, arrays)


def test_key_mask() -> None:
    """The mask of the keys is recognised in it afterwards."""
    line = "u = Unsqueeze(mask, at12) h = Equal(u, nought) b = Where(h, fill, t)"
    spelling = masked(line, inputs=f"{STATE_INPUTS}, int64[B,R] mask")
    model = spelling.model(at12=[1, 2], nought=0, fill=LOWEST)
    assert apply(model, "raise_masked_scores", "raise_masks").count == 1
    assert apply(model, "raise_attention").count == 1
    assert operators(model) == {"bert_onnx.KeyMask": 1, "bert_onnx.Attention": 1}


@pytest.mark.parametrize("shape", ["e = Shape(t)", "e = Shape(wide)"])
def test_a_mask_made_as_large_as_the_scores(shape: str) -> None:
    """As DistilBERT's; the shape is that of the scores, or of something else as large."""
    line = f"u = Reshape(mask, places) h = Equal(u, nought) {shape} x = Expand(h, e) b = Where(x, fill, t)"
    spelling = masked(line, inputs=f"{STATE_INPUTS}, int64[B,R] mask, float[B,3,S,R] wide")
    constants = {"places": [0, 1, 1, -1], "nought": 0, "fill": LOWEST}
    model = spelling.model(**constants)
    assert apply(model, "infer_shapes", "raise_masked_scores").count == 1
    assert apply(model, "raise_masks").count == 1
    assert apply(model, "raise_attention").count == 1
    assert operators(model) == {"bert_onnx.KeyMask": 1, "bert_onnx.Attention": 1}


def test_an_expand_that_is_not_known_to_be_as_large_stays() -> None:
    line = "e = Shape(wide) x = Expand(hidden, e) b = Where(x, fill, t)"
    model = masked(line, inputs=f"{INPUTS}, float[B,3,S,R] wide").model(fill=LOWEST)
    assert apply(model, "raise_masked_scores").count == 1  # no shapes were inferred
    assert operators(model)["Expand"] == 1


NOT_ONE = {
    "a small fill": (masked("b = Where(hidden, two, t)"), "swallows"),
    "ten thousand": (masked("b = Where(hidden, fill, t)"), "swallows"),
    "a fill for each key": (masked("b = Where(hidden, seven, t)"), "swallows"),
    "a computed fill": (masked("f = Neg(root) b = Where(hidden, f, t)"), "swallows"),
    "no softmax": (masked("b = Where(hidden, fill, t)", softmax="p = Sigmoid(b)"), None),
    "read elsewhere": (
        masked("b = Where(hidden, fill, t)", after="z = Neg(b)", outputs=f"{OUTPUT}, float[B,3,S,R] z"),
        None,
    ),
    "an output": (masked("b = Where(hidden, fill, t)", outputs=f"{OUTPUT}, float[B,3,S,R] b"), None),
}


@pytest.mark.parametrize(("spelling", "reason"), NOT_ONE.values(), ids=NOT_ONE)
def test_others(spelling: Spelling, reason: str | None) -> None:
    assert_untouched(spelling.model(fill=-10000.0), "raise_masked_scores", reason=reason)

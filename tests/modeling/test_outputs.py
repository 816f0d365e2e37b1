"""Output objects: attribute, key, index and tuple access."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from modeling_samples import tiny_inputs, tiny_model
from torch.utils._pytree import tree_flatten, tree_unflatten

from bert_onnx.modeling.outputs import OUTPUT_CLASSES, MaskedLMOutput, QuestionAnsweringModelOutput


def test_access() -> None:
    logits, states = torch.ones(2), (torch.zeros(1), torch.ones(1))
    output = MaskedLMOutput(logits=logits, hidden_states=states)
    assert output.logits is logits
    assert output["logits"] is logits
    assert output[0] is logits
    assert output[-1] is states
    assert output[:2] == (logits, states)
    assert output.to_tuple() == output.values() == (logits, states)
    assert output.keys() == tuple(output) == ("logits", "hidden_states")
    assert dict(output.items()) == {**output} == {"logits": logits, "hidden_states": states}
    assert len(output) == 2
    assert "loss" not in output
    assert "logits" in output
    assert output.loss is None
    assert output.get("logits") is logits
    assert output.get("loss", 5) == 5


def test_what_is_not_there() -> None:
    output = MaskedLMOutput(logits=torch.ones(2))
    with pytest.raises(KeyError, match="loss"):
        output["loss"]
    with pytest.raises(KeyError, match="nothing"):
        output["nothing"]
    with pytest.raises(IndexError):
        output[1]
    assert len(MaskedLMOutput()) == 0


def test_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        MaskedLMOutput().loss = torch.ones(1)  # type: ignore[misc]


@pytest.mark.parametrize("output_class", OUTPUT_CLASSES, ids=lambda c: c.__name__)
def test_torch_flattens_and_rebuilds(output_class: type) -> None:
    """torch.export and others take outputs apart into tensors, and put them together again."""
    names = [field.name for field in dataclasses.fields(output_class)]
    output = output_class(**{name: torch.full((1,), float(i)) for i, name in enumerate(names)})
    tensors, structure = tree_flatten(output)
    assert [tensor.item() for tensor in tensors] == list(range(len(names)))
    assert tree_unflatten(tensors, structure) == output


def test_loss_comes_first() -> None:
    model = tiny_model("BertForQuestionAnswering")
    position = torch.tensor([1, 2])
    output = model(**tiny_inputs(), start_positions=position, end_positions=position)
    assert isinstance(output, QuestionAnsweringModelOutput)
    assert output[0] is output.loss
    assert output[1:] == (output.start_logits, output.end_logits)
    loss, start, end = model(**tiny_inputs(), start_positions=position, end_positions=position, return_dict=False)
    assert torch.equal(loss, output.loss)
    assert torch.equal(start, output.start_logits)
    assert torch.equal(end, output.end_logits)

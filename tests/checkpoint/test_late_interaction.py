"""What ColBERT checkpoints state, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_checkpoints import tiny_folder

from bert_onnx.checkpoint import find_checkpoint, read_modules, read_settings
from bert_onnx.checkpoint.late_interaction import read_late_interaction
from bert_onnx.errors import CheckpointError
from bert_onnx.late_interaction import LateInteraction
from bert_onnx.modeling.model import BertModel
from bert_onnx.sentence_modules import NormalizeTokens, Projection

DENSE = {"in_features": 8, "out_features": 4, "bias": False, "activation_function": "torch.nn.modules.linear.Identity"}


def more_positions(folder: Path, **fields: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 40, **fields}))


def pylate(folder: Path, config: Any = DENSE, kind: str = "pylate.models.Dense.Dense", **settings: Any) -> Path:
    tiny_folder(folder, BertModel)
    more_positions(folder)
    kinds = ["sentence_transformers.models.Transformer", kind]
    (folder / "modules.json").write_text(json.dumps([{"path": p, "type": k} for p, k in zip(("", "1_D"), kinds)]))  # noqa: B905
    (folder / "1_D").mkdir()
    (folder / "1_D" / "config.json").write_text(json.dumps(config))
    (folder / "config_sentence_transformers.json").write_text(json.dumps(settings))
    return folder


def stanford(folder: Path, metadata: Any = None) -> Path:
    tiny_folder(folder, BertModel)
    more_positions(folder, architectures=["HF_ColBERT"])
    if metadata is not None:
        (folder / "artifact.metadata").write_text(json.dumps(metadata))
    return folder


CHAIN = (Projection("1_D", 8, 4, False, "Identity"), NormalizeTokens())


def test_a_dense_of_either_library_is_a_projection_of_tokens(tmp_path: Path) -> None:
    assert read_modules(find_checkpoint(str(pylate(tmp_path / "own")))) == CHAIN
    stated = pylate(tmp_path / "stated", kind="sentence_transformers.models.Dense", model_type="ColBERT")
    assert read_modules(find_checkpoint(str(stated))) == CHAIN
    measure = pylate(tmp_path / "measure", kind="sentence_transformers.models.Dense", similarity_fn_name="MaxSim")
    assert read_modules(find_checkpoint(str(measure))) == CHAIN
    assert read_settings(find_checkpoint(str(measure))).similarity_fn_name == "cosine"
    with pytest.raises(CheckpointError, match="reads sentence_embedding, which no module"):
        read_modules(find_checkpoint(str(pylate(tmp_path / "neither", kind="sentence_transformers.models.Dense"))))


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({**DENSE, "in_features": 9}, "takes vectors of 9 values"),
        ({**DENSE, "activation_function": "my_code.Activation"}, "no activation of torch.nn"),
        ({**DENSE, "activation_function": None}, "no activation of torch.nn"),
        ({**DENSE, "out_features": 0}, "not a size"),
        ([], "not a JSON object"),
    ],
    ids=lambda value: str(value)[-40:],
)
def test_a_damaged_projection_is_refused(config: Any, reason: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=reason):
        read_modules(find_checkpoint(str(pylate(tmp_path, config))))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, LateInteraction()),
        ({"query_length": 8, "skiplist_words": []}, LateInteraction(query_length=8, skiplist_words=())),
        ({"query_prefix": ""}, LateInteraction("")),
        ({"query_length": 99}, "has 40 positions"),
        ({"query_length": 99, "do_query_expansion": False}, LateInteraction(query_length=99, do_query_expansion=False)),
        ({"query_length": "8"}, "query_length is not a number"),
        ({"document_length": 3}, "document_length is not a number"),
        ({"document_length": True}, "document_length is not a number"),
        ({"query_prefix": 3}, "query_prefix is not a text"),
        ({"skiplist_words": "abc"}, "skiplist_words is not a list"),
        ({"skiplist_words": [3]}, "skiplist_words is not a list"),
        ({"do_query_expansion": "no"}, "do_query_expansion is not true or false"),
    ],
    ids=lambda value: str(value)[:50],
)  # fmt: skip
def test_settings_of_pylate(settings: Any, expected: Any, tmp_path: Path) -> None:
    checkpoint = find_checkpoint(str(pylate(tmp_path, **settings)))
    if isinstance(expected, LateInteraction):
        assert read_late_interaction(checkpoint) == expected
        return
    with pytest.raises(CheckpointError, match=expected):
        read_late_interaction(checkpoint)


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        (None, LateInteraction("[unused0]", "[unused1]")),
        (
            {"query_token_id": "[q]", "doc_token_id": "[d]", "query_maxlen": 9, "doc_maxlen": 30},
            LateInteraction("[q]", "[d]", 9, 30),
        ),
        (
            {"attend_to_mask_tokens": True, "mask_punctuation": False},
            LateInteraction("[unused0]", "[unused1]", attend_to_expansion_tokens=True, skiplist_words=()),
        ),
        ({"mask_punctuation": True}, LateInteraction("[unused0]", "[unused1]")),
        ({"similarity": "l2"}, "compares by cosine"),
        ({"query_maxlen": "long"}, "query_length is not"),
        ([], "not a JSON object"),
    ],
    ids=lambda value: str(value)[:50],
)  # fmt: skip
def test_settings_of_stanford(metadata: Any, expected: Any, tmp_path: Path) -> None:
    checkpoint = find_checkpoint(str(stanford(tmp_path, metadata)))
    if isinstance(expected, LateInteraction):
        assert read_late_interaction(checkpoint) == expected
        return
    with pytest.raises(CheckpointError, match=expected):
        read_late_interaction(checkpoint)


def test_stanford_s_class_without_its_matrix(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"has no matrix linear\.weight"):
        read_modules(find_checkpoint(str(stanford(tmp_path))))

"""BertConfig: what it accepts, what it refuses and how clearly, and that it survives the disk."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bert_onnx.config import ACTIVATIONS, POSITION_EMBEDDING_TYPES, PROBLEM_TYPES, BertConfig
from bert_onnx.errors import ConfigError, StorageError


def write(folder: Path, values: Any) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(values if isinstance(values, str) else json.dumps(values), encoding="utf-8")
    return folder


def configs() -> st.SearchStrategy[BertConfig]:
    """Any legal config of small size."""
    labels = st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=5)
    return st.builds(
        lambda heads, head_size, labels, decoder, cross, **rest: BertConfig(
            num_attention_heads=heads,
            hidden_size=heads * head_size,
            id2label=dict(enumerate(labels)),
            is_decoder=decoder,
            add_cross_attention=decoder and cross,
            pruned_heads={0: (0,)} if heads > 1 else {},
            **rest,
        ),
        heads=st.integers(1, 16),
        head_size=st.integers(1, 64),
        labels=labels,
        decoder=st.booleans(),
        cross=st.booleans(),
        vocab_size=st.integers(10, 10**6),
        pad_token_id=st.none() | st.integers(0, 9),
        mask_token_id=st.none() | st.integers(0, 9),
        hidden_act=st.sampled_from(ACTIVATIONS),
        position_embedding_type=st.none() | st.sampled_from(POSITION_EMBEDDING_TYPES),
        problem_type=st.none() | st.sampled_from(PROBLEM_TYPES),
        classifier_dropout=st.none() | st.floats(0, 1),
        layer_norm_eps=st.floats(0, 1e-3),
        tie_word_embeddings=st.booleans(),
        chunk_size_feed_forward=st.integers(0, 64),
        dtype=st.sampled_from(["float32", "float16", "bfloat16"]),
    )


@given(configs())
@settings(max_examples=60, deadline=None)
def test_survives_its_json_form(config: BertConfig) -> None:
    values = json.loads(json.dumps(config.to_dict()))
    assert BertConfig.from_dict(values) == config


def test_survives_the_disk_and_pickle(tmp_path: Path) -> None:
    config = BertConfig(id2label={0: "nein", 1: "ja", 2: "日本"}, pruned_heads={3: [1, 2]}, architectures=["BertModel"])
    config.save_pretrained(tmp_path / "new" / "folder")
    assert BertConfig.from_pretrained(tmp_path / "new" / "folder") == config
    assert pickle.loads(pickle.dumps(config)) == config
    assert config.pruned_heads == {3: (1, 2)}
    assert config.architectures == ("BertModel",)


def test_equal_configs_give_equal_bytes(tmp_path: Path) -> None:
    BertConfig(id2label={1: "b", 0: "a"}).save_pretrained(tmp_path / "1")
    BertConfig(id2label={1: "b", 0: "a"}).save_pretrained(tmp_path / "2")
    assert (tmp_path / "1/config.json").read_bytes() == (tmp_path / "2/config.json").read_bytes()
    assert sorted(os.listdir(tmp_path / "1")) == ["config.json"]


def test_a_null_padding_token_is_not_the_default() -> None:
    assert BertConfig.from_dict({"pad_token_id": None}).pad_token_id is None
    assert BertConfig.from_dict({}).pad_token_id == 0


def test_null_positions_are_none_at_all() -> None:
    config = BertConfig.from_dict({"position_embedding_type": None})
    assert config.position_embedding_type is None
    assert not config.relative_positions
    assert BertConfig.from_dict(config.to_dict()) == config
    assert BertConfig.from_dict({}).position_embedding_type == "absolute"


def test_a_class_that_is_named_without_a_list() -> None:
    assert BertConfig.from_dict({"architectures": "BertModel"}).architectures == ("BertModel",)


def test_null_stands_for_the_default_elsewhere() -> None:
    own_meaning = ("pad_token_id", "position_embedding_type", "model_type")
    values = {f.name: None for f in dataclasses.fields(BertConfig) if f.name not in own_meaning}
    assert BertConfig.from_dict(values) == BertConfig()


def test_figures() -> None:
    config = BertConfig(hidden_size=48, num_attention_heads=6, num_hidden_layers=3, pruned_heads={1: (0, 4)})
    assert config.head_size == 8
    assert [config.heads_in_layer(layer) for layer in range(3)] == [6, 4, 6]
    assert config.num_labels == 2
    assert config.label2id == {"LABEL_0": 0, "LABEL_1": 1}


def test_replace_validates_and_leaves_the_original() -> None:
    config = BertConfig()
    assert config.replace(num_labels=3).id2label == {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}
    assert config.num_labels == 2
    with pytest.raises(ConfigError, match="hidden_size 10 is not a multiple"):
        config.replace(hidden_size=10)
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.hidden_size = 1  # type: ignore[misc]


def test_num_labels_beside_names() -> None:
    names = {0: "yes", 1: "no", 2: "perhaps"}
    assert BertConfig().replace(num_labels=3, id2label=names).id2label == names
    with pytest.raises(ConfigError, match="num_labels is 4, but id2label has 3 labels"):
        BertConfig().replace(num_labels=4, id2label=names)


def test_num_labels_without_names() -> None:
    assert BertConfig.from_dict({"num_labels": 4}).id2label[3] == "LABEL_3"
    assert BertConfig.from_dict({"num_labels": 4, "id2label": {"0": "a", "1": "b"}}).num_labels == 2


def test_dtype_under_either_name() -> None:
    assert BertConfig.from_dict({"torch_dtype": "float16"}).dtype == "float16"
    assert BertConfig.from_dict({"dtype": "torch.bfloat16"}).dtype == "bfloat16"


def test_how_a_checkpoint_was_run_is_no_property_of_it() -> None:
    assert BertConfig.from_dict({"_attn_implementation": "flash_attention_2"}).attn_implementation == "eager"
    assert "attn_implementation" not in BertConfig(attn_implementation="sdpa").to_dict()


MENDED: list[tuple[dict[str, Any], int | None, list[str], str]] = [
    ({"id2label": {"1": "A", "2": "B"}, "num_labels": 3}, None, ["LABEL_0", "A", "B"], "num_labels 3"),
    ({"id2label": {"1": "A", "2": "B"}}, None, ["LABEL_0", "A"], "names the ids 1, 2"),
    ({"id2label": {"1": "A", "2": "B"}}, 3, ["LABEL_0", "A", "B"], "has 3 classes"),
    ({"id2label": {"0": "A", "5": "B"}}, None, ["A", "LABEL_1"], "names the ids 0, 5"),
    ({"id2label": {"0": "A", "1": "B"}, "num_labels": 5}, None, ["A", "B"], "num_labels 5"),
    ({"id2label": {"0": "A", "1": "B"}, "num_labels": 5}, 5, ["A", "B", "LABEL_2", "LABEL_3", "LABEL_4"], "5 classes"),
    ({"id2label": {"0": "A", "1": "B", "2": "C"}, "num_labels": 2}, None, ["A", "B", "C"], "num_labels 2"),
    ({"id2label": {"0": "A", "1": "B"}, "label2id": {"X": 0}}, None, ["A", "B"], "label2id says other"),
    ({"id2label": {"1": "B", "0": "A"}, "num_labels": 2, "label2id": {"A": 0, "B": 1}}, 7, ["A", "B"], ""),
    ({"id2label": {0: 0, 1: 1}}, None, ["0", "1"], ""),
    ({"num_labels": 2, "label2id": {"X": 0, "Y": 1}}, None, ["LABEL_0", "LABEL_1"], ""),
]


@pytest.mark.parametrize(("values", "classes", "labels", "warning"), MENDED, ids=str)
def test_labels_that_do_not_fit_together(
    values: dict[str, Any], classes: int | None, labels: list[str], warning: str, caplog: pytest.LogCaptureFixture
) -> None:
    config = BertConfig.from_dict(values, classes=classes)
    assert [config.id2label[index] for index in range(config.num_labels)] == labels
    assert (warning in caplog.text) if warning else not caplog.text
    if classes is None:
        from transformers import BertConfig as Reference

        if values.get("num_labels") != 3:  # where transformers makes fewer classes than ids
            assert Reference.from_dict(values).num_labels == len(labels)


@pytest.mark.parametrize(
    ("values", "name", "expected"),
    [({"pad_token_id": 30522}, "pad_token_id", None), ({"pad_token_id": -1}, "pad_token_id", None),
     ({"mask_token_id": 10**9}, "mask_token_id", None), ({"eos_token_id": [5, 6, 10**9]}, "eos_token_id", (5, 6)),
     ({"eos_token_id": [10**9]}, "eos_token_id", None), ({"torch_dtype": "int4"}, "dtype", "float32"),
     ({"dtype": {"text": "float16"}}, "dtype", "float32")],
)  # fmt: skip
def test_what_nothing_uses_is_a_warning(
    values: dict[str, Any], name: str, expected: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert getattr(BertConfig.from_dict(values), name) == expected
    assert name in caplog.text


def test_several_tokens_may_end_a_text(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    config = BertConfig.from_dict({"eos_token_id": [5, 6]})
    assert not caplog.text
    config.save_pretrained(tmp_path)
    assert BertConfig.from_pretrained(tmp_path) == config
    assert json.loads((tmp_path / "config.json").read_text())["eos_token_id"] == [5, 6]
    ends = [BertConfig.from_dict({"eos_token_id": value}).eos_token_ids for value in ([7], 7, [], None)]
    assert ends == [(7,), (7,), (), ()]
    for wrong in ((5, 10**9), (5, "6"), "5", 5.0):
        with pytest.raises(ConfigError, match="eos_token_id"):
            BertConfig(eos_token_id=wrong)  # type: ignore[arg-type]


def test_dtypes_of_every_kind(caplog: pytest.LogCaptureFixture) -> None:
    assert BertConfig.from_dict({"torch_dtype": "float32", "dtype": "float16"}).dtype == "float16"
    for dtype in ("float64", "auto", None, "torch.float64"):
        assert BertConfig.from_dict({"dtype": dtype}).dtype == "float32"
    assert not caplog.text


HUGE = 10**400
BAD_VALUES = [
    ("vocab_size", 0),
    ("vocab_size", True),
    ("vocab_size", "30522"),
    ("hidden_size", 768.0),
    ("hidden_size", -768),
    ("hidden_size", 770),
    ("num_hidden_layers", 0),
    ("num_attention_heads", 0),
    ("intermediate_size", [3072]),
    ("max_position_embeddings", 0),
    ("type_vocab_size", 0),
    ("chunk_size_feed_forward", -1),
    ("hidden_act", "sin"),
    ("hidden_act", ["gelu"]),
    ("position_embedding_type", "rotary"),
    ("problem_type", "guessing"),
    ("is_decoder", "yes"),
    ("is_decoder", 1),
    ("tie_word_embeddings", 0),
    ("hidden_dropout_prob", 1.1),
    ("hidden_dropout_prob", -0.1),
    ("hidden_dropout_prob", "0.1"),
    ("attention_probs_dropout_prob", float("nan")),
    ("classifier_dropout", 2),
    ("layer_norm_eps", -1e-12),
    ("layer_norm_eps", float("inf")),
    ("initializer_range", -0.02),
    ("hidden_dropout_prob", HUGE),
    ("id2label", {}),
    ("id2label", {"one": "a"}),
    ("id2label", {"-1": "a"}),
    ("id2label", ["a", "b"]),
    ("id2label", {"9" * 5000: "a"}),
    ("num_labels", 0),
    ("num_labels", 10**12),
    ("num_labels", "3"),
    ("architectures", 5),
    ("architectures", [1]),
    ("pruned_heads", {"99": [0]}),
    ("pruned_heads", {"0": [12]}),
    ("pruned_heads", {"0": [1, 1]}),
    ("pruned_heads", {"0": list(range(12))}),
    ("pruned_heads", {"0": "1"}),
    ("pruned_heads", {"0": 1}),
    ("pruned_heads", [0]),
    ("add_cross_attention", True),
]


@pytest.mark.parametrize(("name", "value"), BAD_VALUES, ids=lambda value: str(value)[:30])
def test_refuses_a_bad_value_and_names_field_and_file(name: str, value: Any, tmp_path: Path) -> None:
    folder = write(tmp_path, {name: value})
    with pytest.raises(ConfigError) as caught:
        BertConfig.from_pretrained(folder)
    named = "dtype" if name == "torch_dtype" else name
    assert named in str(caught.value)
    assert "config.json" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("model_type", ["deberta-v2", "t5", "", None, 3])
def test_refuses_other_models_and_says_what_is_supported(model_type: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not in the table"):
        BertConfig.from_pretrained(write(tmp_path, {"model_type": model_type}))


@pytest.mark.parametrize(
    "text",
    ["", "{", "nothing", "[]", "3", '"bert"', "[" * 100_000, '{"vocab_size": ' + "1" * 5000 + "}"],
    ids=["empty", "cut", "word", "list", "number", "text", "nested", "digits"],
)
def test_refuses_what_is_no_json_object(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config\.json"):
        BertConfig.from_pretrained(write(tmp_path, text))


def test_refuses_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(b"\xff\xfe{}")
    with pytest.raises(ConfigError, match="cannot be read as JSON"):
        BertConfig.from_pretrained(tmp_path)


def test_a_folder_without_config_says_what_to_name_instead(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has no config\.json; name a folder .* a hub id, or 'sample'"):
        BertConfig.from_pretrained(tmp_path)
    (tmp_path / "config.json").mkdir()
    with pytest.raises(ConfigError, match=r"has no config\.json"):
        BertConfig.from_pretrained(tmp_path)


def test_a_named_pipe_for_a_config_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.json")
    with pytest.raises(ConfigError, match=r"has no config\.json"):
        BertConfig.from_pretrained(tmp_path)


def test_an_unwritable_place_is_a_storage_error_and_keeps_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="could not be written"):
        BertConfig().save_pretrained(tmp_path / "file" / "below")
    assert (tmp_path / "file").read_text() == "x"


def test_the_constructor_refuses_with_the_same_error() -> None:
    with pytest.raises(ConfigError, match="id2label"):
        BertConfig(id2label=5)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="architectures"):
        BertConfig(architectures="BertModel")  # type: ignore[arg-type]


# transformers is the reference: its defaults are ours, and each reads what the other writes.


def reference_config() -> Any:
    from transformers.models.bert.configuration_bert import BertConfig as ReferenceConfig

    return ReferenceConfig


def test_defaults_are_those_of_transformers() -> None:
    reference = reference_config()()
    chosen_by_us = {"dtype": (None, "float32"), "attn_implementation": (None, "eager"), "architectures": (None, ())}
    for field in dataclasses.fields(BertConfig):
        ours, theirs = getattr(BertConfig(), field.name), getattr(reference, field.name, None)
        assert (theirs, ours) == chosen_by_us.get(field.name, (theirs, theirs)), field.name


REFERENCE_OPTIONS: list[dict[str, Any]] = [
    {},
    {"num_labels": 5},
    {"id2label": {0: "O", 1: "B-PER"}, "label2id": {"O": 0, "B-PER": 1}},
    {"is_decoder": True, "add_cross_attention": True, "use_cache": False},
    {"position_embedding_type": "relative_key_query", "hidden_act": "gelu_new", "classifier_dropout": 0.25},
    {"pruned_heads": {0: [1, 3], 2: [0]}, "problem_type": "multi_label_classification"},
    {"tie_word_embeddings": False, "dtype": "float16", "architectures": ["BertForMaskedLM"]},
    {"output_attentions": True, "output_hidden_states": True, "return_dict": False, "chunk_size_feed_forward": 4},
    {"pad_token_id": 3, "bos_token_id": 1, "eos_token_id": 2, "sep_token_id": 4, "layer_norm_eps": 1e-5},
]


@pytest.mark.parametrize("options", REFERENCE_OPTIONS, ids=lambda options: "-".join(options) or "plain")
def test_reads_what_transformers_writes(options: dict[str, Any], tmp_path: Path) -> None:
    reference_config()(**options).save_pretrained(tmp_path)
    config = BertConfig.from_pretrained(tmp_path)
    for name, value in options.items():
        expected: Any = value
        if name == "pruned_heads":
            expected = {layer: tuple(heads) for layer, heads in value.items()}
        if name == "architectures":
            expected = tuple(value)
        assert getattr(config, name) == expected, name


@pytest.mark.parametrize("options", REFERENCE_OPTIONS, ids=lambda options: "-".join(options) or "plain")
def test_transformers_reads_what_we_write(options: dict[str, Any], tmp_path: Path) -> None:
    reference_config()(**options).save_pretrained(tmp_path / "theirs")
    BertConfig.from_pretrained(tmp_path / "theirs").save_pretrained(tmp_path / "ours")
    theirs = reference_config().from_pretrained(tmp_path / "theirs").to_dict()
    ours = reference_config().from_pretrained(tmp_path / "ours").to_dict()
    stated_by_us = {"architectures": [], "dtype": "float32"}  # where transformers leaves None
    for key in theirs.keys() - {"_name_or_path"}:
        assert ours[key] == (stated_by_us.get(key) if theirs[key] is None else theirs[key]), key


def test_labels_and_dtype_by_their_other_names() -> None:
    """As transformers' BertConfig takes them."""
    import torch
    from transformers import BertConfig as Reference

    options: list[dict[str, Any]] = [
        {}, {"num_labels": 3}, {"num_labels": 1}, {"id2label": {0: "a", 1: "b", 2: "c"}},
        {"id2label": {0: "a", 1: "b"}, "label2id": {"a": 0, "b": 1}}, {"id2label": {0: "a"}, "num_labels": 1},
    ]  # fmt: skip
    for chosen in options:
        ours, theirs = BertConfig(**chosen), Reference(**chosen)
        assert (ours.num_labels, ours.id2label) == (theirs.num_labels, theirs.id2label), chosen
        assert ours.label2id == {name: index for index, name in ours.id2label.items()}
        assert pickle.loads(pickle.dumps(ours)) == ours
    for dtype in ("float16", torch.float16, "torch.float16"):
        assert BertConfig(torch_dtype=dtype).dtype == BertConfig(dtype=dtype).torch_dtype == "float16"
    assert BertConfig(num_labels=3).replace(hidden_size=24).num_labels == 3
    assert BertConfig(num_labels=3).replace(id2label={0: "a"}).num_labels == 1
    assert BertConfig(num_labels=3).replace(num_labels=5) == BertConfig(num_labels=5)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_labels": 0}, "num_labels is 0"), ({"num_labels": True}, "num_labels is True"),
        ({"num_labels": "3"}, "num_labels is '3'"), ({"num_labels": 10**9}, "num_labels is 1000000000"),
        ({"num_labels": 3, "id2label": {0: "a"}}, "id2label has 1 labels"),
        ({"id2label": {0: "a"}, "label2id": {"b": 0}}, "label2id says other"), ({"torch_dtype": "int4"}, "dtype is"),
    ],
)  # fmt: skip
def test_labels_and_names_that_contradict(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        BertConfig(**values)

"""What a sentence-transformers folder states, and the files beside the weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_checkpoints import tiny_folder

from bert_onnx.checkpoint import companion_files, find_checkpoint, read_modules, read_settings
from bert_onnx.errors import CheckpointError, UsageError
from bert_onnx.modeling.lm_heads import BertForMaskedLM
from bert_onnx.modeling.model import BertModel
from bert_onnx.sentence_modules import (
    TOKENS,
    Dense,
    LayerNorm,
    Module,
    Normalize,
    Pooling,
    Projection,
    SpladePooling,
    pooled,
)
from bert_onnx.sentence_settings import SentenceSettings

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
        (PLAIN, switches("mean_tokens"), pooled("mean", normalize=False)),
        (NORMAL, switches("mean_tokens"), pooled("mean")),
        (NORMAL, switches("cls_token"), pooled("cls")),
        (PLAIN, switches("max_tokens"), pooled("max", normalize=False)),
        (PLAIN, switches("mean_sqrt_len_tokens"), pooled("mean_sqrt_len_tokens", normalize=False)),
        (PLAIN, switches("lasttoken", "mean_tokens", "cls_token"), pooled("cls", "mean", "lasttoken", normalize=False)),
        (PLAIN, switches("mean_tokens", "max_tokens"), pooled("max", "mean", normalize=False)),
        (PLAIN, switches(), pooled("mean", normalize=False)),
        (PLAIN, {"embedding_dimension": 8, "pooling_mode": "cls"}, pooled("cls", normalize=False)),
        (PLAIN, {"pooling_mode": ["mean", "cls", "mean"]}, pooled("mean", "cls", "mean", normalize=False)),
        (PLAIN, {**switches("cls_token"), "pooling_mode": "lasttoken"}, pooled("lasttoken", normalize=False)),
        (PLAIN, {"word_embedding_dimension": 8}, pooled("mean", normalize=False)),
        (PLAIN, {"word_embedding_dimension": 9, "pooling_mode": "mean"}, pooled("mean", normalize=False)),
        (PLAIN, {"pooling_mode": "mean", "include_prompt": False}, (Pooling(("mean",), False),)),
        (modules("Transformer", "Normalize", "Dropout", "Pooling"), {}, (Normalize(), Pooling(("mean",)))),
        (modules("Transformer"), None, None),
    ],
    ids=lambda value: str(value)[-40:],
)
def test_poolings(listed: Any, config: Any, expected: tuple[Module, ...] | None, tmp_path: Path) -> None:
    checkpoint = find_checkpoint(str(sentence_folder(tmp_path, listed, config)))
    assert read_modules(checkpoint) == expected


def test_modules_as_sentence_transformers_saves_them(tmp_path: Path) -> None:
    import torch
    from sentence_transformers import SentenceTransformer, models

    inner = tiny_folder(tmp_path / "inner", BertModel)
    (inner / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n")
    chain = [
        models.Transformer(str(inner)),
        models.Dense(8, 6, bias=False, activation_function=torch.nn.GELU(), module_input_name="token_embeddings"),
        models.Pooling(6, pooling_mode=("mean", "cls"), include_prompt=False),
        models.LayerNorm(12),
        models.Dense(12, 4),
        models.Normalize(),
    ]
    SentenceTransformer(modules=chain, device="cpu").save(str(tmp_path / "saved"))
    assert read_modules(find_checkpoint(str(tmp_path / "saved"))) == (
        Dense("1_Dense", 8, 6, False, "GELU", "token_embeddings", "token_embeddings"),
        Pooling(("mean", "cls"), False),
        LayerNorm("3_LayerNorm", 12),
        Dense("4_Dense", 12, 4, True, "Tanh"),
        Normalize(),
    )


@pytest.mark.parametrize(
    "kind",
    [
        "sentence_transformers.models.Pooling",
        "sentence_transformers.sentence_transformer.modules.pooling.Pooling",
        "sentence_transformers.sentence_transformer.modules.Pooling",
    ],
)
def test_class_names_of_all_versions(kind: str, tmp_path: Path) -> None:
    listed = modules("Transformer", "Pooling")
    listed[0]["type"], listed[1]["type"] = "sentence_transformers.base.modules.transformer.Transformer", kind
    checkpoint = find_checkpoint(str(sentence_folder(tmp_path, listed, switches("max_tokens"))))
    assert read_modules(checkpoint) == pooled("max", normalize=False)


def test_a_transformer_in_a_folder_of_its_own(tmp_path: Path) -> None:
    listed = modules("Transformer", "Pooling")
    listed[0]["path"] = "0_Transformer"
    folder = sentence_folder(tmp_path, listed, switches("max_tokens"))
    names = [path for path in folder.iterdir() if path.name not in ("modules.json", "1_Pooling")]
    (folder / "0_Transformer").mkdir()
    for path in names:
        path.rename(folder / "0_Transformer" / path.name)
    checkpoint = find_checkpoint(str(folder))
    assert (checkpoint.root, checkpoint.folder) == (folder, folder / "0_Transformer")
    assert read_modules(checkpoint) == pooled("max", normalize=False)


def test_pooling_config_elsewhere_in_the_folder(tmp_path: Path) -> None:
    listed = modules("Transformer", "Pooling", place="my_pooling")
    folder = sentence_folder(tmp_path, listed, switches("cls_token"), "my_pooling")
    assert read_modules(find_checkpoint(str(folder))) == pooled("cls", normalize=False)


def test_no_modules_no_pooling(tmp_path: Path) -> None:
    checkpoint = find_checkpoint(str(tiny_folder(tmp_path, BertModel)))
    assert read_modules(checkpoint) is None
    assert read_settings(checkpoint) == SentenceSettings()


@pytest.mark.parametrize(
    "config",
    [{"pooling_mode": "invented"}, {"pooling_mode": []}, {"pooling_mode": [3]}, {"pooling_mode": 3}, "[]", "{",
     "[" * 100_000],
    ids=lambda config: str(config)[:60],
)  # fmt: skip
def test_a_broken_pooling_is_refused_with_the_way_out(config: Any, tmp_path: Path) -> None:
    checkpoint = find_checkpoint(str(sentence_folder(tmp_path, PLAIN, config)))
    with pytest.raises(CheckpointError, match=r"1_Pooling/config\.json.* --pooling"):
        read_modules(checkpoint)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"in_features": 8, "out_features": 4}, None),
        ({"in_features": 8, "out_features": 4, "activation_function": "torch.nn.modules.linear.Identity"}, None),
        ({"in_features": 8, "out_features": 4, "activation_function": "my_code.Activation"}, None),
        (
            {"in_features": 8, "out_features": 4, "activation_function": "torch.nn.modules.activation.Threshold"},
            "no act",
        ),
        ({"in_features": 8, "out_features": 4, "activation_function": "torch.hub.load"}, "no activation"),
        ({"in_features": 8, "out_features": 4, "activation_function": None}, "not the path"),
        ({"in_features": 9, "out_features": 4}, "takes vectors of 9 values, but sentence_embedding has 8"),
        ({"in_features": 8, "out_features": 4, "module_input_name": "scores"}, "reads scores, which no module"),
        ({"in_features": 8, "out_features": 5, "activation_function": "torch.nn.GLU"}, "halve 5"),
        ({"in_features": True, "out_features": 4}, "not a size"),
        ({"out_features": 4}, "in_features is None"),
        ({"in_features": 8, "out_features": 10**12}, "not a size"),
        ({"in_features": 8, "out_features": -4}, "not a size"),
        ("[]", "not a JSON object"),
    ],
    ids=lambda value: str(value)[-50:],
)
def test_dense(config: Any, reason: str | None, tmp_path: Path) -> None:
    folder = sentence_folder(tmp_path, modules("Transformer", "Pooling", "Dense"), switches("mean_tokens"))
    (folder / "2_Dense").mkdir()
    (folder / "2_Dense" / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    checkpoint = find_checkpoint(str(folder))
    if reason is None:
        activation = "Identity" if "Identity" in str(config) else "Tanh"
        assert read_modules(checkpoint) == (Pooling(("mean",)), Dense("2_Dense", 8, 4, True, activation))
        return
    with pytest.raises(CheckpointError, match=f"{reason}.*--pooling"):
        read_modules(checkpoint)


OWN = [{**PLAIN[0]}, {"path": "", "type": "custom_st.Pooling"}]


@pytest.mark.parametrize(
    "listed",
    [
        modules("Transformer", "WordWeights", "Pooling"),
        modules("Transformer", "Normalize"),
        modules("WordEmbeddings", "Pooling"),
        modules("Pooling"),
        OWN,
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
    with pytest.raises(CheckpointError, match=r"modules\.json.*--pooling"):
        read_modules(checkpoint)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, SentenceSettings()),
        ({"prompts": None, "default_prompt_name": None, "similarity_fn_name": None}, SentenceSettings()),
        (
            {"prompts": {"query": "q: ", "document": None}, "default_prompt_name": "query", "truncate_dim": 4},
            SentenceSettings({"query": "q: ", "document": ""}, "query", truncate_dim=4),
        ),
        ({"default_prompt_name": "document"}, SentenceSettings(default_prompt_name="document")),
        ({"similarity_fn_name": "dot"}, SentenceSettings(similarity_fn_name="dot")),
        ({"default_prompt_name": "absent"}, "no prompt 'absent'; this model has query, document"),
        ({"similarity_fn_name": "angle"}, "'angle' is not one of"),
        ({"prompts": {"query": 3}}, "texts by name"),
        ({"prompts": ["a"]}, "texts by name"),
        ({"truncate_dim": 0}, "not a size"),
        ([], "texts by name"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_settings(settings: Any, expected: SentenceSettings | str, tmp_path: Path) -> None:
    folder = sentence_folder(tmp_path, PLAIN, switches("mean_tokens"))
    (folder / "config_sentence_transformers.json").write_text(json.dumps(settings))
    checkpoint = find_checkpoint(str(folder))
    if isinstance(expected, SentenceSettings):
        assert read_settings(checkpoint) == expected
        return
    with pytest.raises(CheckpointError, match=rf"config_sentence_transformers\.json.*{expected}"):
        read_settings(checkpoint)


@pytest.mark.parametrize("place", ["../outside", "/etc", "a/../../outside", "..", "..\\outside", "C:outside"])
def test_a_module_outside_the_folder_is_refused(place: str, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "config.json").write_text(json.dumps(switches("mean_tokens")))
    folder = sentence_folder(tmp_path / "inner", modules("Transformer", "Pooling", place=place))
    with pytest.raises(CheckpointError, match="leads out of its folder"):
        read_modules(find_checkpoint(str(folder)))


def test_a_missing_pooling_config_is_named(tmp_path: Path) -> None:
    checkpoint = find_checkpoint(str(sentence_folder(tmp_path, PLAIN)))
    with pytest.raises(CheckpointError, match=r"1_Pooling/config\.json cannot be read"):
        read_modules(checkpoint)


def test_companions_are_those_that_exist(tmp_path: Path) -> None:
    folder = sentence_folder(tmp_path, PLAIN, switches("mean_tokens"))
    (folder / "vocab.txt").write_text("[PAD]\n")
    (folder / "tokenizer.json").mkdir()
    (folder / "pytorch_model.bin").write_bytes(b"")
    names = [str(path.relative_to(folder)) for path in companion_files(find_checkpoint(str(folder)))]
    assert names == ["vocab.txt", "modules.json"]
    sample = find_checkpoint("sample")
    assert [path.name for path in companion_files(sample)] == [
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "vocab.txt",
        "modules.json",
        "config_sentence_transformers.json",
        "sentence_bert_config.json",
    ]


def sparse_folder(folder: Path, config: Any, kind: str = "MLMTransformer", **transformer: Any) -> Path:
    tiny_folder(folder, BertForMaskedLM)
    listed = [{"path": "", "type": f"sentence_transformers.sparse_encoder.models.{kind}"}]
    listed += [{"path": "1_S", "type": "sentence_transformers.sparse_encoder.modules.splade_pooling.SpladePooling"}]
    (folder / "modules.json").write_text(json.dumps(listed))
    (folder / "1_S").mkdir()
    (folder / "1_S" / "config.json").write_text(json.dumps(config))
    (folder / "sentence_bert_config.json").write_text(json.dumps(transformer))
    return folder


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"pooling_strategy": "sum", "activation_function": "log1p_relu"}, SpladePooling("sum", "log1p_relu")),
        ({"word_embedding_dimension": 9, "chunk_size": 16}, SpladePooling("max", "relu", 16)),
        ({"embedding_dimension": None, "chunk_size": None}, SpladePooling()),
        ({"pooling_strategy": "mean"}, "pooling_strategy 'mean' is not one of max, sum"),
        ({"activation_function": "gelu"}, "activation_function 'gelu'"),
        ({"activation_function": ["relu"]}, "activation_function"),
        ({"chunk_size": "many"}, "not a number of tokens"),
        ([], "not a JSON object"),
    ],
    ids=lambda value: str(value)[-50:],
)
def test_splade_poolings(config: Any, expected: Any, tmp_path: Path) -> None:
    checkpoint = find_checkpoint(str(sparse_folder(tmp_path, config)))
    if isinstance(expected, SpladePooling):
        assert read_modules(checkpoint) == (expected,)
        assert read_settings(checkpoint, sparse=True).similarity_fn_name == "dot"
        return
    with pytest.raises(CheckpointError, match=f"{expected}.*--pooling"):
        read_modules(checkpoint)


def test_a_transformer_says_whether_it_gives_logits(tmp_path: Path) -> None:
    stated = sparse_folder(tmp_path / "stated", {}, "Transformer", transformer_task="fill-mask")
    assert read_modules(find_checkpoint(str(stated))) == (SpladePooling(),)
    silent = sparse_folder(tmp_path / "silent", {}, "Transformer")
    with pytest.raises(CheckpointError, match="made for logits, and its transformer gives hidden states"):
        read_modules(find_checkpoint(str(silent)))


@pytest.mark.parametrize(
    ("kinds", "reason"),
    [
        (("Router",), r"queries and another one for documents.*sub_modules"),
        (("Transformer", "Pooling", "SparseAutoEncoder"), r"autoencoder .*CSR.*--task"),
        (("Asym",), r"queries and another one for documents.*sub_modules"),
        (("SparseStaticEmbedding",), "no transformer in it"),
        (("StaticEmbedding", "Normalize"), "no transformer in it"),
        (("BoW",), "no transformer in it"),
    ],
)
def test_other_sparse_models_are_refused_with_the_reason(kinds: Any, reason: str, tmp_path: Path) -> None:
    folder = sentence_folder(tmp_path, modules(*kinds), switches("mean_tokens"))
    with pytest.raises(CheckpointError, match=reason):
        read_modules(find_checkpoint(str(folder)))
    if kinds[0] != "Transformer":  # such a folder has no config.json
        (folder / "config.json").unlink()
        with pytest.raises(CheckpointError, match=reason):
            find_checkpoint(str(folder))


@pytest.mark.parametrize("name", ["Softmax", "Softmin", "LogSoftmax"])
def test_a_softmax_on_tokens_is_refused(name: str) -> None:
    """torch runs one without a dimension over the first axis of three, the texts of a batch."""
    with pytest.raises(UsageError, match="over the texts of a batch"):
        Projection("1_Dense", 8, 4, True, name)
    with pytest.raises(UsageError, match="over the texts of a batch"):
        Dense("1_Dense", 8, 4, True, name, TOKENS, TOKENS)
    assert Dense("2_Dense", 8, 4, True, name).width == 4

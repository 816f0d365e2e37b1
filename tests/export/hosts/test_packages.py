"""Packages for hosts: what each computes, written down here again from its source, gives the artifact's vectors."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import zipfile
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from artifact_builders import make_variant
from export_samples import WORDS, save_checkpoint
from onnx import TensorProto, helper
from repository import ROOT
from safetensors.torch import save_file
from tokenizers import BertWordPieceTokenizer, Tokenizer
from toy_artifacts import publish_toy

import runtimes
from bert_onnx.artifact import Artifact, ModelLimits
from bert_onnx.cli.main import main
from bert_onnx.errors import ArtifactError, UsageError, VerificationError
from bert_onnx.tasks import Port
from export.hosts.host import Subject
from export.hosts.opset import lower_opset
from export.hosts.package import package
from export.hosts.table import HOSTS, find_host
from export.pipeline import export
from export.request import ExportRequest

_PLAIN = [word for word in WORDS if word.isalpha()]
#: One word, several, and more than the 20 tokens that the models read.
TEXTS = [_PLAIN[0], " ".join(_PLAIN[:7]), " ".join(_PLAIN * 5)]
QUERY, DOCUMENT = f"{_PLAIN[1]} {_PLAIN[2]}", _PLAIN[3]
#: A batch with padding is other matrix products than a text at a time.
TOLERANCE = 1e-5


def _save_chain(folder: Path) -> Path:
    """Mean pooling, a Dense layer, vectors cut to 12 values, and prompts: as sentence-transformers saves them."""
    save_checkpoint(folder, "feature-extraction", max_position_embeddings=512)
    kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Dense": "Dense"}
    files: dict[str, Any] = {
        "modules.json": [
            {"idx": place, "name": str(place), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for place, (path, kind) in enumerate(kinds.items())
        ],
        "sentence_bert_config.json": {"max_seq_length": 20, "do_lower_case": False},
        "config_sentence_transformers.json": {
            "prompts": {"query": f"{QUERY} ", "document": f"{DOCUMENT} "},
            "similarity_fn_name": "cosine",
            "truncate_dim": 12,
        },
        "1_Pooling/config.json": {"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True},
        "2_Dense/config.json": {
            "in_features": 32, "out_features": 16, "bias": True,
            "activation_function": "torch.nn.modules.activation.Tanh",
        },
    }  # fmt: skip
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    torch.manual_seed(0)
    save_file(
        {"linear.weight": torch.randn(16, 32), "linear.bias": torch.randn(16)}, folder / "2_Dense" / "model.safetensors"
    )
    return folder


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """`cls`: by CLS, scaled to length 1; `chain`: see `_save_chain`."""
    folder = tmp_path_factory.mktemp("hosts")
    plain = save_checkpoint(folder / "plain", "feature-extraction", max_position_embeddings=512)
    asked = {
        "cls": ExportRequest(
            str(plain), "sentence-similarity", output=str(folder / "cls"), pooling="cls", normalize=True
        ),
        "chain": ExportRequest(str(_save_chain(folder / "st")), output=str(folder / "chain")),
    }
    return {name: export(request).artifact.folder for name, request in asked.items()}


def _session(folder: Path) -> onnxruntime.InferenceSession:
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    assert len(session.get_outputs()) == 1
    return session


def _feed(session: onnxruntime.InferenceSession, rows: list[Any]) -> dict[str, np.ndarray]:
    given = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
    return {port.name: np.array([getattr(row, given[port.name]) for row in rows]) for port in session.get_inputs()}


def spring_ai(folder: Path, texts: list[str]) -> np.ndarray:
    """`call` and `meanPooling` of TransformersEmbeddingModel, with the tokenizer of application.properties."""
    properties = dict(
        line.split("=") for line in (folder / "application.properties").read_text().splitlines() if "=" in line
    )
    option = "spring.ai.embedding.transformer.tokenizer.options."
    assert properties[f"{option}padding"] == properties[f"{option}truncation"] == "true"
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert tokenizer.truncation["max_length"] == int(properties[f"{option}maxLength"])
    session = _session(folder)
    inputs = _feed(session, tokenizer.encode_batch(texts))
    states = session.run([properties["spring.ai.embedding.transformer.onnx.modelOutputName"]], inputs)[0]
    mask = np.broadcast_to(inputs["attention_mask"][..., None], states.shape).astype(np.float32)
    return (states * mask).sum(1) / np.clip(mask.sum(1), 1e-9, None)


def langchain4j(folder: Path, texts: list[str], pooling: str) -> np.ndarray:
    """`embed` of OnnxBertBiEncoder: tokens, a text made of them again, the first output, pooled and scaled."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    session, vectors = _session(folder), []
    for text in texts:
        tokens = tokenizer.encode(text).tokens
        assert len(tokens) <= 512  # else it averages partitions
        again = " ".join(tokens[1:-1]).replace(" ##", "").strip()
        assert tokenizer.encode(again).tokens == tokens
        states = session.run(None, _feed(session, [tokenizer.encode(again)]))[0][0]
        pooled = states[0] if pooling == "CLS" else states.mean(0)
        vectors.append(pooled / np.sqrt((pooled * pooled).sum()))
    return np.array(vectors)


def vespa(folder: Path, texts: list[str], destination: str = "") -> np.ndarray:
    """`embed` of HuggingFaceEmbedder, with the options of the component."""
    component = ElementTree.fromstring((folder / "services-component.xml").read_text())
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    if tokenizer.truncation is None:
        tokenizer.enable_truncation(int(component.findtext("max-tokens") or 512))
    prompt = component.findtext(f"prepend/{destination}") if destination else None
    session, vectors = _session(folder), []
    assert len(session.get_inputs()) <= 3
    for text in texts:
        inputs = _feed(session, [tokenizer.encode(f"{prompt} {text}" if prompt else text)])
        states = session.run([component.findtext("transformer-output")], inputs)[0]
        assert states.ndim == 3
        vector = states[0, 0] if component.findtext("pooling-strategy") == "cls" else states[0].mean(0)
        vectors.append(vector / np.linalg.norm(vector) if component.findtext("normalize") == "true" else vector)
    return np.array(vectors)


def opensearch(folder: Path, texts: list[str]) -> np.ndarray:
    """`processInput` and `processOutput` of ONNXSentenceTransformerTextEmbeddingTranslator, with register.json."""
    request = json.loads((folder / "register.json").read_text())
    content = (folder / "model.zip").read_bytes()
    assert request["model_content_hash_value"] == hashlib.sha256(content).hexdigest()
    assert request["model_content_size_in_bytes"] == len(content)
    with zipfile.ZipFile(folder / "model.zip") as archive:
        assert archive.namelist() == ["model.onnx", "tokenizer.json"]
        archive.extractall(folder / "opened")
    tokenizer = Tokenizer.from_file(str(folder / "opened" / "tokenizer.json"))
    session, config, vectors = _session(folder / "opened"), request["model_config"], []
    assert (request["model_format"], config["framework_type"]) == ("ONNX", "sentence_transformers")
    for text in texts:
        row = tokenizer.encode(text)
        given = [row.ids, row.attention_mask, *([row.type_ids] if config["model_type"] in ("bert", "albert") else [])]
        ports = session.get_inputs()  # DJL matches arrays with them by position
        states = session.run(None, {port.name: [array] for port, array in zip(ports, given, strict=True)})[0][0]
        assert config["pooling_mode"] == "CLS"
        vectors.append(states[0] / np.linalg.norm(states[0]) if config["normalize_result"] else states[0])
    shutil.rmtree(folder / "opened")
    assert len(vectors[0]) == config["embedding_dimension"]
    return np.array(vectors)


def typesense(folder: Path, texts: list[str]) -> np.ndarray:
    """`TextEmbedder`: checks of `is_model_valid`, `batch_embed` with rows padded by 0, and `mean_pooling` over all."""
    config = json.loads((folder / "config.json").read_text())
    for name, key in (("model.onnx", "model_md5"), (config["vocab_file_name"], "vocab_md5")):
        assert hashlib.md5((folder / name).read_bytes()).hexdigest() == config[key]
    session = _session(folder)
    assert [port.name for port in session.get_inputs()] == ["input_ids", "attention_mask", "token_type_ids"]
    shape = session.get_outputs()[0].shape
    assert [isinstance(axis, str) for axis in shape] == [True, True, False]
    tokenizer = BertWordPieceTokenizer(str(folder / config["vocab_file_name"]), lowercase=True)
    tokenizer.enable_truncation(512)
    tokenizer.enable_padding(pad_id=0)
    return session.run(None, _feed(session, tokenizer.encode_batch(texts)))[0].mean(1)


def teradata(folder: Path, texts: list[str]) -> np.ndarray:
    """ONNXEmbeddings with the options of embed.sql, on a graph of the versions that it takes."""
    graph = onnx.load(folder / "model.onnx")
    assert (graph.ir_version, [(one.domain, one.version) for one in graph.opset_import]) == (8, [("", 14)])
    onnx.checker.check_model(graph, full_check=True)
    options = dict(re.findall(r"(\w+)\('?([\w()]+?)'?\)\n", (folder / "embed.sql").read_text()))
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(int(options["EncodedMaxLength"]))
    session = _session(folder)
    rows = [_feed(session, [tokenizer.encode(text)]) for text in texts]
    vectors = np.concatenate([session.run([options["ModelOutputTensor"]], row)[0] for row in rows])
    assert options["OutputFormat"] == f"FLOAT32({vectors.shape[1]})"
    return vectors


def sql_server(folder: Path, texts: list[str]) -> np.ndarray:
    """Every pooling that it may have, since its own is not documented: they must agree."""
    assert {path.name for path in folder.iterdir()} == {"model.onnx", "tokenizer.json", "create-model.sql"}
    tokenizer, session = Tokenizer.from_file(str(folder / "tokenizer.json")), _session(folder)
    states = [session.run(None, _feed(session, [tokenizer.encode(text)]))[0][0] for text in texts]
    means, maxima, first = (np.array([pool(one) for one in states]) for pool in (_mean, _maximum, _first))
    assert np.abs(means - first).max() <= TOLERANCE
    assert np.array_equal(maxima, first)
    return means


def oracle(folder: Path, texts: list[str]) -> np.ndarray:
    """LOAD_ONNX_MODEL with the metadata of load.sql: what ONNX Runtime 1.15 and Oracle's own converter have."""
    extensions = pytest.importorskip("onnxruntime_extensions")
    found = re.search(r"'(\S+\.onnx)', '([A-Z]\w*)', JSON\('(.*)'\)", (folder / "load.sql").read_text())
    assert found is not None
    metadata = json.loads(found[3])
    graph = onnx.load(folder / found[1])
    versions = {one.domain: one.version for one in graph.opset_import}
    assert (graph.ir_version <= 9, versions[""] <= 19, versions.keys()) == (True, True, {"", "ai.onnx.contrib"})
    assert {node.op_type for node in graph.graph.node if node.domain} == {"BertTokenizer"}
    options = onnxruntime.SessionOptions()
    options.register_custom_ops_library(extensions.get_library_path())
    session = onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
    (taken,), (given,) = session.get_inputs(), session.get_outputs()
    assert (metadata["input"], metadata["embeddingOutput"]) == ({taken.name: ["DATA"]}, given.name)
    assert (taken.type, given.type, len(given.shape)) == ("tensor(string)", "tensor(float)", 1)
    return np.array([session.run(None, {taken.name: np.array([text], dtype=object)})[0] for text in texts])


def _mean(states: np.ndarray) -> np.ndarray:
    return states.mean(0)


def _maximum(states: np.ndarray) -> np.ndarray:
    return states.max(0)


def _first(states: np.ndarray) -> np.ndarray:
    return states[0]


HOST_CASES: dict[str, tuple[str, Callable[[Path, list[str]], np.ndarray]]] = {
    "spring-ai": ("spring-ai", spring_ai),
    "langchain4j, CLS": ("langchain4j", lambda folder, texts: langchain4j(folder, texts, "CLS")),
    "langchain4j, MEAN": ("langchain4j", lambda folder, texts: langchain4j(folder, texts, "MEAN")),
    "vespa": ("vespa", vespa),
    "opensearch": ("opensearch", opensearch),
    "typesense": ("typesense", typesense),
    "teradata": ("teradata", teradata),
    "sql-server": ("sql-server", sql_server),
    "oracle": ("oracle", oracle),
}


@pytest.mark.parametrize("model", ["cls", "chain"])
@pytest.mark.parametrize("case", HOST_CASES)
def test_the_host_gives_the_vectors_of_the_artifact(
    artifacts: dict[str, Path], tmp_path: Path, case: str, model: str
) -> None:
    host, emulated = HOST_CASES[case]
    if host == "oracle":
        pytest.importorskip("onnxruntime_extensions")
    report = package(artifacts[model], host, tmp_path / "package")
    with runtimes.load(artifacts[model]) as opened:
        wanted = opened.embed(TEXTS)
    if host == "langchain4j":
        wanted = wanted / np.linalg.norm(wanted, axis=1, keepdims=True)
    got = emulated(report.folder, TEXTS)
    assert got.shape == wanted.shape == (3, 32 if model == "cls" else 12)
    if (host, model) == ("typesense", "chain"):  # it cuts at 512 tokens and not at the model's 20, as a note says
        assert any("and not at the model's 20" in note for note in report.notes)
        got, wanted = got[:2], wanted[:2]
    assert np.abs(got - wanted).max() <= TOLERANCE
    assert report.difference is not None
    assert report.difference <= TOLERANCE
    assert report.files == {path.name: path.stat().st_size for path in report.folder.iterdir()}
    assert [path.name for path in tmp_path.iterdir()] == ["package"]


def test_prompts_are_in_the_package_or_in_a_note(artifacts: dict[str, Path], tmp_path: Path) -> None:
    report = package(artifacts["chain"], "vespa", tmp_path / "vespa")
    with runtimes.load(artifacts["chain"]) as opened:
        for destination in ("query", "document"):
            wanted = opened.embed(TEXTS, prompt_name=destination)
            assert np.abs(vespa(report.folder, TEXTS, destination) - wanted).max() <= TOLERANCE
    for host in ("spring-ai", "langchain4j", "opensearch", "typesense", "teradata", "sql-server", "oracle"):
        notes = " ".join(package(artifacts["chain"], host, tmp_path / host).notes)
        assert repr(f"{QUERY} ") in notes
        assert repr(f"{DOCUMENT} ") in notes


def test_openvino_reads_its_own_format(artifacts: dict[str, Path], tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino")
    report = package(artifacts["cls"], "openvino", tmp_path / "ir")
    assert {"openvino_model.xml", "openvino_model.bin", "config.json", "tokenizer.json"} <= set(report.files)
    exact = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    compiled = openvino.Core().compile_model(report.folder / "openvino_model.xml", "CPU", exact)
    row = Tokenizer.from_file(str(report.folder / "tokenizer.json")).encode(TEXTS[1])
    inputs = {"input_ids": [row.ids], "attention_mask": [row.attention_mask], "token_type_ids": [row.type_ids]}
    with runtimes.load(artifacts["cls"]) as model:
        wanted = model.embed(TEXTS[1:2])
    arrays = {name: np.array(values) for name, values in inputs.items()}
    assert np.abs(compiled(arrays)["sentence_embedding"] - wanted).max() <= TOLERANCE


def _altered(artifact: Path, **changes: Any) -> Subject:
    """What is known of an artifact whose manifest has other settings of sentences, or other fields."""
    manifest = Artifact.open(artifact).manifest
    fields = {name: value for name, value in changes.items() if hasattr(manifest, name)}
    settings = {name: value for name, value in changes.items() if name not in fields}
    altered = replace(manifest, sentence=replace(manifest.sentence, **settings), **fields)
    return Subject(artifact, altered, altered.variant())


_IDS = Port("input_ids", "int64", ("batch_size", "sequence_length"))


@pytest.mark.parametrize(
    ("host", "changes", "rule"),
    [
        ("langchain4j", {"similarity_fn_name": "dot"}, "scales every vector to length 1"),
        ("vespa", {"prompts": {"query": "a:", "document": "b: "}}, "puts one space after a prompt"),
        ("vespa", {"prompts": {"document": "b: "}}, "puts the prompt of documents before queries"),
        ("spring-ai", {"outputs": (), "task": "fill-mask"}, "an artifact of fill-mask has none; export"),
        ("spring-ai", {"inputs": (_IDS, Port("prompt_length", "int64", ()))}, "reads prompt_length, too"),
        ("vespa", {"variants": (make_variant(),)}, None),
        ("typesense", {"config": ModelLimits(40, 511, 2, 0, False)}, "feeds up to 512 tokens, and this model has 511"),
        ("typesense", {"files": {"tokenizer.json": None}}, r"reads vocab\.txt, which this artifact lacks"),
        ("triton", {"inputs": (_IDS, Port("prompt_length", "int64", (1,)))}, "that of prompt_length is not batch_size"),
        ("triton", {"variants": (replace(make_variant(), target="openvino"),)}, "model is for openvino; choose"),
        ("triton", {"variants": (replace(make_variant(), target="ort-cuda"),)}, None),
        ("teradata", {"variants": (replace(make_variant(), target="ort-cpu"),)}, "wants opset 14, which the operators"),
        ("oracle", {"variants": (replace(make_variant(), opset=21),)}, "up to opset 19 and IR 9, and model has others"),
        ("oracle", {"variants": (replace(make_variant(), target="ort-cpu"),)}, "package a --variant for portable"),
        ("openvino", {"variants": (replace(make_variant(), target="ort-cpu"),)}, "model is for ort-cpu; choose"),
        ("vespa", {"variants": (replace(make_variant(), target="ort-cuda"),)}, "model is for ort-cuda; choose"),
    ],
)
def test_rules_that_a_model_breaks(
    artifacts: dict[str, Path], host: str, changes: dict[str, Any], rule: str | None
) -> None:
    with nullcontext() if rule is None else pytest.raises(UsageError, match=rule):
        find_host(host).check(_altered(artifacts["chain"], **changes))


@pytest.mark.parametrize(
    ("host", "rule"),
    [("langchain4j", "this tokenizer is Unigram"), ("typesense", "uncased"), ("oracle", "the operator BertTokenizer")],
)
def test_other_tokenizers_are_no_wordpiece(artifacts: dict[str, Path], tmp_path: Path, host: str, rule: str) -> None:
    subject = _altered(artifacts["cls"])
    (tmp_path / "tokenizer.json").write_text('{"model": {"type": "Unigram"}}')
    with pytest.raises(UsageError, match=rule):
        find_host(host).check(Subject(tmp_path, subject.manifest, subject.variant))


def test_an_artifact_without_tokenizer_json_is_refused(tmp_path: Path) -> None:
    toy = publish_toy(tmp_path / "toy")
    for host in set(HOSTS) - {"triton", "triton-text", "openvino"}:
        with pytest.raises(UsageError, match=r"reads tokenizer\.json, which this artifact lacks"):
            package(toy, host)
    assert [path.name for path in tmp_path.iterdir()] == ["toy"]


def test_the_command(artifacts: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["package", str(artifacts["cls"]), "--for", "vespa", "--output", str(tmp_path / "new" / "out")]
    assert main([*words, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert set(report["files"]) == {"model.onnx", "tokenizer.json", "services-component.xml"}
    assert main(words) == 8
    assert "exists; choose another --output" in capsys.readouterr().err
    inside = artifacts["cls"] / "package"
    assert main([*words[:4], "--output", str(inside)]) == 2
    assert "lies inside the artifact" in capsys.readouterr().err
    assert not inside.exists()
    assert main([*words[:3], "nowhere"]) == 2
    assert f"choose from {', '.join(HOSTS)}" in capsys.readouterr().err


def test_a_host_that_takes_nothing_of_ours(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["package", "anything", "--for", "elasticsearch"]) == 2
    assert "runs TorchScript models only" in capsys.readouterr().err


def test_oracle_says_how_many_texts_have_the_same_tokens(artifacts: dict[str, Path], tmp_path: Path) -> None:
    """A file that it does not load, and vocabularies that its tokenizer cannot hold, are refused."""
    pytest.importorskip("onnxruntime_extensions")
    copy = shutil.copytree(artifacts["cls"], tmp_path / "2nd model")
    report = package(copy, "oracle")
    found = re.search(r"of (\d+) of (\d+) built-in texts", " ".join(report.notes))
    assert found is not None
    assert 0 < int(found[1]) < int(found[2])
    assert "USING 'a text' AS DATA" in (report.folder / "load.sql").read_text()
    assert "'M_2ND_MODEL'" in (report.folder / "load.sql").read_text()


def test_oracle_loads_up_to_1_gb(artifacts: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime_extensions")
    monkeypatch.setattr("export.hosts.oracle._LARGEST", 1000)
    with pytest.raises(UsageError, match="loads files up to 1 GB, and this one has"):
        package(artifacts["cls"], "oracle", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_vocabulary_with_gaps_is_refused(artifacts: dict[str, Path], tmp_path: Path) -> None:
    copy = shutil.copytree(artifacts["cls"], tmp_path / "gaps")
    document = json.loads((copy / "tokenizer.json").read_text())
    document["model"]["vocab"]["beyond"] = 1000
    (copy / "tokenizer.json").write_text(json.dumps(document))
    with pytest.raises(UsageError, match="numbers tokens by their lines"):
        find_host("oracle").write(replace(_altered(artifacts["cls"]), folder=copy), tmp_path)


def test_a_graph_of_younger_operators_is_not_lowered() -> None:
    node = helper.make_node("BitwiseNot", ["x"], ["y"])
    ports = [helper.make_tensor_value_info(name, TensorProto.INT64, [2]) for name in "xy"]
    graph = helper.make_graph([node], "young", ports[:1], ports[1:])
    model = ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]))
    with pytest.raises(UsageError, match=r"Teradata wants opset 14, which this graph cannot be brought to \(.*Bitwise"):
        lower_opset("Teradata", model)


def test_nothing_is_left_of_a_package_that_fails(
    artifacts: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("export.hosts.compare.TOLERANCE", -1.0)
    with pytest.raises(VerificationError, match="differs from the artifact's sentence_embedding by"):
        package(artifacts["cls"], "spring-ai", tmp_path / "out")
    assert not [path for path in tmp_path.iterdir() if not path.name.endswith(".lock")]


def test_other_variants_are_refused_by_name(artifacts: dict[str, Path]) -> None:
    with pytest.raises(ArtifactError, match="no variant 'model_int9'"):
        package(artifacts["cls"], "spring-ai", variant="model_int9")


def test_the_page_and_the_help_have_every_host() -> None:
    page = (ROOT / "docs" / "package.md").read_text(encoding="utf-8")
    for host in HOSTS.values():
        assert f"| `{host.name}` | {host.rules} | [source]({host.source}) |" in page
    assert ", ".join(HOSTS) in (ROOT / "bert_onnx" / "cli" / "package.py").read_text(encoding="utf-8")

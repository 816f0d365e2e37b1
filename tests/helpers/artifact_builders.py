"""Small artifacts for tests: files of a few bytes under a manifest that is complete."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from bert_onnx.artifact import (
    SCHEMA_VERSION,
    Conformance,
    Manifest,
    ModelLimits,
    OutputParity,
    Parity,
    PassRecord,
    TextGraph,
    Variant,
)
from bert_onnx.artifact.publish import publish, seal, staging_folder
from bert_onnx.source import Source
from bert_onnx.tasks import Port, TaskOptions

FILES: dict[str, bytes] = {
    "config.json": b'{"model_type": "bert"}\n',
    "tokenizer.json": b"{}\n",
    "1_Pooling/config.json": b"{}\n",
    "onnx/model.onnx": b"graph" * 100,
    "onnx/model.onnx_data": b"weights" * 1000,
    "onnx/model_text.onnx": b"text" * 50,
}


def make_variant(name: str = "model", difference: float = 3e-7) -> Variant:
    """A variant with external data."""
    parity = Parity(
        verdict="pass",
        reference="eager float32",
        runtime="onnxruntime CPU",
        outputs=(
            OutputParity("last_hidden_state", difference, 1e-5, "left padding", (0, 3, 2)),
            OutputParity("sentence_embedding", difference / 2, 1e-5, "3x17", (1, 0)),
        ),
        cases=("1x1", "3x17", "left padding"),
    )
    return Variant(
        name=name,
        file=f"onnx/{name}.onnx",
        data_file=f"onnx/{name}.onnx_data",
        target="portable",
        precision="fp32",
        opset=18,
        ir_version=8,
        nodes=7,
        size_bytes=0,
        operators={"Softmax": 1, "MatMul": 6},
        fused={"attention": 1},
        passes=(PassRecord("fold_scale", 1, {"Mul": -2}),),
        excluded_nodes=(),
        parity=parity,
    )


def make_text_graph(name: str = "model") -> TextGraph:
    """A tokenizer in front of the variant `name`."""
    return TextGraph(
        name=f"{name}_text",
        file=f"onnx/{name}_text.onnx",
        data_file=f"onnx/{name}.onnx_data",
        variant=name,
        tokenizer=("StringMapping", "WordpieceTokenizer"),
        inputs=(Port("text", "string", ("batch_size",)),),
        outputs=(
            Port("last_hidden_state", "float32", ("batch_size", "sequence_length", 384)),
            Port("sentence_embedding", "float32", ("batch_size", 384)),
            Port("input_ids", "int64", ("batch_size", "sequence_length")),
        ),
        nodes=60,
        size_bytes=0,
        conformance=Conformance("built-in evaluation", "cd" * 32, 500, 500),
        parity=make_variant(name).parity,
    )


def make_manifest(**changes: object) -> Manifest:
    """A manifest that is complete but for what `seal` fills in."""
    manifest = Manifest(
        schema_version=SCHEMA_VERSION,
        bert_onnx="0.1.0",
        tools={"torch": "2.13.0", "onnx": "1.23.2"},
        source=Source("sentence-transformers/all-MiniLM-L6-v2", "hub", "c9745ed1", "ab" * 32, None),
        task="sentence-similarity",
        options=TaskOptions(),
        config=ModelLimits(30522, 512, 2, 0, False),
        model_max_length=256,
        inputs=tuple(
            Port(name, "int64", ("batch_size", "sequence_length"))
            for name in ("input_ids", "attention_mask", "token_type_ids")
        ),
        outputs=(
            Port("last_hidden_state", "float32", ("batch_size", "sequence_length", 384)),
            Port("sentence_embedding", "float32", ("batch_size", 384)),
        ),
        variants=(make_variant(),),
        text_graphs=(make_text_graph(),),
    )
    return replace(manifest, **changes)  # type: ignore[arg-type]


def fill(stage: Path, files: Mapping[str, bytes] = FILES) -> None:
    """Write `files` below `stage`."""
    for name, content in files.items():
        path = stage / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def publish_small(
    destination: Path, *, force: bool = False, files: Mapping[str, bytes] = FILES, manifest: Manifest | None = None
) -> Path:
    """Publish `files` at `destination`, the way the exporter does."""
    with staging_folder(destination) as stage:
        fill(stage, files)
        seal(stage, manifest if manifest is not None else make_manifest())
        return publish(stage, destination, force=force)


def versioned(version: int, size: int = 1000) -> dict[str, bytes]:
    """Files whose every byte says which version they are of: a mixture of two shows."""
    return {name: bytes([version % 256]) * (size + version % 7) for name in FILES}

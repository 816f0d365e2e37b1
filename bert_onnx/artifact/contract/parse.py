"""manifest.json in: bytes to `Manifest`, with every field checked."""

from __future__ import annotations

import re

from bert_onnx.artifact.contract.consistency import check_manifest
from bert_onnx.artifact.contract.fields import Fields, load_object
from bert_onnx.artifact.contract.manifest import (
    FAIL,
    PASS,
    SCHEMA_VERSION,
    FileRecord,
    Manifest,
    ModelLimits,
    OutputParity,
    Parity,
    PassRecord,
    Variant,
)
from bert_onnx.artifact.contract.quality import Quality
from bert_onnx.artifact.contract.quantization import Quantization
from bert_onnx.artifact.contract.text_graph import Conformance, TextGraph
from bert_onnx.errors import ArtifactError, UsageError
from bert_onnx.source import Source
from bert_onnx.tasks import Port, TaskOptions

_SHA256 = re.compile(r"[0-9a-f]{64}")
_DTYPES = ("int64", "float32")
_TEXT_DTYPES = ("string", *_DTYPES)


def parse_manifest(text: bytes, where: str) -> Manifest:
    """The manifest in `text`; `where` names the document in messages.

    Raises:
        ArtifactError: naming the field that is missing, unknown or wrong, or a newer schema.
    """
    fields = Fields(load_object(text, where), where)
    # Read first: fields of another schema would only be complained of for the wrong reason.
    version = fields.count("schema_version", low=1)
    if version > SCHEMA_VERSION:
        raise ArtifactError(
            f"{where} has schema version {version} and this bert-onnx reads up to {SCHEMA_VERSION}; "
            "update bert-onnx or export again."
        )
    if version < SCHEMA_VERSION:
        raise ArtifactError(
            f"{where} has schema version {version}, which this bert-onnx no longer reads ({SCHEMA_VERSION}); "
            "export it again."
        )
    manifest = Manifest(
        schema_version=version,
        bert_onnx=fields.text("bert_onnx"),
        tools=fields.text_table("tools"),
        source=fields.one("source", _source),
        task=fields.text("task"),
        options=fields.one("options", _options),
        config=fields.one("config", _limits),
        model_max_length=fields.count("model_max_length", low=1),
        inputs=fields.many("inputs", _port),
        outputs=fields.many("outputs", _port),
        variants=fields.many("variants", _variant),
        text_graphs=fields.many("text_graphs", _text_graph),
        files=fields.table("files", _file_record),
    )
    fields.finish()
    check_manifest(manifest, where)
    return manifest


def _source(fields: Fields) -> Source:
    return Source(
        model=fields.text("model"),
        kind=fields.text("kind"),
        revision=fields.optional_text("revision"),
        weights_sha256=fields.text("weights_sha256"),
        seed=fields.optional_count("seed"),
    )


def _options(fields: Fields) -> TaskOptions:
    try:
        return TaskOptions(
            pooling=fields.text("pooling"),
            normalize=fields.flag("normalize"),
            pooler=fields.flag("pooler"),
            output_attentions=fields.flag("output_attentions"),
            output_hidden_states=fields.flag("output_hidden_states"),
            postprocess=fields.flag("postprocess"),
        )
    except UsageError as error:
        raise ArtifactError(f"the artifact is damaged: {error}") from None


def _limits(fields: Fields) -> ModelLimits:
    return ModelLimits(
        vocab_size=fields.count("vocab_size", low=1),
        max_position_embeddings=fields.count("max_position_embeddings", low=1),
        type_vocab_size=fields.count("type_vocab_size", low=1),
        pad_token_id=fields.optional_count("pad_token_id"),
        is_decoder=fields.flag("is_decoder"),
    )


def _port(fields: Fields) -> Port:
    return _port_of(fields, _DTYPES)


def _text_port(fields: Fields) -> Port:
    return _port_of(fields, _TEXT_DTYPES)


def _port_of(fields: Fields, dtypes: tuple[str, ...]) -> Port:
    axes = fields.raw("axes")
    if not isinstance(axes, list) or not all(_is_axis(axis) for axis in axes):
        raise fields.fail("axes", "a list of names and lengths")
    dtype = fields.text("dtype")
    if dtype not in dtypes:
        raise fields.fail("dtype", f"one of {', '.join(dtypes)}")
    return Port(fields.text("name"), dtype, tuple(axes))


def _is_axis(axis: object) -> bool:
    return axis != "" if isinstance(axis, str) else isinstance(axis, int) and not isinstance(axis, bool) and axis > 0


def _variant(fields: Fields) -> Variant:
    return Variant(
        name=fields.text("name"),
        file=fields.text("file"),
        data_file=fields.optional_text("data_file"),
        target=fields.text("target"),
        precision=fields.text("precision"),
        opset=fields.count("opset", low=1),
        ir_version=fields.count("ir_version", low=1),
        nodes=fields.count("nodes"),
        size_bytes=fields.count("size_bytes"),
        operators=fields.count_table("operators"),
        fused=fields.count_table("fused"),
        passes=fields.many("passes", _pass_record),
        excluded_nodes=fields.texts("excluded_nodes"),
        parity=fields.one("parity", _parity),
        quality=fields.optional_one("quality", _quality),
        quantization=fields.optional_one("quantization", _quantization),
    )


def _text_graph(fields: Fields) -> TextGraph:
    return TextGraph(
        name=fields.text("name"),
        file=fields.text("file"),
        data_file=fields.optional_text("data_file"),
        variant=fields.text("variant"),
        tokenizer=fields.texts("tokenizer"),
        inputs=fields.many("inputs", _text_port),
        outputs=fields.many("outputs", _text_port),
        nodes=fields.count("nodes"),
        size_bytes=fields.count("size_bytes"),
        conformance=fields.one("conformance", _conformance),
        parity=fields.one("parity", _parity),
    )


def _conformance(fields: Fields) -> Conformance:
    return Conformance(
        texts=fields.text("texts"),
        texts_sha256=_sha256(fields, "texts_sha256"),
        count=fields.count("count", low=1),
        identical=fields.count("identical"),
    )


def _pass_record(fields: Fields) -> PassRecord:
    return PassRecord(fields.text("name"), fields.count("count"))


def _parity(fields: Fields) -> Parity:
    verdict = fields.text("verdict")
    if verdict not in (PASS, FAIL):
        raise fields.fail("verdict", f"{PASS} or {FAIL}")
    return Parity(
        verdict=verdict,
        reference=fields.text("reference"),
        runtime=fields.text("runtime"),
        outputs=fields.many("outputs", _output_parity),
        cases=fields.texts("cases"),
    )


def _output_parity(fields: Fields) -> OutputParity:
    return OutputParity(
        name=fields.text("name"),
        max_abs_diff=fields.number("max_abs_diff"),
        tolerance=fields.number("tolerance"),
        case=fields.text("case"),
        index=fields.counts("index"),
    )


def _quality(fields: Fields) -> Quality:
    return Quality(
        figures=fields.number_table("figures"),
        thresholds=fields.number_table("thresholds"),
        texts=fields.text("texts"),
        texts_sha256=_sha256(fields, "texts_sha256"),
        count=fields.count("count", low=1),
        passed=fields.flag("passed"),
        degraded=fields.flag("degraded"),
    )


def _quantization(fields: Fields) -> Quantization:
    return Quantization(
        method=fields.text("method"),
        isa=fields.optional_text("isa"),
        sites=fields.count_table("sites"),
        calibration=fields.optional_text("calibration"),
        calibration_sha256=None if fields.raw("calibration_sha256") is None else _sha256(fields, "calibration_sha256"),
        calibration_count=fields.count("calibration_count"),
    )


def _file_record(fields: Fields) -> FileRecord:
    return FileRecord(_sha256(fields, "sha256"), fields.count("size"))


def _sha256(fields: Fields, name: str) -> str:
    value = fields.text(name)
    if not _SHA256.fullmatch(value):
        raise fields.fail(name, "64 hexadecimal digits")
    return value

"""The model card: README.md of an artifact, written from its manifest and from nothing else."""

from __future__ import annotations

import json

from bert_onnx.artifact.card.markup import code, inline, table
from bert_onnx.artifact.card.postprocess import postprocess_text
from bert_onnx.artifact.card.quality import degraded_warning, quality_text
from bert_onnx.artifact.card.text_input import text_section
from bert_onnx.artifact.card.usage import other_tools, python_example, runtime_example
from bert_onnx.artifact.contract.manifest import Manifest, Variant
from bert_onnx.artifact.contract.parity import Rounding
from bert_onnx.sentence_modules import Normalize, describe, is_sparse, keeps_tokens
from bert_onnx.source import Source
from bert_onnx.tasks import Port

#: What the sample package holds, by its name on the model hub.
_SAMPLE_MODEL = "sentence-transformers/all-MiniLM-L6-v2"

#: Names that model hubs have for our tasks; the others have none.
_PIPELINE_TAGS = {
    "feature-extraction": "feature-extraction",
    "sentence-similarity": "sentence-similarity",
    "sparse-embedding": "feature-extraction",
    "late-interaction": "feature-extraction",
    "fill-mask": "fill-mask",
    "text-classification": "text-classification",
    "text-ranking": "text-ranking",
    "token-classification": "token-classification",
    "question-answering": "question-answering",
    "multiple-choice": "multiple-choice",
    "text-generation": "text-generation",
    "text-generation-with-past": "text-generation",
}


def model_card(manifest: Manifest, model_type: str = "bert") -> str:
    """README.md for `manifest`, whose files and sizes are filled in: YAML front matter, then Markdown.

    Args:
        model_type: the family, as config.json beside it names it.
    """
    sections = [
        _front_matter(manifest, model_type),
        _introduction(manifest, model_type),
        degraded_warning(manifest),
        "## Inputs and outputs\n\n" + _ports_table(manifest),
        postprocess_text(manifest),
        "## Variants\n\n" + _variants_table(manifest),
        "## Measured differences\n\n" + _parity_text(manifest),
        quality_text(manifest),
        "## Use\n\n`DIR` stands for this folder.\n\n" + python_example(manifest),
        runtime_example(manifest),
        text_section(manifest),
        other_tools(manifest),
        "## Origin\n\n" + _origin(manifest),
    ]
    return "\n\n".join(section.rstrip("\n") for section in sections if section) + "\n"


def _front_matter(manifest: Manifest, model_type: str) -> str:
    tags = ["onnx", model_type, "bert-onnx", "onnxruntime"]
    if manifest.task == "sentence-similarity":
        tags += ["sentence-transformers", "feature-extraction"]
    if manifest.task == "sparse-embedding":
        tags += ["sentence-transformers", "sparse-encoder", "splade"]
    if manifest.task == "late-interaction":
        tags += ["ColBERT", "PyLate"]
    if manifest.task == "text-ranking":
        tags += ["sentence-transformers", "cross-encoder"]
    lines = ["library_name: onnx", "tags:", *(f"- {tag}" for tag in tags)]
    if manifest.task in _PIPELINE_TAGS:
        lines.append(f"pipeline_tag: {_PIPELINE_TAGS[manifest.task]}")
    base = _base_model(manifest.source)
    if base is not None:
        lines.append(f"base_model: {json.dumps(base)}")  # JSON's quoting is YAML's
    return "\n".join(["---", *lines, "---"])


def _introduction(manifest: Manifest, model_type: str) -> str:
    kind = "BERT model" if model_type == "bert" else f"model of BERT's family ({code(model_type)})"
    title = _base_model(manifest.source) or manifest.source.model
    count = len(manifest.variants)
    files = "one file" if count == 1 else f"{count} files"
    return (
        f"# {inline(title)}: {manifest.task}, in ONNX\n\n"
        f"A {kind} for {manifest.task}, exported to ONNX by bert-onnx {inline(manifest.bert_onnx)} as {files}. "
        "Every graph was compared with the model it was made from before it was published; the figures below are "
        "what was measured. `manifest.json` says the same for programs, with a sha256 of every file.\n\n"
        f"{_limits(manifest)}"
    )


def _segments(manifest: Manifest) -> str:
    if any(port.name == "token_type_ids" for port in manifest.inputs):
        return f"{manifest.config.type_vocab_size} segment ids"
    return "no segment ids: the graphs take none"


def _limits(manifest: Manifest) -> str:
    config, options = manifest.config, manifest.options
    lines = [
        f"- at most {config.max_position_embeddings} tokens a text; tokenizers truncate at {manifest.model_max_length}",
        f"- {config.vocab_size} token ids, {_segments(manifest)}",
    ]
    if options.modules:
        lines += _sentence_lines(manifest)
    if manifest.task == "text-ranking":
        lines += [f"- scores are {options.activation_fn}(logits)", *_prompt_lines(manifest)]
    if config.is_decoder:
        lines.append("- a decoder: tokens attend to the left only")
    return "\n".join(lines)


def _sentence_lines(manifest: Manifest) -> list[str]:
    """What makes an embedding, and what has to stand before its text."""
    sentence, modules = manifest.sentence, manifest.options.modules
    length = "scaled to length 1" if isinstance(modules[-1], Normalize) else "not scaled"
    if keeps_tokens(modules):
        lines = [f"- inside the graph: {describe(modules)}; markers, expansion of queries and skipped words are not"]
        lines.append("- `config_sentence_transformers.json` says how queries and documents are read, by PyLate's names")
    else:
        kind = "sparse" if is_sparse(modules) else "sentence"
        lines = [f"- inside the graph: {describe(modules)}; {kind} embeddings are {length}"]
    lines += _prompt_lines(manifest)
    if sentence.truncate_dim is not None:
        lines.append(f"- the first {sentence.truncate_dim} values of an embedding are kept")
    measure = "MaxSim" if keeps_tokens(modules) else sentence.similarity_fn_name
    return [*lines, f"- embeddings are compared by {measure}"]


def _prompt_lines(manifest: Manifest) -> list[str]:
    sentence = manifest.sentence
    if not sentence.prompts:
        return []
    prompts = ", ".join(f"{inline(name)} {code(text)}" for name, text in sentence.prompts.items())
    default = inline(sentence.default_prompt_name or "none")
    return [f"- prompts, put before a text (of a pair: before the first): {prompts}; {default} by default"]


def _ports_table(manifest: Manifest) -> str:
    rows = [
        (kind, f"`{inline(port.name)}`", port.dtype, _axes(port))
        for kind, ports in (("input", manifest.inputs), ("output", manifest.outputs))
        for port in ports
    ]
    return table(("", "name", "type", "axes"), rows)


def _axes(port: Port) -> str:
    return "[" + ", ".join(inline(str(axis)) for axis in port.axes) + "]"


def _variants_table(manifest: Manifest) -> str:
    rows = [
        (
            inline(variant.name),
            f"`{variant.file}`",
            inline(variant.target),
            inline(variant.precision),
            str(variant.opset),
            str(variant.nodes),
            _megabytes(variant.size_bytes),
            f"{variant.parity.max_abs_diff:.2g}",
            variant.parity.verdict,
        )
        for variant in manifest.variants
    ]
    titles = ("variant", "file", "target", "precision", "opset", "nodes", "size", "largest difference", "verdict")
    return table(titles, rows)


def _parity_text(manifest: Manifest) -> str:
    return "\n\n".join(_parity_of(variant) for variant in manifest.variants)


def _parity_of(variant: Variant) -> str:
    parity = variant.parity
    titles: tuple[str, ...] = ("output", "largest absolute difference", "allowed", "in case")
    rows: list[tuple[str, ...]] = [
        (f"`{inline(output.name)}`", f"{output.max_abs_diff:.3g}", f"{output.tolerance:.3g}", inline(output.case))
        for output in parity.outputs
    ]
    if any(output.rounding is not None for output in parity.outputs):
        titles += ("error of eager, of the graph (rms, against float64)", "ratio")
        rows = [(*row, *_rounding_cells(output.rounding)) for row, output in zip(rows, parity.outputs, strict=True)]
    cases = ", ".join(inline(case) for case in parity.cases)
    return (
        f"`{variant.file}` on {inline(parity.runtime)}, against {inline(parity.reference)}; {len(parity.cases)} cases: "
        f"{cases}.\n\n" + table(titles, rows)
    )


def _rounding_cells(rounding: Rounding | None) -> tuple[str, str]:
    """Both errors and their ratio; empty for outputs that have none."""
    if rounding is None:
        return "", ""
    return f"{rounding.eager_rms:.2g}, {rounding.graph_rms:.2g}", f"{rounding.ratio:.2f}"


def _origin(manifest: Manifest) -> str:
    source = manifest.source
    if source.kind == "random":
        lines = [f"- weights: random, seed {source.seed}, for the configuration of {inline(source.model)}; not trained"]
    else:
        revision = f", revision {inline(source.revision)}" if source.revision else ""
        lines = [
            f"- weights: {inline(_base_model(source) or source.model)}{revision}, sha256 `{source.weights_sha256}`"
        ]
    lines.append("- made with: " + ", ".join(f"{inline(n)} {inline(v)}" for n, v in sorted(manifest.tools.items())))
    return "\n".join(lines)


def _base_model(source: Source) -> str | None:
    """Name of the model on the hub, where it has one."""
    return {"hub": source.model, "sample": _SAMPLE_MODEL}.get(source.kind)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 100_000 else f"{size / 1e3:.1f} kB"

"""The parts of a report, each a function of what was gathered."""

from __future__ import annotations

from bert_onnx.artifact import Manifest, Variant
from export.html_report.gather import Gathered
from export.html_report.markup import code, facts, section, table, text
from export.targets import TARGETS

_LENGTH_COLUMNS = ("p50 ms", "p90 ms", "p99 ms")


def introduction(found: Gathered) -> str:
    """What the model is."""
    manifest, machine = found.artifact.manifest, found.machine
    outputs = ", ".join(port.name for port in manifest.outputs[:4])
    return f"<h1>{text(found.artifact.folder.absolute().name)}</h1>" + facts(
        [
            ("task", manifest.task),
            ("made from", manifest.source.model),
            ("longest text", f"{manifest.model_max_length} tokens"),
            ("vocabulary", f"{manifest.config.vocab_size:,} tokens"),
            ("outputs", outputs + (" …" if len(manifest.outputs) > 4 else "")),
            ("variants", str(len(manifest.variants))),
            ("measured on", f"{machine.processor}, {machine.threads} threads"),
        ]
    )


def ship(found: Gathered) -> str:
    """Which file to ship where: one card a target."""
    cards = []
    for target in dict.fromkeys(v.target for v in found.artifact.manifest.variants):
        files = [v for v in found.artifact.manifest.variants if v.target == target]
        purpose = TARGETS[target].purpose if target in TARGETS else target
        listed = "<br>".join(
            f"{text(v.precision)}{_isa(v)}: {' + '.join(code(path) for path in v.paths)}, {_size(v)}" for v in files
        )
        cards.append(f"<article><h3>{text(purpose)}</h3>{listed}</article>")
    best = ", ".join(f"{v.name} ({v.precision})" for v in found.best())
    note = f"Beaten by none here in speed, size and fidelity together: {best}." if len(found.sweeps) > 1 else ""
    return section("ship", "Which file to ship", note, f"<div class=ship>{''.join(cards)}</div>")


def variants(found: Gathered) -> str:
    """Variants side by side."""
    quality = {} if found.quality is None else {v.variant: v for v in found.quality.variants}
    rows = []
    for number, v in enumerate(found.artifact.manifest.variants, 1):
        latency, cosine, judged = found.latency(v), found.cosine(v), quality.get(v.name)
        ran = found.sweeps[v.name].runtime if v.name in found.sweeps else "-"
        verdict = f"<span class={v.parity.verdict}>{v.parity.verdict}</span>"
        rows.append(
            (
                str(number), code(v.name), text(v.precision) + _isa(v), f"{v.size_bytes / 1e6:.1f}", str(v.nodes),
                "-" if latency is None else f"{latency:.2f}", text(ran),
                f"{v.parity.max_abs_diff:.2g}", "-" if cosine is None else f"{cosine:.5f}",
                "-" if judged is None else f"{judged.ndcg:.4f}", verdict,
            )
        )  # fmt: skip
    header = (
        "", "variant", "precision", "MB", "nodes", "ms here", "on", "difference", "cosine or agreement", "NDCG@10",
        "verdict",
    )  # fmt: skip
    skipped = "".join(f"<p>{code(name)} was not measured: {text(why)}</p>" for name, why in found.skipped.items())
    note = (
        "ms here: one text of 32 tokens, median. difference: the largest from eager float32, of any output. cosine or "
        "agreement: with eager on held-out texts, for precisions below fp32."
    )
    if found.quality is not None:
        note += (
            f" NDCG@10: retrieval on {found.quality.queries} queries and {found.quality.documents} documents built in."
        )
    return section("variants", "Variants", note, table(header, rows, (0, 3, 4, 5, 7, 8, 9)), skipped)


def latencies(found: Gathered) -> str:
    """Percentiles of every call that was measured."""
    number = {v.name: n for n, v in enumerate(found.artifact.manifest.variants, 1)}
    rows = []
    for name, sweep in found.sweeps.items():
        cells = [(f"1 × {n}", probe) for n, probe in sweep.by_length.items()]
        cells += [(f"{n} × 32", probe) for n, probe in sweep.by_batch.items()]
        for shape, probe in cells:
            times = [f"{probe.percentile(share):.2f}" for share in (50, 90, 99)]
            rows.append((str(number[name]), code(name), shape, str(len(probe.latencies)), *times))
    if not rows:
        return ""
    header = ("", "variant", "texts × tokens", "calls", *_LENGTH_COLUMNS)
    listed = table(header, rows, (0, 3, 4, 5, 6))
    return f"<details><summary>Percentiles of every call</summary>{listed}</details>"


def provenance(found: Gathered) -> str:
    """Where everything comes from, and the hash of every file."""
    manifest = found.artifact.manifest
    files = [(code(n), f"{record.size:,}", code(record.sha256)) for n, record in sorted(manifest.files.items())]
    versions = {**{f"{n} (export)": v for n, v in manifest.tools.items()}, **found.machine.packages}
    tools = [(text(name), text(number)) for name, number in versions.items()]
    return section(
        "provenance",
        "Provenance",
        "",
        table(("", ""), _origin(manifest, found.artifact.manifest_sha256)),
        f"<details><summary>Versions</summary>{table(('package', 'version'), tools)}</details>",
        f"<details><summary>sha256 of every file</summary>{table(('file', 'bytes', 'sha256'), files, (1,))}</details>",
    )


def _origin(manifest: Manifest, sha256: str) -> list[tuple[str, str]]:
    source = manifest.source
    rows = [
        ("made from", text(f"{source.model} ({source.kind})")),
        ("revision", code(source.revision) if source.revision else ""),
        ("sha256 of the weights", code(source.weights_sha256) if source.weights_sha256 else ""),
        ("made by", text(f"bert-onnx {manifest.bert_onnx}")),
        ("sha256 of manifest.json", code(sha256)),
        ("compared with", text(manifest.variants[0].parity.reference)),
        ("cases", text(", ".join(manifest.variants[0].parity.cases))),
    ]
    return [row for row in rows if row[1]]


def _isa(variant: Variant) -> str:
    return f" for {text(variant.isa)}" if variant.isa else ""


def _size(variant: Variant) -> str:
    return f"{variant.size_bytes / 1e6:.1f} MB"

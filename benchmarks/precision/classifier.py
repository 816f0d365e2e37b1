"""A real classifier in several precisions: which section of Debian does a package belong to, by its description?

    python -m benchmarks.precision.classifier [--packages 4000] [--work DIR]

A linear head is trained on frozen features of the sample model, written as a checkpoint of text-classification,
exported by `bert-onnx export` in every precision, and judged on packages that neither training nor calibration saw.
Nothing of it is kept unless --work names a folder.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks.graphs.models import sample_folder
from benchmarks.machine import describe_machine
from benchmarks.measure import markdown_table
from benchmarks.precision.texts import SECTIONS, PackageText, package_texts
from bert_onnx import BertForSequenceClassification, BertTokenizerFast
from bert_onnx.artifact import Artifact, Variant
from bert_onnx.config import BertConfig
from bert_onnx.tokenization import load_tokenizer
from export.pipeline import export
from export.request import ExportRequest, PrecisionRequest

_DOCS = Path(__file__).resolve().parents[2] / "docs"
_PACKAGES = ("torch", "transformers", "onnxruntime")
_LONGEST, _BATCH = 96, 32
_EPOCHS, _RATE, _DECAY = 300, 0.02, 1e-4
_HELD_OUT, _CALIBRATION = 5, 400


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.precision.classifier")
    parser.add_argument("--packages", type=int, default=4000, help="how many packages, training included")
    parser.add_argument("--work", help="where the checkpoint and the artifact stay (default: nowhere)")
    parser.add_argument("--docs", default=str(_DOCS), help="where the page goes")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(arguments.work or scratch)
        work.mkdir(parents=True, exist_ok=True)
        page = run(work, _chosen(arguments.packages))
    print(page)
    (Path(arguments.docs) / "benchmarks-classifier.md").write_text(page, encoding="utf-8")
    return 0


def run(work: Path, packages: Sequence[PackageText]) -> str:
    """Train, export, judge; returns the page."""
    held_out, trained = packages[::_HELD_OUT], [one for i, one in enumerate(packages) if i % _HELD_OUT]
    checkpoint = work / "checkpoint"
    accuracy = train(checkpoint, trained, held_out)
    (work / "calibration.txt").write_text(
        "\n".join(one.text for one in trained[:_CALIBRATION]) + "\n", encoding="utf-8"
    )
    labelled = ({"text": one.text, "label": one.section} for one in held_out)
    (work / "eval.jsonl").write_text("".join(json.dumps(row) + "\n" for row in labelled), encoding="utf-8")
    precision = PrecisionRequest(
        ("fp32", "fp16", "int8", "int4"),
        calibration=str(work / "calibration.txt"),
        evaluation=str(work / "eval.jsonl"),
        allow_degraded=True,  # the table shows what the gate would have said
    )
    output = str(work / "artifact")
    made = export(ExportRequest(str(checkpoint), "text-classification", output, precision=precision, force=True))
    return _page(made.artifact, accuracy, len(trained), len(held_out))


def train(folder: Path, trained: Sequence[PackageText], held_out: Sequence[PackageText]) -> float:
    """Write the checkpoint; returns the eager model's accuracy on `held_out`."""
    tokenizer = load_tokenizer(sample_folder())
    config = BertConfig.from_pretrained(sample_folder()).replace(
        num_labels=len(SECTIONS),
        id2label=dict(enumerate(SECTIONS)),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the head is new
        model = BertForSequenceClassification.from_pretrained(sample_folder(), config, allow_new_heads=True).eval()
    torch.manual_seed(0)
    features, labels = _features(model, tokenizer, trained), _labels(trained)
    # Training sees features of unit variance; scale and shift then become part of the linear layer.
    mean, deviation = features.mean(0), features.std(0) + 1e-6
    head = torch.nn.Linear(features.shape[1], len(SECTIONS))
    optimizer = torch.optim.Adam(head.parameters(), lr=_RATE, weight_decay=_DECAY)
    scaled = (features - mean) / deviation
    for _ in range(_EPOCHS):
        loss = torch.nn.functional.cross_entropy(head(scaled), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        model.classifier.weight.copy_(head.weight / deviation)
        model.classifier.bias.copy_(head.bias - (head.weight * (mean / deviation)).sum(1))
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
        if (sample_folder() / name).is_file():
            (folder / name).write_bytes((sample_folder() / name).read_bytes())
    with torch.no_grad():
        found = model.classifier(_features(model, tokenizer, held_out)).argmax(1)
    return float((found == _labels(held_out)).float().mean())


def _chosen(count: int) -> list[PackageText]:
    """Packages of SECTIONS, the same number of each as far as there are so many, shuffled with a seed."""
    by_section: dict[str, list[PackageText]] = {section: [] for section in SECTIONS}
    for one in package_texts():
        if one.section in by_section:
            by_section[one.section].append(one)
    rng = np.random.default_rng(0)
    share = max(1, count // len(SECTIONS))
    found = [one for texts in by_section.values() for one in [texts[i] for i in rng.permutation(len(texts))[:share]]]
    return [found[i] for i in rng.permutation(len(found))]


def _features(
    model: BertForSequenceClassification, tokenizer: BertTokenizerFast, packages: Sequence[PackageText]
) -> torch.Tensor:
    """What the classifier reads of each text, [N, D]."""
    order = sorted(range(len(packages)), key=lambda i: len(packages[i].text))
    rows: dict[int, torch.Tensor] = {}
    for start in range(0, len(order), _BATCH):
        chosen = order[start : start + _BATCH]
        texts = [packages[i].text for i in chosen]
        encoded = tokenizer(texts, truncation=True, max_length=_LONGEST, padding=True)
        with torch.inference_mode():
            inputs = {name: torch.tensor(encoded[name]) for name in ("input_ids", "attention_mask", "token_type_ids")}
            pooled = model.bert(**inputs).pooler_output
        rows |= dict(zip(chosen, pooled, strict=True))
    return torch.stack([rows[i] for i in range(len(packages))]).clone()


def _labels(packages: Sequence[PackageText]) -> torch.Tensor:
    return torch.tensor([SECTIONS.index(one.section) for one in packages])


def _page(artifact: Artifact, accuracy: float, trained: int, held_out: int) -> str:
    eager = next(v.quality.figures["accuracy_reference"] for v in artifact.manifest.variants if v.quality is not None)
    rows = [["eager PyTorch, fp32", "", f"{accuracy:.4f}", "", "", "", ""]]
    rows += [_row(variant, eager) for variant in artifact.manifest.variants]
    head = ("variant", "MB", "accuracy", "points lost", "same label", "mean KL", "gate")
    return (
        "\n\n".join(
            [
                "# A classifier in several precisions",
                "Written by `python -m benchmarks.precision.classifier`; its docstring says how it is made.",
                f"{len(SECTIONS)} sections of Debian, {trained} packages to train on, {held_out} held out, "
                f"{_CALIBRATION} of the former to calibrate with. Labels and KL against the eager model.",
                markdown_table(head, rows),
                describe_machine(_PACKAGES),
            ]
        )
        + "\n"
    )


def _row(variant: Variant, eager: float) -> list[str]:
    name, size = f"{variant.name} ({variant.precision})", f"{variant.size_bytes / 1e6:.1f}"
    if variant.quality is None:
        return [name, size, "", "", "", "", f"parity, {variant.parity.max_abs_diff:.1e}"]
    figures = variant.quality.figures
    lost = 100 * (eager - figures["accuracy"])
    verdict = "pass" if variant.quality.passed else "below budget"
    label, kl = f"{figures['label_agreement']:.4f}", f"{figures['kl_mean']:.1e}"
    return [name, size, f"{figures['accuracy']:.4f}", f"{lost:.2f}", label, kl, verdict]


if __name__ == "__main__":
    sys.exit(main())

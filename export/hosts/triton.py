"""Triton's model repository: a folder a model, config.pbtxt with its tensors; the server joins requests to batches."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from bert_onnx.tasks import BATCH, Port
from export.hosts.embedder import CPU_TARGETS, GRAPH_NAME
from export.hosts.host import Host, Made, Subject, refuse

_TITLE = "Triton"
#: Targets of its ONNX Runtime backend, and where each runs.
_KINDS = {**dict.fromkeys(CPU_TARGETS, "KIND_CPU"), "ort-cuda": "KIND_GPU"}
_TYPES = {"int64": "TYPE_INT64", "float32": "TYPE_FP32"}
#: Most rows of a joined batch, and how long a request waits for others.
_MOST_ROWS, _DELAY_MICROSECONDS = 64, 1000


def _check(subject: Subject) -> None:
    manifest, variant = subject.manifest, subject.variant
    for port in (*manifest.inputs, *manifest.outputs):
        if not port.axes or port.axes[0] != BATCH:
            rule = f"joins requests along the first axis, and that of {port.name} is not {BATCH}"
            raise refuse(_TITLE, rule, "let bert-onnx serve run it")
    if variant.target not in _KINDS:
        rule = f"runs ONNX Runtime's CPU or CUDA provider, and {variant.name} is for {variant.target}"
        raise refuse(_TITLE, rule, f"choose a --variant for {', '.join(_KINDS)}")


def _write(subject: Subject, folder: Path) -> Made:
    """NAME/config.pbtxt and NAME/1/model.onnx, with the file of its weights where it has one; the graph as it is."""
    name = re.sub(r"[^\w.-]", "_", subject.folder.resolve().name)
    version = folder / name / "1"
    version.mkdir(parents=True)
    shutil.copyfile(subject.folder / subject.variant.file, version / GRAPH_NAME)
    if subject.variant.data_file is not None:  # the graph has its name
        data = subject.folder / subject.variant.data_file
        shutil.copyfile(data, version / data.name)
    (version.parent / "config.pbtxt").write_text(_config(name, subject), encoding="utf-8", newline="\n")
    return Made(
        None,
        (
            "The folder is a model repository: tritonserver --model-repository=... Clients send token ids and masks.",
            f"{_TITLE} joins requests of one length only: pad texts to a few lengths, such as multiples of 32.",
        ),
    )


def _config(name: str, subject: Subject) -> str:
    manifest = subject.manifest
    return "\n".join(
        [
            f'name: "{name}"',
            'backend: "onnxruntime"',
            f"max_batch_size: {_MOST_ROWS}",
            *(_tensor("input", port) for port in manifest.inputs),
            *(_tensor("output", port) for port in manifest.outputs),
            f"dynamic_batching {{ max_queue_delay_microseconds: {_DELAY_MICROSECONDS} }}",
            f"instance_group [ {{ count: 1 kind: {_KINDS[subject.variant.target]} }} ]",
            "",
        ]
    )


def _tensor(kind: str, port: Port) -> str:
    """One tensor; the first axis is the server's, and one whose length is free is -1."""
    lengths = ", ".join(str(axis) if isinstance(axis, int) else "-1" for axis in port.axes[1:])
    # A tensor [B] is one value a row, which Triton has no dims for.
    dims = f"dims: [ {lengths} ]" if lengths else "dims: [ 1 ] reshape: { shape: [ ] }"
    return f'{kind} {{ name: "{port.name}" data_type: {_TYPES[port.dtype]} {dims} }}'


TRITON = Host(
    name="triton",
    title=_TITLE,
    source="https://github.com/triton-inference-server/server/blob/main/docs/user_guide/model_configuration.md",
    rules="a model repository; `config.pbtxt` has every tensor without its first axis, along which it joins requests",
    check=_check,
    write=_write,
)

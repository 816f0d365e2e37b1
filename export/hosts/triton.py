"""Triton's model repository: a folder a model, config.pbtxt with its tensors; the server joins requests to batches."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from bert_onnx.tasks import BATCH, Port
from export.hosts.embedder import CPU_TARGETS, GRAPH_NAME
from export.hosts.host import Host, Made, Subject, refuse

_TITLE = "Triton"
#: Targets of its ONNX Runtime backend, and where each runs.
_KINDS = {**dict.fromkeys(CPU_TARGETS, "KIND_CPU"), "ort-cuda": "KIND_GPU"}
_TYPES = {"int64": "TYPE_INT64", "float32": "TYPE_FP32", "string": "TYPE_STRING"}
#: Most rows of a joined batch, and how long a request waits for others.
MOST_ROWS, _DELAY_MICROSECONDS = 64, 1000


def check_model(subject: Subject) -> None:
    """Raise UsageError where Triton cannot join requests to the graph, or has no provider for it."""
    manifest, variant = subject.manifest, subject.variant
    for port in (*manifest.inputs, *manifest.outputs):
        if not port.axes or port.axes[0] != BATCH:
            rule = f"joins requests along the first axis, and that of {port.name} is not {BATCH}"
            raise refuse(_TITLE, rule, "let bert-onnx serve run it")
    if variant.target not in _KINDS:
        rule = f"runs ONNX Runtime's CPU or CUDA provider, and {variant.name} is for {variant.target}"
        raise refuse(_TITLE, rule, f"choose a --variant for {', '.join(_KINDS)}")


def model_name(subject: Subject) -> str:
    """What the model is called in the repository."""
    return re.sub(r"[^\w.-]", "_", subject.folder.resolve().name)


def write_model(subject: Subject, folder: Path) -> None:
    """NAME/config.pbtxt and NAME/1/model.onnx, with the file of its weights where it has one; the graph as it is."""
    name, manifest = model_name(subject), subject.manifest
    version = folder / name / "1"
    version.mkdir(parents=True)
    shutil.copyfile(subject.folder / subject.variant.file, version / GRAPH_NAME)
    if subject.variant.data_file is not None:  # the graph has its name
        data = subject.folder / subject.variant.data_file
        shutil.copyfile(data, version / data.name)
    lines = onnx_lines(_KINDS[subject.variant.target])
    write_config(version.parent, manifest.inputs, manifest.outputs, lines)


def onnx_lines(kind: str) -> tuple[str, ...]:
    """What a config says of how ONNX Runtime runs a graph, on CPU or GPU by `kind`."""
    return (
        'backend: "onnxruntime"',
        f"dynamic_batching {{ max_queue_delay_microseconds: {_DELAY_MICROSECONDS} }}",
        f"instance_group [ {{ count: 1 kind: {kind} }} ]",
    )


def write_config(
    folder: Path, inputs: Sequence[Port], outputs: Sequence[Port], lines: Sequence[str], shaped: bool = True
) -> None:
    """Write `folder`/config.pbtxt: name, tensors, `lines`; `shaped`: a graph takes them, in the shapes of its ports."""
    content = (
        f'name: "{folder.name}"',
        f"max_batch_size: {MOST_ROWS}",
        *(_tensor("input", port, shaped) for port in inputs),
        *(_tensor("output", port, shaped) for port in outputs),
        *lines,
        "",
    )
    (folder / "config.pbtxt").write_text("\n".join(content), encoding="utf-8", newline="\n")


def _tensor(kind: str, port: Port, shaped: bool) -> str:
    """One tensor; the first axis is the server's, and one whose length is free is -1.

    A tensor [B] is one value a row, which Triton has no dims for: it is [B, 1] to clients, and reshaped for a graph.
    """
    lengths = ", ".join(str(axis) if isinstance(axis, int) else "-1" for axis in port.axes[1:])
    dims = f"dims: [ {lengths or 1} ]"
    if shaped and not lengths:
        dims += " reshape: { shape: [ ] }"
    return f'{kind} {{ name: "{port.name}" data_type: {_TYPES[port.dtype]} {dims} }}'


def _write(subject: Subject, folder: Path) -> Made:
    write_model(subject, folder)
    return Made(
        None,
        (
            "The folder is a model repository: tritonserver --model-repository=... Clients send token ids and masks.",
            f"{_TITLE} joins requests of one length only: pad texts to a few lengths, such as multiples of 32.",
        ),
    )


TRITON = Host(
    name="triton",
    title=_TITLE,
    source="https://github.com/triton-inference-server/server/blob/main/docs/user_guide/model_configuration.md",
    rules="a model repository; `config.pbtxt` has every tensor without its first axis, along which it joins requests",
    check=check_model,
    write=_write,
)

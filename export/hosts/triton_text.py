"""Triton's model repository with text in: an ensemble of a tokenizer made of operators and the variant.

    NAME_text  (ensemble)     text  ->  outputs of the model, and the tokens that it read
    NAME_tokenizer            text  ->  input_ids, attention_mask, token_type_ids, truncated; on the CPU
    NAME                      input_ids, attention_mask, token_type_ids  ->  outputs of the model; CPU or GPU

The tokenizer joins requests whatever their lengths and pads them alike, so that the model can join them, too.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bert_onnx.tasks import Port, find_task
from bert_onnx.text_input import text_outputs, token_outputs
from export.hosts.embedder import GRAPH_NAME
from export.hosts.host import Host, Made, Subject, prompt_notes, refuse
from export.hosts.triton import check_model, model_name, onnx_lines, write_config, write_model

_TITLE = "Triton"
#: The library of operators that Triton's ONNX Runtime opens; the one in onnxruntime-extensions' wheel needs Python.
_LIBRARY = "libortextensions.so"


def _check(subject: Subject) -> None:
    check_model(subject)
    if not subject.manifest.text_graphs:
        raise refuse(
            _TITLE,
            "takes text by a tokenizer made of operators, which this artifact lacks",
            "export with --text-input, or package it --for triton, where clients send tokens",
        )


def _write(subject: Subject, folder: Path) -> Made:
    from export.text_input.build import TextInput

    manifest, name = subject.manifest, model_name(subject)
    task, inputs = find_task(manifest.task), manifest.text_graph().inputs
    tokenizer, ensemble = folder / f"{name}_tokenizer", folder / f"{name}_text"
    for model in (tokenizer, ensemble):
        (model / "1").mkdir(parents=True)
    write_model(subject, folder)
    text_input = TextInput(
        subject.folder, task, subject.longest, manifest.config, manifest.inputs, manifest.outputs
    )  # compares its tokens with the artifact's
    text_input.write_tokenizer(tokenizer / "1" / GRAPH_NAME)
    tokens = token_outputs(task)
    operators = f'model_operations {{ op_library_filename: "{_LIBRARY}" }}'
    write_config(tokenizer, inputs, tokens, (*onnx_lines("KIND_CPU"), operators))
    (ensemble / "1" / ".keep").touch()  # Triton wants the folder, and object stores keep no empty ones
    steps = (
        (tokenizer.name, _names(inputs), _names(tokens)),
        (name, _names(manifest.inputs), _names(manifest.outputs)),
    )
    lines = ('platform: "ensemble"', f"ensemble_scheduling {{ step [ {', '.join(_step(*step) for step in steps)} ] }}")
    write_config(ensemble, inputs, text_outputs(task, manifest.outputs), lines, shaped=False)
    return Made(
        None,
        (
            f"The folder is a model repository: tritonserver --model-repository=... Clients send text to {name}_text.",
            f"{name}_tokenizer needs {_LIBRARY} on the server's LD_LIBRARY_PATH: it is in the NuGet package "
            "Microsoft.ML.OnnxRuntime.Extensions, in the folder linux-x64.",
            *prompt_notes(_TITLE, subject),
        ),
    )


def _names(ports: Iterable[Port]) -> list[str]:
    return [port.name for port in ports]


def _step(model: str, inputs: list[str], outputs: list[str]) -> str:
    """One model of the ensemble, whose tensors have the names that they have everywhere."""
    maps = [
        f'{kind}_map {{ key: "{name}" value: "{name}" }}'
        for kind, names in (("input", inputs), ("output", outputs))
        for name in names
    ]
    return f'{{ model_name: "{model}" model_version: -1 {" ".join(maps)} }}'


TRITON_TEXT = Host(
    name="triton-text",
    title=_TITLE,
    source="https://github.com/triton-inference-server/core/blob/main/src/ensemble_scheduler/ensemble_utils.cc",
    rules="the same with text in: an ensemble of a tokenizer made of operators, whose library it opens, and the graph",
    check=_check,
    write=_write,
)

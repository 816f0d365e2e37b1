"""OpenVINO's IR: openvino_model.xml and .bin beside all else that optimum-intel and sentence-transformers read."""

from __future__ import annotations

import shutil
from pathlib import Path

from bert_onnx.errors import RuntimeUnavailableError
from export.hosts.host import Host, Made, Subject, refuse

_TITLE = "OpenVINO"
#: Targets whose operators it has. Graphs that skip padding hold operators of a plugin, which IR does not carry.
_TARGETS = ("openvino", "portable")
#: What is about the ONNX files of an artifact.
_LEFT_OUT = ("README.md", "vectors.json")


def _check(subject: Subject) -> None:
    variant = subject.variant
    if variant.target not in _TARGETS:
        rule = f"reads graphs for {' and '.join(_TARGETS)}, and {variant.name} is for {variant.target}"
        raise refuse(_TITLE, rule, "choose another --variant, or export one with --target openvino")


def _write(subject: Subject, folder: Path) -> Made:
    """The graph as IR, its weights in the types that they have, and the files that say what it is."""
    try:
        import openvino
    except ModuleNotFoundError as error:
        message = "openvino is not installed, which writes its IR; install it with pip install openvino."
        raise RuntimeUnavailableError(message) from error
    model = openvino.Core().read_model(subject.folder / subject.variant.file)
    openvino.save_model(model, folder / "openvino_model.xml", compress_to_fp16=False)
    for name in subject.manifest.files:
        if Path(name).parts[0] != "onnx" and name not in _LEFT_OUT:
            (folder / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(subject.folder / name, folder / name)
    opens = 'openvino.Core().compile_model, optimum-intel, or sentence-transformers with backend="openvino"'
    return Made(None, (f"Open it with {opens}.",))


OPENVINO = Host(
    name="openvino",
    title=_TITLE,
    source="https://docs.openvino.ai/2025/openvino-workflow/model-preparation/convert-model-to-ir.html",
    rules="IR: `openvino_model.xml`, weights in `openvino_model.bin`, beside `config.json`, the tokenizer and modules",
    check=_check,
    write=_write,
)

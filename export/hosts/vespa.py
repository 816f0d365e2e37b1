"""Vespa's hugging-face-embedder: names, pooling, scaling and prompts as services.xml says; a text at a time."""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import escape

from export.hosts.embedder import check_embedder, first_token, write_embedder
from export.hosts.host import Host, Made, Subject, refuse
from export.hosts.tokenizer import write_tokenizer

_TITLE = "Vespa"


def _prompts(subject: Subject) -> tuple[str, str]:
    """What stands before queries and before documents."""
    settings = subject.manifest.sentence
    return settings.resolve("query"), settings.resolve(settings.document_name)


def _check(subject: Subject) -> None:
    check_embedder(_TITLE, subject)
    query, document = _prompts(subject)
    way = "leave the prompts to the caller, with a package for langchain4j or spring-ai"
    for prompt in (query, document):
        if prompt and prompt != f"{prompt.strip()} ":
            raise refuse(_TITLE, f"puts one space after a prompt, and this model's is {prompt!r}", way)
    if document and not query:
        raise refuse(_TITLE, "puts the prompt of documents before queries, too, where these have none", way)


def _write(subject: Subject, folder: Path) -> Made:
    """tokenizer.json without truncation, which Vespa then takes from max-tokens, and a component for services.xml."""
    write_tokenizer(subject, folder, truncate=False, pad=False)
    (folder / "services-component.xml").write_text(_component(subject), encoding="utf-8", newline="\n")
    note = (
        "Copy both files into the application's models/, and services-component.xml into <container> of services.xml. "
        f"The field is tensor<float>(x[{subject.width}])."
    )
    return Made(write_embedder(_TITLE, subject, folder, first_token), (note,))


def _component(subject: Subject) -> str:
    lines = [
        '<component id="embedder" type="hugging-face-embedder">',
        '  <transformer-model path="models/model.onnx"/>',
        '  <tokenizer-model path="models/tokenizer.json"/>',
        f"  <max-tokens>{subject.longest}</max-tokens>",
        "  <transformer-output>last_hidden_state</transformer-output>",
        "  <pooling-strategy>cls</pooling-strategy>",
        f"  <normalize>{str(subject.has_length_one).lower()}</normalize>",
    ]
    if not subject.has_token_types:
        lines.append("  <transformer-token-type-ids/>")
    query, document = (escape(prompt.strip()) for prompt in _prompts(subject))
    if query or document:
        named = [("query", query), ("document", document)]
        lines += ["  <prepend>", *(f"    <{name}>{text}</{name}>" for name, text in named if text), "  </prepend>"]
    return "\n".join([*lines, "</component>"]) + "\n"


VESPA = Host(
    name="vespa",
    title=_TITLE,
    source=(
        "https://github.com/vespa-engine/vespa/blob/master/model-integration/src/main/java/ai/vespa/embedding/"
        "HuggingFaceEmbedder.java"
    ),
    rules="at most three inputs; pooling `cls` or `mean`, scaling, length and prompts by services.xml",
    check=_check,
    write=_write,
)

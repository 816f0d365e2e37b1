"""The part of the model card on graphs that take text: what there is, what was measured, a program to copy."""

from __future__ import annotations

from bert_onnx.artifact.card.markup import code, inline, table
from bert_onnx.artifact.contract.manifest import Manifest
from bert_onnx.artifact.contract.text_graph import TextGraph
from bert_onnx.text_input import PAIR

#: What `text_pair` is fed with in the program, by task; others have pairs that follow on.
_PAIRS = {
    "question-answering": ('["Where was she born?"]', '["Ada Lovelace was born in London."]'),
    "multiple-choice": ('["It was raining, so"]', '[["she took an umbrella.", "the sun shone."]]'),
}
_SINGLE = '["The first text.", "Another one, a little longer."]'
_FOLLOWING = '["He bought some milk.", "It lies on the Seine."]'


def text_section(manifest: Manifest) -> str:
    """A section with a table and a program; nothing where no graph takes text."""
    if not manifest.text_graphs:
        return ""
    rows = [
        (
            f"`{graph.file}`",
            inline(graph.variant),
            f"{graph.size_bytes / 1e6:.1f} MB" + ("" if graph.data_file is None else f" beside `{graph.data_file}`"),
            f"{graph.conformance.identical} of {graph.conformance.count}",
            f"{graph.parity.max_abs_diff:.2g}",
        )
        for graph in manifest.text_graphs
    ]
    first = manifest.text_graphs[0]
    titles = ("file", "variant in it", "size", "texts with the same tokens", "largest difference")
    parts = [
        "### With text, and no tokenizer",
        "These graphs take strings. Their tokenizer is made of ONNX operators, some of them of onnxruntime-extensions "
        f"({', '.join(inline(name) for name in first.tokenizer)}), whose library a program loads beside ONNX Runtime. "
        f"Token ids were compared with those of `tokenizer.json` on {inline(first.conformance.texts)} "
        f"(sha256 `{first.conformance.texts_sha256[:12]}`), outputs with those of the variant.",
        table(titles, rows),
        _ports_text(first) + _prompt_text(manifest),
        _program(manifest, first),
    ]
    return "\n\n".join(parts)


def _ports_text(graph: TextGraph) -> str:
    takes = ", ".join(f"`{port.name}` [{', '.join(str(axis) for axis in port.axes)}]" for port in graph.inputs)
    text = (
        f"They take {takes}, and return the outputs above, then `input_ids`, `attention_mask`, `token_type_ids` and "
        "`truncated` (1 where the end of a text was not read). A text is read up to its first NUL character."
    )
    return text


def _prompt_text(manifest: Manifest) -> str:
    default = manifest.sentence.default_prompt
    return f" They put no prompt before a text: put {code(default)} there yourself." if default else ""


def _program(manifest: Manifest, graph: TextGraph) -> str:
    paired = PAIR in [port.name for port in graph.inputs]
    texts, pairs = _PAIRS.get(manifest.task, (_SINGLE, _FOLLOWING))
    lines = [
        "import numpy as np",
        "import onnxruntime",
        "import onnxruntime_extensions",
        "",
        "options = onnxruntime.SessionOptions()",
        "options.register_custom_ops_library(onnxruntime_extensions.get_library_path())",
        f'session = onnxruntime.InferenceSession("DIR/{graph.file}", options)',
        "",
        f'inputs = {{"text": np.array({texts}, dtype=object)}}',
    ]
    if paired:
        note = "" if manifest.task in (*_PAIRS, "next-sentence-prediction") else '  # may be left out; "" is no text'
        lines.append(f'inputs["{PAIR}"] = np.array({pairs}, dtype=object){note}')
    lines += [
        "outputs = dict(zip([output.name for output in session.get_outputs()], session.run(None, inputs)))",
        "for name, array in outputs.items():",
        "    print(name, array.shape)",
    ]
    return "```python\n" + "\n".join(lines) + "\n```"

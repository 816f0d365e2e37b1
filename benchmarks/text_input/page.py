"""docs/text-input.md: what graphs that take text are, and what was measured of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.measure import markdown_table
from benchmarks.text_input.speed import Opening, Timing
from benchmarks.text_input.strings import Found

_TITLES = {
    "graph": "the graph, called with onnxruntime alone",
    "run": "the graph, called with `load(..., text_input=True)`",
    "operator": "the operator BertTokenizer of onnxruntime-extensions, alone",
}
_EXAMPLES = 2
_LONGEST_EXAMPLE = 60

_ABOUT = """# Graphs that take text

Written by `make bench-text`; do not edit.

    bert-onnx export MODEL --text-input        # or: make export TEXT_INPUT=1

puts a file `<variant>_text.onnx` beside every variant for `portable`, `ort-cpu` and `ort-cpu-unpadded`. It takes
strings and gives results, so that a program in any language that has ONNX Runtime and the library of
onnxruntime-extensions needs no tokenizer:

```python
options = onnxruntime.SessionOptions()
options.register_custom_ops_library(onnxruntime_extensions.get_library_path())
session = onnxruntime.InferenceSession("DIR/onnx/model_text.onnx", options)
outputs = session.run(None, {"text": np.array(["The first text.", "Another one."], dtype=object)})
```

With bert-onnx: `load(DIR, text_input=True)`, `bert-onnx run DIR --text-input TEXT`; `pip install "bert-onnx[text]"`.

## What goes in and comes out

| task | inputs |
| --- | --- |
| embeddings, fill-mask, token classification | `text` [batch_size] |
| text classification, pretraining | `text`, `text_pair` [batch_size]; it may be left out, and an empty one is no text |
| next sentence, question answering | `text`, `text_pair` [batch_size]; of question and context, the context is cut |
| multiple choice | `text` [batch_size] and `text_pair` [batch_size, num_choices] |

A model with one token type takes no `text_pair`. Text generation reads its own tokens, and is refused. Outputs are
the model's, then `input_ids`, `attention_mask`, `token_type_ids` and `truncated`, which is 1 where the end of a text
was not read. Rows are padded on the right to the longest of the batch, and cut at `model_max_length`.

## How it works

Everything that looks at characters is a table, made by asking the checkpoint's own tokenizer about each of the 1.1
million code points; so lower case, accents, ideographs and controls come out as its settings say. All texts of a
batch go through as one string:

1. `StringRegexReplace` takes out characters that the graph itself marks with; texts are joined, a mark after each.
2. `StringRegexSplitWithOffsets` cuts out special tokens and every character that is not a plain ASCII letter, digit or
   space, `StringMapping` looks them up, `StringJoin` puts all together: normalised words between spaces.
3. `WordpieceTokenizer` finds the pieces of each word, `LabelEncoder` of ai.onnx.ml their ids.
4. Standard operators on integers do the rest: a word that pieces cover in part becomes `[UNK]` as a whole (the operator
   keeps the pieces before the gap), rows are cut, joined to pairs, framed and padded.

What no operator does is refused by the export, in one sentence: a tokenizer whose normaliser or first splitting is not
BERT's, that keeps control characters, cuts on the left, or has added tokens that are looked for in normalised text or
between spaces only. Before a file is published, its tokenizer is compared with the artifact's on built-in texts in many
scripts, where every row must be the same, and its outputs with those of tokenizer and variant. `manifest.json` has both
figures under `text_graphs`. The files are no variants: `load` and other tools never take one for token inputs.
"""


def write_page(found: Mapping[str, Found], calls: Sequence[Timing], opening: Opening, machine: str) -> str:
    """The whole page."""
    parts = [
        _ABOUT.rstrip(),
        _conformance(found),
        *(_differences(name, one) for name, one in found.items() if one.differences),
        _speed(calls, opening),
        machine,
    ]
    return "\n\n".join(parts) + "\n"


def _conformance(found: Mapping[str, Found]) -> str:
    rows = [
        (_TITLES[name], str(one.count), str(one.identical), f"{100 * one.identical / one.count:.3f} %")
        for name, one in found.items()
    ]
    return (
        "## The same tokens?\n\n"
        "Documentation and source of installed Python packages, and a list in many scripts; the vocabulary of "
        "all-MiniLM-L6-v2 (uncased), texts cut at 256 tokens. Identical are strings with the ids of our tokenizer, "
        "which are those of transformers.\n\n"
        + markdown_table(("tokenizer", "strings", "identical", "share"), rows)
        + "\n\nThe tests run every code point of the first two planes, and a sample of the others, through the graph "
        "as well, with further settings, and generated texts."
    )


def _differences(name: str, found: Found) -> str:
    rows = [
        (reason, str(len(texts)), ", ".join(_quoted(text) for text in sorted(texts, key=len)[:_EXAMPLES]))
        for reason, texts in found.differences.items()
    ]
    table = markdown_table(("without this, ids are the same", "strings", "examples"), rows)
    return f"### Differences of {_TITLES[name]}\n\n{table}" + (_NUL if name == "graph" else "")


_NUL = (
    "\n\nThe extensions read a string up to its first NUL, whatever follows: a program that may meet one takes it out. "
    "`load(..., text_input=True)` does."
)


def _quoted(text: str) -> str:
    short = text if len(text) <= _LONGEST_EXAMPLE else text[: _LONGEST_EXAMPLE - 3] + "..."
    shown = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in short)
    return "`" + shown.replace("`", "'").replace("|", "\\|") + "`"


def _speed(calls: Sequence[Timing], opening: Opening) -> str:
    rows = [
        (f"{one.texts}", f"{one.tokens}", one.apart.show(2), one.together.show(2), one.ratio.show(2)) for one in calls
    ]
    header = ("texts", "tokens, about", "library and graph, ms", "text graph, ms", "text graph / library and graph")
    size = f"{opening.bytes_together / 1e6:.1f} MB against {opening.bytes_apart / 1e6:.1f} MB"
    return (
        "## How fast?\n\n"
        "all-MiniLM-L6-v2, fp32, `portable`: the tokenizers library and `model.onnx`, against `model_text.onnx`, "
        "sentence embeddings of built-in sentences. Both take turns in one process; median [10th, 90th percentile], "
        "ratios round by round.\n\n"
        + markdown_table(header, rows)
        + f"\n\nOpening takes {opening.together.show(0)} ms against {opening.apart.show(0)} ms (tokenizer and graph). "
        f"The file has {size} (with `tokenizer.json`). Weights inside a variant are stored a second time in its text "
        "graph, so that it is one file; weights that lie beside a variant (`ort-cpu`) are shared."
    )

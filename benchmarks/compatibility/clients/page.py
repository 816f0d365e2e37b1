"""The table of clients in docs/compatibility.md."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.compatibility.clients.heads import TARGETS
from benchmarks.compatibility.clients.measure import FP32, Cell, Line
from benchmarks.measure import markdown_table

#: What a column holds.
_FILES = [((target, FP32), (target, "int8")) for target in TARGETS]

_TEXT = """## Python's libraries, head by head

The same code as `tests/clients/test_client_heads.py`, which `make clients` runs: a small random model a task, exported
for every CPU target in fp32 and int8, opened file by file in libraries that know nothing of this project. Each cell is
the largest difference, fp32 / int8.

* **onnxruntime**, **optimum**, **OpenVINO**, **onnx.reference** get the arrays of `vectors.json`. fp32: beside eager
  transformers at every real token (vectors.json, to its six digits, for what transformers does not return). int8:
  beside what vectors.json says of the file. In int8 a value that OpenVINO's kernels round the other way moves an
  output.
* **sentence-transformers** (`backend="onnx"` and `file_name`), **fastembed** and **generate** get texts. fp32: beside
  the checkpoint in its own library. int8: beside `bert_onnx.load` of the same file.

{table}
{notes}
optimum has no class for `next-sentence-prediction`, `pretraining` and `late-interaction`: `ORTModelForCustomTasks`
opens those. Its `ORTModelForCausalLM` has no argument for token_type_ids, and optimum exports none of BERT's family
for text generation itself: the decoders here are ELECTRAs with one type of tokens, and one of BERT is opened by
`ORTModelForCustomTasks`.

OpenVINO computes in bf16 on processors that have it unless `INFERENCE_PRECISION_HINT` is `f32`, as here.
onnx.reference (NumPy) runs standard operators, and int8 from opset 19 on (`--opset 19`): it has left out
DequantizeLinear of the opsets before. sentence-transformers' `backend="openvino"` reads IR alone, which `bert-onnx
package DIR --for openvino` makes of a folder; the tests hold SentenceTransformer, CrossEncoder and SparseEncoder over
it to 1e-4.

fastembed has `add_custom_model` for embeddings and rerankers, none for sparse and late-interaction models: there the
artifact's file is appended to the list of models that the class has (`SpladePP`, `Colbert`, whose markers are ids to
be set on a subclass). Its rerankers give logits, of which the sigmoid is compared. Queries of late interaction read
vectors at [MASK] tokens that the mask hides: files that skip the padding (`-`) give zeros there, and documents alone.
"""


def render_clients(lines: Sequence[Line]) -> str:
    """The section: a row a client and head, and a note for each error."""
    notes: list[str] = []

    def show(cell: Cell | None) -> str:
        if cell is None:
            return "-"
        if cell.refused is None:
            return "same" if cell.difference == 0 else f"{cell.difference:.1e}"
        if cell.refused not in notes:
            notes.append(cell.refused)
        return f"no ({notes.index(cell.refused) + 1})"

    rows = [
        (line.client, line.task, *(" / ".join(show(line.cells.get(file)) for file in files) for files in _FILES))
        for line in sorted(lines, key=lambda line: line.client)
    ]
    listed = "".join(f"{number}. {note}\n" for number, note in enumerate(notes, start=1))
    table = markdown_table(("client", "head", *TARGETS), rows, texts=2)
    return _TEXT.format(table=table, notes=f"\n{listed}" if listed else "")

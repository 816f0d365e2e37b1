"""The parity matrix as a page: a table of the sample, a table of the heads, and what was not run, with reasons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.machine import describe_machine
from benchmarks.measure import markdown_table
from benchmarks.runtimes.subjects import Subject
from bert_onnx.artifact import Variant
from export.verification.runtime_cells import ABSENT, FAIL, PASS, Cell, Matrix
from export.verification.runtime_comparison import LEAST_COSINE
from runtimes.engines.table import RUNTIMES

PACKAGES = ("torch", "onnxruntime", "onnxruntime-ep-openvino", "openvino", "tract", "onnx", "numpy")

#: A column: a runtime, and what it computes float32 files in where that is not float32.
Column = tuple[str, str]

_TEXT = """# Runtimes, side by side

Written by `make matrix`; do not edit. Every graph of the sample and of a random model of each head runs on every
runtime of this machine, on the inputs that exports are verified on (`export/verification/cases.py`),
and is compared at real tokens.

* A number is the largest absolute difference from eager PyTorch in float32, over all outputs and cases. It must be
  within what `export/verification/tolerances.py` allows; **used** is the largest share of that which one case used up.
* `cos` is for files of 8 or 16 bits: the smallest cosine between an output and its reference. On
  onnxruntime-cpu the reference is the eager model, and the gate has judged the file; on other runtimes it is
  onnxruntime-cpu with the same file, and the cosine must be at least {least}.
* A dash: the runtime does not run such a graph ([runtimes.md](runtimes.md) says why). A letter: it was not run; the
  reason is below the table.

**{verdict}**

## all-MiniLM-L6-v2, trained, sentence-similarity

{sample}

## Each head, tiny random models

Weights and biases are ten times as large as BERT's at the start of its training, so that a mistake shows. A cell is the
worst of all graphs of that head that the runtime runs, and how many those are.

{heads}
{emulated}
{absent}

{machine}
"""


@dataclass
class Notes:
    """Reasons, each with a letter."""

    letters: dict[str, str] = field(default_factory=dict)

    def letter(self, reason: str) -> str:
        """The letter of `reason`."""
        return self.letters.setdefault(reason, chr(ord("a") + len(self.letters)))

    def show(self) -> str:
        """A line for each."""
        return "\n".join(f"* ({letter}) {reason}." for reason, letter in self.letters.items())


@dataclass(frozen=True)
class Result:
    """One artifact: its graphs, and what each did on each runtime."""

    subject: Subject
    variants: tuple[Variant, ...]
    matrix: Matrix

    def column(self, cell: Cell) -> Column:
        """Files of 8 and 16 bits go with float32: there is one way to compute each."""
        precision = next(variant.precision for variant in self.variants if variant.name == cell.variant)
        return cell.runtime, "" if cell.precision == precision else cell.precision


def render(results: Sequence[Result], emulated: bool, saturating: Sequence[str] = ()) -> str:
    """The page.

    Args:
        saturating: instruction sets whose int8 files this processor would saturate, so that none were made.
        emulated: OpenVINO's plugin ran on an emulated processor.
    """
    columns = _columns(results)
    cells = [cell for result in results for cell in result.matrix.cells]
    passed, failed = (sum(cell.verdict == verdict for cell in cells) for verdict in (PASS, FAIL))
    return _TEXT.format(
        least=LEAST_COSINE,
        verdict=f"{passed} of {passed + failed} pairs of a graph and a runtime pass.",
        sample=_sample_table([result for result in results if result.subject.trained], columns),
        heads=_heads_table([result for result in results if not result.subject.trained], columns),
        emulated=_EMULATED if emulated else "",
        absent=_absent(results, columns, saturating),
        machine=describe_machine(PACKAGES, load=False),
    )


_EMULATED = """
onnxruntime-openvino ran under QEMU, which emulated an Intel processor (Haswell): OpenVINO's plugin offers its device on
Intel's processors only, and this machine has another.
"""


def _columns(results: Sequence[Result]) -> list[Column]:
    """Those in which at least one graph ran, in the order of the table of runtimes."""
    order = list(RUNTIMES)
    found = {result.column(cell) for result in results for cell in result.matrix.cells if cell.verdict != ABSENT}
    return sorted(found, key=lambda column: (order.index(column[0]), column[1]))


def _header(column: Column) -> str:
    return " ".join(part for part in column if part)


def _sample_table(results: Sequence[Result], columns: list[Column]) -> str:
    notes, lines = Notes(), []
    seen: set[str] = set()
    for result in results:
        for variant in result.variants:
            if variant.name in seen:  # the portable graph, which every artifact has
                continue
            seen.add(variant.name)
            cells = {result.column(cell): cell for cell in result.matrix.cells if cell.variant == variant.name}
            texts = [_text(cells.get(column), variant.precision == "fp32", notes) for column in columns]
            precision = f"{variant.precision} {variant.isa}" if variant.isa else variant.precision
            lines.append((f"`{variant.name}`", variant.target, precision, *texts))
    table = markdown_table(("graph", "target", "precision", *map(_header, columns)), lines, texts=3)
    return f"{table}\n\n{notes.show()}".rstrip()


def _text(cell: Cell | None, float32: bool, notes: Notes) -> str:
    if cell is None:
        return "-"
    if cell.verdict == FAIL:
        return f"**fail** ({notes.letter(_failure(cell))})"
    if cell.verdict == ABSENT:
        return f"({notes.letter(cell.reason)})"
    return f"{cell.max_abs_diff:.1e}" if float32 else f"cos {cell.cosine:.6f}"


def _failure(cell: Cell) -> str:
    return cell.reason or f"{cell.output} differs by {cell.max_abs_diff:.3g} in case '{cell.case}'"


def _heads_table(results: Sequence[Result], columns: list[Column]) -> str:
    notes, lines = Notes(), []
    for result in results:
        cells = result.matrix.cells
        used = [cell.max_abs_diff / cell.tolerance for cell in cells if cell.tolerance and cell.max_abs_diff]
        texts = [_worst([cell for cell in cells if result.column(cell) == column], notes) for column in columns]
        lines.append((result.subject.task, str(len(result.variants)), *texts, f"{max(used, default=0.0):.0%}"))
    table = markdown_table(("head", "graphs", *map(_header, columns), "used"), lines)
    return f"{table}\n\n{notes.show()}".rstrip()


def _worst(cells: Sequence[Cell], notes: Notes) -> str:
    """The worst of one runtime, and how many graphs it ran."""
    if not cells:
        return "-"
    failed = [cell for cell in cells if cell.verdict == FAIL]
    if failed:
        return f"**fail** ({notes.letter('; '.join(f'`{cell.variant}`: {_failure(cell)}' for cell in failed))})"
    ran = [cell for cell in cells if cell.verdict == PASS]
    figure = f"{max(cell.max_abs_diff or 0.0 for cell in ran):.1e} ({len(ran)})" if ran else ""
    reasons = [cell.reason.replace(f"{cell.variant}.onnx", "it") for cell in cells if cell.verdict == ABSENT]
    absent = dict.fromkeys(f"({notes.letter(reason)})" for reason in reasons)
    return " ".join([figure, *absent]).strip()


def _absent(results: Sequence[Result], columns: list[Column], saturating: Sequence[str]) -> str:
    """Runtimes that ran nothing, and why."""
    first: dict[str, str] = {}
    for result in results:
        for cell in result.matrix.cells:
            if cell.verdict == ABSENT and (column := result.column(cell)) not in columns:
                first.setdefault(_header(column), cell.reason)
    names: dict[str, list[str]] = {}
    for name, reason in first.items():
        names.setdefault(reason, []).append(name)
    lines = [f"* {', '.join(together)}: {reason}." for reason, together in names.items()]
    if saturating:
        lines.append(f"* int8 for {' and '.join(saturating)}: this processor has no VNNI, and its sums would saturate.")
    return "\n".join(["## Not on this machine\n", *lines]) if lines else ""

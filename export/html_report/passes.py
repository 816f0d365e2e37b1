"""What passes did: how often each fired, and the operators before and after each that changed any."""

from __future__ import annotations

from bert_onnx.artifact import Step, Variant, operator_history
from export.html_report.gather import Gathered
from export.html_report.markup import code, section, table, text


def passes(found: Gathered) -> str:
    """How often each pass fired, and the operators of each graph."""
    listed = found.artifact.manifest.variants
    numbers = [str(n) for n in range(1, len(listed) + 1)]
    ledgers = [_ledger(v) for v in listed]
    names = dict.fromkeys(name for ledger in ledgers for name in ledger)
    fired = [(code(name), *(str(ledger.get(name, "")) for ledger in ledgers)) for name in names]
    operators = sorted({name for v in listed for name in v.operators})
    counts = [(code(name), *(str(v.operators.get(name, "")) for v in listed)) for name in operators]
    right = tuple(range(1, len(listed) + 1))
    parts = []
    if counts:
        parts.append("<h3>Operators</h3>" + table(("operator", *numbers), counts, right))
    if fired:
        parts.append(f"<h3>Passes</h3>{table(('pass', *numbers), fired, right)}")
    note = (
        f"Columns are the variants by number; {numbers[0]} is the portable graph, so that what a target's passes made "
        "of it stands beside it. A pass counts how often it fired; an empty cell: it does not run for that target."
    )
    return section("graphs", "Operators and passes", note, *parts, *_histories(listed))


def _ledger(variant: Variant) -> dict[str, int]:
    """How often each pass fired, over all of its runs."""
    counts: dict[str, int] = {}
    for record in variant.passes:
        counts[record.name] = counts.get(record.name, 0) + record.count
    return counts


def _histories(listed: tuple[Variant, ...]) -> list[str]:
    """For each variant what every pass made of its operators, folded away."""
    parts = []
    for number, variant in enumerate(listed, 1):
        history = operator_history(variant.passes, variant.operators)
        rows = [_row(step) for step in history if step.record.operators]
        if rows:
            first, last = sum(history[0].before.values()), sum(variant.operators.values())
            title = f"{number} {variant.name}: {first} nodes before the first pass, {last} after the last"
            steps = table(("pass", "nodes", "operators"), rows, (1,))
            parts.append(f"<details><summary>{text(title)}</summary>{steps}</details>")
    return ["<h3>Operators before and after each pass</h3>", *parts] if parts else []


def _row(step: Step) -> tuple[str, str, str]:
    """Before → after, of all nodes and of each operator."""
    changed = ", ".join(
        f"<span>{code(name)} {step.before.get(name, 0)} → {step.after.get(name, 0)}</span>"
        for name in sorted(step.record.operators or ())
    )
    before, after = sum(step.before.values()), sum(step.after.values())
    return code(step.record.name), f"{before} → {after}", changed

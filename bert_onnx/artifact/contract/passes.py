"""The ledger of one variant: what each pass did, and what became of the operators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bert_onnx.artifact.contract.kinds import Count, Whole


@dataclass(frozen=True)
class PassRecord:
    """A graph pass.

    Args:
        name: in the table of passes, or what was done beside them.
        count: how often it fired.
        operators: how many nodes of each operator it added, below 0 where it took them away; an operator whose number
            stayed as it was is missing. None in an artifact of schema 5.
    """

    name: str
    count: Count
    operators: dict[str, Whole] | None = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """A pass with the number of each operator before it and after it."""

    record: PassRecord
    before: dict[str, int]
    after: dict[str, int]


def operator_history(passes: Sequence[PassRecord], operators: Mapping[str, int]) -> list[Step]:
    """The passes in order, worked out from the last one back.

    Args:
        operators: of the graph that they left.

    Returns:
        nothing for a pass that records no operators, and for those before it.
    """
    history: list[Step] = []
    after = dict(operators)
    for record in reversed(passes):
        if record.operators is None:
            break
        before = after | {name: after.get(name, 0) - change for name, change in record.operators.items()}
        history.append(Step(record, before, after))
        after = before
    return history[::-1]

"""What `bert-onnx run` prints for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bert_onnx.cli.tables import format_rows, format_table

if TYPE_CHECKING:
    from runtimes.pipelines.results import Result

#: Numbers of a vector that a person is shown.
_SHOWN_NUMBERS = 6


def show_predictions(predictions: Sequence[Result]) -> None:
    """One block a text, or a table of ranked documents; what is long is cut, which --json does not."""
    values = [prediction.for_people() for prediction in predictions]
    if values and all("corpus_id" in one for one in values):
        print(_prediction_text(values))
        return
    print("\n\n".join(_prediction_text(one) for one in values))


def _prediction_text(values: Any) -> str:
    """The fields of a prediction, one a line; the alternatives of a list one below the other."""
    if isinstance(values, Mapping):
        return format_rows([(name, _prediction_text(value)) for name, value in values.items()])
    if isinstance(values, float):
        return f"{values:.4f}"
    if not isinstance(values, list):
        return str(values)
    if values and all(isinstance(value, float) for value in values):
        shown = " ".join(f"{value:.4f}" for value in values[:_SHOWN_NUMBERS])
        return shown if len(values) <= _SHOWN_NUMBERS else f"{shown} ... ({len(values)} numbers)"
    if len(values) > _SHOWN_NUMBERS and isinstance(values[0], list):
        return "\n".join([*(_prediction_text(value) for value in values[:_SHOWN_NUMBERS]), f"... ({len(values)} rows)"])
    if values and all(isinstance(value, Mapping) for value in values):
        header = list(values[0])
        return format_table(header, [[_prediction_text(value[name]) for name in header] for value in values])
    return "\n".join(_prediction_text(value) for value in values) or "none"

"""The only table of budgets: what a variant must keep of the eager model's predictions, by precision and figure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bert_onnx.errors import UsageError

#: What a batch-invariant variant may differ by: rounding of float32, which sums in another order for other shapes.
INVARIANCE_LIMIT = 1e-5

#: The figure of each kind of task that `--budget` speaks of.
PRINCIPAL = ("cosine_mean", "label_agreement", "span_agreement", "top1_agreement", "next_token_agreement", "spearman")

#: Precision -> figure -> threshold. A figure that a task does not have is left aside.
BUDGETS: dict[str, dict[str, float]] = {
    "fp16": {
        "cosine_mean": 0.9999, "cosine_min": 0.999, "neighbour_agreement": 0.99, "spearman": 0.999,
        "label_agreement": 0.995, "kl_mean": 0.001, "span_agreement": 0.98,
        "top1_agreement": 0.98, "top5_agreement": 0.98, "next_token_agreement": 0.98, "metric_loss": 0.005,
    },
    "bf16": {
        "cosine_mean": 0.9995, "cosine_min": 0.997, "neighbour_agreement": 0.96, "spearman": 0.999,
        "label_agreement": 0.98, "kl_mean": 0.005, "span_agreement": 0.95,
        "top1_agreement": 0.95, "top5_agreement": 0.95, "next_token_agreement": 0.95, "metric_loss": 0.005,
    },
    "int8": {
        "cosine_mean": 0.999, "cosine_min": 0.995, "neighbour_agreement": 0.95, "spearman": 0.995,
        "label_agreement": 0.98, "kl_mean": 0.01, "span_agreement": 0.93,
        "top1_agreement": 0.93, "top5_agreement": 0.9, "next_token_agreement": 0.93, "metric_loss": 0.005,
        "invariance": INVARIANCE_LIMIT,
    },
    "int8-dynamic": {
        "cosine_mean": 0.995, "cosine_min": 0.96, "neighbour_agreement": 0.9, "spearman": 0.99,
        "label_agreement": 0.97, "kl_mean": 0.02, "span_agreement": 0.9,
        "top1_agreement": 0.9, "top5_agreement": 0.87, "next_token_agreement": 0.9, "metric_loss": 0.01,
        "invariance": INVARIANCE_LIMIT,
    },
    "int4": {
        "cosine_mean": 0.975, "cosine_min": 0.9, "neighbour_agreement": 0.8, "spearman": 0.97,
        "label_agreement": 0.9, "kl_mean": 0.05, "span_agreement": 0.8,
        "top1_agreement": 0.8, "top5_agreement": 0.75, "next_token_agreement": 0.8, "metric_loss": 0.03,
        "invariance": INVARIANCE_LIMIT,
    },
}  # fmt: skip

#: What `--budget` leaves in force beside the principal figure.
_ALWAYS = ("metric_loss", "invariance")


@dataclass(frozen=True)
class Budget:
    """What must be kept.

    Args:
        thresholds: by figure; see `bert_onnx.artifact.contract.quality` for those that are upper limits.
    """

    thresholds: Mapping[str, float] = field(default_factory=dict)

    def for_figures(self, figures: Mapping[str, float]) -> dict[str, float]:
        """The thresholds of figures that were measured."""
        return {name: limit for name, limit in self.thresholds.items() if name in figures}


def find_budget(precision: str, principal: float | None = None) -> Budget:
    """The budget of a precision.

    Args:
        precision: `int8`, or with what was done after a hyphen, which may have a row of its own.
        principal: what the principal figure (mean cosine, agreement) must reach, in place of the table's row.

    Raises:
        UsageError: a precision without a row, or a budget out of range.
    """
    family = precision if precision in BUDGETS else precision.partition("-")[0]
    if family not in BUDGETS:
        raise UsageError(f"there is no budget for the precision {precision!r}; choose one of {', '.join(BUDGETS)}.")
    thresholds = BUDGETS[family]
    if principal is not None:
        if not 0 < principal <= 1:
            raise UsageError(f"--budget {principal} is out of range; give a cosine or an agreement above 0, up to 1.")
        kept = {name: thresholds[name] for name in _ALWAYS if name in thresholds}
        thresholds = dict.fromkeys(PRINCIPAL, principal) | kept
    return Budget(thresholds)

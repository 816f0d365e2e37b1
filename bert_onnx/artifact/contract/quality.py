"""Quality: what the gate measured of one variant on held-out text, what it had to reach, and whether it did."""

from __future__ import annotations

from dataclasses import dataclass

from bert_onnx.artifact.contract.kinds import Number, Positive, Sha256

#: Figures that are good when they are small; all others are good when they are large.
LOWER_IS_BETTER = frozenset({"kl_mean", "invariance", "metric_loss"})

#: Figures in words; others appear under their own name.
TITLES = {
    "cosine_mean": "mean cosine to the reference",
    "cosine_min": "smallest cosine to the reference",
    "neighbour_agreement": "share of texts with the same nearest neighbour",
    "spearman": "rank correlation of scores, or of similarities of pairs",
    "label_agreement": "share of equal labels",
    "kl_mean": "mean divergence of the probabilities (KL, nats)",
    "span_agreement": "share of equal answers",
    "top1_agreement": "share of equal first guesses",
    "top5_agreement": "mean overlap of the five first guesses",
    "next_token_agreement": "share of equal next tokens",
    "invariance": "largest change of an output with its place in a batch",
    "metric_loss": "loss of the task's metric",
}


@dataclass(frozen=True)
class Quality:
    """The gate's verdict on one variant.

    Args:
        figures: what was measured, by name (`cosine_mean`, `label_agreement` ...); docs/precision.md explains each.
        thresholds: what a figure had to reach; those of `LOWER_IS_BETTER` are upper limits, the others lower ones.
        texts: name of the text set that was used.
        texts_sha256: its sha256.
        count: how many texts of it.
        passed: every figure reaches its threshold.
        degraded: it does not, and was published nevertheless because the user asked for that.
    """

    figures: dict[str, Number]
    thresholds: dict[str, Number]
    texts: str
    texts_sha256: Sha256
    count: Positive
    passed: bool
    degraded: bool

    @property
    def misses(self) -> tuple[str, ...]:
        """Names of the figures that do not reach their thresholds."""
        return missed(self.figures, self.thresholds)


def reaches(name: str, figure: float, threshold: float) -> bool:
    """Whether the figure called `name` is as good as `threshold`; NaN never is."""
    return figure <= threshold if name in LOWER_IS_BETTER else figure >= threshold


def missed(figures: dict[str, float], thresholds: dict[str, float]) -> tuple[str, ...]:
    """Names of the thresholds that `figures` does not reach, in their order; a figure that is not there misses."""
    return tuple(
        name for name, limit in thresholds.items() if name not in figures or not reaches(name, figures[name], limit)
    )

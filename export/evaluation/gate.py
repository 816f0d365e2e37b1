"""The gate: what decides that a variant of lower precision may be published."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bert_onnx.artifact import Quality
from bert_onnx.artifact.contract.quality import LOWER_IS_BETTER, TITLES, missed
from bert_onnx.errors import InputError, VerificationError
from export.evaluation.budgets import Budget
from export.evaluation.data import built_in, read_text_set
from export.evaluation.evaluation import FEWEST_TEXTS, Evaluation
from export.evaluation.examples import TextSet
from export.evaluation.invariance import Invariance, measure_invariance
from export.evaluation.languages import ENGLISH
from runtimes.engines.base import Runtime


@dataclass(frozen=True)
class GateReport:
    """What the gate found.

    Args:
        figures: what was measured, by name.
        thresholds: what each had to reach.
        texts, texts_sha256, count: with which texts, and how many of them.
        invariance: the worst change of an output with the rest of the batch.
    """

    figures: dict[str, float]
    thresholds: dict[str, float]
    texts: str
    texts_sha256: str
    count: int
    invariance: Invariance

    @property
    def passed(self) -> bool:
        """Every figure reaches its threshold."""
        return not missed(self.figures, self.thresholds)

    @property
    def failures(self) -> tuple[str, ...]:
        """What is below its budget, in words."""
        return tuple(self._failure(name) for name in missed(self.figures, self.thresholds))

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {**asdict(self), "passed": self.passed, "failures": list(self.failures)}

    def quality(self) -> Quality:
        """What the manifest says of it. A report that did not pass makes a degraded variant."""
        return Quality(
            figures=self.figures,
            thresholds=self.thresholds,
            texts=self.texts,
            texts_sha256=self.texts_sha256,
            count=self.count,
            passed=self.passed,
            degraded=not self.passed,
        )

    def _failure(self, name: str) -> str:
        bound = "at most" if name in LOWER_IS_BETTER else "at least"
        figure, threshold = told_apart(self.figures[name], self.thresholds[name])
        text = f"{TITLES.get(name, name)} is {figure}, {bound} {threshold} is needed"
        return f"{text} ({self.invariance})" if name == "invariance" else text


def told_apart(figure: float, threshold: float) -> tuple[str, str]:
    """Both with as many digits as it takes to see that they differ, six or more."""
    pairs = ((f"{figure:.{digits}g}", f"{threshold:.{digits}g}") for digits in (6, 9, 12, 17))
    return next((pair for pair in pairs if pair[0] != pair[1]), (f"{figure:.6g}", f"{threshold:.6g}"))


def held_out_texts(
    evaluation: str | Path | None, calibration: TextSet | None, languages: Sequence[str] = (ENGLISH,)
) -> TextSet:
    """The texts of the file `evaluation`, or the built-in ones of `languages`, without those that calibration saw.

    Raises:
        InputError: the file cannot be used, or too little of it is left.
    """
    found = built_in("evaluation", languages) if evaluation is None else read_text_set(evaluation)
    if calibration is None:
        return found.at_least(FEWEST_TEXTS, "evaluation")
    rest = found.without(calibration)
    if len(rest.texts) < FEWEST_TEXTS <= len(found.texts):
        raise InputError(
            f"{found.name} leaves {len(rest.texts)} texts that are not in {calibration.name} too; evaluation needs "
            f"{FEWEST_TEXTS} that calibration never saw."
        )
    return rest.at_least(FEWEST_TEXTS, "evaluation")


def run_gate(evaluation: Evaluation, runtime: Runtime, budget: Budget) -> GateReport:
    """Judge `runtime` by `budget`: figures of its predictions, and whether they depend on the batch."""
    invariance = measure_invariance(evaluation.subject, runtime, evaluation.texts)
    figures = {**evaluation.figures(runtime), "invariance": invariance.largest}
    return GateReport(
        figures=figures,
        thresholds=budget.for_figures(figures),
        texts=evaluation.texts.name,
        texts_sha256=evaluation.texts.sha256,
        count=evaluation.count,
        invariance=invariance,
    )


def require_quality(report: GateReport, what: str, blame: Sequence[str] = (), *, allow_degraded: bool) -> Quality:
    """What to put into the manifest.

    Args:
        report: what the gate found.
        what: the variant in words, `the int8 variant`.
        blame: names of the most sensitive layers, the worst first, where they are known.
        allow_degraded: publish below the budget, and say so.

    Raises:
        VerificationError: it is below its budget, and nobody allowed that.
    """
    if report.passed or allow_degraded:
        return report.quality()
    layers = f" The most sensitive layers: {', '.join(blame)}." if blame else ""
    raise VerificationError(
        f"{what} is below its budget on {report.count} texts of {report.texts}: {'; '.join(report.failures)}.{layers} "
        "Nothing was published. Calibrate with text like that of its use, lower --budget, or publish it nevertheless "
        "with --allow-degraded."
    )

"""The gate: what passes, what is refused and in which words, what is published nevertheless, and held-out text."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from evaluation_samples import NoisyRuntime, reference, sample_texts, sentences, tiny_subject

from bert_onnx.artifact.contract.quality import LOWER_IS_BETTER, TITLES
from bert_onnx.errors import InputError, UsageError, VerificationError, exit_status
from bert_onnx.tasks import TASKS
from export.evaluation.budgets import BUDGETS, PRINCIPAL, Budget, find_budget
from export.evaluation.evaluation import Evaluation
from export.evaluation.examples import Example, TextSet, text_set
from export.evaluation.gate import GateReport, held_out_texts, require_quality, run_gate
from export.evaluation.invariance import Invariance

pytestmark = pytest.mark.slow

FINE = Invariance(1e-8, "sentence_embedding", "alone", "")
REPORT = GateReport(
    figures={"cosine_mean": 0.9995, "neighbour_agreement": 0.97, "invariance": 1e-8},
    thresholds={"cosine_mean": 0.999, "neighbour_agreement": 0.95, "invariance": 1e-5},
    texts="built-in evaluation",
    texts_sha256="ab" * 32,
    count=512,
    invariance=FINE,
)
BELOW = replace(REPORT, figures={**REPORT.figures, "cosine_mean": 0.98, "neighbour_agreement": 0.84})


def evaluate(
    folder: Path, task: str, noise: float, texts: TextSet | None = None, precision: str = "int8"
) -> GateReport:
    """What the gate says of the eager model of `task` with noise on its answers."""
    subject, eager = tiny_subject(folder, task)
    evaluation = Evaluation(subject, texts or sample_texts(), reference(eager))
    return run_gate(evaluation, NoisyRuntime(reference(eager), noise), find_budget(precision))


@pytest.mark.parametrize("precision", BUDGETS)
@pytest.mark.parametrize("task", TASKS)
def test_the_reference_passes_every_budget_and_noise_none(tmp_path: Path, task: str, precision: str) -> None:
    good = evaluate(tmp_path, task, 0.0, precision=precision)
    assert good.passed, good.failures
    assert set(good.figures) & set(PRINCIPAL) & set(good.thresholds)
    bad = evaluate(tmp_path, task, 30.0, precision=precision)
    assert not bad.passed
    assert {name for name in PRINCIPAL if name in bad.figures} <= set(bad.quality().misses)


def test_a_report_says_which_texts_it_used(tmp_path: Path) -> None:
    report = evaluate(tmp_path, "sentence-similarity", 0.0)
    assert (report.texts, report.count) == ("sample texts", 24)
    assert report.texts_sha256 == sample_texts().sha256
    values = json.loads(json.dumps(report.to_dict()))
    assert values["passed"] is True
    assert values["failures"] == []
    assert values["figures"]["cosine_mean"] == pytest.approx(1.0)


def test_what_passes_is_not_degraded() -> None:
    for allowed in (True, False):
        quality = require_quality(REPORT, "the int8 variant", allow_degraded=allowed)
        assert (quality.passed, quality.degraded) == (True, False)
        assert quality.figures == REPORT.figures


def test_what_is_below_its_budget_is_refused_with_figures_and_layers() -> None:
    layers = ["encoder/layer.1/output/dense", "encoder/layer.0/output/dense"]
    with pytest.raises(VerificationError) as caught:
        require_quality(BELOW, "the int8 variant", layers, allow_degraded=False)
    message = str(caught.value)
    assert exit_status(caught.value) == 3
    assert "the int8 variant is below its budget on 512 texts of built-in evaluation" in message
    assert "mean cosine to the reference is 0.98, at least 0.999 is needed" in message
    assert "share of texts with the same nearest neighbour is 0.84, at least 0.95 is needed" in message
    assert "encoder/layer.1/output/dense, encoder/layer.0/output/dense" in message
    assert "Nothing was published" in message
    assert "--allow-degraded" in message


def test_what_is_below_its_budget_is_published_on_request_and_marked() -> None:
    quality = require_quality(BELOW, "the int8 variant", allow_degraded=True)
    assert (quality.passed, quality.degraded) == (False, True)
    assert quality.misses == ("cosine_mean", "neighbour_agreement")


def test_a_failed_invariance_names_the_text_and_its_company() -> None:
    leak = Invariance(2e-3, "sentence_embedding", "first among long texts", "a cat")
    report = replace(REPORT, figures={**REPORT.figures, "invariance": leak.largest}, invariance=leak)
    (failure,) = report.failures
    assert "at most 1e-05 is needed" in failure
    assert "'a cat' differs by 2.0e-03 between the text alone and first among long texts" in failure


def test_a_loss_of_accuracy_is_a_failure_even_where_labels_agree(tmp_path: Path) -> None:
    subject, eager = tiny_subject(tmp_path, "text-classification")
    examples = tuple(Example(text, label=0) for text in sentences(24))
    evaluation = Evaluation(subject, TextSet("labelled", "0" * 64, examples), reference(eager))
    report = run_gate(evaluation, reference(eager), Budget({"metric_loss": -0.01}))
    assert report.figures["metric_loss"] == 0.0
    assert report.failures == ("loss of the task's metric is 0, at most -0.01 is needed",)


def test_the_table_of_budgets_is_sound() -> None:
    for precision, row in BUDGETS.items():
        assert set(row) <= set(TITLES), precision
        assert set(PRINCIPAL) <= set(row), precision
        for name, threshold in row.items():
            assert 0 < threshold <= (0.05 if name in LOWER_IS_BETTER else 1), (precision, name)
    for name in BUDGETS["int8"]:  # more bits, not less asked for
        wider, narrower = BUDGETS["int8"][name], BUDGETS["int4"][name]
        assert wider <= narrower if name in LOWER_IS_BETTER else wider >= narrower


def test_a_budget_of_the_user_replaces_all_but_invariance_and_the_metric() -> None:
    budget = find_budget("int8", principal=0.9).thresholds
    assert budget["cosine_mean"] == budget["label_agreement"] == budget["span_agreement"] == 0.9
    assert "cosine_min" not in budget
    assert "neighbour_agreement" not in budget
    assert budget["invariance"] == BUDGETS["int8"]["invariance"]
    assert budget["metric_loss"] == BUDGETS["int8"]["metric_loss"]


@pytest.mark.parametrize("share", [0.0, -1.0, 1.0001, 99.0, float("nan")])
def test_a_budget_is_a_share(share: float) -> None:
    with pytest.raises(UsageError, match="is out of range"):
        find_budget("int8", share)


def test_fp32_has_no_budget() -> None:
    with pytest.raises(UsageError, match="no budget for the precision 'fp32'"):
        find_budget("fp32")


def test_the_built_in_texts_serve_where_the_user_brings_none() -> None:
    assert held_out_texts(None, None).name == "built-in evaluation"


def test_texts_that_calibration_saw_are_not_judged_by(tmp_path: Path) -> None:
    texts = sentences(60)
    path = tmp_path / "mine.txt"
    path.write_text("\n".join(texts), encoding="utf-8")
    assert held_out_texts(path, text_set("calibration.txt", texts[:30])).texts == tuple(texts[30:])
    with pytest.raises(InputError, match=r"mine\.txt leaves 10 texts that are not in calibration\.txt too"):
        held_out_texts(path, text_set("calibration.txt", texts[:50]))
    with pytest.raises(InputError, match=r"mine\.txt leaves 0 texts"):
        held_out_texts(path, text_set("mine.txt", texts))
    path.write_text("one\ntwo\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"mine\.txt has 2 different texts; evaluation needs at least 20"):
        held_out_texts(path, None)

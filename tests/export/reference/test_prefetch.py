"""Answers that another process computes: the same as our own, missed by nobody, gone afterwards."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from export_samples import save_checkpoint

from bert_onnx.checkpoint import Checkpoint, find_checkpoint
from bert_onnx.tasks import TaskOptions, find_task
from export.pipeline import export
from export.reference import prefetch as ahead_module
from export.reference.load import Eager, load_eager
from export.reference.prefetch import AnswersAhead, answers_ahead, inputs_key, start_early
from export.reference.runtime import PreparedReference, eager_runtime
from export.request import ExportRequest
from export.verification.cases import Case, verification_cases

TASK = "feature-extraction"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return find_checkpoint(str(save_checkpoint(tmp_path_factory.mktemp("checkpoint"), TASK)))


@pytest.fixture(scope="module")
def eager(checkpoint: Checkpoint) -> Eager:
    return load_eager(checkpoint, find_task(TASK), TaskOptions(pooler=True))


@pytest.fixture
def ahead(checkpoint: Checkpoint, eager: Eager) -> Iterator[AnswersAhead]:
    with AnswersAhead() as ahead:
        _ask(ahead, checkpoint, eager)
        yield ahead


def _ask(ahead: AnswersAhead, checkpoint: Checkpoint, eager: Eager) -> None:
    ahead.ask(checkpoint, eager.task, eager.options, False, torch.get_num_threads())


@pytest.fixture
def cases(eager: Eager) -> list[Case]:
    return list(verification_cases(eager.task, eager.config, eager.module.inputs))


def test_the_answers_are_those_of_this_process(ahead: AnswersAhead, eager: Eager, cases: list[Case]) -> None:
    own = eager_runtime(eager)
    for case in reversed(cases):  # any order will do
        found, expected = ahead.find(case.inputs), own.run(case.inputs)
        assert found is not None
        assert set(found) == set(expected)
        for name, array in expected.items():
            np.testing.assert_array_equal(found[name], array)


def test_other_inputs_are_answered_here(ahead: AnswersAhead, eager: Eager, cases: list[Case]) -> None:
    inputs = cases[1].inputs | {"input_ids": (cases[1].inputs["input_ids"] + 1) % 40}
    assert ahead.find(inputs) is None
    found = PreparedReference(eager, ahead).run(inputs)
    np.testing.assert_array_equal(found["last_hidden_state"], eager_runtime(eager).run(inputs)["last_hidden_state"])


def test_a_process_that_dies_is_not_missed(ahead: AnswersAhead, eager: Eager, cases: list[Case]) -> None:
    assert ahead._process is not None
    ahead._process.kill()
    answers = PreparedReference(eager, ahead).run(cases[-1].inputs)
    expected = eager_runtime(eager).run(cases[-1].inputs)
    np.testing.assert_array_equal(answers["last_hidden_state"], expected["last_hidden_state"])


def test_a_process_that_cannot_start(
    monkeypatch: pytest.MonkeyPatch, checkpoint: Checkpoint, eager: Eager, cases: list[Case]
) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with AnswersAhead() as ahead:
        _ask(ahead, checkpoint, eager)
        assert ahead.find(cases[0].inputs) is None


def test_nothing_is_left(checkpoint: Checkpoint, eager: Eager, cases: list[Case]) -> None:
    with AnswersAhead() as ahead:
        _ask(ahead, checkpoint, eager)
        folder, process = ahead._folder, ahead._process
        assert process is not None
        assert ahead.find(cases[0].inputs) is not None
        assert any(folder.iterdir())
    assert not folder.exists()
    assert process.poll() is not None


def test_keys_tell_inputs_apart() -> None:
    ids = np.arange(6)
    keys = [
        inputs_key({"a": ids}),
        inputs_key({"b": ids}),
        inputs_key({"a": ids.reshape(2, 3)}),
        inputs_key({"a": ids.astype(np.int32)}),
        inputs_key({"a": ids + 1}),
        inputs_key({"a": ids, "b": np.zeros((0, 3), np.float32)}),
    ]
    assert len(set(keys)) == len(keys)
    assert inputs_key({"a": ids, "b": ids + 1}) == inputs_key({"b": ids + 1, "a": ids.copy()})
    assert inputs_key({"a": ids.reshape(2, 3).T}) == inputs_key({"a": np.ascontiguousarray(ids.reshape(2, 3).T)})


def test_a_process_without_a_job_ends() -> None:
    with AnswersAhead() as ahead:
        process = ahead._process
        assert process is not None
        assert ahead.find({"a": np.arange(3)}) is None
        assert process.wait(60) == 0


def test_only_what_is_large_enough_starts_early(monkeypatch: pytest.MonkeyPatch, checkpoint: Checkpoint) -> None:
    monkeypatch.setattr(ahead_module, "usable_threads", lambda: 2)
    for model in (str(checkpoint.folder), "no/such-model", "/no/such/folder"):
        with start_early(model) as started:
            assert started is None
    monkeypatch.setattr(ahead_module, "_WORTH_BYTES", 1)
    monkeypatch.setattr(ahead_module, "usable_threads", lambda: 1)
    with start_early(str(checkpoint.folder)) as started:
        assert started is None


def test_random_weights_count_by_their_config(monkeypatch: pytest.MonkeyPatch, checkpoint: Checkpoint) -> None:
    monkeypatch.setattr(ahead_module, "usable_threads", lambda: 2)
    large = find_checkpoint(str(checkpoint.folder), random_seed=1)
    for vocabulary, worth in ((40, False), (9_000_000 // large.config.hidden_size, True)):
        sized = replace(large, config=large.config.replace(vocab_size=vocabulary))
        with answers_ahead(sized, find_task(TASK), TaskOptions(), False) as ahead:
            assert (ahead is not None) == worth


def _always_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead_module, "WORTH_A_PROCESS", 0)
    monkeypatch.setattr(ahead_module, "_WORTH_BYTES", 0)
    monkeypatch.setattr(ahead_module, "usable_threads", lambda: 2)


def test_an_export_is_the_same_with_and_without(
    monkeypatch: pytest.MonkeyPatch, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    request = {"model": str(checkpoint.folder), "task": TASK, "targets": ("portable", "ort-cuda")}
    export(ExportRequest(**request, output=str(tmp_path / "without")))
    _always_worth_it(monkeypatch)
    with start_early(str(checkpoint.folder)) as started:
        assert started is not None
        export(ExportRequest(**request, output=str(tmp_path / "with")), started=started)
        assert len(started._ready) > 8  # it did answer: cases, then test vectors
    written = {path.relative_to(tmp_path / "with") for path in (tmp_path / "with").rglob("*") if path.is_file()}
    assert Path("onnx/model_ort_cuda.onnx") in written
    for path in written:
        assert (tmp_path / "with" / path).read_bytes() == (tmp_path / "without" / path).read_bytes(), path

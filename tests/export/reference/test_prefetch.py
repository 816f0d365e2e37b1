"""Outputs that a second process computes: the same as our own, missed by nobody, and gone afterwards."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from export_samples import save_checkpoint

from bert_onnx.checkpoint import Checkpoint, find_checkpoint
from bert_onnx.tasks import TaskOptions, find_task
from export.check import check_export
from export.pipeline import export
from export.reference import prefetch as prefetch_module
from export.reference.computed import Expected
from export.reference.load import Eager, load_eager
from export.reference.prefetch import Prefetch, ReferenceLoader, prefetching
from export.reference.runtime import Reference
from export.request import ExportRequest
from export.verification.cases import Case, verification_cases

pytestmark = pytest.mark.slow

TASK = find_task("feature-extraction")
OPTIONS = TaskOptions(pooler=True)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return find_checkpoint(str(save_checkpoint(tmp_path_factory.mktemp("checkpoint"), TASK.name)))


@pytest.fixture(scope="module")
def eager(checkpoint: Checkpoint) -> Eager:
    return load_eager(checkpoint, TASK, OPTIONS)


@pytest.fixture
def worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefetch_module, "WORTH_A_PROCESS", 0)
    monkeypatch.setattr(prefetch_module, "usable_threads", lambda: 2)


@pytest.fixture
def prefetch(checkpoint: Checkpoint, worth_it: None) -> Iterator[Prefetch]:
    with prefetching(ReferenceLoader(checkpoint, TASK, OPTIONS)) as prefetch:
        assert prefetch is not None
        yield prefetch


@pytest.fixture
def cases(eager: Eager) -> list[Case]:
    return list(verification_cases(TASK, eager.config, eager.module.inputs))


def _same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert set(found) == set(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)


def _count_forwards(eager: Eager, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one whenever the eager model runs in this process."""
    calls: list[int] = []
    forward = eager.module.forward
    monkeypatch.setattr(eager.module, "forward", lambda *tensors: (calls.append(1), forward(*tensors))[1])
    return calls


def test_the_outputs_are_those_of_this_process(
    prefetch: Prefetch, eager: Eager, cases: list[Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    own, reference = Reference(eager), Reference(eager, prefetch)
    reference.expect(Expected(case.inputs, 1) for case in cases)
    expected = [own.run(case.inputs) for case in cases]
    calls = _count_forwards(eager, monkeypatch)
    for case, outputs in reversed(list(zip(cases, expected, strict=True))):  # any order will do
        _same(reference.run(case.inputs), outputs)
    assert not calls


def test_other_inputs_run_here(prefetch: Prefetch, eager: Eager, cases: list[Case]) -> None:
    inputs = cases[1].inputs | {"input_ids": (cases[1].inputs["input_ids"] + 1) % 40}
    reference = Reference(eager, prefetch)
    reference.expect([Expected(cases[1].inputs, 1)])
    _same(reference.run(inputs), Reference(eager).run(inputs))


def test_what_is_expected_is_computed_once_and_kept_as_long(
    eager: Eager, cases: list[Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, reference, inputs = _count_forwards(eager, monkeypatch), Reference(eager), cases[1].inputs
    reference.expect([Expected(inputs, 2)])
    first, second = reference.run(inputs), reference.run({name: array.copy() for name, array in inputs.items()})
    assert first is second
    assert len(calls) == 1
    _same(reference.run(inputs), first)
    assert len(calls) == 2  # it was let go of
    assert list(reference.run(inputs, ["last_hidden_state"])) == ["last_hidden_state"]


def test_a_process_that_dies_is_not_missed(prefetch: Prefetch, eager: Eager, cases: list[Case]) -> None:
    os.kill(_children()[-1], signal.SIGKILL)
    reference = Reference(eager, prefetch)
    reference.expect(Expected(case.inputs, 1) for case in cases)
    _same(reference.run(cases[-1].inputs), Reference(eager).run(cases[-1].inputs))
    with pytest.raises(BrokenExecutor):
        prefetch([[Expected(cases[0].inputs, 1)]])
    reference.expect([Expected(cases[0].inputs, 1)])
    _same(reference.run(cases[0].inputs), Reference(eager).run(cases[0].inputs))


def test_a_process_that_cannot_load_the_model_is_not_missed(
    checkpoint: Checkpoint, worth_it: None, eager: Eager, cases: list[Case], capfd: pytest.CaptureFixture[str]
) -> None:
    other = ReferenceLoader(checkpoint, find_task("question-answering"), OPTIONS)  # no such head
    with prefetching(other) as prefetch:
        reference = Reference(eager, prefetch)
        reference.expect([Expected(cases[0].inputs, 1)])
        _same(reference.run(cases[0].inputs), Reference(eager).run(cases[0].inputs))
    assert capfd.readouterr().err == ""


def test_a_process_that_cannot_start(monkeypatch: pytest.MonkeyPatch, checkpoint: Checkpoint, worth_it: None) -> None:
    monkeypatch.setattr("multiprocessing.spawn.get_executable", lambda: b"/no/such/python")
    with prefetching(ReferenceLoader(checkpoint, TASK, OPTIONS)):
        pass


def test_nothing_is_left(prefetch: Prefetch, eager: Eager, cases: list[Case]) -> None:
    pid = _children()[-1]
    reference = Reference(eager, prefetch)
    reference.expect([Expected(cases[0].inputs, 1)])
    reference.run(cases[0].inputs)
    deadline = time.monotonic() + 60
    while pid in _children():  # it ends by itself, when its work is done
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_random_weights_count_by_their_config(monkeypatch: pytest.MonkeyPatch, checkpoint: Checkpoint) -> None:
    monkeypatch.setattr(prefetch_module, "usable_threads", lambda: 2)
    large = find_checkpoint(str(checkpoint.folder), random_seed=1)
    enough = prefetch_module.WORTH_A_PROCESS // large.config.hidden_size + 1
    for vocabulary, worth in ((40, False), (enough, True)):
        sized = replace(large, config=large.config.replace(vocab_size=vocabulary))
        assert (prefetch_module._parameters(sized) >= prefetch_module.WORTH_A_PROCESS) == worth
    with prefetching(ReferenceLoader(large, TASK, OPTIONS)) as prefetch:
        assert prefetch is None


def test_an_export_is_the_same_with_and_without(
    monkeypatch: pytest.MonkeyPatch, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    request = {"model": str(checkpoint.folder), "task": TASK.name, "targets": ("portable", "ort-cuda")}
    export(ExportRequest(**request, output=str(tmp_path / "without")))
    monkeypatch.setattr(prefetch_module, "WORTH_A_PROCESS", 0)
    monkeypatch.setattr(prefetch_module, "usable_threads", lambda: 2)
    with_another = ExportRequest(**request, output=str(tmp_path / "with"))
    checked = check_export(with_another)
    with prefetching(checked.load) as prefetch:
        export(with_another, checked=checked, prefetch=prefetch)
    written = {path.relative_to(tmp_path / "with") for path in (tmp_path / "with").rglob("*") if path.is_file()}
    assert Path("onnx/model_ort_cuda.onnx") in written
    for path in written:
        assert (tmp_path / "with" / path).read_bytes() == (tmp_path / "without" / path).read_bytes(), path


def _children() -> list[int]:
    """Processes that this one started, the last one last."""
    return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]

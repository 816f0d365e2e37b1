"""`doctor` and `tune`: what they tell, what they keep, and what happens where nothing runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_artifacts import publish_toy

import runtimes
from bert_onnx.artifact import Artifact, Quantization
from bert_onnx.cli import main as cli
from bert_onnx.errors import ArtifactError, RuntimeUnavailableError, StorageError, UsageError
from bert_onnx.memory import memory_limit, physical_memory
from bert_onnx.tasks import TASKS, Port, input_ports
from runtimes.engines.inputs import check_inputs
from runtimes.engines.table import RUNTIMES, RuntimeRow
from runtimes.machine import nvidia
from runtimes.machine.nvidia import Gpu
from runtimes.selection import doctor
from runtimes.selection.tune import WORKLOADS, candidates, tune, workload

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BERT_ONNX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return publish_toy(tmp_path_factory.mktemp("toy") / "artifact")


def test_doctor_looks_at_every_runtime() -> None:
    health = doctor.examine()
    assert [item.name for item in health.runtimes] == list(RUNTIMES)
    by_name = {item.name: item for item in health.runtimes}
    assert by_name["onnxruntime-cpu"].usable
    assert "CPUExecutionProvider" in health.providers
    assert health.threads >= 1
    assert (health.memory or 0) > 2**28
    for item in health.runtimes:
        assert item.usable == (not item.problem)
        assert item.usable == bool(item.compute)
        assert item.install.startswith("pip ")
    json.dumps(health.to_dict())


def test_doctor_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RuntimeRow, "missing_modules", lambda self: tuple(n for n in self.needs if n == "openvino"))
    monkeypatch.setattr(doctor, "list_gpus", lambda: (Gpu("H100", 81559, "550", "9.0"),))

    def no_library(library: Any, provider: str, install: str) -> None:
        raise RuntimeUnavailableError(f"{provider} cannot be loaded: libcublas.so.13 is missing.")

    monkeypatch.setattr(doctor, "require_provider", no_library)
    by_name = {item.name: item for item in doctor.examine().runtimes}
    assert by_name["openvino"].problem == "openvino is not installed"
    assert by_name["openvino"].install == "pip install openvino"
    assert "libcublas.so.13 is missing" in by_name["onnxruntime-cuda"].problem
    assert not by_name["onnxruntime-cuda"].usable


def test_doctor_gives_a_command_only_for_what_is_not_installed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> tuple[str, ...]:
        raise RuntimeUnavailableError("on Intel's processors only; use the runtime openvino.")

    monkeypatch.setattr("runtimes.engines.ort.openvino.computes_in", refuse)
    missing = {"onnxruntime-openvino": (), "tract": ("tract",)}
    monkeypatch.setattr(RuntimeRow, "missing_modules", lambda self: missing.get(self.name, ()))
    assert cli.main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert "on Intel's processors only; use the runtime openvino" in text
    assert "pip install onnxruntime-ep-openvino" not in text
    assert "tract is not installed: pip install tract\n" in text


def test_doctor_for_people_and_for_programs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli.main(["doctor"]) == 0
    text = capsys.readouterr().out
    for word in ("processor", "cgroup quota", "onnxruntime-cuda", "openvino", "versions"):
        assert word in text
    assert cli.main(["doctor", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["packages"]["numpy"] == np.__version__
    monkeypatch.setattr(nvidia, "driver_cuda_version", lambda: None)
    assert [item["name"] for item in values["runtimes"]] == list(RUNTIMES)


@pytest.mark.parametrize(
    ("files", "membership", "expected"),
    [
        ({}, "0::/\n", None),
        ({"memory.max": "1000000\n"}, "0::/\n", 1000000),
        ({"memory.max": "max\n", "a/memory.max": "5000\n"}, "0::/a\n", 5000),
        ({"memory/memory.limit_in_bytes": "7000\n"}, "3:memory:/x\n1:cpu:/y\n", 7000),
        ({"memory/memory.limit_in_bytes": "9223372036854771712\n"}, "3:memory:/\n", None),
    ],
)
def test_the_tightest_memory_limit_counts(
    tmp_path: Path, files: dict[str, str], membership: str, expected: int | None
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "self").write_text(membership)
    assert memory_limit(tmp_path, tmp_path / "self") == expected
    assert memory_limit(tmp_path, tmp_path / "missing") is None
    assert (physical_memory() or 0) > 0


def test_tune_measures_everything_and_load_uses_it(artifact: Path) -> None:
    steps: list[tuple[str, float]] = []
    report = tune(artifact, "latency", 0.02, lambda step, share: steps.append((step, share)))
    rows = report.tuned.rows
    assert {(row.runtime, row.variant) for row in rows} >= {
        (runtime, variant) for runtime in ("onnxruntime-cpu", "openvino") for variant in ("model", "model_double")
    }
    assert [row.milliseconds for row in rows] == sorted(row.milliseconds for row in rows)
    assert all(row.verified == (row.precision == "fp32") for row in rows)
    assert [share for _, share in steps] == sorted(share for _, share in steps)
    best = report.tuned.best("fp32")
    assert best is not None
    with runtimes.load(artifact) as model:
        described = model.describe()
    assert (described.runtime.name, described.variant) == (best.runtime, best.variant)
    assert described.runtime.threads == best.threads
    assert "measured on this machine" in described.why


def test_a_result_belongs_to_one_artifact(artifact: Path, tmp_path: Path) -> None:
    tune(artifact, "latency", 0.01)
    other = publish_toy(tmp_path / "other", np.ones((12, 4), np.float32))
    with runtimes.load(other) as model:
        assert "has not measured this" in model.describe().why


def test_what_fails_is_told_and_the_rest_is_measured(artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from runtimes.engines.openvino import OpenVino

    def fail(*arguments: Any) -> None:
        raise RuntimeUnavailableError("this openvino has no CPU device.")

    monkeypatch.setattr(OpenVino, "open", fail)
    report = tune(artifact, "latency", 0.01)
    assert {row.runtime for row in report.tuned.rows} == {"onnxruntime-cpu"}
    assert {item.why for item in report.skipped} == {"this openvino has no CPU device."}


def test_where_nothing_runs_it_is_an_error(artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RuntimeRow, "missing_modules", lambda self: self.needs)
    with pytest.raises(RuntimeUnavailableError, match=r"nothing here runs .*doctor"):
        tune(artifact, "latency", 0.01)


def test_options_that_do_not_exist(artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="purpose 'beauty' is unknown"):
        tune(artifact, "beauty")
    for seconds in (0, -1, 601, float("nan")):
        with pytest.raises(UsageError, match="seconds"):
            tune(artifact, "latency", seconds)
    with pytest.raises(ArtifactError):
        tune(tmp_path / "missing")
    (tmp_path / "file").touch()
    monkeypatch.setenv("BERT_ONNX_CACHE", str(tmp_path / "file"))
    with pytest.raises(StorageError, match="cannot be kept"):
        tune(artifact, "latency", 0.01)


@pytest.mark.parametrize("task", list(TASKS))
@pytest.mark.parametrize("purpose", list(WORKLOADS))
def test_the_workload_of_every_task_passes_the_check(artifact: Path, task: str, purpose: str) -> None:
    from dataclasses import replace

    from toy_artifacts import CONFIG

    config = replace(CONFIG, is_decoder=task.startswith("text-generation"))
    ports: tuple[Port, ...] = input_ports(TASKS[task], config)
    manifest = replace(Artifact.open(artifact).manifest, inputs=ports)
    inputs = workload(manifest, WORKLOADS[purpose])
    assert set(check_inputs(inputs, ports, manifest.config)) == {port.name for port in ports}


def test_candidates_leave_out_what_saturates(artifact: Path) -> None:
    from dataclasses import replace

    from runtimes.machine.processor import Processor

    manifest = Artifact.open(artifact).manifest
    for_vnni = Quantization("static", "avx512_vnni", {})
    int8 = replace(manifest.variants[0], name="model_int8", precision="int8", quantization=for_vnni)
    manifest = replace(manifest, variants=(*manifest.variants, int8))
    vnni = Processor("x", "x86_64", frozenset({"avx512_vnni"}))
    assert "model_int8" in {choice.variant.name for choice in candidates(manifest, vnni, 2)}
    old = Processor("x", "x86_64", frozenset({"avx2"}))
    assert "model_int8" not in {choice.variant.name for choice in candidates(manifest, old, 2)}


def test_tune_for_people_and_for_programs(artifact: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["tune", str(artifact), "--for", "latency", "--seconds", "0.01"]
    assert cli.main(command) == 0
    text = capsys.readouterr().out
    for word in ("ms a call", "fp32 (the default)", "kept in"):
        assert word in text
    assert cli.main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["purpose"] == "latency"

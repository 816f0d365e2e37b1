"""`bert-onnx bench`: each scenario on a toy, files that are compared, and wrong inputs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from toy_artifacts import publish_toy

from bert_onnx.cli.main import main


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact of two variants, of a graph of a few nodes."""
    return publish_toy(tmp_path_factory.mktemp("bench") / "toy")


@pytest.fixture(scope="module")
def kept(toy: Path) -> dict[str, Path]:
    """Results of two scenarios."""
    files = {name: toy.parent / f"{name}.json" for name in ("single-stream", "offline")}
    for name, path in files.items():
        arguments = ["bench", str(toy), "--scenario", name, "--seconds", "0.05", "--output", str(path), "--quiet"]
        assert main(arguments) == 0
    return files


@pytest.mark.parametrize("scenario", ["single-stream", "offline", "server"])
def test_json_has_the_figure_the_machine_and_every_query(
    toy: Path, scenario: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", str(toy), "--scenario", scenario, "--seconds", "0.3", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    (measured,) = report["measured"]
    assert measured["figure"] > 0
    assert measured["machine"]["packages"]["onnxruntime"]
    assert measured["scenario"] == scenario
    assert sum(len(probe["latencies"]) for probe in measured["probes"]) >= 3
    assert measured["percentiles_ms"]["p50"] <= measured["percentiles_ms"]["p99"]
    if scenario == "server":
        assert len({probe["rate"] for probe in measured["probes"]}) > 1


def test_two_variants_in_turns(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [variant["name"] for variant in json.loads((toy / "manifest.json").read_text())["variants"]]
    assert main(["bench", str(toy), "--compare", *names, "--seconds", "0.2"]) == 0
    printed = capsys.readouterr().out
    assert f"{names[1]} / {names[0]}: " in printed
    assert "95% confidence" in printed


def test_files_are_compared(kept: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    path = str(kept["offline"])
    assert main(["bench", "--compare", path, path, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["ratio"]
    assert found["low"] <= found["value"] == 1 <= found["high"]


def test_quality(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", str(toy), "--quality"]) == 0
    assert "NDCG@10" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "status", "words"),
    [
        ("bench", 2, "name an artifact"),
        ("bench {toy} --seconds 0", 2, "seconds is 0"),
        ("bench {toy} --latency-bound -1", 2, "bound on latency"),
        ("bench {toy} --compare model model", 2, "compared with itself"),
        ("bench {toy} --compare model {offline}", 2, "not one of each"),
        ("bench {toy} --compare {offline} {offline}", 2, "leave DIR out"),
        ("bench {toy} --compare model other --quality", 2, "leave --compare out"),
        ("bench {toy} --output {toy}/none/x.json", 2, "does not exist"),
        ("bench {toy} --output {parent}", 2, "is a folder; name a file"),
        ("bench {toy} --output {toy}/x.json", 2, "lies inside the artifact"),
        ("bench {toy} --variant other", 8, "no variant 'other'"),
        ("bench {parent}", 8, "manifest.json"),
        ("bench --compare {offline} {toy}/manifest.json", 7, "is not what"),
        ("bench --compare {offline} {parent}/none.json", 7, "cannot be read"),
        ("bench --compare {offline} {single-stream}", 2, "the scenario of one is offline"),
    ],
)
def test_wrong_inputs(
    command: str, status: int, words: str, toy: Path, kept: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"toy": toy, "parent": toy.parent, **kept}
    assert main(command.format(**places).split()) == status
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"probes": []},
        {"probes": [{"latencies": [], "samples": 1, "rate": None}]},
        {"probes": [{"latencies": [-1.0], "samples": 1, "rate": None}]},
        {"probes": [{"latencies": [float("inf")], "samples": 1, "rate": None}]},
        {"probes": [{"latencies": [1.0], "samples": 0, "rate": None}]},
        {"probes": [{"latencies": [1.0], "samples": 1, "rate": 2.0}]},
        {"scenario": "server"},
        {"scenario": "dance"},
        {"bound": 0.0},
        None,
    ],
)
def test_files_that_hold_no_measurement(
    changes: dict[str, Any] | None, kept: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = json.loads(kept["offline"].read_text())
    report["measured"][0] |= changes or {}
    file = tmp_path / "wrong.json"
    file.write_text(json.dumps(report) if changes else "[" * 100_000)
    assert main(["bench", "--compare", str(file), str(file)]) == 7
    assert "is not what `bert-onnx bench DIR --output FILE` writes" in capsys.readouterr().err


def test_files_of_two_machines_are_refused(
    kept: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = json.loads(kept["offline"].read_text())
    report["measured"][0]["machine"]["processor"] = "another"
    (tmp_path / "other.json").write_text(json.dumps(report))
    assert main(["bench", "--compare", str(kept["offline"]), str(tmp_path / "other.json")]) == 2
    assert "different machines" in capsys.readouterr().err

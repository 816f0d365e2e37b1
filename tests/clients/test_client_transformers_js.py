"""transformers.js in Node and in Chromium: five tasks, every dtype that it has a name for, on wasm and on WebGPU.

Differences from vectors.json show whether a file runs right, results from text whether a person gets what transformers
gives. WebGPU is computed by Chromium's SwiftShader, which takes 10 s a session: it runs 8 and 4 bits alone, which have
been wrong on other people's WebGPU.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers
from client_tools import EXAMPLES, LEAST_COSINE, ROOT, read
from pipeline_models import save_checkpoint, tiny_model

from export.pipeline import export
from export.request import ExportRequest, PrecisionRequest

pytestmark = pytest.mark.clients

DTYPES = ("fp32", "fp16", "q8", "q4")
BUILT_IN = ROOT / "export" / "quantization" / "texts"
#: The class, and what its pipeline is asked.
TASKS: dict[str, tuple[str, list[list[str]]]] = {
    "fill-mask": ("BertForMaskedLM", [["Paris is the [MASK] of France."], ["A [MASK] ran off."]]),
    "token-classification": ("BertForTokenClassification", [["Angela lives in Berlin."]]),
    "question-answering": ("BertForQuestionAnswering", [["Where does she live?", "Angela lives in Berlin."]]),
    "text-classification": ("BertForSequenceClassification", [["A fine day."], ["Nobody came."]]),
}
#: How far scores may be from those of transformers in float32.
SCORES = {"fp32": 1e-5, "fp16": 2e-3}


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny random model of each task as an artifact for the web, beside its checkpoint."""
    root = tmp_path_factory.mktemp("web")
    for name, count in (("calibration", 24), ("evaluation", 32)):
        lines = (BUILT_IN / f"{name}.txt").read_text(encoding="utf-8").splitlines()
        (root / name).with_suffix(".txt").write_text("\n".join(lines[:count]) + "\n", encoding="utf-8")
    wanted = PrecisionRequest(
        ("fp32", "fp16", "int8", "int4"),
        calibration=str(root / "calibration.txt"),
        evaluation=str(root / "evaluation.txt"),
        allow_degraded=True,  # random weights
    )
    for task, (class_name, _) in TASKS.items():
        labels = {"num_labels": 3} if task in ("token-classification", "text-classification") else {}
        checkpoint = save_checkpoint(tiny_model(class_name, **labels), root / f"{task}-checkpoint")
        export(ExportRequest(str(checkpoint), task, str(root / task), targets=("web",), precision=wanted))
    return {task: root / task for task in TASKS}


def _run(*command: object) -> list[dict[str, Any]]:
    done = subprocess.run(
        list(map(str, command)), cwd=EXAMPLES / "test", capture_output=True, text=True, timeout=400, check=False
    )
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def _theirs(checkpoint: Path, task: str) -> list[Any]:
    """What the pipeline of transformers gives for the same calls."""
    pipeline = transformers.pipeline(task, model=str(checkpoint))
    if task == "question-answering":  # transformers.js puts answers together from tokens, which have lost their case
        answers = [pipeline(question=question, context=context) for question, context in TASKS[task][1]]
        return [answer | {"answer": answer["answer"].lower()} for answer in answers]
    return [pipeline(*call) for call in TASKS[task][1]]


def _assert_theirs(found: Any, wanted: Any, dtype: str) -> None:
    """Equal scores; in float32 equal words, labels and places, too: rounding to 16 bits can swap two that are near."""
    if isinstance(wanted, list):
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            _assert_theirs(one, other, dtype)
        return
    assert found["score"] == pytest.approx(wanted["score"], abs=SCORES[dtype])
    same = set(found) & set(wanted) - {"score"}
    assert same
    if dtype == "fp32":
        assert {key: found[key] for key in same} == {key: wanted[key] for key in same}


def _assert_right(rows: list[dict[str, Any]], artifacts: dict[str, Path]) -> None:
    """Every row is what Python gives of its file; those of floats give what transformers gives of the text."""
    theirs: dict[str, list[Any]] = {}
    for row in rows:
        assert row["wrong"] is None, row
        assert row["outputs"] >= 7, row
        if row["dtype"] in SCORES:
            task = row["task"]
            folder = artifacts[task]
            wanted = theirs.setdefault(task, _theirs(folder.with_name(f"{task}-checkpoint"), task))
            _assert_theirs(row["results"], wanted, row["dtype"])


def _keep(measured: Callable[..., None], client: str, rows: list[dict[str, Any]]) -> None:
    lines = [row | {"variant": f"{row['task']} {row['dtype']}", "texts": row["outputs"]} for row in rows]
    measured(f"{client} {rows[0]['device']}", lines)


def test_every_task_and_dtype_in_node(artifacts: dict[str, Path], node: str, measured: Callable[..., None]) -> None:
    jobs = [{"folder": str(artifacts[t]), "task": t, "dtypes": DTYPES, "calls": TASKS[t][1]} for t in TASKS]
    rows = _run(node, "tasks.mjs", json.dumps(jobs))
    _keep(measured, "t.js Node", rows)
    assert [(row["task"], row["dtype"]) for row in rows] == [(task, dtype) for task in TASKS for dtype in DTYPES]
    _assert_right(rows, artifacts)


def test_every_task_and_dtype_in_a_browser(
    artifacts: dict[str, Path], node: str, chromium: str, serve: Callable[[Path], str], measured: Callable[..., None]
) -> None:
    jobs = [
        {"url": serve(artifacts[t]), "task": t, "device": "wasm", "dtypes": DTYPES, "calls": TASKS[t][1]} for t in TASKS
    ]
    rows = _run(node, "tasks-browser.mjs", chromium, json.dumps(jobs))
    _keep(measured, "t.js", rows)
    assert [(row["task"], row["dtype"]) for row in rows] == [(task, dtype) for task in TASKS for dtype in DTYPES]
    _assert_right(rows, artifacts)


@pytest.mark.parametrize("where", ["node", "browser"])
def test_embeddings_of_the_sample(
    where: str, node: str, chromium: str, serve: Callable[[Path], str], artifact: Path, measured: Callable[..., None]
) -> None:
    """From text, with transformers.js's own tokenizer and pooling, and from ids."""
    case = next(case for case in read(artifact, "vectors.json")["cases"] if case["name"] == "padded")
    calls = [[case["texts"], {"pooling": "mean", "normalize": True}]]
    job = {"task": "feature-extraction", "dtypes": DTYPES, "calls": calls}
    if where == "node":
        rows = _run(node, "tasks.mjs", json.dumps([job | {"folder": str(artifact)}]))
    else:
        rows = _run(node, "tasks-browser.mjs", chromium, json.dumps([job | {"url": serve(artifact), "device": "wasm"}]))
    _keep(measured, "t.js Node" if where == "node" else "t.js", rows)
    assert [row["dtype"] for row in rows] == list(DTYPES)
    for row in rows:
        assert row["wrong"] is None, row
        model = case["variants"].get(row["variant"], case["outputs"])["sentence_embedding"]
        wanted = np.array(model["values"]).reshape(model["shape"])
        assert ((np.array(row["results"][0]) * wanted).sum(axis=1) >= LEAST_COSINE).all()


def test_eight_and_four_bits_on_webgpu(
    artifacts: dict[str, Path], node: str, chromium: str, serve: Callable[[Path], str], measured: Callable[..., None]
) -> None:
    """Right in transformers.js. In the build that `import "onnxruntime-web"` gives wrong without an error: noticed."""
    task, other = "question-answering", "text-classification"
    calls = TASKS[task][1]
    jobs = [
        {"url": serve(artifacts[task]), "task": task, "device": "webgpu", "dtypes": ["q8", "q4"], "calls": calls},
        {"url": serve(artifacts[other]), "task": other, "device": "webgpu", "dtype": "q8"},
    ]
    *right, found = _run(node, "tasks-browser.mjs", chromium, json.dumps(jobs))
    _keep(measured, "t.js", right)
    assert [row["wrong"] for row in right] == [None, None]
    assert (found["device"], found["dtype"]) == ("wasm", "q8")
    (said,) = found["said"]
    assert said.startswith("q8 on webgpu gives wrong outputs (cosine ")
    assert said.endswith("; trying q8 on wasm.")

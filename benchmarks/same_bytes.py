"""Does a change of the code leave every byte of the graphs as it was? For refactorings.

    python -m benchmarks.same_bytes BASE [--quick]

exports with the code of the commit BASE and with the code here, in processes of their own, and compares the sha256 of
every file but manifest.json and README.md, which name versions and figures:

* the sample for every target in fp32, and in int8 where a target has it (`--quick`: in fp32 only),
* a random model of each task,
* two graphs that torch's exporters made, through `bert-onnx optimize`.

Prints what differs; exit status 1 if anything does. What BASE wrote is remembered in build/same_bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_SEED = "3"
_FLOAT_ONLY = ("ort-cuda", "ort-cuda-unpadded")
_TARGETS = ("portable", "ort-cpu", "ort-cpu-unpadded", "web", "openvino", "openvino-unpadded", *_FLOAT_ONLY)
_TASKS = {
    "feature-extraction": "BertModel",
    "sentence-similarity": "BertModel",
    "fill-mask": "BertForMaskedLM",
    "next-sentence-prediction": "BertForNextSentencePrediction",
    "pretraining": "BertForPreTraining",
    "text-classification": "BertForSequenceClassification",
    "token-classification": "BertForTokenClassification",
    "question-answering": "BertForQuestionAnswering",
    "multiple-choice": "BertForMultipleChoice",
    "text-generation": "BertLMHeadModel",
    "text-generation-with-past": "BertLMHeadModel",
}
#: The command line, wherever that code has it. Graphs name the version that wrote them: here and there the same one.
_PROGRAM = """
import sys
import bert_onnx
bert_onnx.__version__ = "0.1.0"
try:
    import bert_onnx.version
    bert_onnx.version.__version__ = "0.1.0"
except ImportError:
    pass
try:
    from bert_onnx.cli.main import main
except ImportError:
    from bert_onnx.cli import main
sys.exit(main())
"""
_WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "a", "cat", "dog", "sat", "ran", "on", "mat", ".", "##s")


def main() -> int:
    """Compare, print, and say by the exit status whether all is the same."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("base", metavar="BASE", help="the commit to compare with")
    parser.add_argument("--quick", action="store_true", help="leave int8 out")
    arguments = parser.parse_args()
    commit = _git("rev-parse", "--verify", f"{arguments.base}^{{commit}}")
    with tempfile.TemporaryDirectory() as folder:
        inputs = Path(folder) / "inputs"
        _make_inputs(inputs)
        before = _of_commit(commit, inputs, arguments.quick)
        after = _digests(ROOT, inputs, arguments.quick)
    differing = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    for name in differing:
        state = "differs" if name in before and name in after else "is new" if name in after else "is gone"
        print(f"{name} {state}")
    print(f"{len(after)} files, {len(differing)} of them not as at {commit[:10]}")
    return 1 if differing else 0


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def _of_commit(commit: str, inputs: Path, quick: bool) -> dict[str, str]:
    remembered = ROOT / "build" / "same_bytes" / f"{commit}{'-quick' if quick else ''}.json"
    if remembered.exists():
        known: dict[str, str] = json.loads(remembered.read_text())
        return known
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        _git("worktree", "add", "--quiet", "--detach", str(tree), commit)
        try:
            digests = _digests(tree, inputs, quick)
        finally:
            _git("worktree", "remove", "--force", str(tree))
    remembered.parent.mkdir(parents=True, exist_ok=True)
    remembered.write_text(json.dumps(digests, indent=1))
    return digests


def _commands(inputs: Path, out: Path, quick: bool) -> Iterator[list[str]]:
    """Arguments of every command; each writes into a folder or file of its own below `out`."""
    targets = [word for target in _TARGETS for word in ("--target", target)]
    yield ["export", "sample", "--output", str(out / "sample"), *targets]
    if not quick:
        targets = [word for target in _TARGETS if target not in _FLOAT_ONLY for word in ("--target", target)]
        yield ["export", "sample", "--output", str(out / "sample-int8"), *targets, "--precision", "int8"]
    for task in _TASKS:
        model = str(inputs / task)
        yield ["export", model, "--task", task, "--output", str(out / task), "--random-weights", _SEED]
    for name in ("dynamo", "torchscript"):
        target = "ort-cpu-unpadded" if name == "dynamo" else "openvino"
        yield ["optimize", str(inputs / f"{name}.onnx"), str(out / f"{name}.onnx"), "--target", target]


def _digests(tree: Path, inputs: Path, quick: bool) -> dict[str, str]:
    """sha256 of everything that the code in `tree` writes, by path."""
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        for command in _commands(inputs, out, quick):
            done = subprocess.run(
                [sys.executable, "-c", _PROGRAM, *command], cwd=tree, env=environment, capture_output=True, text=True
            )
            if done.returncode:
                raise SystemExit(f"{' '.join(command)} failed in {tree}:\n{done.stderr}")
        files = (path for path in out.rglob("*") if path.is_file() and path.name not in ("manifest.json", "README.md"))
        return {path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _make_inputs(folder: Path) -> None:
    """A config and a vocabulary for each task, and two graphs of a random model."""
    for task, architecture in _TASKS.items():
        (folder / task).mkdir(parents=True)
        config = {"model_type": "bert", "architectures": [architecture], "vocab_size": len(_WORDS), "hidden_size": 32}
        config |= {"num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
        config |= {"max_position_embeddings": 40, "initializer_range": 0.25, "is_decoder": "generation" in task}
        (folder / task / "config.json").write_text(json.dumps(config))
        (folder / task / "vocab.txt").write_text("".join(f"{word}\n" for word in _WORDS))
    _export_with_torch(folder)


def _export_with_torch(folder: Path) -> None:
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    config = BertConfig(40, 32, 2, 4, 48, max_position_embeddings=40, initializer_range=0.25, return_dict=False)
    config._attn_implementation = "eager"
    model = BertModel(config).eval()
    shape = (2, 7)
    given = (torch.ones(shape, dtype=torch.int64),) * 3
    names = ["input_ids", "attention_mask", "token_type_ids"]
    axes = {name: {0: "batch_size", 1: "sequence_length"} for name in (*names, "last_hidden_state")}
    common = {"input_names": names, "output_names": ["last_hidden_state", "pooler_output"]}
    torch.onnx.export(
        model, given, folder / "torchscript.onnx", dynamo=False, opset_version=14, dynamic_axes=axes, **common
    )
    dims = {0: torch.export.Dim("batch_size"), 1: torch.export.Dim("sequence_length")}
    torch.onnx.export(
        model, given, folder / "dynamo.onnx", dynamo=True, opset_version=18, dynamic_shapes=[dims] * 3, verbose=False,
        external_data=False, **common,
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())

"""How far a quantized graph is from the float one after each layer, on built-in texts.

Graphs of one export name their tensors alike, so that the output of each LayerNormalization is found in both.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bert_onnx.artifact import Artifact, Manifest
from runtimes.engines.ort.library import import_onnxruntime

#: Texts that are compared, each alone: padding has no part in it.
_TEXTS = 12
_LAYER_NORM = "LayerNormalization"


def layer_errors(artifact: Artifact) -> dict[str, dict[str, float]]:
    """The error of each variant below fp32 that can be compared, after each LayerNormalization: its root mean square as
    a share of that of the values, by the layer's name, in the graph's order. Graphs that skip padding or fuse layers
    have other tensors; they are left out, as are models in several files.
    """
    variants = [v for v in artifact.manifest.variants if v.data_file is None and "unpadded" not in v.target]
    reference = next((v for v in variants if v.precision == "fp32"), None)
    lower = [v for v in variants if v.precision != "fp32"]
    if reference is None or not lower or artifact.manifest.task == "text-generation-with-past":
        return {}
    feeds = _feeds(artifact)
    names = _norms(artifact.path(reference))
    found = {}
    for variant in lower:
        common = [name for name in names if name in set(_norms(artifact.path(variant)))]
        if common:
            expected, got = (_run(artifact.path(one), common, feeds) for one in (reference, variant))
            found[variant.name] = {_title(name): _error(expected[name], got[name]) for name in common}
    return found


def _norms(path: Path) -> list[str]:
    """Outputs of the model's own LayerNormalizations; those that smoothing added are the input of a product."""
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    return [node.output[0] for node in graph.node if node.op_type == _LAYER_NORM and "/input/" not in node.name]


def _run(path: Path, names: list[str], feeds: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The tensors called `names`, of all texts, one after the other."""
    import onnx

    model = onnx.load(path)
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    ort = import_onnxruntime()
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    wanted = {one.name for one in session.get_inputs()}
    rows: list[list[Any]] = [session.run(names, {k: v for k, v in feed.items() if k in wanted}) for feed in feeds]
    return {name: np.concatenate([row[i].reshape(-1) for row in rows]) for i, name in enumerate(names)}


def _feeds(artifact: Artifact) -> list[dict[str, np.ndarray]]:
    from bert_onnx.config import BertConfig
    from bert_onnx.tokenization import load_tokenizer
    from export.evaluation.data import built_in
    from runtimes.pipelines.batches import pad
    from runtimes.pipelines.encoding import encode

    config = BertConfig.from_pretrained(artifact.folder)
    tokenizer = load_tokenizer(artifact.folder, config.vocab_size)
    texts = list(built_in("evaluation").texts[:_TEXTS])
    windows = encode(tokenizer, texts, None, _longest(artifact.manifest))
    return [_shaped(pad([window], tokenizer.padding_id), artifact.manifest) for window in windows]


def _shaped(arrays: dict[str, np.ndarray], manifest: Manifest) -> dict[str, np.ndarray]:
    """With an axis of choices where the model has one."""
    choices = len(manifest.inputs[0].axes) == 3
    return {name: array[:, None] if choices else array for name, array in arrays.items()}


def _longest(manifest: Manifest) -> int:
    return min(manifest.model_max_length, manifest.config.longest_sequence)


def _title(name: str) -> str:
    """`embeddings`, `layer 0 attention`, `layer 0 output`: the scope of a LayerNormalization in words."""
    parts = [part for part in name.split("/") if part not in ("encoder", "LayerNorm", "bert")]
    scope = [part for part in parts if not part.startswith(_LAYER_NORM)]
    words = [part.replace("layer.", "layer ") for part in scope]
    return " ".join(words[:2]) if len(words) > 2 else " ".join(words)


def _error(expected: np.ndarray, found: np.ndarray) -> float:
    difference = np.sqrt(np.mean(np.square(found.astype(np.float64) - expected)))
    return float(difference / max(float(np.sqrt(np.mean(np.square(expected.astype(np.float64))))), 1e-30))

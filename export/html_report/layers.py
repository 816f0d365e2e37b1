"""How far a quantized graph is from the float one after each layer, on built-in texts.

Graphs of one export name their nodes by the model's modules, so that each LayerNormalization is found in both,
whichever operator it has become. Texts are run one at a time: the packed states [T, D] of a graph that skips padding
are then the states [1, S, D] of one that does not.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bert_onnx.artifact import Artifact, Manifest
from export.plan import FP32
from runtimes.engines.ort.library import import_onnxruntime
from runtimes.engines.table import find_runtime

#: Texts that are compared, each alone: padding has no part in it.
_TEXTS = 12
_LAYER_NORM = "LayerNormalization"
#: Runs every graph here.
_RUNTIME = "onnxruntime-cpu"
#: Where ONNX Runtime looks for weights that lie beside a graph which it was given as bytes.
_WEIGHTS_FOLDER = "session.model_external_initializers_file_folder_path"


def layer_errors(artifact: Artifact) -> dict[str, dict[str, float]]:
    """The error of each variant below fp32 that ONNX Runtime runs on this processor, after each LayerNormalization.

    Returns:
        by variant, by the layer's name, in the graph's order: the error's root mean square as a share of that of the
        values. Layers of other shapes, such as a last one that computes the first token only, are missing.
    """
    reference = artifact.variant()
    row = find_runtime(_RUNTIME)
    lower = [v for v in artifact.manifest.variants if v.precision != FP32 and row.can_run(v.target, v.precision)]
    if not lower or artifact.manifest.task == "text-generation-with-past":
        return {}
    feeds = _feeds(artifact)
    expected = _states(artifact.path(reference), feeds)
    found = {}
    for variant in lower:
        got = _states(artifact.path(variant), feeds)
        common = [name for name, values in expected.items() if name in got and got[name].size == values.size]
        if common:
            found[variant.name] = {_title(name): _error(expected[name], got[name]) for name in common}
    return found


def _states(path: Path, feeds: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """What the model's own LayerNormalizations give for all texts, one after the other, by the modules' paths."""
    import onnx

    model = onnx.load(path, load_external_data=False)
    norms = _norms(model.graph)
    known = {output.name for output in model.graph.output}
    added = [name for name in norms.values() if name not in known]
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in added)
    ort = import_onnxruntime()
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry(_WEIGHTS_FOLDER, str(path.parent))
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    wanted, names = {one.name for one in session.get_inputs()}, list(norms.values())
    rows: list[list[Any]] = [session.run(names, {k: v for k, v in feed.items() if k in wanted}) for feed in feeds]
    return {name: np.concatenate([row[i].reshape(-1) for row in rows]) for i, name in enumerate(norms)}


def _norms(graph: Any) -> dict[str, str]:
    """The output of each LayerNormalization, fused ones included, by its module's path.

    Those that smoothing added are the input of a product, and no module of the model.
    """
    nodes = [node for node in graph.node if node.op_type.endswith(_LAYER_NORM) and "/input/" not in node.name]
    return {node.name.rpartition("/")[0]: node.output[0] for node in nodes}


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
    """`embeddings`, `layer 0 attention`, `layer 0 output`: the path of a LayerNormalization in words."""
    scope = [part for part in name.split("/") if part not in ("encoder", "LayerNorm", "bert")]
    words = [part.replace("layer.", "layer ") for part in scope]
    return " ".join(words[:2]) if len(words) > 2 else " ".join(words)


def _error(expected: np.ndarray, found: np.ndarray) -> float:
    difference = np.sqrt(np.mean(np.square(found.astype(np.float64) - expected)))
    return float(difference / max(float(np.sqrt(np.mean(np.square(expected.astype(np.float64))))), 1e-30))

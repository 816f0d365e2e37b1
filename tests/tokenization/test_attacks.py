"""Texts that make tokenizers hang or swell: time and memory stay bounded."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

MEGABYTE = 1_000_000
TEXTS = {
    "dots": ("'.' * 1_000_000", MEGABYTE),
    "one word": ("'a' * 1_000_000", 1),
    "ideographs": ("'\u4e2d' * 1_000_000", MEGABYTE),
    "spaces": ("' ' * 1_000_000", 0),
    "controls": ("'\\x00\\u200b' * 500_000", 0),
    "marks on one letter": ("'a' + '\\u0301' * 1_000_000", 1),
    "one piece a letter": ("('a' * 99 + ' ') * 3_000", 297_000),
    "no piece for the last letter": ("('a' * 99 + '? ') * 3_000", 300_000),
    "brackets": ("'[' * 300_000", 300_000),
    "half special tokens": ("'[MASK' * 100_000", 200_000),
    "all of the first plane": ("' '.join(map(chr, [*range(0xd800), *range(0xe000, 0x10000)]))", None),
}
#: Generous: what is caught is quadratic time, which takes hours here, and a few kilobytes a character.
SECONDS, MEGABYTES = 20.0, 2000.0
PROGRAM = """
import json, sys, time
from bert_onnx.tokenization import BertTokenizer, BertTokenizerFast
tokenizer = {"slow": BertTokenizer, "fast": BertTokenizerFast}[sys.argv[1]](sys.argv[2])
text = eval(sys.argv[3])
tokenizer("warm up")
start = time.process_time()
tokens = len(tokenizer(text, add_special_tokens=False).input_ids)
seconds = time.process_time() - start
# ru_maxrss outlives exec: it would be that of the process of the tests.
high = next(line for line in open('/proc/self/status') if line.startswith('VmHWM'))
megabytes = int(high.split()[1]) / 1000
print(json.dumps([tokens, seconds, megabytes]))
"""


@pytest.mark.parametrize("kind", ["slow", "fast"])
@pytest.mark.parametrize("name", TEXTS)
def test_long_texts(vocab_file: Path, kind: str, name: str) -> None:
    source, tokens = TEXTS[name]
    command = [sys.executable, "-c", PROGRAM, kind, str(vocab_file), source]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found, seconds, megabytes = json.loads(done.stdout)
    assert tokens is None or found == tokens
    assert seconds < SECONDS
    assert megabytes < MEGABYTES


def test_windows_of_a_long_text_take_linear_time(vocab_file: Path) -> None:
    """Thousands of windows share their text's tokens; making the lists anew for each would take minutes."""
    from bert_onnx.tokenization import BertTokenizerFast

    encoding = BertTokenizerFast(vocab_file)(
        "a b " * 100_000,
        truncation=True,
        max_length=64,
        stride=16,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
        padding=True,
        return_tensors="np",
    )
    windows = -(-(200_000 - 62) // 46) + 1
    assert encoding.input_ids.shape == (windows, 64)
    assert encoding.offset_mapping[-1].max() == 399_999

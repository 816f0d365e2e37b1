"""Attacks on the safetensors header and on the index of shards: each a CheckpointError, at once, in little memory."""

from __future__ import annotations

import json
import os
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_checkpoints import entry, safetensors_bytes

from bert_onnx.checkpoint.header import MAX_HEADER_BYTES, read_header
from bert_onnx.checkpoint.reading import read_tensors
from bert_onnx.errors import CheckpointError

SOUND = {"a": entry("F32", [2, 2], 0, 16), "b": entry("F16", [3], 16, 22)}

ATTACKS: dict[str, bytes] = {
    "empty file": b"",
    "seven bytes": b"\x02\0\0\0\0\0\0",
    "no header": safetensors_bytes(b"", length=0),
    "header of 2^63 bytes": safetensors_bytes({}, length=2**63),
    "header of 2^64 - 1 bytes": safetensors_bytes({}, length=2**64 - 1),
    "header one byte too long": safetensors_bytes({}, length=3),
    "not JSON": safetensors_bytes(b"{not json}"),
    "not UTF-8": safetensors_bytes(b'{"\xff\xfe": 1}'),
    "a JSON list": safetensors_bytes(b"[1, 2]"),
    "a JSON number": safetensors_bytes(b"17"),
    "deeply nested": safetensors_bytes(b"[" * 1_000_000),
    "endless number": safetensors_bytes(b'{"a": ' + b"1" * 10_000 + b"}"),
    "duplicate name": safetensors_bytes(
        b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
        b"x",
    ),
    "duplicate key inside": safetensors_bytes(
        b'{"a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}}', b"x"
    ),
    "overlap": safetensors_bytes({"a": entry("U8", [4], 0, 4), "b": entry("U8", [4], 2, 6)}, b"x" * 6),
    "same bytes twice": safetensors_bytes({"a": entry("U8", [4], 0, 4), "b": entry("U8", [4], 0, 4)}, b"x" * 4),
    "hole": safetensors_bytes({"a": entry("U8", [2], 0, 2), "b": entry("U8", [2], 4, 6)}, b"x" * 6),
    "hole at the start": safetensors_bytes({"a": entry("U8", [2], 2, 4)}, b"x" * 4),
    "data cut short": safetensors_bytes(SOUND, b"x" * 21),
    "data after the end": safetensors_bytes(SOUND, b"x" * 23),
    "offsets beyond the file": safetensors_bytes({"a": entry("F32", [2**40], 0, 2**42)}, b"x" * 16),
    "offsets backwards": safetensors_bytes({"a": entry("U8", [2], 2, 0)}, b"x" * 2),
    "negative offsets": safetensors_bytes({"a": entry("U8", [2], -2, 0)}, b"x" * 2),
    "negative size": safetensors_bytes({"a": entry("U8", [-1, -2], 0, 2)}, b"x" * 2),
    "sizes that overflow 64 bits": safetensors_bytes({"a": entry("F32", [2**32, 2**32], 0, 0)}),
    "sizes that are no numbers": safetensors_bytes({"a": entry("U8", ["2"], 0, 2)}, b"x" * 2),
    "sizes that are truth values": safetensors_bytes({"a": entry("U8", [True, 2], 0, 2)}, b"x" * 2),
    "fractional offsets": safetensors_bytes({"a": entry("U8", [2], 0.0, 2.0)}, b"x" * 2),
    "three offsets": safetensors_bytes({"a": {"dtype": "U8", "shape": [2], "data_offsets": [0, 1, 2]}}, b"x" * 2),
    "shape and bytes differ": safetensors_bytes({"a": entry("F32", [2], 0, 4)}, b"x" * 4),
    "endless name": safetensors_bytes({"n" * 1_000_000: entry("U8", [2], 0, 1)}, b"x"),
    "unknown dtype": safetensors_bytes({"a": entry("F128", [1], 0, 16)}, b"x" * 16),
    "dtype in the wrong case": safetensors_bytes({"a": entry("f32", [1], 0, 4)}, b"x" * 4),
    "dtype that is a list": safetensors_bytes({"a": entry(["F32"], [1], 0, 4)}, b"x" * 4),  # type: ignore[arg-type]
    "entry without shape": safetensors_bytes({"a": {"dtype": "U8", "data_offsets": [0, 2]}}, b"x" * 2),
    "entry that is null": safetensors_bytes({"a": None}),
    "a pickle with the wrong name": b"\x80\x02}q\x00X\x01\x00\x00\x00aq\x01K\x01s." + b"\0" * 64,
}


@pytest.mark.parametrize("attack", ATTACKS, ids=str)
def test_each_attack_is_one_clear_error_quickly(attack: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(ATTACKS[attack])
    start = time.perf_counter()
    with pytest.raises(CheckpointError) as caught:
        read_tensors(tmp_path)
    assert time.perf_counter() - start < 2
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500 + len(str(path))


def test_a_claimed_header_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    with open(path, "wb") as file:  # a sparse file that is really as long as it claims
        file.write((2**33).to_bytes(8, "little") + b"{}")
        file.truncate(2**33 + 100)
    tracemalloc.start()
    with pytest.raises(CheckpointError, match=f"at most {MAX_HEADER_BYTES}"):
        read_header(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


def test_a_sound_file_of_every_oddity_is_read(tmp_path: Path) -> None:
    header = {
        "__metadata__": {"format": "pt"},
        "empty": entry("F32", [0, 5], 16, 16),
        "scalar": entry("I64", [], 22, 30),
    }
    (tmp_path / "model.safetensors").write_bytes(safetensors_bytes({**header, **SOUND}, b"x" * 30))
    tensors = read_header(tmp_path / "model.safetensors")
    assert {name: (tensor.dtype, tensor.shape, tensor.nbytes) for name, tensor in tensors.items()} == {
        "a": ("F32", (2, 2), 16),
        "b": ("F16", (3,), 6),
        "empty": ("F32", (0, 5), 0),
        "scalar": ("I64", (), 8),
    }


def test_reads_the_offsets_that_the_reference_reads(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    tensors = {f"t{i}": torch.randn(i, 3).to(torch.float16 if i % 2 else torch.float32) for i in range(5)}
    path = tmp_path / "model.safetensors"
    save_file(tensors, path)
    data = path.read_bytes()
    for name, info in read_header(path).items():
        raw = data[info.offset : info.offset + info.nbytes]
        assert raw == tensors[name].numpy().tobytes(), name


@given(st.binary(max_size=200), st.integers(0, 300))
@settings(max_examples=200, deadline=None)
def test_noise_never_raises_anything_else(tmp_path_factory: pytest.TempPathFactory, noise: bytes, length: int) -> None:
    path = tmp_path_factory.getbasetemp() / "noise.safetensors"
    path.write_bytes(safetensors_bytes(noise, length=length))
    try:
        read_header(path)
    except CheckpointError:
        return
    assert json.loads(noise[:length]) is not None


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_one_changed_byte_never_raises_anything_else(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    content = bytearray(safetensors_bytes(SOUND, b"x" * 22))
    content[data.draw(st.integers(0, len(content) - 23))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "flipped.safetensors"
    path.write_bytes(bytes(content))
    try:
        tensors = read_header(path)
    except CheckpointError:
        return
    assert sum(tensor.nbytes for tensor in tensors.values()) == 22


def test_a_named_pipe_or_folder_for_weights_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="has no weights"):
        read_tensors(tmp_path)
    with pytest.raises(CheckpointError, match="not a file"):
        read_header(tmp_path)


# Shards


def shards(folder: Path, index: Any = None, **files: dict[str, Any]) -> Path:
    """Shards a.safetensors, b.safetensors ... each with U8 tensors of one byte, and an index."""
    for name, header in files.items():
        count = len(header)
        (folder / f"{name}.safetensors").write_bytes(safetensors_bytes(header, b"x" * count))
    if index is None:
        index = {"weight_map": {key: f"{name}.safetensors" for name, header in files.items() for key in header}}
    text = index if isinstance(index, str) else json.dumps(index)
    (folder / "model.safetensors.index.json").write_text(text)
    return folder


def bytes_of(*names: str) -> dict[str, Any]:
    return {name: entry("U8", [1], i, i + 1) for i, name in enumerate(names)}


def test_shards_are_joined(tmp_path: Path) -> None:
    tensors = read_tensors(shards(tmp_path, a=bytes_of("x", "y"), b=bytes_of("z")))
    assert {name: tensor.file.name for name, tensor in tensors.items()} == {
        "x": "a.safetensors",
        "y": "a.safetensors",
        "z": "b.safetensors",
    }


def test_one_file_is_preferred_to_shards(tmp_path: Path) -> None:
    shards(tmp_path, a=bytes_of("x"))
    (tmp_path / "model.safetensors").write_bytes(safetensors_bytes(bytes_of("whole"), b"x"))
    assert list(read_tensors(tmp_path)) == ["whole"]


@pytest.mark.parametrize(
    "shard",
    [
        "../a.safetensors",
        "/etc/a.safetensors",
        "sub/a.safetensors",
        "..\\a.safetensors",
        "C:a.safetensors",
        ".hidden.safetensors",
        "..",
        "",
        "a.bin",
        "a.safetensors\0.txt",
        3,
        None,
        ["a.safetensors"],
    ],
    ids=repr,
)
def test_a_shard_that_leads_elsewhere_is_refused(shard: Any, tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    (tmp_path / "a.safetensors").write_bytes(safetensors_bytes(bytes_of("x"), b"x"))
    with pytest.raises(CheckpointError, match="not the plain name"):
        read_tensors(shards(inner, {"weight_map": {"x": shard}}))


@pytest.mark.parametrize(
    "index",
    ["", "{", "[]", "3", "{}", '{"weight_map": []}', '{"weight_map": {}}', "[" * 100_000],
    ids=lambda text: text[:20],
)
def test_a_damaged_index_is_refused(index: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"model\.safetensors\.index\.json"):
        read_tensors(shards(tmp_path, index))


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    shards(tmp_path, a=bytes_of("x"), b=bytes_of("y"))
    (tmp_path / "b.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"1 shard\(s\) that .* lacks: b\.safetensors"):
        read_tensors(tmp_path)


def test_a_tensor_in_two_shards_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"'x' lies in two shards, a\.safetensors and b\.safetensors"):
        read_tensors(shards(tmp_path, a=bytes_of("w", "x"), b=bytes_of("y", "x")))


def test_a_tensor_in_another_shard_than_the_index_says_is_named(tmp_path: Path) -> None:
    index = {"weight_map": {"x": "b.safetensors", "y": "a.safetensors"}}
    with pytest.raises(CheckpointError, match=r"puts tensor 'x' into b\.safetensors, but a\.safetensors holds it"):
        read_tensors(shards(tmp_path, index, a=bytes_of("x"), b=bytes_of("y")))


def test_a_tensor_that_no_shard_has_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"puts tensor 'y' into a\.safetensors, which does not hold it"):
        read_tensors(shards(tmp_path, {"weight_map": {"x": "a.safetensors", "y": "a.safetensors"}}, a=bytes_of("x")))


def test_a_tensor_that_the_index_does_not_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"does not list 1 tensor\(s\) of its shards: stowaway"):
        read_tensors(shards(tmp_path, {"weight_map": {"x": "a.safetensors"}}, a=bytes_of("x", "stowaway")))

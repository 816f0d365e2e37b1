"""Fixtures of the hub's tests: a repository, a stand-in server, no pauses between retries."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hub_server import BERT, TINY, WEIGHTS, HubServer, Repository
from tiny_checkpoints import tiny_folder

from bert_onnx.modeling.model import BertModel


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A repository as they are on the hub: what is needed among what is not."""
    folder = tiny_folder(tmp_path_factory.mktemp("repository"), BertModel)
    needed = {name: (folder / name).read_bytes() for name in ("config.json", WEIGHTS)}
    needed |= {name: name.encode() for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt")}
    needed["modules.json"] = b"[]"
    needed["1_Pooling/config.json"] = b"{}"
    others = (".gitattributes", "README.md", "pytorch_model.bin", "tf_model.h5", "flax_model.msgpack", "rust_model.ot")
    return {**needed, **dict.fromkeys((*others, "onnx/model.onnx", "openvino/openvino_model.bin"), b"large")}


@pytest.fixture
def server(files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A hub with two models, and an environment that knows no other and has an empty cache."""
    with HubServer({BERT: Repository.of(files), TINY: Repository.of(files)}) as running:
        running.use(monkeypatch, tmp_path / "home")
        yield running


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pauses between huggingface_hub's retries."""
    import huggingface_hub.file_download
    import huggingface_hub.utils._http

    class Clock:
        sleep = staticmethod(lambda seconds: None)

        def __getattr__(self, name: str) -> Any:
            return getattr(time, name)

    monkeypatch.setattr(huggingface_hub.file_download, "time", Clock())
    monkeypatch.setattr(huggingface_hub.utils._http, "time", Clock())

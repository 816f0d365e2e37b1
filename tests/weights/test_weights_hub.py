"""The hub: what is fetched and what is not, the cache, and every fault as one sentence. Against a stand-in server."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hub_server import COMMIT, OLD_COMMIT, Fault, HubServer, Repository
from tiny_checkpoints import tiny_folder, tiny_model

from bert_onnx.errors import CheckpointError, ConfigError, HubError, StorageError, UsageError
from bert_onnx.modeling.model import BertModel
from bert_onnx.weights import find_checkpoint, hub, load_weights

BERT = "google-bert/bert-base-uncased"
TINY = "somebody/tiny-bert"
WEIGHTS = "model.safetensors"


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


NEEDED = [
    "1_Pooling/config.json",
    "config.json",
    WEIGHTS,
    "modules.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
]


@pytest.fixture
def server(files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A hub with two models, and an environment that knows no other and has an empty cache."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_TOKEN", "HF_HUB_OFFLINE", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    with HubServer({BERT: Repository.of(files), TINY: Repository.of(files)}) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
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


def test_a_bare_official_name_is_fetched_and_loads(server: HubServer, tmp_path: Path) -> None:
    checkpoint = find_checkpoint("bert-base-uncased")
    assert server.downloads() == NEEDED
    assert checkpoint.folder == tmp_path / "home/hub/models--google-bert--bert-base-uncased/snapshots" / COMMIT
    source = checkpoint.source
    assert (source.model, source.kind, source.revision, source.seed) == (BERT, "hub", COMMIT, None)
    assert len(source.weights_sha256) == 64
    assert load_weights(tiny_model(BertModel), checkpoint).newly_initialised == ()


def test_random_weights_fetch_no_weights(server: HubServer) -> None:
    source = find_checkpoint(TINY, random_seed=1).source
    assert server.downloads() == [name for name in NEEDED if name != WEIGHTS]
    assert (source.kind, source.revision, source.seed, source.weights_sha256) == ("random", COMMIT, 1, "")


def test_shards_are_fetched_where_there_is_no_single_file(server: HubServer, files: dict[str, bytes]) -> None:
    import safetensors.torch

    tensors = safetensors.torch.load(files[WEIGHTS])
    names = list(tensors)
    parts = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    stored = {file: safetensors.torch.save({n: tensors[n] for n in held}) for file, held in parts.items()}
    weight_map = {name: file for file, held in parts.items() for name in held}
    index = {"model.safetensors.index.json": json.dumps({"weight_map": weight_map}).encode()}
    sharded = {name: data for name, data in files.items() if name != WEIGHTS} | stored | index
    server.repositories["o/sharded"] = Repository.of(sharded)
    server.repositories["o/both"] = Repository.of({**files, **stored, **index})
    checkpoint = find_checkpoint("o/sharded")
    assert [name for name in server.downloads() if name.startswith("model")] == [*parts, *index]
    assert load_weights(tiny_model(BertModel), checkpoint).newly_initialised == ()
    server.requests.clear()
    find_checkpoint("o/both")
    assert [name for name in server.downloads() if name.startswith("model")] == [WEIGHTS]


def test_a_second_time_nothing_is_downloaded_and_offline_nothing_is_asked(server: HubServer) -> None:
    first = find_checkpoint(TINY)
    server.requests.clear()
    assert find_checkpoint(TINY) == first
    assert server.downloads() == []
    server.requests.clear()
    assert find_checkpoint(TINY, offline=True) == first
    assert server.requests == []


@pytest.mark.parametrize("value", ["1", "true", "ON"])
def test_the_environment_can_say_offline(value: str, server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    first = find_checkpoint(TINY)
    server.requests.clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", value)
    assert find_checkpoint(TINY) == first
    assert server.requests == []


def test_offline_with_an_empty_cache(server: HubServer) -> None:
    with pytest.raises(
        HubError, match=f"{TINY} is not in the local cache; run once without --offline, or name a folder"
    ):
        find_checkpoint(TINY, offline=True)
    with pytest.raises(HubError, match="at revision 'v1' is not in the local cache"):
        find_checkpoint(TINY, offline=True, revision="v1")
    assert server.requests == []


def test_offline_with_a_part_in_the_cache(server: HubServer) -> None:
    find_checkpoint(TINY, random_seed=0)
    with pytest.raises(HubError, match=f"only a part of {TINY}.*run once without --offline"):
        find_checkpoint(TINY, offline=True)
    assert find_checkpoint(TINY, offline=True, random_seed=0).source.kind == "random"


def test_revisions(server: HubServer, files: dict[str, bytes], tmp_path: Path) -> None:
    old = tiny_folder(tmp_path / "old", BertModel, seed=5)
    commits = {COMMIT: files, OLD_COMMIT: {**files, WEIGHTS: (old / WEIGHTS).read_bytes()}}
    server.repositories[TINY] = Repository(commits, {"main": COMMIT, "v1": OLD_COMMIT, "feature/x": OLD_COMMIT})
    current = find_checkpoint(TINY)
    for revision in ("v1", OLD_COMMIT, "feature/x"):
        found = find_checkpoint(TINY, revision=revision)
        assert found.source.revision == OLD_COMMIT
        assert found.source.weights_sha256 != current.source.weights_sha256
        assert find_checkpoint(TINY, revision=revision, offline=True) == found
    assert find_checkpoint(TINY, offline=True) == current


def test_an_unknown_revision(server: HubServer) -> None:
    with pytest.raises(HubError, match=rf"{TINY} has no revision 'v9' on the hub"):
        find_checkpoint(TINY, revision="v9")
    find_checkpoint(TINY)
    with pytest.raises(HubError, match="has no revision 'v9'"):  # the cache does not hide it
        find_checkpoint(TINY, revision="v9")


@pytest.mark.parametrize("revision", ["../../etc", "a b", "", "-/../x", "v1\n", "/abs"])
def test_a_revision_that_cannot_be_one(revision: str, server: HubServer) -> None:
    for offline in (False, True):
        with pytest.raises(UsageError, match="is not the name of a branch, a tag or a commit"):
            find_checkpoint(TINY, revision=revision, offline=offline)
    assert server.requests == []


def test_an_unknown_model(server: HubServer) -> None:
    with pytest.raises(HubError, match="the hub has no model no/such, or it is private; check the name, or log in"):
        find_checkpoint("no/such")


def test_a_gated_model_and_a_token(server: HubServer, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    server.repositories["o/gated"] = Repository.of(files, gated=True)
    with pytest.raises(HubError, match=r"o/gated is gated: accept its terms .* HF_TOKEN"):
        find_checkpoint("o/gated")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert find_checkpoint("o/gated").source.kind == "hub"


@pytest.mark.parametrize(("status", "message"), [(401, "no model|refuses"), (403, "refuses access .*HTTP 403")])
def test_access_that_is_refused(status: int, message: str, server: HubServer) -> None:
    server.faults.append(Fault("GET /api/models", status))
    with pytest.raises(HubError, match=message):
        find_checkpoint(TINY)


def test_a_model_that_is_no_bert_is_refused_before_its_weights_are_fetched(
    server: HubServer, files: dict[str, bytes]
) -> None:
    server.repositories["o/other"] = Repository.of({**files, "config.json": b'{"model_type": "roberta"}'})
    with pytest.raises(ConfigError, match="'roberta'; bert-onnx supports model_type 'bert' only"):
        find_checkpoint("o/other")
    assert server.downloads() == ["config.json"]


def test_no_safetensors_or_no_config(server: HubServer, files: dict[str, bytes]) -> None:
    server.repositories["o/pickled"] = Repository.of({n: d for n, d in files.items() if n != WEIGHTS})
    with pytest.raises(
        HubError, match=r"no weights in safetensors .*pytorch_model\.bin.*bert-onnx convert-weights DIR"
    ):
        find_checkpoint("o/pickled")
    server.repositories["o/words"] = Repository.of({"README.md": b"hello"})
    with pytest.raises(HubError, match=r"o/words has no config\.json on the hub"):
        find_checkpoint("o/words")
    assert server.downloads() == []


def test_names_that_a_hostile_hub_lists_are_not_fetched(
    server: HubServer, files: dict[str, bytes], tmp_path: Path
) -> None:
    hostile = {"../../escape/config.json": b"{}", "model-/../../x.safetensors": b"x", "/etc/model-1.safetensors": b"x"}
    server.repositories["o/hostile"] = Repository.of({**files, **hostile})
    find_checkpoint("o/hostile")
    assert server.downloads() == NEEDED
    assert not list(tmp_path.rglob("escape"))


# Faults


def refused_port() -> str:
    """An address where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def test_no_network_is_said_at_once(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", refused_port())
    start = time.perf_counter()
    with pytest.raises(
        HubError, match=r"cannot be reached.* name a local folder, use 'sample', or pass --offline"
    ) as caught:
        find_checkpoint(TINY)
    assert time.perf_counter() - start < 3
    assert "\n" not in str(caught.value)


def test_no_network_is_said_even_where_the_cache_has_it(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    find_checkpoint(TINY)
    monkeypatch.setenv("HF_ENDPOINT", refused_port())
    with pytest.raises(HubError, match="--offline"):
        find_checkpoint(TINY)
    assert find_checkpoint(TINY, offline=True).source.revision == COMMIT


def test_a_name_that_does_not_resolve(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.invalid")  # reserved by RFC 2606, never resolves
    with pytest.raises(HubError, match="cannot be reached"):
        find_checkpoint(TINY)


def test_a_slow_hub(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "READ_TIMEOUT", 0.3)
    server.faults.append(Fault("GET /api/models", delay=1.5))
    start = time.perf_counter()
    with pytest.raises(HubError, match="did not answer in time"):
        find_checkpoint(TINY)
    assert time.perf_counter() - start < 1.4


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("pattern", ["GET /api/models", "HEAD .*/config.json", "GET .*/model.safetensors"])
def test_a_hub_that_is_broken(pattern: str, server: HubServer) -> None:
    server.faults.append(Fault(pattern, status=500))
    with pytest.raises(HubError, match=r"answered HTTP 500 .*try again later") as caught:
        find_checkpoint(TINY)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("impatient")
def test_a_body_that_is_cut_is_an_error_and_the_next_try_resumes(server: HubServer, files: dict[str, bytes]) -> None:
    server.faults.append(Fault("GET .*/model.safetensors", cut=0))
    with pytest.raises(HubError, match=r"--offline|try again"):
        find_checkpoint(TINY)
    with pytest.raises(HubError):
        find_checkpoint(TINY, offline=True)
    server.faults.clear()
    assert (find_checkpoint(TINY).folder / WEIGHTS).read_bytes() == files[WEIGHTS]


@pytest.mark.usefixtures("impatient")
def test_a_body_that_is_cut_now_and_then_is_resumed(server: HubServer, files: dict[str, bytes]) -> None:
    server.faults.append(Fault("GET .*/model.safetensors", cut=4000, times=2))
    assert (find_checkpoint(TINY).folder / WEIGHTS).read_bytes() == files[WEIGHTS]
    assert server.requests.count(f"GET /{TINY}/resolve/{COMMIT}/{WEIGHTS}") == 3


def test_other_bytes_than_the_hub_announced(server: HubServer, files: dict[str, bytes]) -> None:
    swapped = bytearray(files[WEIGHTS])
    swapped[-1] ^= 1
    server.faults.append(Fault("GET .*/model.safetensors", body=bytes(swapped)))
    with pytest.raises(CheckpointError, match=r"differs from what the hub published; delete .*blobs"):
        find_checkpoint(TINY)


def test_a_cache_that_was_tampered_with(server: HubServer) -> None:
    path = find_checkpoint(TINY).folder / WEIGHTS
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.resolve().write_bytes(bytes(content))
    with pytest.raises(CheckpointError, match="differs from what the hub published"):
        find_checkpoint(TINY, offline=True)


@pytest.mark.parametrize(
    "body", [b"", b"<html>log in to the hotel</html>", b"[]", b"{}", b'{"id": "x", "sha": "../.."}']
)
def test_something_else_than_a_hub(body: bytes, server: HubServer) -> None:
    server.faults.append(Fault("GET /api/models", body=body))
    with pytest.raises(HubError, match="HF_ENDPOINT") as caught:
        find_checkpoint(TINY)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("endpoint", ["nonsense", "ftp://127.0.0.1", "http://", "http://127.0.0.1:99999"])
def test_an_endpoint_that_cannot_be_one(endpoint: str, server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    with pytest.raises(HubError):
        find_checkpoint(TINY)


def test_a_cache_that_cannot_be_written(server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(StorageError, match=f"the download of {TINY} could not be stored"):
        find_checkpoint(TINY)


# Environment


@pytest.mark.parametrize("variable", ["HF_HOME", "HF_HUB_CACHE", "XDG_CACHE_HOME"])
def test_the_cache_is_where_the_environment_says_now(
    variable: str, server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if variable == "XDG_CACHE_HOME":
        monkeypatch.delenv("HF_HOME")
    monkeypatch.setenv(variable, str(tmp_path / "elsewhere"))
    below = {"HF_HOME": "hub", "HF_HUB_CACHE": ".", "XDG_CACHE_HOME": "huggingface/hub"}[variable]
    expected = tmp_path / "elsewhere" / below / f"models--{TINY.replace('/', '--')}"
    assert expected in find_checkpoint(TINY, random_seed=0).folder.parents


def test_nothing_is_printed_and_nothing_else_is_told(server: HubServer, tmp_path: Path) -> None:
    """In a fresh process, as a user runs it: quiet, no torch, no statistics about the machine."""
    program = (
        "import sys; from bert_onnx.weights import find_checkpoint\n"
        f"find_checkpoint({TINY!r}); assert 'torch' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, env=dict(os.environ)
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    agents = {headers["user-agent"] for headers in server.headers}
    assert agents
    assert not any("torch" in agent or "session_id" in agent for agent in agents), agents


def test_logging_and_progress_bars_are_left_as_they_were(server: HubServer) -> None:
    import logging

    from huggingface_hub.utils import are_progress_bars_disabled

    logger = logging.getLogger("huggingface_hub")
    before = (logger.level, are_progress_bars_disabled())
    find_checkpoint(TINY)
    assert (logger.level, are_progress_bars_disabled()) == before

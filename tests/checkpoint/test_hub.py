"""The hub: what is fetched and what is not, revisions, the cache, the environment. Against a stand-in server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hub_server import BERT, COMMIT, OLD_COMMIT, TINY, WEIGHTS, Fault, HubServer, Repository
from tiny_checkpoints import tiny_folder, tiny_model

from bert_onnx.checkpoint import find_checkpoint, load_weights
from bert_onnx.errors import CheckpointError, ConfigError, HubError, UsageError
from bert_onnx.modeling.model import BertModel

pytestmark = pytest.mark.slow

NEEDED = [
    "1_Pooling/config.json",
    "config.json",
    WEIGHTS,
    "modules.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
]


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


def in_a_folder(files: dict[str, bytes], folder: str = "0_Transformer") -> dict[str, bytes]:
    """As sentence-transformers of before 2020 laid a model out: nothing but modules.json at the top."""
    entries = [("Transformer", folder), ("Pooling", "1_Pooling"), ("Dense", "2_Dense")]
    listed = [{"path": place, "type": f"sentence_transformers.models.{kind}"} for kind, place in entries]
    moved = {f"{folder}/{name}": content for name, content in files.items() if "/" not in name}
    return {
        **moved,
        "modules.json": json.dumps(listed).encode(),
        "1_Pooling/config.json": b"{}",
        "2_Dense/config.json": b"{ }",
        "2_Dense/pytorch_model.bin": b"a pickle",
        "3_Other/pytorch_model.bin": b"a pickle",
        "3_Other/model.safetensors": b"x",
    }


def test_a_transformer_in_a_folder_of_its_own(server: HubServer, files: dict[str, bytes]) -> None:
    del (moved := in_a_folder(files))["0_Transformer/modules.json"]
    server.repositories["o/old"] = Repository.of(moved)
    checkpoint = find_checkpoint("o/old")
    assert checkpoint.folder == checkpoint.root / "0_Transformer"
    assert load_weights(tiny_model(BertModel), checkpoint).newly_initialised == ()
    tokenizer = ["tokenizer.json", "tokenizer_config.json", "vocab.txt"]
    assert server.downloads() == [
        *sorted(f"0_Transformer/{name}" for name in ("config.json", WEIGHTS, *tokenizer)),
        "1_Pooling/config.json",
        "2_Dense/config.json",
        "2_Dense/pytorch_model.bin",  # so that it can be said that it is a pickle
        "3_Other/model.safetensors",
        "modules.json",
    ]
    assert find_checkpoint("o/old", offline=True) == checkpoint
    without = {name: content for name, content in moved.items() if not name.endswith(".safetensors")}
    server.repositories["o/pickled"] = Repository.of(without)
    with pytest.raises(HubError, match=r"no weights in safetensors .*it has 0_Transformer/pytorch_model\.bin"):
        find_checkpoint("o/pickled")
    server.repositories["o/nothing"] = Repository.of({"modules.json": moved["modules.json"]})
    with pytest.raises(HubError, match=r"o/nothing has no 0_Transformer/config\.json"):
        find_checkpoint("o/nothing")


@pytest.mark.parametrize("folder", ["../0_Transformer", "/etc"])
def test_a_transformer_outside_its_repository(folder: str, server: HubServer, files: dict[str, bytes]) -> None:
    server.repositories["o/hostile"] = Repository.of(in_a_folder(files, folder))
    with pytest.raises(CheckpointError, match="leads out of its folder"):
        find_checkpoint("o/hostile")
    assert server.downloads() == ["modules.json"]


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
    server.repositories["o/other"] = Repository.of({**files, "config.json": b'{"model_type": "deberta-v2"}'})
    with pytest.raises(ConfigError, match="model_type deberta-v2: disentangled attention, not in the table"):
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
        "import sys; from bert_onnx.checkpoint import find_checkpoint\n"
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

"""A loaded model and other processes and threads: pickle, spawn, fork, many callers at once."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_artifacts import publish_toy

import runtimes
from bert_onnx.errors import ArtifactError, RuntimeUnavailableError
from runtimes.pipelines.base import Pipeline

pytestmark = pytest.mark.slow

TEXTS = ["hello world", "my good world .", "goodbye", ""]


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return publish_toy(tmp_path_factory.mktemp("toy") / "artifact")


def embed_there(model: Any, sender: Any) -> None:
    sender.send(model.embed(TEXTS))


def from_process(context: Any, model: Any) -> np.ndarray:
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=embed_there, args=(model, sender))
    process.start()
    assert receiver.poll(60)
    vectors: np.ndarray = receiver.recv()
    process.join(30)
    assert process.exitcode == 0
    return vectors


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickled_model_opens_again_as_it_was_asked_for(artifact: Path, protocol: int) -> None:
    with runtimes.load(artifact, runtime="onnxruntime-cpu", threads=1) as model:
        text = pickle.dumps(model, protocol)
        again = pickle.loads(text)
        assert len(text) < 2000
        assert again.request == model.request
        assert again.describe() == model.describe()
        np.testing.assert_array_equal(again.embed(TEXTS), model.embed(TEXTS))
        again.close()
        np.testing.assert_array_equal(copy.copy(model).embed(TEXTS), model.embed(TEXTS))


def test_spawn(artifact: Path) -> None:
    with runtimes.load(artifact) as model:
        vectors = from_process(multiprocessing.get_context("spawn"), model)
        np.testing.assert_array_equal(vectors, model.embed(TEXTS))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without fork")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_fork_after_load(artifact: Path, threads: int) -> None:
    with runtimes.load(artifact, threads=threads) as model:
        expected = model.embed(TEXTS)
        np.testing.assert_array_equal(from_process(multiprocessing.get_context("fork"), model), expected)
        np.testing.assert_array_equal(model.embed(TEXTS), expected)


def test_a_folder_that_has_gone_is_said_where_it_is_opened_again(tmp_path: Path) -> None:
    folder = publish_toy(tmp_path / "artifact")
    with runtimes.load(folder) as model:
        text = pickle.dumps(model)
    folder.rename(tmp_path / "elsewhere")
    with pytest.raises(ArtifactError, match="does not exist"):
        pickle.loads(text)


def test_a_pipeline_that_came_from_no_folder_says_so(artifact: Path) -> None:
    with runtimes.load(artifact) as model:
        model.folder = None
        with pytest.raises(RuntimeUnavailableError, match="in the process that uses it"):
            pickle.dumps(model)


def test_an_attribute_that_is_not_there_is_an_attribute_error(artifact: Path) -> None:
    with runtimes.load(artifact) as model:
        assert not hasattr(model, "no_such_thing")
        model.close()
    assert isinstance(model, Pipeline)


def test_threads_that_call_one_model_at_once(artifact: Path) -> None:
    failures: list[BaseException] = []
    with runtimes.load(artifact) as model:
        expected = {text: model.embed([text])[0] for text in TEXTS}

        def call(offset: int) -> None:
            try:
                for step in range(50):
                    texts = TEXTS[(offset + step) % 4 :] + TEXTS[: (offset + step) % 4]
                    for text, vector in zip(texts, model.embed(texts, batch_size=1 + step % 3), strict=True):
                        np.testing.assert_allclose(vector, expected[text], rtol=1e-5, atol=1e-6)
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=call, args=(offset,)) for offset in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []

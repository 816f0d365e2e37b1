"""The CUDA runtime on a fake GPU that computes: options, buckets, device tensors. With a real one: `make gpu`; what the
provider itself makes of graphs and options, without one: tests/cuda."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from fake_cuda import CPU, CUDA, FakeGpu, install
from toy_artifacts import CONFIG, INPUTS, OUTPUTS, embedding_graph, save_graph, table

from bert_onnx.errors import InferenceError, InputError, RuntimeUnavailableError, UsageError
from bert_onnx.tasks import Port
from runtimes.engines.base import RuntimeOptions
from runtimes.engines.ort.cuda import OnnxRuntimeCuda
from runtimes.engines.ort.cuda_graphs import Bucket, check_nodes, find_bucket, pad_to_bucket, padded_bucket
from runtimes.engines.ort.cuda_options import CudaOptions

GRAPHS = CudaOptions(cuda_graphs=True, batches=(1, 4), lengths=(4, 8))


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> FakeGpu:
    return install(monkeypatch)


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    return save_graph(tmp_path / "model.onnx")


def opened(graph: Path, cuda: CudaOptions | None = None) -> OnnxRuntimeCuda:
    return OnnxRuntimeCuda.open(graph, INPUTS, OUTPUTS, RuntimeOptions(cuda=cuda), CONFIG)


def arrays(batch: int = 2, length: int = 4) -> dict[str, np.ndarray]:
    ids = 2 + np.arange(batch * length).reshape(batch, length) % 9
    mask = np.ones_like(ids)
    mask[0, length // 2 + 1 :] = 0
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}


def expected(inputs: dict[str, np.ndarray]) -> np.ndarray:
    mask = inputs["attention_mask"][..., None]
    return (table()[inputs["input_ids"]] * mask).sum(1) / mask.sum(1)


def test_options_become_the_providers_own() -> None:
    assert CudaOptions().to_provider("1.31.1") == {
        "device_id": "0",
        "arena_extend_strategy": "kSameAsRequested",
        "cudnn_conv_algo_search": "DEFAULT",
        "use_tf32": "0",
        "enable_cuda_graph": "0",
        "do_copy_in_default_stream": "1",
    }
    changed = CudaOptions(1, 10**9, False, "heuristic", True, True, False, 42).to_provider("1.26.0")
    assert changed["device_id"] == "1"
    assert changed["gpu_mem_limit"] == "1000000000"
    assert changed["arena_extend_strategy"] == "kNextPowerOfTwo"
    assert changed["cudnn_conv_algo_search"] == "HEURISTIC"
    assert changed["user_compute_stream"] == "42"
    assert changed["enable_skip_layer_norm_strict_mode"] == "1", "older ones sum fp16 in fp16"
    assert (changed["use_tf32"], changed["enable_cuda_graph"]) == ("1", "1")


@pytest.mark.parametrize(
    "options",
    [
        {"device_id": -1},
        {"memory_limit": 0},
        {"convolution_search": "magic"},
        {"batches": ()},
        {"batches": (4, 1)},
        {"lengths": (0, 8)},
        {"lengths": (8, 8)},
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        CudaOptions(**options)


def test_the_session_asks_for_cuda_first_and_answers(gpu: FakeGpu, graph: Path) -> None:
    with opened(graph) as runtime:
        results = runtime.run(arrays())
    np.testing.assert_allclose(results["sentence_embedding"], expected(arrays()), rtol=1e-5)
    ((first, options), second) = gpu.sessions[0]
    assert (first, second) == (CUDA, CPU)
    assert options == CudaOptions().to_provider(onnxruntime.__version__)
    assert runtime.describe().providers == (CUDA, CPU)
    assert runtime.describe().notes == ()


def test_a_session_that_went_to_the_cpu_is_an_error(monkeypatch: pytest.MonkeyPatch, graph: Path) -> None:
    install(monkeypatch, FakeGpu(loads=False))
    with pytest.raises(RuntimeUnavailableError, match=r"would run model\.onnx on CPUExecutionProvider"):
        opened(graph)


def test_nodes_on_the_cpu_are_told(monkeypatch: pytest.MonkeyPatch, graph: Path) -> None:
    install(monkeypatch, FakeGpu(on_cpu=("Gather", "Unsqueeze")))
    with opened(graph) as runtime:
        assert runtime.describe().notes == (f"1 Gather on {CPU}", f"2 Unsqueeze on {CPU}")


def test_buckets_are_the_smallest_that_hold_a_batch() -> None:
    batches, lengths = (1, 4, 16), (16, 64)
    assert find_bucket(1, 16, batches, lengths) == Bucket(1, 16)
    assert find_bucket(2, 17, batches, lengths) == Bucket(4, 64)
    assert find_bucket(17, 16, batches, lengths) is None
    assert find_bucket(1, 65, batches, lengths) is None
    assert find_bucket(1, 17, batches, lengths, 40) == Bucket(1, 40), "there are no positions beyond"
    assert find_bucket(1, 16, batches, lengths, 40) == Bucket(1, 16)


def test_padding_to_a_bucket_leaves_no_row_without_a_token() -> None:
    padded = pad_to_bucket(arrays(2, 4), Bucket(3, 6))
    for name, array in arrays(2, 4).items():
        assert padded[name].shape == (3, 6)
        np.testing.assert_array_equal(padded[name][:2, :4], array)
        assert not padded[name][:2, 4:].any()
    np.testing.assert_array_equal(padded["attention_mask"][2], [1, 0, 0, 0, 0, 0])
    assert not padded["input_ids"][2].any()


def test_each_bucket_is_captured_once_and_answers_are_cut_out(gpu: FakeGpu, graph: Path) -> None:
    with opened(graph, GRAPHS) as runtime:
        for batch, length in ((1, 4), (2, 3), (4, 4), (3, 7), (1, 2), (2, 4)):
            inputs = arrays(batch, length)
            results = runtime.run(inputs)
            assert results["last_hidden_state"].shape == (batch, length, CONFIG.hidden_size)
            np.testing.assert_allclose(results["sentence_embedding"], expected(inputs), rtol=1e-5)
            np.testing.assert_allclose(results["last_hidden_state"], table()[inputs["input_ids"]], rtol=1e-6)
    assert gpu.graph_ids == ["1", "2", "2", "3", "1", "2"]
    assert sorted(set(gpu.allocated)) == [(1, 4), (1, 4, 4), (4, 4), (4, 4, 4), (4, 8), (4, 8, 4)]
    assert len(gpu.allocated) == 3 * (len(INPUTS) + len(OUTPUTS))


def test_no_bucket_is_longer_than_the_model(gpu: FakeGpu, graph: Path) -> None:
    with opened(graph, CudaOptions(cuda_graphs=True, batches=(1,), lengths=(64,))) as runtime:
        inputs = arrays(1, 9)
        np.testing.assert_allclose(runtime.run(inputs)["sentence_embedding"], expected(inputs), rtol=1e-5)
    assert (1, CONFIG.max_position_embeddings) in gpu.allocated


def test_a_batch_beyond_the_buckets_runs_without_a_graph(gpu: FakeGpu, graph: Path) -> None:
    with opened(graph, GRAPHS) as runtime:
        inputs = arrays(5, 9)
        results = runtime.run(inputs, ["sentence_embedding"])
    np.testing.assert_allclose(results["sentence_embedding"], expected(inputs), rtol=1e-5)
    assert gpu.graph_ids == ["-1"]


def test_shapes_are_padded_to_few_sizes() -> None:
    found = {(batch, length): padded_bucket(batch, length, 512) for batch in range(1, 70) for length in range(1, 513)}
    for (batch, length), bucket in found.items():
        assert batch <= bucket.batch <= max(batch * 1.25, batch)
        assert length <= bucket.length <= max(length * 1.25, length + 7)
    assert len({bucket.length for bucket in found.values()}) == 20
    assert padded_bucket(1, 1999, 2000).length == 2000
    assert padded_bucket(1, 13, 13).length == 13, "never beyond the model's limit"
    assert padded_bucket(1, 13, None).length == 16


@pytest.mark.parametrize("cuda_graphs", [False, True])
def test_few_shapes_reach_the_session_and_results_are_cut_out(gpu: FakeGpu, graph: Path, cuda_graphs: bool) -> None:
    cuda = CudaOptions(cuda_graphs=cuda_graphs, pad_shapes=True, batches=(1, 4), lengths=(4, 8))
    with opened(graph, cuda) as runtime:
        for batch, length in ((9, 9), (10, 16), (5, 13)):
            inputs = arrays(batch, length)
            results = runtime.run(inputs)
            assert results["last_hidden_state"].shape == (batch, length, CONFIG.hidden_size)
            np.testing.assert_allclose(results["sentence_embedding"], expected(inputs), rtol=1e-5)
    assert gpu.shapes == [(10, 16), (10, 16), (5, 16)]
    assert gpu.graph_ids == (["-1"] * 3 if cuda_graphs else [])


def test_threads_take_turns_on_captured_buffers(gpu: FakeGpu, graph: Path) -> None:
    failures: list[BaseException] = []
    with opened(graph, GRAPHS) as runtime:

        def work(length: int) -> None:
            inputs = arrays(2, length)
            try:
                for _ in range(30):
                    answer = runtime.run(inputs, ["sentence_embedding"])["sentence_embedding"]
                    np.testing.assert_allclose(answer, expected(inputs), rtol=1e-5)
            except BaseException as error:
                failures.append(error)

        workers = [threading.Thread(target=work, args=(length,)) for length in (2, 3, 4, 4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    assert not failures


def test_graphs_refuse_inputs_of_other_shapes(gpu: FakeGpu, graph: Path) -> None:
    choices = (Port("input_ids", "int64", ("batch_size", "num_choices", "sequence_length")),)
    with pytest.raises(UsageError, match="CUDA graphs are for models whose inputs are"):
        OnnxRuntimeCuda.open(graph, choices, OUTPUTS, RuntimeOptions(cuda=GRAPHS))


def test_device_tensors_go_in_and_come_out(gpu: FakeGpu, graph: Path) -> None:
    torch = pytest.importorskip("torch")
    with opened(graph) as runtime:
        tensors = {name: torch.tensor(array) for name, array in arrays().items()}
        results = runtime.run_device(tensors, ["sentence_embedding"])
        vectors = torch.from_dlpack(results["sentence_embedding"])
        np.testing.assert_allclose(vectors.numpy(), expected(arrays()), rtol=1e-5)
        unchecked = runtime.run_device(tensors, checked=False)
        assert list(unchecked) == ["last_hidden_state", "sentence_embedding"]


def test_device_tensors_are_bound_once(gpu: FakeGpu, graph: Path) -> None:
    torch = pytest.importorskip("torch")
    tensors = {name: torch.tensor(array) for name, array in arrays().items()}
    for cuda in (CudaOptions(), GRAPHS, CudaOptions(stream=7)):
        gpu.graph_ids.clear()
        with opened(graph, cuda) as runtime:
            first, second = runtime.bind_device(tensors, ["sentence_embedding"]), runtime.bind_device(tensors)
            for bound in (first, second, first):
                vectors = torch.from_dlpack(bound.run()["sentence_embedding"])
                np.testing.assert_allclose(vectors.numpy(), expected(arrays()), rtol=1e-5)
            assert gpu.graph_ids == (["1", "2", "1"] if cuda is GRAPHS else ["-1"] * 3)
            with pytest.raises(InputError, match="must be int64"):
                runtime.bind_device({**tensors, "input_ids": tensors["input_ids"].int()})


def test_every_run_of_a_session_with_graphs_takes_its_turn(gpu: FakeGpu, graph: Path) -> None:
    torch = pytest.importorskip("torch")
    tensors = {name: torch.tensor(array) for name, array in arrays().items()}
    with opened(graph, GRAPHS) as runtime:
        calls: list[Callable[[], object]] = [
            lambda: runtime.run(arrays()),
            lambda: runtime.run(arrays(5, 9)),
            lambda: runtime.run_device(tensors),
            runtime.bind_device(tensors).run,
        ]
        for call in calls:
            done = threading.Event()
            worker = threading.Thread(target=lambda call=call, done=done: (call(), done.set()))
            with runtime._opened().lock:
                worker.start()
                assert not done.wait(0.05)
            worker.join(10)
            assert done.is_set()


def test_device_tensors_are_checked(gpu: FakeGpu, graph: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    good = {name: torch.tensor(array) for name, array in arrays().items()}
    with opened(graph) as runtime:
        with pytest.raises(InputError, match=r"input_ids\[0, 0\] is 12"):
            runtime.run_device({**good, "input_ids": torch.full((2, 4), 12)})
        with pytest.raises(InputError, match="must be int64"):
            runtime.run_device({**good, "input_ids": good["input_ids"].int()})
        with pytest.raises(InputError, match="tensor with __dlpack__"):
            runtime.run_device({**good, "input_ids": [[1]]})
        with pytest.raises(UsageError, match="no output 'logits'"):
            runtime.run_device(good, ["logits"], checked=False)
        for wrong, message in (
            ({"input_ids": good["input_ids"]}, "missing attention_mask, token_type_ids"),
            ({**good, "input_ids": good["input_ids"][0]}, "it needs 2 axes"),
            ({**good, "input_ids": good["input_ids"][:, :2].contiguous()}, "they must agree"),
        ):
            with pytest.raises(InputError, match=message):
                runtime.bind_device(wrong)
    onnx.save(embedding_graph(table("hello")), tmp_path / "bad.onnx")
    with (
        OnnxRuntimeCuda.open(tmp_path / "bad.onnx", INPUTS, OUTPUTS) as runtime,
        pytest.raises(InferenceError, match="returned nan"),
    ):
        runtime.run_device({**good, "input_ids": torch.full((2, 4), 5)})


def test_another_precision_than_the_files_is_refused(gpu: FakeGpu, graph: Path) -> None:
    with pytest.raises(UsageError, match="export a variant in bf16"):
        OnnxRuntimeCuda.open(graph, INPUTS, OUTPUTS, RuntimeOptions(compute="bf16"))


def test_a_closed_runtime_says_so(gpu: FakeGpu, graph: Path) -> None:
    runtime = opened(graph)
    runtime.close()
    with pytest.raises(UsageError, match="is closed"):
        runtime.run(arrays())


@pytest.mark.gpu
@pytest.mark.parametrize("cuda", [CudaOptions(allow_cpu_nodes=True), GRAPHS])
def test_a_real_gpu_answers_as_the_cpu_does(graph: Path, cuda: CudaOptions) -> None:
    with opened(graph, cuda) as runtime:
        assert runtime.describe().providers[0] == CUDA
        for batch, length in ((1, 4), (2, 3), (2, 4), (5, 9), (2, 3)):
            results = runtime.run(arrays(batch, length))
            np.testing.assert_allclose(results["sentence_embedding"], expected(arrays(batch, length)), atol=1e-5)


@pytest.mark.gpu
def test_a_real_gpu_takes_and_gives_device_tensors(graph: Path) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("torch has no CUDA here")
    with opened(graph) as runtime:
        tensors = {name: torch.tensor(array).cuda() for name, array in arrays().items()}
        torch.cuda.synchronize()
        vectors = torch.from_dlpack(runtime.run_device(tensors)["sentence_embedding"])
        assert vectors.is_cuda
        np.testing.assert_allclose(vectors.cpu().numpy(), expected(arrays()), atol=1e-5)


def test_operators_that_wait_for_the_gpu_are_not_captured() -> None:
    check_nodes(["MatMul", "Add"], "model.onnx")
    with pytest.raises(UsageError, match=r"model\.onnx has RemovePadding, which waits.*take the variant for ort-cuda"):
        check_nodes(["MatMul", "RemovePadding"], "model.onnx")

"""OpenVINO's plugin for ONNX Runtime: what is missing is named, and the real library answers on an emulated Intel."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest
from repository import ROOT
from toy_artifacts import CONFIG, INPUTS, OUTPUTS, save_graph, table

from bert_onnx.errors import RuntimeUnavailableError
from runtimes.engines.base import RuntimeOptions
from runtimes.engines.ort import openvino as plugin
from runtimes.engines.ort.openvino import OnnxRuntimeOpenVino, computes_in, find_device
from runtimes.engines.ort.session import nodes_elsewhere

QEMU = shutil.which("qemu-x86_64-static") or shutil.which("qemu-x86_64")
ONE = RuntimeOptions(threads=1)


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    return save_graph(tmp_path / "model.onnx")


def device(vendor: str, provider: str = plugin.PROVIDER, **metadata: str) -> Any:
    kind = SimpleNamespace(name="CPU")
    return SimpleNamespace(ep_name=provider, device=SimpleNamespace(type=kind, vendor=vendor), ep_metadata=metadata)


def library(*devices: Any, **more: Any) -> Any:
    """Stands in for the onnxruntime module: `devices` are there once a library is registered, the CPU's before."""
    own = device("AMD", "CPUExecutionProvider")
    registered: list[Any] = []
    return SimpleNamespace(
        __version__="1.31.1",
        get_ep_devices=lambda: [own, *(devices if registered else ())],
        register_execution_provider_library=lambda name, path: registered.append((name, path)),
        registered=registered,
        **more,
    )


@pytest.fixture(autouse=True)
def nothing_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules that stand in for onnxruntime come and go, and identities are used again."""
    monkeypatch.setattr(plugin, "_registered", set())


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The plugin's package, by name at least."""
    package = ModuleType("onnxruntime_ep_openvino")
    package.get_library_path = lambda: "/somewhere/libplugin.so"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "onnxruntime_ep_openvino", package)
    return package


@pytest.mark.usefixtures("installed")
def test_its_library_is_registered_once() -> None:
    module = library(device("Intel", OPTIMIZATION_CAPABILITIES="FP32 BF16 INT8"))
    assert find_device(module) is find_device(module)
    assert [path for _, path in module.registered] == ["/somewhere/libplugin.so"]


@pytest.mark.usefixtures("installed")
def test_another_processor_than_intels_is_told_what_to_use() -> None:
    module = library()
    for _ in range(2):  # the library is there the second time, and the answer is the same
        with pytest.raises(RuntimeUnavailableError, match=r"Intel's .* only, and this one is from AMD; use .*openvino"):
            find_device(module)
    assert len(module.registered) == 1


def test_a_missing_library_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime_ep_openvino", None)
    with pytest.raises(RuntimeUnavailableError, match="install it with pip install onnxruntime-ep-openvino"):
        find_device(library())


def test_an_onnxruntime_without_plugins_is_too_old() -> None:
    with pytest.raises(
        RuntimeUnavailableError, match=r"onnxruntime 1\.20\.0 loads no providers .* install 1\.23 or newer"
    ):
        find_device(SimpleNamespace(__version__="1.20.0"))


def test_a_library_that_does_not_load_is_named(installed: ModuleType, tmp_path: Path) -> None:
    """onnxruntime itself says so."""
    broken = tmp_path / "libbroken.so"
    broken.write_text("no library")
    module = library()
    module.register_execution_provider_library = onnxruntime.register_execution_provider_library
    installed.get_library_path = lambda: str(broken)  # type: ignore[attr-defined]
    with pytest.raises(RuntimeUnavailableError, match=r"cannot load libbroken\.so: .*; install it with pip"):
        find_device(module)


@pytest.mark.usefixtures("installed")
def test_it_computes_in_what_the_processor_does(monkeypatch: pytest.MonkeyPatch, graph: Path) -> None:
    module = library(device("Intel", OPTIMIZATION_CAPABILITIES="FP32 BF16 INT8"))
    monkeypatch.setattr(plugin, "import_onnxruntime", lambda: module)
    assert computes_in() == ("fp32", "bf16")
    with pytest.raises(RuntimeUnavailableError, match="does not compute in fp16 on this processor"):
        OnnxRuntimeOpenVino.open(graph, INPUTS, OUTPUTS, RuntimeOptions(compute="fp16"))


def test_a_session_runs_on_the_device_and_says_so(monkeypatch: pytest.MonkeyPatch, graph: Path) -> None:
    """ONNX Runtime's own CPU device stands in for OpenVINO's: devices, options and sessions are the real ones."""
    monkeypatch.setattr(plugin, "PROVIDER", "CPUExecutionProvider")
    ids = np.array([[2, 5, 6, 3]])
    with OnnxRuntimeOpenVino.open(graph, INPUTS, OUTPUTS, ONE, CONFIG) as runtime:
        described = runtime.describe()
        answer = runtime.run({"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": 0 * ids})
    assert (described.name, described.providers[0]) == ("onnxruntime-openvino", "CPUExecutionProvider")
    assert described.notes == ()
    np.testing.assert_allclose(answer["last_hidden_state"], table()[ids], rtol=1e-6)


def test_a_session_without_the_provider_is_an_error(monkeypatch: pytest.MonkeyPatch, graph: Path) -> None:
    monkeypatch.setattr(plugin, "PROVIDER", "CPUExecutionProvider")
    own = find_device(onnxruntime)
    monkeypatch.setattr(plugin, "PROVIDER", "OpenVINOExecutionProvider")
    monkeypatch.setattr(plugin, "find_device", lambda module: own)
    with pytest.raises(RuntimeUnavailableError, match=r"could not load OpenVINOExecutionProvider for model\.onnx"):
        OnnxRuntimeOpenVino.open(graph, INPUTS, OUTPUTS, ONE)


def test_nodes_of_other_providers_are_told() -> None:
    def subgraph(name: str, *operators: str) -> Any:
        return SimpleNamespace(ep_name=name, get_nodes=lambda: [SimpleNamespace(op_type=kind) for kind in operators])

    found = [subgraph("X", "MatMul", "Add"), subgraph("CPU", "TopK", "Cast", "Cast"), subgraph("CPU", "TopK")]
    session = SimpleNamespace(get_provider_graph_assignment_info=lambda: found)
    assert nodes_elsewhere(session, "X") == ("2 Cast on CPU", "2 TopK on CPU")
    assert nodes_elsewhere(session, "CPU") == ("1 Add on X", "1 MatMul on X")


def _intel() -> bool:
    try:
        return bool(computes_in())
    except RuntimeUnavailableError:
        return False


@pytest.mark.slow
@pytest.mark.skipif(_intel(), reason="test_every_runtime runs it on this very processor")
@pytest.mark.skipif(QEMU is None, reason="needs qemu-user-static")
def test_the_real_library_does_what_every_runtime_does_on_an_emulated_intel() -> None:
    pytest.importorskip("onnxruntime_ep_openvino")
    command = [
        str(QEMU),
        "-cpu",
        "Haswell",
        sys.executable,
        "-m",
        "pytest",
        "tests/runtimes/engines/test_every_runtime.py",
    ]
    command += ["-k", "onnxruntime-openvino", "-p", "no:cacheprovider", "--timeout=0"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None, done.stdout[-3000:]
    assert int(passed[1]) > 15, "the emulated processor has no device either"

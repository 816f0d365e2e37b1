"""What stands between a provider and a GPU is named, one cause at a time."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bert_onnx.errors import RuntimeUnavailableError
from runtimes.machine import nvidia
from runtimes.machine.devices import has_gpu
from runtimes.machine.nvidia import attention_problem, list_gpus, load_problem, preload, require_provider

CUDA = "CUDAExecutionProvider"


def module(folder: Path, **changes: Any) -> Any:
    values = {
        "__version__": "1.31.0",
        "__file__": str(folder / "__init__.py"),
        "cuda_version": "13.0",
        "get_available_providers": lambda: [CUDA, "CPUExecutionProvider"],
        "preload_dlls": lambda: None,
    }
    return SimpleNamespace(**{**values, **changes})


def test_an_onnxruntime_without_cuda_names_the_build_to_install(tmp_path: Path) -> None:
    library = module(tmp_path, get_available_providers=lambda: ["CPUExecutionProvider"])
    with pytest.raises(RuntimeUnavailableError, match=r"was built without CUDAExecutionProvider; .*: pip fix"):
        require_provider(library, CUDA, "pip fix")


def test_the_installed_cpu_build_is_refused() -> None:
    import onnxruntime

    if CUDA in onnxruntime.get_available_providers():
        pytest.skip("this is the GPU build")
    with pytest.raises(RuntimeUnavailableError, match="was built without CUDAExecutionProvider"):
        require_provider(onnxruntime, CUDA, "pip fix")


def test_no_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvidia, "driver_cuda_version", lambda: None)
    with pytest.raises(RuntimeUnavailableError, match=r"libcuda\.so\.1 cannot be loaded"):
        require_provider(module(tmp_path), CUDA, "pip fix")


def test_a_driver_that_is_too_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvidia, "driver_cuda_version", lambda: (12, 4))
    with pytest.raises(RuntimeUnavailableError, match=r"runs CUDA up to 12\.4, .* built for CUDA 13\.0; update"):
        require_provider(module(tmp_path), CUDA, "pip fix")


def test_a_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvidia, "driver_cuda_version", lambda: (13, 0))

    def say() -> None:
        print("Failed to load libcudnn.so.9: libcudnn.so.9: cannot open shared object file: No such file")

    folder = tmp_path / "capi"
    folder.mkdir()
    with pytest.raises(RuntimeUnavailableError, match=r"libonnxruntime_providers_cuda\.so is not part of this"):
        require_provider(module(tmp_path), CUDA, "pip fix")
    monkeypatch.setattr(nvidia, "load_problem", lambda folder, name: "libcublas.so.13 is missing")
    with pytest.raises(
        RuntimeUnavailableError, match=r"libcublas\.so\.13 is missing \(also missing: libcudnn\.so\.9\)"
    ):
        require_provider(module(tmp_path, preload_dlls=say), CUDA, "pip fix")


@pytest.mark.skipif(shutil.which("cc") is None or os.name != "posix", reason="needs a C compiler")
def test_the_loader_is_asked_which_library_is_missing(tmp_path: Path) -> None:
    """A real shared library that needs one which is not there any more."""
    (tmp_path / "needed.c").write_text("int needed(void) { return 1; }\n")
    (tmp_path / "user.c").write_text("int needed(void); int user(void) { return needed(); }\n")
    needed, user = tmp_path / "libneeded_by_us.so.7", tmp_path / "libonnxruntime_providers_cuda.so"
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-Wl,-soname,libneeded_by_us.so.7", "-o", needed, tmp_path / "needed.c"], check=True
    )
    subprocess.run(["cc", "-shared", "-fPIC", "-o", user, tmp_path / "user.c", needed], check=True)
    needed.unlink()
    assert load_problem(tmp_path, user.name) == "libneeded_by_us.so.7 is missing"


def test_preloading_prints_nothing_and_tells_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        print("Failed to load x: libcufft.so.12: cannot open shared object file: No such file or directory")
        raise RuntimeError("libcurand.so.10: cannot open shared object file")

    assert preload(module(tmp_path, preload_dlls=fail)) == "also missing: libcufft.so.12, libcurand.so.10"
    assert preload(SimpleNamespace()) == ""  # type: ignore[arg-type]
    assert capsys.readouterr().out == ""


def test_libraries_of_nvidias_wheels_are_found_wherever_python_finds_the_wheels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for place in ("own/nvidia/cudnn/lib", "machine/nvidia/cu13/lib", "machine/nvidia/nothing"):
        (tmp_path / place).mkdir(parents=True)
        monkeypatch.syspath_prepend(str(tmp_path / place.partition("/")[0]))
    asked: list[str | None] = []

    def load(directory: str | None = None) -> None:
        asked.append(directory)
        print("Failed to load x: libcublas.so.13: cannot open shared object file" if directory else "")

    assert preload(module(tmp_path, preload_dlls=load)) == "", "the last word is what counts"
    assert capsys.readouterr().out == ""
    assert asked.pop() is None
    here = {
        Path(place).relative_to(tmp_path).as_posix() for place in asked if place and place.startswith(str(tmp_path))
    }
    assert here == {"own/nvidia/cudnn/lib", "machine/nvidia/cu13/lib"}


def test_device_files_show_a_gpu(tmp_path: Path) -> None:
    assert not has_gpu(tmp_path)
    (tmp_path / "nvidiactl").touch()
    assert not has_gpu(tmp_path)
    (tmp_path / "nvidia0").touch()
    assert has_gpu(tmp_path)


@pytest.mark.parametrize(
    ("output", "count"),
    [
        ("NVIDIA H100 80GB HBM3, 81559, 550.54.15, 9.0\nNVIDIA L4, 23034, 550.54.15, 8.9\n", 2),
        ("No devices\n", 0),
        ("", 0),
    ],
)
def test_gpus_are_read_from_nvidia_smi(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str, count: int
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\nprintf '%b' '{output}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    gpus = list_gpus()
    assert len(gpus) == count
    if gpus:
        assert (gpus[0].name, gpus[0].memory_mib, gpus[0].compute_capability) == ("NVIDIA H100 80GB HBM3", 81559, "9.0")


def test_an_nvidia_smi_that_fails_shows_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\nexit 9\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert list_gpus() == ()


@pytest.mark.parametrize(
    ("version", "capability", "said"),
    [
        (91300, (9, 0), ""),
        (90300, (12, 0), ""),
        (90201, (9, 0), "cuDNN is 9.2.1, and 9.3 or newer is needed"),
        (91001, (9, 0), "but for 9.10.0 and 9.10.1"),
        (91300, (8, 9), "attention of bf16 files is slow here: GPU 0 has compute capability 8.9"),
        (91300, None, ""),
        (None, None, ""),
    ],
)
def test_what_leaves_slow_attention_is_named(
    version: int | None, capability: tuple[int, int] | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """tests/cuda holds it against onnxruntime-gpu."""
    monkeypatch.setattr(nvidia, "_cudnn_version", lambda: version)
    monkeypatch.setattr(nvidia, "_compute_capability", lambda device: capability)
    assert said in attention_problem()
    assert bool(attention_problem()) is bool(said)


def test_without_cudnn_the_provider_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvidia, "driver_cuda_version", lambda: (13, 0))
    monkeypatch.setattr(nvidia, "load_problem", lambda folder, name: None)
    monkeypatch.setattr(nvidia, "_cudnn_version", lambda: None)
    with pytest.raises(
        RuntimeUnavailableError, match=r"needs cuDNN for attention, and libcudnn\.so\.9 cannot be loaded"
    ):
        require_provider(module(tmp_path), CUDA, "pip fix")

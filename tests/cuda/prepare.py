"""Unpacks onnxruntime-gpu beside libraries that stand in for CUDA, so that it partitions graphs without a GPU.

    python tests/cuda/prepare.py FOLDER

The wheel, of the version in constraints.txt, goes to FOLDER/site, the stand-ins to FOLDER/lib: for every library of
NVIDIA's that the CUDA and TensorRT providers name, one with the functions that it asks for, all of which report success
(runtime.c has those that must do more). Needs pip's index, gcc and binutils; the second call takes no time. Where
something is missing, FOLDER/missing.txt says what, and the tests skip with that.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PACKAGE = "onnxruntime-gpu"
MISSING = "missing.txt"
_PROVIDERS = tuple(f"onnxruntime/capi/libonnxruntime_providers_{name}.so" for name in ("cuda", "tensorrt"))
#: cuDNN is opened while the provider runs: its functions are strings in it, not symbols.
_CUDNN = "libcudnn.so.9"
_DRIVER = "libcuda.so.1"
#: Whose functions those are that name no library.
_UNVERSIONED = (
    (r"cu[A-Z]", _DRIVER),
    (r"createNvOnnx", "libnvonnxparser.so.10"),
    (r"createInfer|getInfer|getPlugin", "libnvinfer.so.10"),
)
_TOOLS = ("gcc", "nm", "readelf")


def main(folder: Path) -> int:
    """Make `folder`; what is missing is written there, and is no failure."""
    complete = folder / "complete"
    if complete.is_file() and complete.read_text() == _stamp():
        return 0
    for name in ("site", "lib"):
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).mkdir(parents=True)
    (folder / MISSING).unlink(missing_ok=True)
    try:
        with zipfile.ZipFile(_download(folder)) as wheel:
            wheel.extractall(folder / "site")
        _build_all([folder / "site" / provider for provider in _PROVIDERS], folder / "lib")
    except (OSError, subprocess.SubprocessError, zipfile.BadZipFile) as error:
        reason = " ".join(str(getattr(error, "stderr", None) or error).split())[-400:]
        (folder / MISSING).write_text(f"{reason}\n")
        print(f"cuda-check cannot be prepared: {reason}", file=sys.stderr)
        return 0
    complete.write_text(_stamp())
    return 0


def _stamp() -> str:
    """What the folder was made from."""
    return f"{_requirement()} {sys.version_info[:2]}\n" + (HERE / "runtime.c").read_text() + Path(__file__).read_text()


def _requirement() -> str:
    (pinned,) = re.findall(rf"^{PACKAGE}==\S+$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    return str(pinned)


def _download(folder: Path) -> Path:
    """The wheel, downloaded once; raises what pip says."""
    for tool in _TOOLS:
        if shutil.which(tool) is None:
            raise OSError(f"{tool} is not installed (Debian: gcc, binutils)")
    version = _requirement().partition("==")[2]
    pattern = f"{PACKAGE.replace('-', '_')}-{version}-*.whl"
    if not list(folder.glob(pattern)):
        print(f"downloading {_requirement()} (256 MB, once)", file=sys.stderr)
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "download", "--no-deps"]
        _run([*pip, "--only-binary=:all:", "--dest", str(folder), _requirement()])
    return next(iter(folder.glob(pattern)))


def _build_all(providers: Iterable[Path], folder: Path) -> None:
    """A stand-in for every library of NVIDIA's that `providers` name."""
    functions: dict[str, set[str]] = {}
    for provider in providers:
        needed = re.findall(
            r"\(NEEDED\).*\[(lib(?:cu|nv)[^]]*)\]", _run(["readelf", "--dynamic", "--wide", str(provider)])
        )
        functions |= {library: functions.get(library, set()) for library in (*needed, _CUDNN)}
        for line in _run(["nm", "--dynamic", "--undefined-only", str(provider)]).splitlines():
            name, _, library = line.split()[-1].partition("@")
            found = library or next((owner for pattern, owner in _UNVERSIONED if re.match(pattern, name)), "")
            if found in functions:
                functions[found].add(name)
        loaded = re.findall(rb"\0(cudnn[A-Z]\w+)(?=\0)", provider.read_bytes())
        functions[_CUDNN] |= {name.decode() for name in loaded}
    for library, names in functions.items():
        _build(folder, library, names)


def _build(folder: Path, library: str, names: Iterable[str]) -> None:
    """One library: runtime.c's functions of it, and all others of `names`, which return 0."""
    kind = library.removeprefix("lib").partition(".so")[0].upper()
    own = _run(["gcc", "-E", "-P", f"-D{kind}", str(HERE / "runtime.c")])
    written = set(re.findall(r"(\w+)\(", own))
    source, script = folder / f"{library}.c", folder / f"{library}.map"
    rest = "".join(f"long {name}(void) {{ return 0; }}\n" for name in sorted(set(names) - written))
    source.write_text(f'#define {kind}\n#include "{HERE / "runtime.c"}"\n{rest}')
    script.write_text(f"{library} {{ global: *; }};\n")
    command = ["gcc", "-w", "-fno-builtin", "-shared", "-fPIC", "-o", str(folder / library), str(source)]
    _run([*command, f"-Wl,-soname,{library}", f"-Wl,--version-script={script}"])


def _run(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=900).stdout


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

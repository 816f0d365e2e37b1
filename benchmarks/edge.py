"""What an install that only runs artifacts costs, beside fastembed's: disk, packages, import, first embedding.

    python -m benchmarks.edge [--quick] [--rounds N] [--artifact DIR]

Both are installed into fresh virtual environments, with the same versions of what they share.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.machine import describe_machine
from benchmarks.measure import (
    REPOSITORY,
    Summary,
    clean_environment,
    markdown_table,
    run_process,
    summarise,
    take_turns,
)
from benchmarks.options import Options

TITLE = "An install that only runs artifacts"
ROUNDS = 10
PACKAGES = ("onnxruntime", "tokenizers", "numpy")
SENTENCE = "A quick brown fox jumps over the lazy dog near the river bank."

OURS = 'bert-onnx, `pip install ".[cpu]"`'
FASTEMBED = "fastembed 0.9.1"

#: What nobody who only runs artifacts should have to carry.
HEAVY = ("torch", "transformers", "onnx", "onnx_ir", "onnxscript")

#: Everything that embedding needs is imported; `runtimes` alone imports next to nothing.
_IMPORT = {
    OURS: "import onnxruntime, tokenizers, runtimes.loading, runtimes.engines.ort.cpu, runtimes.pipelines.embedding",
    FASTEMBED: "from fastembed import TextEmbedding",
}
_EMBED = {
    OURS: """
from runtimes import load
vector = load(folder, runtime="onnxruntime-cpu").embed(text)[0]
""",
    # Its own model list names a download; the artifact is registered as it lies.
    FASTEMBED: """
from fastembed import TextEmbedding
from fastembed.common.model_description import ModelSource, PoolingType
TextEmbedding.add_custom_model(model="local/artifact", pooling=PoolingType.MEAN, normalization=True,
                               sources=ModelSource(hf="local/artifact"), dim=384, model_file="onnx/model.onnx")
model = TextEmbedding("local/artifact", specific_model_path=folder, providers=["CPUExecutionProvider"])
vector = next(iter(model.embed([text])))
""",
}
_PRINT = "\nimport json\nprint(json.dumps([float(x) for x in vector]))\n"

_TEXT = """Fresh virtual environments with the same versions of what both need; bytes are those that the install added.
"Import" takes a whole process that imports what embedding needs; "first embedding" one that opens the fp32 artifact
and embeds a sentence. Ours compares every file with its sha256 first, fastembed checks nothing. Both give the same
vector.
Ratios are to bert-onnx, round by round: median [least, most] of {rounds} rounds.

{table}

Neither environment has torch, transformers or onnx in it.

{machine}"""


@dataclass(frozen=True)
class Install:
    """What an install added to a virtual environment.

    Args:
        python: the environment's interpreter.
        megabytes: 10^6 bytes of files.
        packages: names of distributions.
    """

    python: Path
    megabytes: float
    packages: tuple[str, ...]


def section(options: Options, artifact: Path | None = None) -> str:
    """Install, measure, and return the section's text; the sample is exported where no `artifact` of it is given."""
    rounds = options.rounds_of(ROUNDS)
    with TemporaryDirectory() as scratch:
        if artifact is None:
            artifact = Path(scratch) / "artifact"
            options.report("exporting the sample")
            run_process([str(Path(sys.executable).parent / "bert-onnx"), "export", "sample", "--output", str(artifact)])
        requirements = {OURS: f"{source(Path(scratch))}[cpu]", FASTEMBED: "fastembed==0.9.1"}
        installs = {}
        for number, (name, requirement) in enumerate(requirements.items()):
            options.report(f"installing {name}")
            installs[name] = install(Path(scratch) / f"venv{number}", requirement)
        check_same_vector(installs, artifact)
        imports = measure(installs, _IMPORT, artifact, rounds, options)
        embeddings = measure(installs, _EMBED, artifact, rounds, options)
    header = (
        "install",
        "MB on disk",
        "packages",
        "import s",
        "ratio",
        "first embedding s",
        "ratio",
        "peak MB",
        "ratio",
    )
    lines = [_line(name, installs[name], imports[name], embeddings[name]) for name in installs]
    return _TEXT.format(rounds=rounds, table=markdown_table(header, lines), machine=describe_machine(PACKAGES))


def source(scratch: Path) -> Path:
    """A copy of what a wheel is built from: pip leaves files behind where it builds one."""
    folder = scratch / "source"
    for name in ("bert_onnx", "export", "runtimes"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copyfile(REPOSITORY / name, folder / name)
    return folder


def _line(name: str, installed: Install, imported: Summary, embedded: Summary) -> list[str]:
    base = name == OURS
    return [
        name,
        f"{installed.megabytes:.0f}",
        str(len(installed.packages)),
        imported.seconds.show(2),
        "1" if base else imported.time_ratio.show(2),
        embedded.seconds.show(2),
        "1" if base else embedded.time_ratio.show(2),
        embedded.megabytes.show(0),
        "1" if base else embedded.memory_ratio.show(2),
    ]


def install(folder: Path, requirement: str) -> Install:
    """A new virtual environment in `folder` with `requirement`.

    Raises:
        SystemExit: pip failed, or the environment holds something heavy.
    """
    run_process([sys.executable, "-m", "venv", str(folder)])
    python = folder / "bin" / "python"
    before_bytes, before = _size(folder), set(_distributions(python))
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
    run_process([*pip, "--constraint", str(REPOSITORY / "constraints.txt"), requirement], {"PYTHONPATH": ""})
    probe = f"import importlib.util as u; print([m for m in {HEAVY!r} if u.find_spec(m)])"
    if (found := _say(python, probe)) != "[]":
        raise SystemExit(f"{requirement} brought {found}; an install that only runs artifacts must not.")
    added = tuple(sorted(set(_distributions(python)) - before))
    return Install(python, (_size(folder) - before_bytes) / 1e6, added)


def check_same_vector(installs: Mapping[str, Install], artifact: Path) -> None:
    """Raises SystemExit unless both give the same vector: else their costs cannot be compared."""
    vectors = [
        json.loads(_say(installed.python, _given(artifact) + _EMBED[name] + _PRINT))
        for name, installed in installs.items()
    ]
    for vector in vectors[1:]:
        if max(abs(a - b) for a, b in zip(vector, vectors[0], strict=True)) > 1e-5:
            raise SystemExit("the installs do not give the same vector; their costs cannot be compared.")


def measure(
    installs: Mapping[str, Install], programs: Mapping[str, str], artifact: Path, rounds: int, options: Options
) -> dict[str, Summary]:
    """`rounds` processes of each program, in turns, after one of each that warms the disk cache."""
    runs = {
        name: lambda name=name: run_process(
            [str(installs[name].python), "-I", "-c", _given(artifact) + programs[name]], {"HF_HUB_OFFLINE": "1"}
        )
        for name in installs
    }
    for run in runs.values():
        run()
    return summarise(take_turns(runs, rounds, options.report), OURS)


def _given(artifact: Path) -> str:
    return f"folder, text = {str(artifact)!r}, {SENTENCE!r}\n"


def _say(python: Path, program: str) -> str:
    """What `program` prints. -I: neither the working directory nor PYTHONPATH, which hold the repository."""
    environment = clean_environment() | {"HF_HUB_OFFLINE": "1"}
    command = [str(python), "-I", "-c", program]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"a program of {python.parent.parent.name} failed:\n{done.stderr}")
    return done.stdout.strip()


def _distributions(python: Path) -> list[str]:
    program = "import importlib.metadata as m; print(*{d.metadata['Name'] for d in m.distributions()})"
    return _say(python, program).split()


def _size(folder: Path) -> int:
    """Bytes of the files below `folder`; links count nothing."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=TITLE)
    parser.add_argument("--quick", action="store_true", help="one round, to see that it works")
    parser.add_argument("--rounds", type=int, metavar="N", help=f"rounds in which programs take turns ({ROUNDS})")
    parser.add_argument("--artifact", type=Path, metavar="DIR", help="an export of the sample (default: make one)")
    chosen = parser.parse_args()
    if chosen.rounds is not None and chosen.rounds < 1:
        parser.error("--rounds must be at least 1")
    options = Options(chosen.quick, chosen.rounds, lambda line: print(line, file=sys.stderr, flush=True))
    print(section(options, chosen.artifact))


if __name__ == "__main__":
    main()

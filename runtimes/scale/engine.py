"""What an engine is: it runs the slices of a job somewhere. Where is all that it decides."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from bert_onnx.errors import RuntimeUnavailableError, UsageError
from runtimes.scale.slices import Slice
from runtimes.scale.work import Receipt, Work


@dataclass(frozen=True)
class EngineJob:
    """Slices to run.

    Args:
        work: what they have in common.
        pieces: what is still to be done.
        model: a pipeline that is open in this process.
        workers: processes; None for as many as there is room for.
        threads: of each.
        address: where the cluster is; None starts one here, or takes the one that the environment names.
    """

    work: Work
    pieces: Sequence[Slice]
    model: Any
    workers: int | None
    threads: int
    address: str | None = None

    @property
    def on_gpu(self) -> bool:
        """Whether a worker needs a GPU of its own."""
        return str(self.model.describe().runtime.name) in ("onnxruntime-cuda", "onnxruntime-tensorrt")


#: Name of an engine -> its module, whose `run(job)` gives receipts as parts are done; the package that it needs.
ENGINES: dict[str, tuple[str, str | None]] = {
    "local": ("runtimes.scale.local", None),
    "ray": ("runtimes.scale.on_ray", "ray"),
    "spark": ("runtimes.scale.on_spark", "pyspark"),
}


def find_engine(name: str) -> Callable[[EngineJob], Iterator[Receipt]]:
    """What runs a job on the engine `name`.

    Raises:
        UsageError: there is no such engine.
        RuntimeUnavailableError: its package is not installed.
    """
    if name not in ENGINES:
        raise UsageError(f"the engine {name!r} is unknown; choose one of {', '.join(ENGINES)}.")
    module, package = ENGINES[name]
    if package is not None:
        import_engine(package)
    run: Callable[[EngineJob], Iterator[Receipt]] = import_module(module).run
    return run


def import_engine(package: str) -> Any:
    """The package of an engine. Raises RuntimeUnavailableError: it is not installed."""
    try:
        return import_module(package)
    except ImportError as error:
        extra = "spark" if package == "pyspark" else package
        raise RuntimeUnavailableError(
            f'{package} cannot be imported ({error}); install it with pip install "bert-onnx[{extra}]", or use '
            "--engine local."
        ) from None

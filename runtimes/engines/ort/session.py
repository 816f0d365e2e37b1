"""What all of ONNX Runtime's providers share: session options, opening a graph, what its errors mean."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from bert_onnx.errors import ArtifactError, InferenceError, RuntimeUnavailableError
from bert_onnx.tasks import REQUIRES
from runtimes.engines.base import RuntimeOptions, is_out_of_memory, out_of_memory
from runtimes.engines.graph_file import Engine, Opened
from runtimes.engines.ort.library import CPU_PROVIDER
from runtimes.engines.ort.shared_pool import pool_for_session

if TYPE_CHECKING:
    import numpy as np

#: Names of providers, or pairs of a name and its options, the preferred one first.
Providers = Sequence[str | tuple[str, dict[str, str]]]

_SEVERITY_ERROR = 3  # 0 verbose, 1 information, 2 warning, 3 error, 4 fatal
_RECORD = "session.record_ep_graph_assignment_info"
#: On x86 without VNNI, kernels for unsigned weights take the place of those that saturate; elsewhere nothing changes.
EXACT_INTEGERS = "session.x64quantprecision"
#: Names of fusions that are left out while a graph is loaded.
WITHOUT_FUSIONS = "optimization.disable_specified_optimizers"
#: SkipLayerNormalization takes longer than Add and LayerNormalization: 5 to 8% of the portable fp32 encoder (ONNX
#: Runtime 1.31, one AVX2 core, 1x16 to 8x128).
_SLOWER_ON_CPU = "SkipLayerNormFusion"
_STATUS = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ")
_SOURCE_LINE = re.compile(r"/\S+\.(?:h|hpp|cc|cpp):\d+ .*?\) (?=[A-Z])")


def session_options(
    library: ModuleType, options: RuntimeOptions, threads: int, record: bool = False, on_cpu: bool = False
) -> Any:
    """A SessionOptions.

    Args:
        record: keep which provider every node went to, for `nodes_by_provider`.
        on_cpu: all nodes run on the CPU provider; fusions that are slower there are left out.
    """
    levels = library.GraphOptimizationLevel
    session = library.SessionOptions()
    if pool_for_session() is None:
        session.intra_op_num_threads = threads
        session.inter_op_num_threads = 1
    else:
        session.use_per_session_threads = False
    session.log_severity_level = _SEVERITY_ERROR
    session.use_deterministic_compute = True
    session.graph_optimization_level = {
        "none": levels.ORT_DISABLE_ALL,
        "basic": levels.ORT_ENABLE_BASIC,
        "extended": levels.ORT_ENABLE_EXTENDED,
        "all": levels.ORT_ENABLE_ALL,
    }[options.optimization]
    session.add_session_config_entry("session.intra_op.allow_spinning", "1" if options.spinning else "0")
    if options.exact_integers:
        session.add_session_config_entry(EXACT_INTEGERS, "1")
    if on_cpu:
        session.add_session_config_entry(WITHOUT_FUSIONS, _SLOWER_ON_CPU)
    if record:
        session.add_session_config_entry(_RECORD, "1")
    if options.profile is not None:
        session.enable_profiling = True
        session.profile_file_prefix = str(options.profile)
    return session


@contextlib.contextmanager
def _in_utf8(path: Path) -> Iterator[str]:
    """`path` as UTF-8, which onnxruntime wants of names: a folder whose name is not UTF-8, or not in this locale, is
    open meanwhile, and Linux names it by a number."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            yield f"/proc/self/fd/{folder}/{path.name}"
        finally:
            os.close(folder)
    else:
        yield str(path)


def open_session(library: ModuleType, path: Path, options: Any, providers: Providers = (CPU_PROVIDER,)) -> Any:
    """A session for the graph in `path`; never on another provider than those asked for.

    Args:
        providers: none where `options` have devices of a provider from a library of its own.

    Raises:
        RuntimeUnavailableError: this onnxruntime is too old for the graph.
        ArtifactError: the file is damaged.
    """
    try:
        with _in_utf8(path) as name:
            return library.InferenceSession(name, sess_options=options, providers=list(providers), enable_fallback=0)
    except Exception as error:  # onnxruntime's exceptions share no base class of their own
        reason = reason_of(error)
        if type(error).__name__ == "NotImplemented" or "max supported" in reason or "only *guarantees*" in reason:
            raise RuntimeUnavailableError(
                f"onnxruntime {library.__version__} cannot run {path.name}: {reason}. "
                "Install a newer onnxruntime, or export with a lower --opset."
            ) from error
        raise ArtifactError(f"{path} is not a graph that onnxruntime can open: {reason}. Export it again.") from error


def opened(engine: Engine, session: Any, library: str, threads: int, notes: tuple[str, ...] = ()) -> Opened[Engine]:
    """`engine`, which holds `session`, and what the session says of its graph."""
    return Opened(
        engine=engine,
        # onnxruntime lists inputs with a default apart from the others.
        takes=[value.name for value in (*session.get_inputs(), *session.get_overridable_initializers())],
        returns=[value.name for value in session.get_outputs()],
        requires=session.get_modelmeta().custom_metadata_map.get(REQUIRES, ""),
        providers=tuple(session.get_providers()),
        library=library,
        threads=threads,
        notes=notes,
    )


def nodes_by_provider(session: Any) -> dict[str, dict[str, int]]:
    """How many nodes of each operator every provider has; the options must have been made with `record` set.

    The graph is counted as it is after the basic optimisations, before fusions.
    """
    counted: dict[str, dict[str, int]] = {}
    for subgraph in session.get_provider_graph_assignment_info():
        operators = counted.setdefault(subgraph.ep_name, {})
        for node in subgraph.get_nodes():
            operators[node.op_type] = operators.get(node.op_type, 0) + 1
    return counted


def nodes_elsewhere(session: Any, provider: str) -> tuple[str, ...]:
    """A note for every operator that has nodes on another provider than `provider`; as `nodes_by_provider`."""
    return tuple(
        f"{count} {operator} on {name}"
        for name, operators in nodes_by_provider(session).items()
        if name != provider
        for operator, count in sorted(operators.items())
    )


def run_session(
    session: Any, model: str, names: list[str], inputs: dict[str, np.ndarray], options: Any = None
) -> dict[str, np.ndarray]:
    """The outputs `names` of a session of the file `model`; `options`: RunOptions.

    Raises:
        InferenceError: the graph failed.
    """
    try:
        values = session.run(names, inputs, options)
    except Exception as error:  # onnxruntime's exceptions share no base class of their own
        raise run_failure(model, error) from error
    return dict(zip(names, values, strict=True))


def run_failure(model: str, error: Exception) -> InferenceError:
    """What to raise when a run failed."""
    reason = reason_of(error)
    if is_out_of_memory(reason) or isinstance(error, MemoryError):
        return out_of_memory(model, reason)
    return InferenceError(f"onnxruntime failed in {model}: {reason}.")


def reason_of(error: Exception) -> str:
    """What onnxruntime says, without its status prefix and the C++ function that said it."""
    text = " ".join((str(error).strip() or type(error).__name__).split())
    text = _STATUS.sub("", text)
    return _SOURCE_LINE.sub("", text).rstrip(".")

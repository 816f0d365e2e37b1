"""ONNX Runtime on the CPU, behind the Runtime protocol."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

import numpy as np

from bert_onnx.errors import ArtifactError, InferenceError, RuntimeUnavailableError, UsageError
from bert_onnx.tasks import REQUIRES, RIGHT_PADDING, Port
from runtimes.base import RuntimeDescription, RuntimeOptions, check_finite, chosen_outputs
from runtimes.cpu import usable_threads
from runtimes.inputs import Limits, check_inputs, check_right_padding

INSTALL = 'pip install "bert-onnx[cpu]"'
PROVIDER = "CPUExecutionProvider"
_SEVERITY_ERROR = 3  # 0 verbose, 1 information, 2 warning, 3 error, 4 fatal
_STATUS = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ")
_SOURCE_LINE = re.compile(r"/\S+\.(?:h|hpp|cc|cpp):\d+ .*?\) (?=[A-Z])")


@dataclass(frozen=True)
class _Details:
    """What a session does not know about itself."""

    path: Path
    threads: int
    version: str
    limits: Limits | None
    right_padding: bool


class OnnxRuntimeCpu:
    """A session on ONNX Runtime's CPU provider."""

    name = "onnxruntime-cpu"

    def __init__(self, session: Any, inputs: tuple[Port, ...], outputs: tuple[Port, ...], details: _Details) -> None:
        self.inputs = inputs
        self.outputs = outputs
        self._session = session
        self._details = details

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        inputs: Sequence[Port],
        outputs: Sequence[Port],
        options: RuntimeOptions | None = None,
        limits: Limits | None = None,
    ) -> OnnxRuntimeCpu:
        """A runtime for the graph in `path`, which takes `inputs` and returns `outputs`.

        Raises:
            RuntimeUnavailableError: onnxruntime is not installed, or too old for this graph.
            ArtifactError: the file is missing, damaged, or has other inputs or outputs.
        """
        options = options or RuntimeOptions()
        library = import_onnxruntime()
        threads = options.threads or usable_threads()
        session = _open_session(library, Path(path), _session_options(library, options, threads))
        _check_ports(session, Path(path), inputs, outputs)
        requires = session.get_modelmeta().custom_metadata_map.get(REQUIRES, "")
        details = _Details(Path(path), threads, library.__version__, limits, requires == RIGHT_PADDING)
        return cls(session, tuple(inputs), tuple(outputs), details)

    def run(self, inputs: Mapping[str, np.ndarray], outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """Outputs by name; all of them where `outputs` names none.

        Raises:
            InputError: the data does not fit the model.
            UsageError: an output that there is not, or the runtime is closed.
            InferenceError: the graph failed, or the answer is not finite.
        """
        session, path = self._session, self._details.path
        if session is None:
            raise UsageError(f"the runtime of {path.name} is closed; open it again.")
        names = chosen_outputs(self.outputs, outputs)
        checked = check_inputs(inputs, self.inputs, self._details.limits)
        if self._details.right_padding:
            check_right_padding(checked)
        try:
            values = session.run(names, checked)
        except Exception as error:  # onnxruntime's exceptions share no base class of their own
            raise _run_failure(path, error) from error
        results = dict(zip(names, values, strict=True))
        check_finite(results, path.name)
        return results

    def describe(self) -> RuntimeDescription:
        """What runs."""
        details = self._details
        return RuntimeDescription(
            self.name, (PROVIDER,), f"onnxruntime {details.version}", details.threads, details.path.name
        )

    def close(self) -> None:
        """Give back the session's memory and threads."""
        self._session = None

    def __enter__(self) -> OnnxRuntimeCpu:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def import_onnxruntime() -> ModuleType:
    """The onnxruntime module.

    Raises:
        RuntimeUnavailableError: it is not installed, or does not load here.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise RuntimeUnavailableError(f"onnxruntime cannot be imported ({error}); install it with {INSTALL}.") from None
    return onnxruntime


def _session_options(library: ModuleType, options: RuntimeOptions, threads: int) -> Any:
    levels = library.GraphOptimizationLevel
    session = library.SessionOptions()
    session.intra_op_num_threads = threads
    session.inter_op_num_threads = 1
    session.log_severity_level = _SEVERITY_ERROR
    session.use_deterministic_compute = True
    session.graph_optimization_level = {
        "none": levels.ORT_DISABLE_ALL,
        "basic": levels.ORT_ENABLE_BASIC,
        "extended": levels.ORT_ENABLE_EXTENDED,
        "all": levels.ORT_ENABLE_ALL,
    }[options.optimization]
    session.add_session_config_entry("session.intra_op.allow_spinning", "1" if options.spinning else "0")
    if options.profile is not None:
        session.enable_profiling = True
        session.profile_file_prefix = str(options.profile)
    return session


def _open_session(library: ModuleType, path: Path, options: Any) -> Any:
    if not path.is_file():
        raise ArtifactError(f"the model file {path} is missing; export the model again.")
    try:
        return library.InferenceSession(str(path), sess_options=options, providers=[PROVIDER])
    except Exception as error:  # onnxruntime's exceptions share no base class of their own
        reason = _reason(error)
        if type(error).__name__ == "NotImplemented" or "max supported" in reason or "only *guarantees*" in reason:
            raise RuntimeUnavailableError(
                f"onnxruntime {library.__version__} cannot run {path.name}: {reason}. "
                "Install a newer onnxruntime, or export with a lower --opset."
            ) from error
        raise ArtifactError(f"{path} is not a graph that onnxruntime can open: {reason}. Export it again.") from error


def _check_ports(session: Any, path: Path, inputs: Sequence[Port], outputs: Sequence[Port]) -> None:
    """The graph takes and returns what its manifest says."""
    takes = {value.name for value in session.get_inputs()}
    returns = {value.name for value in session.get_outputs()}
    if takes != {port.name for port in inputs} or not {port.name for port in outputs} <= returns:
        raise ArtifactError(
            f"{path.name} takes {sorted(takes)} and returns {sorted(returns)}, which is not what its manifest says; "
            "export it again."
        )


def _run_failure(path: Path, error: Exception) -> InferenceError:
    reason = _reason(error)
    if "allocate memory" in reason or "bad_alloc" in reason or isinstance(error, MemoryError):
        return InferenceError(f"{path.name} ran out of memory; use a smaller batch ({reason}).")
    return InferenceError(f"onnxruntime failed in {path.name}: {reason}.")


def _reason(error: Exception) -> str:
    """What onnxruntime says, without its status prefix and the C++ function that said it."""
    text = " ".join((str(error).strip() or type(error).__name__).split())
    text = _STATUS.sub("", text)
    return _SOURCE_LINE.sub("", text).rstrip(".")

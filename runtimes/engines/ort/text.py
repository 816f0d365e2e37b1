"""Graphs that take text, on ONNX Runtime's CPU provider with the operators of onnxruntime-extensions."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from bert_onnx.errors import InputError, RuntimeUnavailableError
from bert_onnx.tasks import Port
from bert_onnx.text_input import PAIR, TEXT
from runtimes.engines.base import RuntimeDescription, RuntimeOptions, chosen_outputs
from runtimes.engines.guard import Guard, GuardedEngine
from runtimes.engines.ort.session import (
    CPU_PROVIDER,
    check_ports,
    import_onnxruntime,
    open_session,
    run_session,
    session_options,
)
from runtimes.engines.ort.shared_pool import pool_for_session
from runtimes.machine.cpu import usable_threads

INSTALL = 'pip install "bert-onnx[text]"'


def import_extensions() -> ModuleType:
    """The onnxruntime_extensions module.

    Raises:
        RuntimeUnavailableError: it is not installed, or does not load here.
    """
    try:
        import onnxruntime_extensions
    except ImportError as error:
        raise RuntimeUnavailableError(
            f"graphs that take text need onnxruntime_extensions, which cannot be imported ({error}); "
            f"install it with {INSTALL}."
        ) from None
    return onnxruntime_extensions


class TextRuntime(GuardedEngine[Any]):
    """A session of a graph that takes text. Several threads may call `run` at once."""

    name = "onnxruntime-cpu"

    def __init__(self, session: Any, guard: Guard, description: RuntimeDescription, optional: frozenset[str]) -> None:
        super().__init__(session, guard, description)
        self._optional = optional

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        inputs: Sequence[Port],
        outputs: Sequence[Port],
        options: RuntimeOptions | None = None,
    ) -> TextRuntime:
        """A runtime for the graph in `path`, which takes `inputs` and returns `outputs`.

        Raises:
            RuntimeUnavailableError: onnxruntime or its extensions are not installed, or too old for this graph.
            ArtifactError: the file is missing, damaged, or has other inputs or outputs.
            UsageError: `options` ask for another precision than the file's.
        """
        options = options or RuntimeOptions()
        options.require_compute(cls.name, "fp32")
        library, extensions = import_onnxruntime(), import_extensions()
        threads = options.threads or usable_threads()
        settings = session_options(library, options, threads, on_cpu=True)
        settings.register_custom_ops_library(extensions.get_library_path())
        session = open_session(library, Path(path), settings)
        optional = frozenset(value.name for value in session.get_overridable_initializers())
        check_ports(session, Path(path), [port for port in inputs if port.name not in optional], outputs)
        description = RuntimeDescription(
            cls.name,
            (CPU_PROVIDER,),
            f"onnxruntime {library.__version__}, onnxruntime-extensions {extensions.__version__}",
            pool_for_session() or threads,
            Path(path).name,
        )
        return cls(session, Guard(Path(path).name, tuple(inputs), tuple(outputs)), description, optional)

    def run(
        self,
        texts: Sequence[str],
        pairs: Sequence[str] | Sequence[Sequence[str]] | None = None,
        outputs: Sequence[str] | None = None,
    ) -> dict[str, np.ndarray]:
        """Outputs by name, all of them where `outputs` names none; rows are padded on the right.

        Args:
            texts: at least one.
            pairs: the second text of each, where the graph takes them; for multiple choice the choices of each, the
                same number for all. Where a graph need not have them, an empty one means that there is none.
            outputs: names of the outputs to compute.

        Raises:
            InputError: a text that is none, or second texts that are missing, too many or without meaning.
            UsageError: an output that there is not, or the runtime is closed.
            InferenceError: the graph failed, or the answer is not finite.
        """
        session = self._opened()
        names = chosen_outputs(self.outputs, outputs)
        feeds = {TEXT: text_array(texts, "text")}
        if not len(feeds[TEXT]):
            raise InputError("there are no texts; give at least one.")
        self._add_pairs(feeds, pairs)
        return self._guard.leave(run_session(session, self._description.model, names, feeds))

    def _add_pairs(self, feeds: dict[str, np.ndarray], pairs: Sequence[Any] | None) -> None:
        port = next((port for port in self.inputs if port.name == PAIR), None)
        if port is None and pairs is not None:
            raise InputError(f"{self._description.model} takes single texts; leave the second ones out.")
        if pairs is None and port is not None and PAIR not in self._optional:
            raise InputError(f"{self._description.model} needs a second text for each; give pairs (--pair).")
        if port is None or pairs is None:
            return
        array = choices_array(pairs) if len(port.axes) == 2 else text_array(pairs, "second text")
        if len(array) != len(feeds[TEXT]):
            raise InputError(f"there are {len(feeds[TEXT])} texts but {len(array)} second ones; give one for each.")
        feeds[PAIR] = array


def text_array(texts: Sequence[str], what: str) -> np.ndarray:
    """`texts` as the graph takes them, objects [N]; `what` names one of them in messages.

    The extensions read a string up to its first NUL. BERT's tokenizers leave NUL out, as all controls: another control
    takes its place.

    Raises:
        InputError: something is no text, or holds half a surrogate pair, which is no Unicode.
    """
    array = np.empty(len(texts), object)
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise InputError(f"{what} {index} is a {type(text).__name__}; it must be a string.")
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise InputError(
                f"{what} {index} holds U+{ord(text[error.start]):04X} at character {error.start}, half of a surrogate "
                "pair, which is not valid Unicode; decode the text again."
            ) from None
        array[index] = text.replace("\0", "\1")
    return array


def choices_array(choices: Sequence[Sequence[str]]) -> np.ndarray:
    """The choices of each text, objects [N, C].

    Raises:
        InputError: their number differs, is 0, or one is no text.
    """
    rows = [text_array(row, f"choice of text {index}, number") for index, row in enumerate(choices)]
    if not rows or len({len(row) for row in rows}) != 1 or not len(rows[0]):
        raise InputError("every text needs the same number of choices, at least one; fill up or split the batch.")
    return np.stack(rows)

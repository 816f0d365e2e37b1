"""Graphs that take text, on ONNX Runtime's CPU provider with the operators of onnxruntime-extensions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from bert_onnx.errors import InputError, RuntimeUnavailableError
from bert_onnx.text_input import PAIR, TEXT
from runtimes.engines.base import RuntimeOptions, chosen_outputs
from runtimes.engines.graph_file import GraphFile, Opened
from runtimes.engines.guard import GuardedEngine
from runtimes.engines.ort.library import import_onnxruntime
from runtimes.engines.ort.session import open_session, opened, run_session, session_options
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


@dataclass(frozen=True)
class _TextSession:
    """A session, and the names of inputs that need not be given."""

    session: Any
    optional: frozenset[str]


class TextRuntime(GuardedEngine[_TextSession]):
    """A session of a graph that takes text. Several threads may call `run` at once."""

    name = "onnxruntime-cpu"

    @classmethod
    def _open_engine(cls, graph: GraphFile, options: RuntimeOptions) -> Opened[_TextSession]:
        library, extensions = import_onnxruntime(), import_extensions()
        threads = options.threads or usable_threads()
        settings = session_options(library, options, threads, on_cpu=True)
        settings.register_custom_ops_library(extensions.get_library_path())
        session = open_session(library, graph.path, settings)
        versions = f"onnxruntime {library.__version__}, onnxruntime-extensions {extensions.__version__}"
        optional = frozenset(value.name for value in session.get_overridable_initializers())
        return opened(_TextSession(session, optional), session, versions, pool_for_session() or threads)

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
            InferenceError: the graph failed, or an output is not finite.
        """
        return self.run_feeds(self.feeds(texts, pairs), outputs)

    def run_feeds(self, feeds: dict[str, np.ndarray], outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """As `run`, for rows of what `feeds` returned."""
        engine = self._opened()
        names = chosen_outputs(self.outputs, outputs)
        return self._guard.leave(run_session(engine.session, self._guard.model, names, feeds))

    def feeds(self, texts: Sequence[str], pairs: Sequence[Any] | None = None) -> dict[str, np.ndarray]:
        """The texts as the graph takes them, objects [N] or, for choices, [N, C]. Raises InputError as `run`."""
        feeds = {TEXT: text_array(texts, "text")}
        if not len(feeds[TEXT]):
            raise InputError("there are no texts; give at least one.")
        port = next((port for port in self.inputs if port.name == PAIR), None)
        if pairs is None:
            if port is not None and PAIR not in self._opened().optional:
                raise InputError(f"{self._guard.model} needs a second text for each; give pairs (--pair).")
            return feeds
        if port is None:
            raise InputError(f"{self._guard.model} takes single texts; leave the second ones out.")
        array = choices_array(pairs) if len(port.axes) == 2 else text_array(pairs, "second text")
        if len(array) != len(feeds[TEXT]):
            raise InputError(f"there are {len(feeds[TEXT])} texts but {len(array)} second ones; give one for each.")
        return {**feeds, PAIR: array}


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

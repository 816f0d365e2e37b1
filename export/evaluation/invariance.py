"""Does what a model returns for a text depend on the rest of the batch? It must not; per-tensor dynamic int8 does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from bert_onnx.postprocess import postprocess_names
from bert_onnx.sentence_modules import SENTENCE, SPARSE, TOKENS
from bert_onnx.tasks import BATCH, CHOICES, SEQUENCE
from export.evaluation.budgets import INVARIANCE_LIMIT
from export.evaluation.examples import TextSet
from export.evaluation.subject import Subject
from runtimes.engines.base import Runtime
from runtimes.pipelines.encoding import Window

#: Texts that are tried, from the shortest to about the median length: short ones suffer most from long mates.
_PROBES = 8
_MATES = 3

#: Compared alone where there is one: it is what the user came for.
_EMBEDDINGS = (SENTENCE, SPARSE, TOKENS)
_SKIPPED = ("present", "attentions", "cross_attentions", "hidden_states")


@dataclass(frozen=True)
class Invariance:
    """How much the outputs for texts changed with the rest of their batch.

    Args:
        largest: largest difference of an output element, as a share of the output's largest magnitude where that is
            above 1; embeddings of length 1 are compared as they are.
        output: in which output.
        case: in which batch.
        text: of which text, cut to a line.
    """

    largest: float
    output: str
    case: str
    text: str

    @property
    def passed(self) -> bool:
        """Whether nothing depends on the batch."""
        return self.largest <= INVARIANCE_LIMIT

    def __str__(self) -> str:
        if self.passed:
            return f"the outputs for a text do not depend on its batch (largest difference {self.largest:.1e})"
        return (
            f"{self.output} of {self.text!r} differs by {self.largest:.1e} between the text alone and {self.case}; "
            f"{INVARIANCE_LIMIT:.0e} is rounding"
        )


def measure_invariance(subject: Subject, runtime: Runtime, texts: TextSet) -> Invariance:
    """Run short texts alone, beside their like, among much longer ones, and at other places in the batch.

    Args:
        subject: what `runtime` computes.
        runtime: what is judged.
        texts: where the texts and the rest of their batches come from; two or more.
    """
    windows = sorted(subject.encode(texts.texts), key=lambda window: len(window.ids))
    names = _compared(runtime)
    worst = Invariance(0.0, names[0], "alone", "")
    half = max(1, len(windows) // 2)
    probes = windows[:half][:: max(1, half // _PROBES)][:_PROBES]
    alone = [_outputs(subject, runtime, [probe], names)(0) for probe in probes]
    for case, batch, places in _batches(probes, windows):
        there = _outputs(subject, runtime, batch, names)
        for index, place in places.items():
            found = there(place)
            for name in names:
                difference = _difference(alone[index][name], found[name])
                if difference > worst.largest:
                    worst = Invariance(difference, name, case, texts.texts[probes[index].sample][:60])
    return worst


def _batches(probes: Sequence[Window], windows: Sequence[Window]) -> Iterator[tuple[str, list[Window], dict[int, int]]]:
    """(name, batch, place of each probe in it by its number); `windows` from short to long."""
    like, long = list(windows[:_MATES]), list(windows[-_MATES:])
    first, last = ({index: start + index for index in range(len(probes))} for start in (0, len(long)))
    yield "among short texts", [*probes, *like], first
    yield "first among long texts", [*probes, *long], first
    yield "last among long texts", [*long, *probes], last
    for index, probe in enumerate(probes):
        yield "beside one long text", [long[-1], probe], {index: 1}


def _outputs(
    subject: Subject, runtime: Runtime, batch: Sequence[Window], names: Sequence[str]
) -> Callable[[int], dict[str, np.ndarray]]:
    """What `runtime` returns for the row at a place of `batch`, without its padding."""
    arrays = subject.arrays(runtime, batch)
    if subject.task.choices:  # every text is the only choice of its prompt
        arrays = {name: array[:, None] for name, array in arrays.items()}
    results = runtime.run(arrays, names)
    axes = {port.name: port.axes for port in runtime.outputs}

    def row(place: int) -> dict[str, np.ndarray]:
        length = len(batch[place].ids)
        return {
            name: results[name][place][:length] if axes[name][1:2] == (SEQUENCE,) else results[name][place]
            for name in names
        }

    return row


def _compared(runtime: Runtime) -> list[str]:
    """The embedding alone where there is one, else each with a row for each text that is not made by postprocessing."""
    derived = postprocess_names()
    names = [
        port.name
        for port in runtime.outputs
        if port.axes[0] == BATCH
        and port.name.partition(".")[0] not in _SKIPPED
        and port.name not in derived
        and CHOICES not in port.axes[2:]
    ]
    return [name for name in names if name in _EMBEDDINGS] or names


def _difference(alone: np.ndarray, there: np.ndarray) -> float:
    return float(np.abs(alone - there).max() / max(1.0, float(np.abs(alone).max())))

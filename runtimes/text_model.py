"""An artifact's graph that takes text: strings in, the task's answers out, with no tokenizer beside the graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from bert_onnx.errors import RuntimeUnavailableError, UsageError
from bert_onnx.text_input import TRUNCATED
from runtimes.engines.base import RuntimeOptions
from runtimes.engines.ort.text import TextRuntime
from runtimes.pipelines.base import PipelineDescription
from runtimes.pipelines.classification import label_scores, ranked_labels
from runtimes.pipelines.embedding import Embedding
from runtimes.pipelines.options import check_count
from runtimes.pipelines.results import Result
from runtimes.pipelines.sentence_pair import next_sentence

if TYPE_CHECKING:
    from bert_onnx.artifact import Artifact, TextGraph
    from bert_onnx.config import BertConfig
    from runtimes.selection.select import Wanted

_BATCH = 32
#: Outputs that have an entry for every token.
_TOKENS = ("input_ids", "attention_mask", "token_type_ids")


@dataclass(frozen=True, eq=False)
class TextOutputs(Result):
    """What the graph returns for one text, where a task has no shorter answer.

    Args:
        input_ids: the tokens that it read [S], for multiple choice those of each choice [C, S].
        outputs: the model's outputs by name; without padding where they have a value for every token.
        truncated: the end of the text was not read.
    """

    input_ids: np.ndarray
    outputs: dict[str, np.ndarray]
    truncated: bool

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        named = {name: array.tolist() for name, array in self.outputs.items()}
        return {"input_ids": self.input_ids.tolist(), **named, TRUNCATED: self.truncated}


class TextModel:
    """Answers texts with a graph that takes text. Use it as a context manager, or call `close`."""

    def __init__(self, task: str, runtime: TextRuntime, config: BertConfig, about: PipelineDescription) -> None:
        self.task = task
        self.runtime = runtime
        self.config = config
        self._about = about

    def run(self, texts: Sequence[str], pairs: Sequence[Any] | None = None) -> dict[str, np.ndarray]:
        """All outputs of one call, by name; see `TextRuntime.run`."""
        return self.runtime.run(texts, pairs)

    def __call__(
        self, texts: str | Sequence[str], pairs: str | Sequence[Any] | None = None, batch_size: int = _BATCH
    ) -> list[Result]:
        """An answer for each text, in their order.

        Embeddings, labels and next sentences come as the pipelines of those tasks give them, others as `TextOutputs`.

        Args:
            texts: what to answer.
            pairs: the second text of each; a single one goes with every text. For multiple choice, lists of choices.
            batch_size: texts that are run together.

        Raises:
            InputError: something that is no text, or second texts that do not fit.
        """
        check_count("batch_size", batch_size)
        first = [texts] if isinstance(texts, str) else list(texts)
        second = [pairs] * len(first) if isinstance(pairs, str) else pairs
        answers: list[Result] = []
        for start in range(0, len(first), batch_size):
            part = slice(start, start + batch_size)
            outputs = self.run(first[part], None if second is None else second[part])
            answers += [self._answer(outputs, row) for row in range(len(outputs[TRUNCATED]))]
        return answers

    def embed(self, texts: str | Iterable[str], batch_size: int = _BATCH) -> np.ndarray:
        """The sentence embeddings, float32 [N, D], in the order of `texts`.

        Raises:
            InputError: something among `texts` is not a text.
            UsageError: the artifact makes no sentence embeddings.
        """
        if "sentence_embedding" not in [port.name for port in self.runtime.outputs]:
            raise UsageError(f"this artifact ({self.task}) makes no sentence embeddings; call it instead.")
        check_count("batch_size", batch_size)
        rest, vectors = iter([texts] if isinstance(texts, str) else texts), []
        while batch := list(islice(rest, batch_size)):
            vectors.append(self.runtime.run(batch, outputs=["sentence_embedding"])["sentence_embedding"])
        return np.concatenate(vectors) if vectors else np.empty((0, self.config.hidden_size), np.float32)

    def _answer(self, outputs: dict[str, np.ndarray], row: int) -> Result:
        truncated = bool(np.any(outputs[TRUNCATED][row]))
        make: Callable[[], Result] | None = {
            "sentence-similarity": lambda: Embedding(outputs["sentence_embedding"][row], truncated),
            "text-classification": lambda: self._labels(outputs["logits"][row], truncated),
            "next-sentence-prediction": lambda: next_sentence(outputs["logits"][row], truncated),
        }.get(self.task)
        if make is None or (self.task == "sentence-similarity" and "sentence_embedding" not in outputs):
            return self._outputs(outputs, row, truncated)
        return make()

    def _labels(self, logits: np.ndarray, truncated: bool) -> Result:
        scores = label_scores(logits, self.config.problem_type)
        return ranked_labels(scores, self.config.id2label, None, truncated)

    def _outputs(self, outputs: dict[str, np.ndarray], row: int, truncated: bool) -> TextOutputs:
        length = int(outputs["attention_mask"][row].sum(axis=-1).max())
        per_token = {port.name for port in self.runtime.outputs if "sequence_length" in port.axes[1:2]}
        named = {
            port.name: outputs[port.name][row][:length] if port.name in per_token else outputs[port.name][row]
            for port in self.runtime.outputs
            if port.name not in (*_TOKENS, TRUNCATED) and len(outputs[port.name]) == len(outputs[TRUNCATED])
        }
        return TextOutputs(outputs["input_ids"][row][..., :length], named, truncated)

    def describe(self) -> PipelineDescription:
        """What answers."""
        return self._about

    def close(self) -> None:
        """Give back the session's memory and threads."""
        self.runtime.close()

    def __enter__(self) -> TextModel:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def open_text_model(artifact: Artifact, wanted: Wanted) -> TextModel:
    """The graph of `artifact` that takes text: of the variant or the precision that was named, else the first.

    Raises:
        ArtifactError: the artifact has none.
        RuntimeUnavailableError: onnxruntime or its extensions are missing, or this processor would give wrong sums.
        UsageError: a runtime that cannot run it.
    """
    from bert_onnx.config import BertConfig
    from runtimes.machine.processor import this_processor

    if wanted.runtime not in (None, TextRuntime.name):
        raise UsageError(f"{wanted.runtime} does not run graphs that take text; {TextRuntime.name} does.")
    manifest = artifact.manifest
    graph = _chosen(artifact, wanted)
    variant = manifest.variant(graph.variant)
    if variant.precision == "int8" and this_processor().saturates(variant.isa):
        raise RuntimeUnavailableError(
            f"the sums of {variant.name} would saturate on this processor, which has no VNNI, and its answers would be "
            "wrong; use another variant, or export int8 for avx2."
        )
    options = RuntimeOptions(threads=wanted.threads)
    runtime = TextRuntime.open(artifact.folder / graph.file, graph.inputs, graph.outputs, options)
    about = PipelineDescription(
        task=manifest.task,
        variant=graph.name,
        max_length=manifest.model_max_length,
        runtime=runtime.describe(),
        precision=variant.precision,
        why=f"a graph that takes text was asked for; {graph.name} holds {variant.name}.",
    )
    return TextModel(manifest.task, runtime, BertConfig.from_pretrained(artifact.folder), about)


def _chosen(artifact: Artifact, wanted: Wanted) -> TextGraph:
    manifest = artifact.manifest
    if wanted.variant is not None or wanted.precision is None:
        name = wanted.variant
        by_name = [graph for graph in manifest.text_graphs if graph.name == name]
        return by_name[0] if by_name else manifest.text_graph(name)
    fitting = [g for g in manifest.text_graphs if manifest.variant(g.variant).precision == wanted.precision]
    if manifest.text_graphs and not fitting:
        raise UsageError(f"no graph of the artifact takes text in {wanted.precision}; export it with that precision.")
    return fitting[0] if fitting else manifest.text_graph()

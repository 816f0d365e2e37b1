"""token-classification: entities with their place in the text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bert_onnx.errors import UsageError
from runtimes.pipelines.base import TokenizingPipeline
from runtimes.pipelines.batches import Row
from runtimes.pipelines.encoding import Window, check_texts, encode_spans
from runtimes.pipelines.entities import AGGREGATIONS, Entity, Piece, aggregate, without_overlaps
from runtimes.pipelines.results import Result
from runtimes.pipelines.scores import softmax


@dataclass(frozen=True)
class Entities(Result):
    """The entities of a text, in its order; `truncated` where the end of the text was not read."""

    entities: tuple[Entity, ...]
    truncated: bool


class TokenClassification(TokenizingPipeline):
    """Labels every token, and joins tokens to entities."""

    def __call__(
        self,
        texts: str | Sequence[str],
        aggregation: str = "simple",
        ignore_labels: Sequence[str] = ("O",),
        stride: int | None = None,
        batch_size: int = 32,
    ) -> list[Entities]:
        """The entities of each text, in their order.

        Args:
            texts: what to search.
            aggregation: `none` gives each token; `simple` joins neighbours with the same label (B- starts anew);
                `first`, `average` and `max` first give each word one label: that of its first token, of the mean of
                its tokens' scores, or of its most certain token.
            ignore_labels: labels that are left out, named as the results name them.
            stride: read long texts in windows that share this many tokens; None reads the first window only.
            batch_size: windows that are run together.

        Raises:
            InputError: something among `texts` is not a text.
            UsageError: an aggregation that does not exist, or a stride without aggregation.
        """
        if aggregation not in AGGREGATIONS:
            raise UsageError(f"aggregation {aggregation!r} is unknown; choose {', '.join(AGGREGATIONS)}.")
        if stride is not None and aggregation == "none":
            raise UsageError("windows that overlap need an aggregation: with 'none', tokens would come twice.")
        checked = check_texts(texts)
        windows = encode_spans(self.tokenizer, checked, None, self.max_length, stride)

        def finish(window: Window, row: Row) -> list[Entity]:
            found = aggregate(self._pieces(window, row, checked[window.sample]), aggregation, self.tokenizer)
            return [entity for entity in found if entity.label not in ignore_labels]

        found = self._run(windows, ["logits"], batch_size, finish)
        by_text: list[list[list[Entity]]] = [[] for _ in checked]
        for window, entities in zip(windows, found, strict=True):
            by_text[window.sample].append(entities)
        cut = {window.sample for window in windows if window.truncated}
        return [Entities(tuple(without_overlaps(parts)), index in cut) for index, parts in enumerate(by_text)]

    def _pieces(self, window: Window, row: Row, text: str) -> list[Piece]:
        """The tokens of `window` that stand for text, with the probabilities of their labels."""
        scores = softmax(row["logits"][: len(window.ids)])
        labels = tuple(self.config.id2label[i] for i in range(self.config.num_labels))
        tokens = self.tokenizer.convert_ids_to_tokens(window.ids)
        pieces = []
        for index, (start, end) in enumerate(window.offsets):
            if window.special[index]:
                continue
            unknown = window.ids[index] == self.tokenizer.unk_token_id
            word = text[start:end] if unknown else tokens[index]
            continues = not unknown and self._continues(word, text, start, end)
            pieces.append(Piece(word, scores[index], labels, start, end, index, continues))
        return pieces

    def _continues(self, token: str, text: str, start: int, end: int) -> bool:
        """Whether a token goes on with the word before it.

        One that is longer than the text it stands for carries the prefix of a word's later pieces; tokenizers without
        such a prefix leave the spaces of the text to tell words apart.
        """
        if self.tokenizer.continuing_subword_prefix is not None:
            return len(token) != end - start
        return start > 0 and " " not in text[start - 1 : start + 1]

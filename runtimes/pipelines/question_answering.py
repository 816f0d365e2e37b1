"""question-answering: the part of a context that answers a question; long contexts are read in windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bert_onnx.errors import InputError, UsageError
from runtimes.pipelines.answer_spans import Answer, AnswerOptions, SpanLogits, best_answers, span_logits
from runtimes.pipelines.base import TokenizingPipeline
from runtimes.pipelines.batches import Row
from runtimes.pipelines.encoding import Window, check_pairs, check_texts, encode_spans
from runtimes.pipelines.options import check_count
from runtimes.pipelines.results import Result

#: Window and overlap where the caller names none, in tokens.
_WINDOW = 384
_OVERLAP = 128


@dataclass(frozen=True)
class Answers(Result):
    """The answers to one question, best first; `windows` is in how many parts the context was read."""

    answers: tuple[Answer, ...]
    windows: int

    @property
    def best(self) -> Answer:
        """The best answer."""
        return self.answers[0]


class QuestionAnswering(TokenizingPipeline):
    """Finds answers in contexts of any length."""

    def __call__(
        self,
        questions: str | Sequence[str] | Mapping[str, str] | Sequence[Mapping[str, str]],
        contexts: str | Sequence[str] | None = None,
        top_k: int = 1,
        max_answer_len: int = 15,
        handle_impossible_answer: bool = False,
        max_seq_len: int | None = None,
        doc_stride: int | None = None,
        align_to_words: bool = True,
        batch_size: int = 32,
    ) -> list[Answers]:
        """The answers to each question, in their order.

        Args:
            questions: what is asked; or mappings with a `question` and a `context`, one or a list.
            contexts: where the answer is; a single one serves every question.
            top_k: most answers a question.
            max_answer_len: most tokens of an answer.
            handle_impossible_answer: let "" be an answer, scored by the first token of the window least sure of it.
            max_seq_len: tokens of a window, question included; None takes 384, or the model's own if that is less.
            doc_stride: tokens that a window shares with the one before; None takes 128, or half of a short window.
            align_to_words: widen answers to whole words.
            batch_size: windows that are run together.

        Raises:
            InputError: an empty question or context, or a question that leaves no room for the context.
            UsageError: an option out of range.
        """
        length = self._length(max_seq_len)
        check_count("top_k", top_k)
        check_count("max_answer_len", max_answer_len)
        asked, searched = _check(questions, contexts)
        options = AnswerOptions(top_k, max_answer_len, handle_impossible_answer, align_to_words)
        if doc_stride is not None and doc_stride < 0:
            raise UsageError(f"doc_stride is {doc_stride}; windows share 0 tokens or more.")
        cut = [
            self._windows(index, question, context, length, doc_stride)
            for index, (question, context) in enumerate(zip(asked, searched, strict=True))
        ]
        windows = [window for own, _ in cut for window in own]

        def finish(window: Window, row: Row) -> SpanLogits:
            return span_logits(window, row["start_logits"], row["end_logits"], self.tokenizer.cls_token_id)

        found = self._run(windows, ["start_logits", "end_logits"], batch_size, finish)
        parts: list[list[SpanLogits]] = [[] for _ in asked]
        for window, logits in zip(windows, found, strict=True):
            parts[window.sample].append(logits)
        return [
            Answers(best_answers(own, self._first_tokens(own, stride), context, options), len(own))
            for own, (_, stride), context in zip(parts, cut, searched, strict=True)
        ]

    def _first_tokens(self, windows: Sequence[SpanLogits], stride: int) -> list[int]:
        """Which token of the context each of its windows begins with; the first windows are full."""
        lengths = [len(found.places) for found in windows]
        begins = [number * (lengths[0] - stride) for number in range(len(windows))]
        if self.tokenizer.settings.truncation_side == "left":  # they were cut from the end of the context
            begins = [begins[-1] + lengths[-1] - begin - length for begin, length in zip(begins, lengths, strict=True)]
        return begins

    def _length(self, max_seq_len: int | None) -> int:
        length = min(self.max_length, _WINDOW) if max_seq_len is None else max_seq_len
        limit = self.config.longest_sequence
        if not 0 < length <= limit:
            raise UsageError(f"max_seq_len is {length}; this model reads 1 to {limit} tokens at a time.")
        return length

    def _windows(
        self, index: int, question: str, context: str, length: int, doc_stride: int | None
    ) -> tuple[list[Window], int]:
        """The windows of a context beside its question, and how many tokens they share.

        Raises:
            InputError: the question leaves no room.
            UsageError: windows would never advance.
        """
        room = length - len(self.tokenizer.encode(question, add_special_tokens=False))
        room -= self.tokenizer.num_special_tokens_to_add(pair=True)
        if room < 1:
            raise InputError(
                f"question {index} leaves no room for its context in {length} tokens; shorten it or raise max_seq_len."
            )
        usual = min(length // 2, _OVERLAP)
        if usual >= room:  # a long question leaves less room than the usual overlap
            usual = room // 2
        stride = usual if doc_stride is None else min(doc_stride, room - 1)
        windows = encode_spans(self.tokenizer, [question], [context], length, stride, index)
        if len(windows) > 1 and doc_stride is not None and doc_stride >= room:
            raise UsageError(f"doc_stride is {doc_stride}; beside question {index} it must be from 0 to {room - 1}.")
        return windows, stride


def _check(questions: Any, contexts: str | Sequence[str] | None) -> tuple[list[str], list[str]]:
    items = [questions] if isinstance(questions, Mapping) else questions
    if isinstance(items, (list, tuple)) and items and all(isinstance(item, Mapping) for item in items):
        if contexts is not None or any(item.keys() != {"question", "context"} for item in items):
            raise InputError("questions as mappings have a question and a context, and no contexts beside them.")
        questions, contexts = [item["question"] for item in items], [item["context"] for item in items]
    asked = check_texts(questions, "question")
    searched = check_pairs(asked, contexts, "context")
    if searched is None:
        raise InputError("question-answering needs a context for each question; give contexts (--pair).")
    for what, texts in (("question", asked), ("context", searched)):
        if "" in texts:
            raise InputError(f"{what} {texts.index('')} is empty; there is nothing to answer.")
    return asked, searched

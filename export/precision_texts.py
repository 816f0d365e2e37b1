"""The texts of precisions below fp32: what they are calibrated with and judged by, read and tokenised once."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from export.evaluation.data import built_in, covered_languages, read_text_set
from export.evaluation.evaluation import Evaluation
from export.evaluation.evidence import check_evidence
from export.evaluation.examples import TextSet
from export.evaluation.gate import held_out_texts
from export.evaluation.subject import Subject
from export.quantization.feeds import CalibrationFeeds, calibration_feeds
from export.reference.runtime import Reference
from export.request import PrecisionRequest


class PrecisionTexts:
    """Those that the user gives, else built-in ones in the languages that the vocabulary covers.

    Args:
        request: what the user wants.
        reference: the eager model.
        folder: an artifact, staged or published, with the tokenizer.
        max_length: most tokens of a text.
    """

    def __init__(self, request: PrecisionRequest, reference: Reference, folder: Path, max_length: int) -> None:
        self._request = request
        self._reference = reference
        self._folder = folder
        self._max_length = max_length

    @cached_property
    def calibration(self) -> TextSet:
        """What ranges are learned from."""
        name = self._request.calibration
        return built_in("calibration", self._languages) if name is None else read_text_set(name)

    @cached_property
    def feeds(self) -> CalibrationFeeds:
        """The same for every variant: all graphs of a model take the same inputs."""
        inputs = self._reference.eager.module.inputs
        return calibration_feeds(self.calibration.texts, inputs, self._subject.tokenizer, self._subject.max_length)

    @cached_property
    def evaluation(self) -> Evaluation:
        """On text that calibration does not see, whether this variant is calibrated or not."""
        calibration = self.calibration if any(p in ("int8", "int4") for p in self._request.lower) else None
        texts = held_out_texts(self._request.evaluation, calibration, self._languages)
        return Evaluation(self._subject, texts, self._reference)

    @cached_property
    def doubts_of_calibration(self) -> tuple[str, ...]:
        """A warning where much of the text is unknown to the tokenizer.

        Raises:
            InputError: most of it is.
        """
        return check_evidence(self._subject.tokenizer, self.calibration, "--calibration")

    @cached_property
    def doubts_of_evaluation(self) -> tuple[str, ...]:
        """As `doubts_of_calibration`."""
        return check_evidence(self._subject.tokenizer, self.evaluation.texts, "--eval")

    @cached_property
    def _languages(self) -> tuple[str, ...]:
        return covered_languages(self._subject.tokenizer)

    @cached_property
    def _subject(self) -> Subject:
        eager = self._reference.eager
        return Subject.of_artifact(self._folder, eager.task, eager.options, eager.config, self._max_length)

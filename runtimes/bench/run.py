"""One run of `bert-onnx bench`: what was asked for, checked before anything heavy is imported, and done."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bert_onnx.errors import UsageError
from runtimes.bench.output import check_output

if TYPE_CHECKING:
    from runtimes.bench.measure import BenchRequest
    from runtimes.bench.quality import QualityReport
    from runtimes.bench.queries import Progress
    from runtimes.bench.report import BenchReport

_FILE = ".json"


@dataclass(frozen=True)
class BenchOptions:
    """What a user asks for.

    Args:
        scenario, seconds, bound, runtime, precision, threads: see `BenchRequest`.
        compare: two variants, which are measured in turns, or two files of earlier measurements.
        quality: judge retrieval, not speed.
        output: a file for the result.
        variant: the graph to measure; None for the best here.
    """

    scenario: str = "single-stream"
    seconds: float = 10.0
    bound: float = 130.0
    compare: tuple[str, str] | None = None
    quality: bool = False
    output: str | None = None
    variant: str | None = None
    runtime: str | None = None
    precision: str | None = None
    threads: int | None = None

    @property
    def files(self) -> tuple[str, str] | None:
        """The two files that are compared; None where variants are, or nothing."""
        return self.compare if self.compare and all(name.endswith(_FILE) for name in self.compare) else None

    def request(self) -> BenchRequest:
        """What is measured."""
        from runtimes.bench.measure import BenchRequest

        variants = self.compare or (self.variant,)
        return BenchRequest(
            self.scenario, self.seconds, self.bound, variants, self.runtime, self.precision, self.threads
        )


def check(model: str | None, options: BenchOptions) -> None:
    """Refuse what does not fit together.

    Raises:
        UsageError: two files and an artifact, one file and one variant, quality and a comparison, or neither artifact
            nor files; an output that cannot be written there; an option out of range.
    """
    if options.compare and not options.files and any(name.endswith(_FILE) for name in options.compare):
        raise UsageError("--compare takes two variants of DIR or two .json files, not one of each.")
    if options.files and model is not None:
        raise UsageError("two files are compared as they are; leave DIR out, or name two of its variants.")
    if not options.files and model is None:
        raise UsageError("name an artifact, or two files with --compare.")
    if options.quality and options.compare:
        raise UsageError("--quality judges every variant beside the first; leave --compare out.")
    if options.variant and options.compare:
        raise UsageError("--compare names the variants; leave --variant out.")
    if options.output is not None:
        check_output(options.output, model)
    if not options.files:
        options.request()


def run(
    folder: str | os.PathLike[str] | None, options: BenchOptions, progress: Progress
) -> BenchReport | QualityReport:
    """Do what `options` say, and write it to their file, if any.

    Args:
        folder: the artifact; None where files are compared.

    Raises:
        UsageError: as `check`, or an option out of range.
        ArtifactError, RuntimeUnavailableError, InferenceError: as `measure` and `retrieval_quality`.
        InputError: a file that is compared cannot be read.
        StorageError: the file for the result cannot be written.
    """
    report = _run(folder, options, progress)
    if options.output is not None:
        from runtimes.bench.report import save_report

        save_report(report, options.output)
    return report


def _run(
    folder: str | os.PathLike[str] | None, options: BenchOptions, progress: Progress
) -> BenchReport | QualityReport:
    if options.quality:
        from runtimes.bench.quality import retrieval_quality

        return retrieval_quality(_artifact(folder), progress)
    from runtimes.bench.report import BenchReport, load_measured

    if options.files is not None:
        first, second = options.files
        return BenchReport.of((load_measured(first), load_measured(second)))
    from runtimes.bench.measure import measure

    return BenchReport.of(measure(_artifact(folder), options.request(), progress))


def _artifact(folder: str | os.PathLike[str] | None) -> str | os.PathLike[str]:
    if folder is None:
        raise UsageError("name an artifact.")
    return folder

"""What the parity matrix is made for: the trained sample in every variant, and a random model of each head."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bert_onnx.artifact import MANIFEST_NAME
from bert_onnx.tasks import TASKS, find_task
from export.pipeline import export
from export.request import ExportRequest, PrecisionRequest
from export.targets import TARGETS
from runtimes.machine.processor import Processor

SAMPLE = "sample"
EVERY_TARGET = tuple(TARGETS)


@dataclass(frozen=True)
class Subject:
    """One artifact.

    Args:
        name: its folder, and what `--only` picks it by.
        task: a row of the task table.
        targets: targets of its graphs.
        precision: precisions of them.
        isas: instruction sets of its int8 files.
        trained: the sample; else a tiny random model.
    """

    name: str
    task: str
    targets: tuple[str, ...] = EVERY_TARGET
    precision: tuple[str, ...] = ("fp32",)
    isas: tuple[str, ...] = ("avx2",)
    trained: bool = False

    def saturates(self, processor: Processor) -> bool:
        """Whether `processor` runs none of its files."""
        return self.precision == ("int8",) and all(processor.saturates(isa) for isa in self.isas)

    def make(self, folder: Path) -> tuple[Path, str]:
        """The artifact and where its checkpoint is; what is there from a run before is used again."""
        artifact, checkpoint = (
            folder / self.name / "artifact",
            SAMPLE if self.trained else str(folder / self.name / "bert"),
        )
        if not (artifact / MANIFEST_NAME).is_file():
            if not self.trained:
                _save_random(self.task, Path(checkpoint))
            request = PrecisionRequest(self.precision, isas=self.isas)
            export(ExportRequest(checkpoint, self.task, str(artifact), self.targets, precision=request, force=True))
        return artifact, checkpoint


def _save_random(task: str, folder: Path) -> None:
    """A tiny checkpoint as transformers writes it; torch and transformers take seconds to import."""
    import torch

    from benchmarks.parity_rows import Row, make_checkpoint

    with torch.no_grad():
        make_checkpoint(Row(task), folder)


#: A cache belongs to padding: there is nothing to skip.
_PADDED = tuple(target for target in EVERY_TARGET if not target.endswith("-unpadded"))

TRAINED = (
    Subject("sample", "sentence-similarity", trained=True),
    Subject("sample-fp16", "sentence-similarity", ("portable",), ("fp16",), trained=True),
    *(
        Subject(f"sample-int8-{isa}", "sentence-similarity", ("portable",), ("int8",), (isa,), trained=True)
        for isa in ("avx2", "avx512_vnni", "arm64")
    ),
)
HEADS = tuple(Subject(f"head-{task}", task, _PADDED if find_task(task).cached else EVERY_TARGET) for task in TASKS)

"""One variant on one runtime beside the reference: the largest difference at real tokens, the smallest cosine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import cached_property, partial

import numpy as np

from bert_onnx.artifact import Artifact, Variant
from bert_onnx.artifact.contract.parity import Rounding
from bert_onnx.config import BertConfig
from bert_onnx.errors import ArtifactError, BertOnnxError, RuntimeUnavailableError, UsageError
from bert_onnx.modeling.postprocess import Postprocessing
from bert_onnx.tasks import find_task
from export.plan import FP32
from export.targets import find_target
from export.verification.cases import Case, verification_cases
from export.verification.parity import real_tokens
from export.verification.postprocess_parity import compare_postprocess
from export.verification.rounding import difference_limit
from export.verification.runtime_cells import ABSENT, FAIL, PASS, Cell
from export.verification.tolerances import find_tolerance
from runtimes.engines.base import Runtime, RuntimeOptions
from runtimes.engines.ort.cpu import OnnxRuntimeCpu
from runtimes.engines.table import RuntimeRow, find_runtime
from runtimes.machine.processor import Processor

#: What a file in a lower precision must share with its own outputs on ONNX Runtime. A value on the border of two
#: integers falls to either side with the last digit of a float, and the layers after it differ by a level then: between
#: OpenVINO and ONNX Runtime that is half of what int8 is from float32 (all-MiniLM-L6-v2, ids at random: 0.999).
LEAST_COSINE = 0.998
#: Vectors shorter than this have no direction worth comparing.
_TINY = 1e-6


class RuntimeComparison:
    """One variant beside the reference."""

    def __init__(self, artifact: Artifact, variant: Variant, reference: Runtime) -> None:
        self.artifact = artifact
        self.variant = variant
        self.reference = reference
        self._config = BertConfig.from_pretrained(artifact.folder)
        self._postprocessing = Postprocessing.of(artifact.manifest.task, self._config, artifact.manifest.options)

    def cell(self, row: RuntimeRow, compute: str, processor: Processor) -> Cell:
        """Open, run and compare; what cannot be done is part of the cell."""
        variant = self.variant
        precision = variant.precision if compute == "fp32" else compute
        empty = Cell(variant.name, row.name, precision, ABSENT)
        missing = row.missing_modules()
        if missing:
            return _because(empty, f"{', '.join(missing)} is not installed")
        if variant.precision == "int8" and processor.saturates(variant.isa):
            return _because(empty, "this processor has no VNNI: its sums would saturate")
        try:
            runtime = self._open(row, compute)
        except (RuntimeUnavailableError, UsageError) as error:  # not on this machine, or not for such models
            return _because(empty, str(error).rstrip("."))
        except ArtifactError as error:
            return _because(_failed(empty), str(error).rstrip("."))
        with ExitStack() as stack:
            stack.callback(runtime.close)
            try:
                own = None
                if variant.precision != "fp32" and row.name != OnnxRuntimeCpu.name:
                    own = self._open(find_runtime(OnnxRuntimeCpu.name), "fp32")
                    stack.callback(own.close)
                return self._judge(empty, runtime, own)
            except BertOnnxError as error:
                return _because(_failed(empty), str(error).rstrip("."))

    def _open(self, row: RuntimeRow, compute: str) -> Runtime:
        manifest = self.artifact.manifest
        options = RuntimeOptions(compute=compute, spinning=False)
        path = self.artifact.path(self.variant)
        opened: Runtime = row.load_class().open(path, manifest.inputs, manifest.outputs, options, manifest.config)
        return opened

    def _cases(self) -> Iterator[Case]:
        manifest = self.artifact.manifest
        requires = find_target(self.variant.target).requires
        yield from verification_cases(find_task(manifest.task), self._config, manifest.inputs, requires)

    def _judge(self, empty: Cell, runtime: Runtime, own: Runtime | None) -> Cell:
        """Compare every output of every case.

        Args:
            own: the same file on ONNX Runtime, where a lower precision was judged: what the outputs must be like.
        """
        # Postprocess outputs are float32 nodes in every file.
        computed = FP32 if empty.precision == self.variant.precision else empty.precision
        worst, cosine = empty, 1.0
        most = -1.0
        for case in self._cases():
            expected, actual = self.reference.run(case.inputs), runtime.run(case.inputs)
            alike = expected if own is None else own.run(case.inputs)
            for output in compare_postprocess(self._postprocessing, actual, case, partial(self._limit, computed)):
                if output.max_abs_diff > output.tolerance:
                    reason = f"{output.name}{list(output.index)} does not follow from its scores in case '{case.name}'"
                    return _because(_failed(empty), reason)
            for port in self.reference.outputs:
                if port.name in self._postprocessing.names:
                    continue
                mask = real_tokens(port, expected[port.name].shape, case.inputs["attention_mask"])
                ours, wanted = actual[port.name] * mask, expected[port.name] * mask
                if ours.shape != wanted.shape:
                    return _because(_failed(empty), f"{port.name} is {ours.shape}, not {wanted.shape}")
                difference = float(np.abs(ours - wanted).max(initial=0.0))
                cosine = min(cosine, least_cosine(ours, alike[port.name] * mask))
                limit = self._limit(empty.precision, port.name, float(np.abs(wanted).max(initial=0.0)))
                if difference / limit > most:
                    most = difference / limit
                    worst = Cell(
                        empty.variant, empty.runtime, empty.precision, PASS, difference, limit, port.name, case.name
                    )
        passed = cosine >= LEAST_COSINE if own is not None else most <= 1
        return Cell(
            empty.variant,
            empty.runtime,
            empty.precision,
            PASS if passed else FAIL,
            worst.max_abs_diff,
            worst.tolerance if own is None else None,
            worst.output,
            worst.case,
            cosine,
        )

    def _limit(self, precision: str, output: str, largest: float) -> float:
        """Every runtime is held to what ONNX Runtime is held to; 16 bits that no file has, to emulated ones."""
        emulated = precision == "bf16" or (precision == "fp16" and self.variant.precision != "fp16")
        runtime = "emulated" if emulated else OnnxRuntimeCpu.name
        limit = find_tolerance(precision, runtime, output).limit(largest)
        rounding = self._rounding.get(output) if precision == FP32 else None
        return limit if rounding is None else max(limit, difference_limit(rounding))

    @cached_property
    def _rounding(self) -> dict[str, Rounding]:
        """Errors against float64 of the reference graph: how ill-conditioned the model is, for every runtime."""
        outputs = self.artifact.manifest.variants[0].parity.outputs
        return {output.name: output.rounding for output in outputs if output.rounding is not None}


def least_cosine(a: np.ndarray, b: np.ndarray) -> float:
    """The smallest cosine between a row of `a` and the same row of `b`; rows of nothing count as equal."""
    if a.size == 0:
        return 1.0
    flat_a, flat_b = a.reshape(len(a), -1).astype(np.float64), b.reshape(len(b), -1).astype(np.float64)
    lengths = np.linalg.norm(flat_a, axis=1) * np.linalg.norm(flat_b, axis=1)
    products = (flat_a * flat_b).sum(axis=1)
    return float(np.where(lengths > _TINY, products / np.maximum(lengths, _TINY), 1.0).min())


def _failed(cell: Cell) -> Cell:
    return Cell(cell.variant, cell.runtime, cell.precision, FAIL)


def _because(cell: Cell, reason: str) -> Cell:
    return Cell(cell.variant, cell.runtime, cell.precision, cell.verdict, reason=reason)

"""What may be asked of quantisation, and what it says it did."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from bert_onnx.errors import UsageError
from export.quantization.int8.measure import Closeness
from export.quantization.int8.ranges import METHODS as RANGES
from export.quantization.isa import DEFAULT_ISA, find_isa
from export.quantization.methods import METHODS

PRECISIONS = ("int8", "int4")
ACCURACY_LEVELS = range(5)


@dataclass(frozen=True)
class QuantizationPlan:
    """How a float graph becomes int8.

    Args:
        precision: int8, or int4 for weights alone.
        method: a row of METHODS.
        isa: a row of `export.quantization.isa`.
        cosine_mean, cosine_min: what answers must keep of the float graph's, on calibration texts that were held
            out; sites go up their ladder until they do.
        ranges: how ranges are chosen; "output" searches the least error of each layer's output.
        embeddings: tables of embeddings become int8, too, with a scale a row.
        max_length: most tokens of a calibration text.
        microsoft: weights alone go into ONNX Runtime's MatMulNBits, not into standard operators.
        accuracy_level: of MatMulNBits: 1 computes in float, 4 lets it round activations to int8, block by block.
    """

    precision: str = "int8"
    method: str = "static"
    isa: str = DEFAULT_ISA
    cosine_mean: float = 0.9993
    cosine_min: float = 0.996
    ranges: str = "output"
    embeddings: bool = True
    max_length: int = 256
    microsoft: bool = False
    accuracy_level: int = 4

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise UsageError(f"the method {self.method!r} is unknown; choose one of {', '.join(METHODS)}.")
        if self.ranges not in RANGES:
            raise UsageError(f"the range method {self.ranges!r} is unknown; choose one of {', '.join(RANGES)}.")
        for name in ("cosine_mean", "cosine_min"):
            if not 0 < getattr(self, name) <= 1:
                raise UsageError(f"{name} is {getattr(self, name)}; give a cosine above 0, up to 1.")
        if self.max_length < 2:
            raise UsageError(f"max_length is {self.max_length}; it must be at least 2.")
        if self.precision not in PRECISIONS:
            raise UsageError(f"the precision {self.precision!r} is unknown; choose one of {', '.join(PRECISIONS)}.")
        if self.precision == "int4" and self.method != "weights":
            raise UsageError(f"int4 is for weights alone; the method {self.method} is for int8.")
        if self.microsoft and self.method != "weights":
            raise UsageError(f"MatMulNBits is for weights alone; the method {self.method} has standard operators.")
        if self.accuracy_level not in ACCURACY_LEVELS:
            raise UsageError(f"accuracy_level is {self.accuracy_level}; ONNX Runtime has 0 to 4.")
        find_isa(self.isa)


@dataclass(frozen=True)
class SiteRecord:
    """What was done at one site.

    Args:
        nodes: names of its MatMuls.
        structure: in words, see `Structure`.
        strength: of smoothing; 0 for none.
        error: squared error of the site's output as a share of its square.
        share: what the site alone takes from the mean cosine; None where it was not measured.
    """

    nodes: tuple[str, ...]
    structure: str
    strength: float
    error: float
    share: float | None


@dataclass(frozen=True)
class QuantizationResult:
    """A quantised graph.

    Args:
        model: the graph.
        excluded_nodes: names of MatMuls that were left in float.
        records: what was done, site by site.
        tables: names of the embedding tables that became int8.
        closeness: on the held-out part of the calibration texts; None without texts.
        invariant: a text's answer does not depend on the texts beside it.
    """

    model: ir.Model
    excluded_nodes: tuple[str, ...]
    records: tuple[SiteRecord, ...]
    tables: tuple[str, ...]
    closeness: Closeness | None
    invariant: bool = True

"""Options on precision that several commands share."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from export.request import PrecisionRequest


def add_precision_options(parser: argparse.ArgumentParser) -> None:
    """How variants below fp32 are made and judged."""
    parser.add_argument("--method", metavar="METHOD", help="how int8 is made: static, dynamic or weights")
    parser.add_argument(
        "--isa", metavar="LIST", help="CPUs that int8 files are for: avx512_vnni (default), avx2, arm64; with commas"
    )
    parser.add_argument("--calibration", metavar="FILE", help="texts for int8 ranges (txt, jsonl, csv, parquet)")
    parser.add_argument("--eval", dest="evaluation", metavar="FILE", help="held-out texts to judge by, labelled or not")
    parser.add_argument(
        "--budget", type=float, metavar="SHARE", help="mean cosine or agreement to reach, such as 0.999"
    )
    parser.add_argument("--allow-degraded", action="store_true", help="publish below the budget, and say so")


def precision_request(arguments: argparse.Namespace) -> PrecisionRequest:
    """The request that `arguments` make.

    Raises:
        UsageError: they do not fit.
    """
    from export.request import PrecisionRequest

    given = {"isas": split(arguments.isa)} if arguments.isa is not None else {}
    return PrecisionRequest(
        precisions=split(arguments.precision),
        method=arguments.method,
        calibration=arguments.calibration,
        evaluation=arguments.evaluation,
        budget=arguments.budget,
        allow_degraded=arguments.allow_degraded,
        **given,
    )


def split(text: str) -> tuple[str, ...]:
    """The parts of a list with commas, empty ones left out."""
    return tuple(part.strip() for part in text.split(",") if part.strip())

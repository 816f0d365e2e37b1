"""`bert-onnx doctor`: what this machine can run, and what is missing for the rest."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from bert_onnx.cli.printing import print_json

if TYPE_CHECKING:
    from runtimes.selection.doctor import Health


def add(commands: Any) -> None:
    """Tell the parser about it."""
    parser = commands.add_parser("doctor", help="show what this machine can run, and what is missing for the rest")
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    parser.set_defaults(command=_doctor)


def _doctor(arguments: argparse.Namespace) -> None:
    from runtimes.selection.doctor import examine

    health = examine()
    print_json(health.to_dict()) if arguments.json else _show(health)


def _show(health: Health) -> None:
    from bert_onnx.cli.render import format_rows, format_table, size_text

    quota = "no limit" if health.quota is None else f"{health.quota:g} processors"
    limit = "no limit" if health.memory_limit is None else size_text(health.memory_limit)
    gpus = [f"{gpu.name}, {gpu.memory_mib} MiB, compute capability {gpu.compute_capability}" for gpu in health.gpus]
    rows = [
        ("processor", f"{health.processor} ({health.architecture})"),
        ("features", ", ".join(health.features) or "none that matter here"),
        ("int8 files", f"right for {', '.join(health.int8)}" if health.int8 else "none"),
        ("processors", f"{health.cpus} allowed; cgroup quota: {quota}; {health.threads} threads a call"),
        ("memory", f"{size_text(health.memory or 0)}; cgroup limit: {limit}"),
        ("GPUs", "\n".join(gpus) or "none"),
        ("CUDA driver", health.driver_cuda or "none"),
        ("providers", ", ".join(health.providers) or "none: onnxruntime is not installed"),
        ("versions", ", ".join(f"{name} {number}" for name, number in health.packages.items())),
        ("Python", health.python),
    ]
    print(format_rows(rows))
    print()
    header = ("runtime", "usable", "files", "fp32 files in")
    cells = [
        (item.name, "yes" if item.usable else "no", ", ".join(item.precisions), ", ".join(item.compute) or "-")
        for item in health.runtimes
    ]
    print(format_table(header, cells))
    missing = [item for item in health.runtimes if not item.usable]
    if missing:
        print("\nmissing:")
        # A message about what is there but does not fit says itself what to do.
        told = [
            (item.name, f"{item.problem}\n{item.install}" if item.problem.endswith("not installed") else item.problem)
            for item in missing
        ]
        print(format_rows(told))

"""`bert-onnx doctor`: what this machine can run, and what is missing for the rest."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from bert_onnx.cli.parsing import add_command
from bert_onnx.cli.printing import print_json
from bert_onnx.cli.tables import format_notes, format_rows, format_table, size_text

if TYPE_CHECKING:
    from runtimes.selection.doctor import Health, RuntimeHealth


def add(commands: Any) -> None:
    """Declare the command and its options."""
    parser = add_command(
        commands,
        "doctor",
        "show what this machine can run, and what is missing for the rest",
        (
            "doctor",
            "doctor --json",
        ),
    )
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    parser.set_defaults(command=_doctor)


def _doctor(arguments: argparse.Namespace) -> None:
    from runtimes.selection.doctor import examine

    health = examine()
    print_json(health.to_dict()) if arguments.json else _show(health)


def _show(health: Health) -> None:
    quota = "no limit" if health.quota is None else f"{health.quota:g} processors"
    limit = "no limit" if health.memory_limit is None else size_text(health.memory_limit)
    gpus = [f"{gpu.name}, {gpu.memory_mib} MiB, compute capability {gpu.compute_capability}" for gpu in health.gpus]
    rows = [
        ("processor", f"{health.processor} ({health.architecture})"),
        ("features", ", ".join(health.features) or "none of those that int8 kernels use"),
        ("int8 files", f"correct for {', '.join(health.int8)}" if health.int8 else "none"),
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
    missing = [item for item in health.runtimes if not item.usable]
    header = ("runtime", "usable", "files", "fp32 files in")
    print(format_table(header, [_runtime_row(item, missing) for item in health.runtimes]))
    if missing:
        print("\n" + format_notes([_what_to_do(item) for item in missing]))
    for item in health.runtimes:
        if item.slow:
            print(f"\n{item.name}: {item.slow}.")


def _runtime_row(item: RuntimeHealth, missing: list[RuntimeHealth]) -> tuple[str, ...]:
    usable = "yes" if item.usable else f"no [{missing.index(item) + 1}]"
    return item.name, usable, ", ".join(item.precisions), ", ".join(item.compute) or "-"


def _what_to_do(item: RuntimeHealth) -> str:
    """The problem, with the command that solves it; the message about a package that does not fit has one already."""
    return f"{item.problem}: {item.install}" if item.problem.endswith("not installed") else item.problem

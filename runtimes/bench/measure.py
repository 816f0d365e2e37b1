"""Measures variants of an artifact in one scenario; two of them in turns, so that both meet the same weather."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from bert_onnx.artifact import Artifact
from bert_onnx.errors import UsageError
from runtimes.bench.machine import Machine, this_machine
from runtimes.bench.queries import SENDERS, Progress, Subject
from runtimes.bench.scenarios import PERCENTILES, Probe, find_scenario, merged
from runtimes.selection.open import open_best
from runtimes.selection.request import RuntimeRequest
from runtimes.selection.tune import WORKLOADS

#: How often two variants take turns; a search for a rate is one run.
_TURNS = 4


@dataclass(frozen=True)
class BenchRequest:
    """What to measure.

    Args:
        scenario: a row of `SCENARIOS`.
        seconds: how long each variant is measured.
        bound: milliseconds that the 99th percentile may take in the scenario `server`.
        variants: names; one None is what `runtimes.load` would take. Two are measured in turns.
        runtime, precision, threads: as `runtimes.load`.
    """

    scenario: str = "single-stream"
    seconds: float = 10.0
    bound: float = 130.0
    variants: tuple[str | None, ...] = (None,)
    runtime: str | None = None
    precision: str | None = None
    threads: int | None = None

    def __post_init__(self) -> None:
        find_scenario(self.scenario)
        if not 0 < self.seconds <= 3600:
            raise UsageError(f"seconds is {self.seconds:g}; it must be more than 0 and at most 3600.")
        if not self.bound > 0:
            raise UsageError(f"the bound on latency is {self.bound:g} ms; it must be more than 0.")
        if len(set(self.variants)) < len(self.variants):
            raise UsageError(f"{self.variants[0]} cannot be compared with itself; name two variants.")

    def runtime_request(self, variant: str | None) -> RuntimeRequest:
        """What opens `variant`."""
        return RuntimeRequest(variant, self.runtime, self.precision, self.threads)


@dataclass(frozen=True)
class Measured:
    """What was measured of one variant.

    Args:
        scenario, bound: as asked for.
        model, manifest_sha256: the artifact's folder name, and what it holds.
        variant, precision, runtime, library, threads: what ran.
        machine: where.
        probes: every query.
    """

    scenario: str
    bound: float
    model: str
    manifest_sha256: str
    variant: str
    precision: str
    runtime: str
    library: str
    threads: int
    machine: Machine
    probes: tuple[Probe, ...]

    @property
    def figure(self) -> float:
        """The scenario's figure."""
        return find_scenario(self.scenario).figure(self.probes, self.bound)

    @property
    def queries(self) -> int:
        """How many were sent."""
        return sum(len(probe.latencies) for probe in self.probes)

    def percentiles(self) -> dict[str, float]:
        """Milliseconds of a query by percentile; for `server` at the highest rate that kept the bound."""
        kept = [probe for probe in self.probes if probe.rate is None or probe.percentile(99) <= self.bound]
        if not kept:
            return {}
        run = merged(self.probes) if kept[0].rate is None else max(kept, key=lambda probe: probe.rate or 0.0)
        return {f"p{share:g}": round(run.percentile(share), 4) for share in PERCENTILES}

    def to_dict(self) -> dict[str, object]:
        """JSON form, with every latency, so that a later comparison can resample them."""
        probes = [{**asdict(p), "latencies": [round(one, 4) for one in p.latencies]} for p in self.probes]
        told = {"figure": self.figure, "unit": find_scenario(self.scenario).unit, "percentiles_ms": self.percentiles()}
        return {**asdict(self), "probes": probes, **told}


def measure(
    folder: str | os.PathLike[str], request: BenchRequest, progress: Progress = lambda step, share: None
) -> tuple[Measured, ...]:
    """Measure the variants that `request` names.

    Raises:
        ArtifactError: the folder is missing or damaged, or has no such variant.
        RuntimeUnavailableError, UsageError: as `runtimes.load`.
        InferenceError: the graph failed.
    """
    artifact, machine = Artifact.open(folder), this_machine()
    turns = 1 if len(request.variants) == 1 or request.scenario == "server" else _TURNS
    found: dict[str | None, list[Measured]] = {variant: [] for variant in request.variants}
    done = 0
    for turn in range(turns):
        for variant in request.variants if turn % 2 == 0 else reversed(request.variants):
            share, part = done / (turns * len(found)), 1 / (turns * len(found))

            def advance(step: str, of_run: float, share: float = share, part: float = part) -> None:
                progress(step, share + part * of_run)

            found[variant].append(_run(artifact, machine, request, variant, request.seconds / turns, advance))
            done += 1
    return tuple(_joined(runs) for runs in found.values())


def _run(
    artifact: Artifact,
    machine: Machine,
    request: BenchRequest,
    variant: str | None,
    seconds: float,
    progress: Progress,
) -> Measured:
    choice, runtime, _ = open_best(artifact, request.runtime_request(variant))
    try:
        subject = Subject(runtime, artifact.manifest)
        for length in WORKLOADS["throughput"]:  # the first calls allocate
            subject.run([length])
        probes = SENDERS[request.scenario](subject, seconds, request.bound, progress)
        described = runtime.describe()
    finally:
        runtime.close()
    return Measured(
        scenario=request.scenario,
        bound=request.bound,
        model=artifact.folder.absolute().name,
        manifest_sha256=artifact.manifest_sha256,
        variant=choice.variant.name,
        precision=choice.precision,
        runtime=described.name,
        library=described.library,
        threads=described.threads,
        machine=machine,
        probes=tuple(probes),
    )


def _joined(runs: Sequence[Measured]) -> Measured:
    """The turns of one variant as one measurement."""
    values = {name: getattr(runs[0], name) for name in Measured.__dataclass_fields__}
    return Measured(**{**values, "probes": tuple(probe for run in runs for probe in run.probes)})

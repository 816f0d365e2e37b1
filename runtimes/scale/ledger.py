"""What the output says of its job: what it is, which parts are complete, and last of all a manifest of them."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from bert_onnx.errors import StorageError, UsageError
from runtimes.scale.slices import Slice
from runtimes.scale.store import ASIDE, Store
from runtimes.scale.work import ERRORS, OWN, Receipt, receipt_name

MANIFEST = "_manifest.json"
_JOB = f"{OWN}/job.json"


class Ledger:
    """The account of a job in its output folder.

    Args:
        output: the folder.
        suffix: of parts.
    """

    def __init__(self, output: Store, suffix: str) -> None:
        self._output = output
        self._suffix = suffix

    def check(self, allowed: bool) -> None:
        """Refuse an output that is not ours to write into.

        Args:
            allowed: a job that is there may be taken up or replaced.

        Raises:
            UsageError: it holds other files, or a job and `allowed` is off.
        """
        names = self._names()
        if not names:
            return
        if not {_JOB, MANIFEST} & names:
            raise UsageError(f"{self._output.address} holds files that are not ours; choose an empty folder.")
        if not allowed:
            state = "a finished" if MANIFEST in names else "an unfinished"
            raise UsageError(
                f"{self._output.address} holds {state} job; go on with it by --resume, or replace it by --force."
            )

    def clear(self) -> None:
        """Remove the job that is there, and nothing else: its manifest first, since there is none without its parts at
        any moment, and what says that it is ours last, so that who is interrupted here can do it again."""
        for name in sorted(self._names(), key=lambda name: (name == _JOB, name != MANIFEST)):
            if PurePosixPath(name).parts[0] in (MANIFEST, OWN, ERRORS) or name.startswith("part-"):
                self._output.remove(name)

    def _names(self) -> set[str]:
        return {name for name in self._output.names() if PurePosixPath(name).parts[0] != ASIDE}

    def take_up(self, job: dict[str, Any]) -> None:
        """Write down what the job is, or compare with what is written down.

        Raises:
            UsageError: it is another job.
        """
        found = self._output.read_json([_JOB]).get(_JOB)
        if found is None:
            return self._output.write_json(_JOB, job)
        differs = [name for name, value in job.items() if found.get(name) != value]
        if differs:
            raise UsageError(
                f"{self._output.address} is of another job: {', '.join(differs)} differ; give the same input, artifact "
                "and options, or replace it by --force."
            )

    def receipts(self, pieces: list[Slice]) -> dict[str, Receipt]:
        """By slice: what is complete. A receipt whose part is gone does not count."""
        names = self._output.names()
        wanted = [receipt_name(piece) for piece in pieces if piece.part + self._suffix in names]
        found = self._output.read_json([name for name in wanted if name in names])
        return {receipt.slice: receipt for receipt in (Receipt(**values) for values in found.values())}

    def close(self, job: dict[str, Any], receipts: list[Receipt]) -> None:
        """Write the manifest: from now on the output is complete.

        Raises:
            StorageError: the parts that are there are not those that the receipts are of.
        """
        there = {name for name in self._output.names() if name.startswith("part-")}
        wanted = {receipt.part for receipt in receipts}
        if there != wanted:
            some = ", ".join(sorted(there ^ wanted)[:3])
            raise StorageError(
                f"{self._output.address} lacks parts, or has parts of another job: {some}; "
                "--resume makes what is missing, --force starts anew."
            )
        parts = [{"name": one.part, "rows": one.rows, "broken": one.broken} for one in receipts]
        totals = {"rows": sum(one.rows for one in receipts), "broken": sum(one.broken for one in receipts)}
        self._output.write_json(MANIFEST, {**totals, **job, "parts": parts})
        self._output.remove(ASIDE)

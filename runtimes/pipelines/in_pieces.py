"""Any number of texts through a pipeline, one piece after the other, so that only results pile up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sized
from typing import TypeVar

from runtimes.pipelines.batches import BatchOptions, pieces
from runtimes.pipelines.encoding import check_texts, iterable_texts
from runtimes.progress import ProgressLine

Made = TypeVar("Made")


def in_pieces(
    texts: str | Iterable[str],
    batch_size: int | None,
    progress: bool | None,
    make: Callable[[list[str], BatchOptions], list[Made]],
) -> list[Made]:
    """What `make` makes of each of `texts`, in their order.

    Args:
        texts: any iterable; one text alone is a list of one.
        batch_size: texts of one call; None puts texts of like length together up to a number of tokens.
        progress: show a line with the progress; None does where the work is long and standard error a terminal.
        make: one result for each text of a piece.

    Raises:
        InputError: something among `texts` is not a text.
        UsageError: `batch_size` is not a number of at least 1.
    """
    options = BatchOptions() if batch_size is None else BatchOptions.of_size(batch_size)
    given = iterable_texts(texts)
    line = ProgressLine("texts", len(given) if isinstance(given, Sized) else None, progress)
    made: list[Made] = []
    try:
        for piece in pieces(given, options.piece):
            made += make(check_texts(piece), options)
            line.update(len(made))
    finally:
        line.close()
    return made

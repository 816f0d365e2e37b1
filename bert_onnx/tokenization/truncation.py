"""Where rows are cut: the windows of a text or a pair that fit into max_length.

A window is (start, stop) in tokens of one text, special tokens not counted. BertTokenizer and BertTokenizerFast
differ in how they share the room between the two texts of a pair, as the two reference classes do.
"""

from __future__ import annotations

from bert_onnx.errors import InputError, UsageError
from bert_onnx.tokenization.request import EncodeOptions

Window = tuple[int, int]
#: The windows of a row: of its first text, and of its second when there is one.
RowWindows = tuple[Window, ...]


def room(options: EncodeOptions, special: int) -> int | None:
    """Tokens of text that a row with `special` special tokens may hold, None for no limit.

    Raises InputError where not even those fit.
    """
    if options.truncation == "do_not_truncate" or options.max_length is None:
        return None
    if options.max_length < special:
        raise InputError(f"max_length {options.max_length} leaves no room for the {special} special tokens of a row.")
    return options.max_length - special


def shared_lengths(first: int, second: int, limit: int) -> tuple[int, int]:
    """`longest_first` as the slow class counts it: take from the longer text until both are equal, then in turn."""
    remove = first + second - limit
    excess = min(abs(first - second), remove)
    rest = remove - excess
    if first > second:
        return first - excess - rest // 2, second - (rest - rest // 2)
    return first - rest // 2, second - excess - (rest - rest // 2)


def shared_lengths_fast(first: int, second: int, limit: int) -> tuple[int, int]:
    """`longest_first` as the tokenizers library counts it: the shorter text stays whole while it fits into half."""
    short, long = sorted((first, second))
    long = short if short > limit else max(short, limit - short)
    if short + long > limit:
        short = limit // 2
        long = short + limit % 2
    return (short, long) if first <= second else (long, short)


def kept_lengths(first: int, second: int | None, limit: int, options: EncodeOptions, fast: bool) -> tuple[int, int]:
    """Tokens kept of each text so that both fit into `limit`; their number without `second` is (n, 0).

    Raises InputError when the strategy's one text is too short to give up what has to go.
    """
    total = first + (second or 0)
    if total <= limit:
        return first, second or 0
    if options.truncation == "longest_first":
        if second is None:
            return limit, 0
        return (shared_lengths_fast if fast else shared_lengths)(first, second, limit)
    only_first = options.truncation == "only_first"
    if not only_first and second is None:
        raise InputError("truncation='only_second' needs a pair, and this text has none; use 'longest_first'.")
    length = first if only_first else second or 0
    if length <= total - limit:
        raise InputError(
            f"{total - limit} tokens too many for max_length {options.max_length}, but the "
            f"{'first' if only_first else 'second'} text has only {length}; truncation='longest_first' takes them "
            "from both."
        )
    kept = length - (total - limit)
    return (kept, second or 0) if only_first else (first, kept)


def windows(length: int, kept: int, options: EncodeOptions) -> list[Window]:
    """The windows of `kept` tokens over `length` tokens; the first one is what plain truncation keeps.

    Further windows, each sharing `stride` tokens with its neighbour, follow only where the caller wants them.
    Raises UsageError for a stride that would never advance.
    """
    if kept >= length:
        return [(0, length)]
    found = [(0, kept)]
    if options.overflowing and kept == 0:
        found.append((0, length))
    elif options.overflowing:
        step = kept - options.stride
        if step <= 0:
            raise UsageError(
                f"stride {options.stride} is not below the {kept} tokens of text that a window holds; lower the stride "
                "or raise max_length."
            )
        while found[-1][1] < length:
            start = found[-1][0] + step
            found.append((start, min(start + kept, length)))
    if options.truncation_side == "left":  # the same from the other end
        found = [(length - stop, length - start) for start, stop in found]
    return found


def row_windows(first: int, second: int | None, options: EncodeOptions, special: int, fast: bool) -> list[RowWindows]:
    """Every row that a text (or pair) of `first` (and `second`) tokens becomes, the plainly truncated one first.

    `special` is the number of special tokens of such a row.
    """
    limit = room(options, special)
    if limit is None or first + (second or 0) <= limit:
        return [((0, first),) if second is None else ((0, first), (0, second))]
    kept_first, kept_second = kept_lengths(first, second, limit, options, fast)
    firsts = windows(first, kept_first, options)
    if second is None:
        return [(window,) for window in firsts]
    seconds = windows(second, kept_second, options)
    # The order of the tokenizers library: further windows of the first text, each with all of the second's, then
    # the first window with the second's further ones.
    rows: list[RowWindows] = [(firsts[0], seconds[0])]
    rows += [(window, other) for window in firsts[1:] for other in seconds]
    rows += [(firsts[0], other) for other in seconds[1:]]
    return rows

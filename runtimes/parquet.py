"""pyarrow, which is an option: parquet files of texts and of vectors need it."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from bert_onnx.errors import InputError, RuntimeUnavailableError


def import_pyarrow(part: str = "parquet") -> Any:
    """pyarrow's module `part`.

    Raises:
        RuntimeUnavailableError: it is not installed.
    """
    try:
        return import_module(f"pyarrow.{part}" if part else "pyarrow")
    except ImportError as error:
        raise RuntimeUnavailableError(
            f"parquet files need pyarrow, which cannot be imported ({error}); install it with "
            'pip install "bert-onnx[parquet]", or use jsonl.'
        ) from None


def open_parquet(source: Any, shown: str) -> Any:
    """A pyarrow ParquetFile of `source`, a path or an open file.

    Args:
        shown: how messages name it.

    Raises:
        RuntimeUnavailableError: pyarrow is not installed.
        InputError: it is not a parquet file.
        OSError: it cannot be read.
    """
    parquet = import_pyarrow()
    try:
        return parquet.ParquetFile(source)
    except OSError:
        raise
    except Exception as error:  # pyarrow's errors share no base class of their own
        raise InputError(f"{shown} is not a parquet file: {str(error).splitlines()[0]}.") from error

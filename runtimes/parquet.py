"""pyarrow, which is an option: parquet files of texts and of vectors need it."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from bert_onnx.errors import RuntimeUnavailableError


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

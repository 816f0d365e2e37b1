"""The onnx checker with shape inference, on a file as it was written."""

from __future__ import annotations

from pathlib import Path

import onnx

from bert_onnx.errors import ExportError


def check_file(path: Path) -> None:
    """Let the checker read `path` and infer every shape.

    Raises:
        ExportError: what the checker says.
    """
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"the onnx checker refuses {path.name}: {str(error).strip().splitlines()[0]}.") from error

"""The onnx checker with shape inference, on a file as it was written."""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnx
from onnx.external_data_helper import ExternalDataInfo

from bert_onnx.errors import ExportError
from export.onnx_file.skeleton import read_skeleton


def check_file(path: Path) -> None:
    """Let the checker read `path` and infer every shape; weights are not read, opening a session does that.

    Raises:
        ExportError: what the checker says.
    """
    try:
        skeleton = read_skeleton(path)
        with tempfile.TemporaryDirectory(prefix="bert-onnx-") as folder:
            for name in _data_files(skeleton):
                _stand_in(path.parent / name, Path(folder) / name)
            copy = Path(folder) / "skeleton.onnx"
            copy.write_bytes(skeleton.SerializeToString())
            onnx.checker.check_model(str(copy), full_check=True)
    except ValueError as error:
        raise ExportError(f"the onnx checker refuses {path.name}: {error}.") from error
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"the onnx checker refuses {path.name}: {str(error).strip().splitlines()[0]}.") from error


def _data_files(model: onnx.ModelProto) -> list[str]:
    """Names of the files that hold weights of `model`; what is no plain name is the checker's to refuse."""
    names = {
        ExternalDataInfo(tensor).location
        for tensor in model.graph.initializer
        if tensor.data_location == onnx.TensorProto.EXTERNAL
    }
    return sorted(name for name in names if name and Path(name).name == name)


def _stand_in(file: Path, place: Path) -> None:
    """An empty file of the size of `file`: the checker asks whether it is there and how large it is."""
    if file.is_file():
        with open(place, "wb") as made:
            made.truncate(file.stat().st_size)

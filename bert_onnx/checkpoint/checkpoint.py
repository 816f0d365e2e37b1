"""Checkpoint: a folder that was found, its config, and where it came from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bert_onnx.config import BertConfig
from bert_onnx.source import Source


@dataclass(frozen=True)
class Checkpoint:
    """A folder with config.json and, unless the weights are random, weights in safetensors.

    Args:
        folder: where it lies.
        config: its config.json.
        source: where it came from.
        modules_folder: the folder with modules.json, if there is one; the transformer may be in a folder within it.
        warnings: what in its config.json does not fit together, and what was made of it.
    """

    folder: Path
    config: BertConfig
    source: Source
    modules_folder: Path | None = None
    warnings: tuple[str, ...] = ()

    @property
    def root(self) -> Path:
        """The folder with the files of sentence-transformers."""
        return self.modules_folder or self.folder

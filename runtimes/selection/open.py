"""Opens the best choice that can be had: the first that does not fail."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from bert_onnx.artifact import Artifact, Manifest
from bert_onnx.artifact.hub.fetching import fetch_graph
from bert_onnx.errors import RuntimeUnavailableError
from runtimes.engines.base import Runtime, RuntimeOptions
from runtimes.engines.graph_file import GraphFile
from runtimes.machine.processor import Processor, this_processor
from runtimes.machine.user_cache import cache_folder
from runtimes.selection.request import RuntimeRequest
from runtimes.selection.select import RuntimeChoice, choices

if TYPE_CHECKING:
    from runtimes.engines.ort.cuda_options import CudaOptions
    from runtimes.engines.ort.tensorrt_options import TensorRtOptions
    from runtimes.selection.tuned import Tuned


def check_request(folder: str | os.PathLike[str], request: RuntimeRequest) -> Manifest:
    """The manifest of `folder`, where it could be opened as `request` says; no runtime is imported to find out.

    Raises:
        ArtifactError, RuntimeUnavailableError, UsageError: as `runtimes.load`, but for what only opening shows.
    """
    manifest = Artifact.open(folder, check_hashes=False, partial=True).manifest
    if not request.text_input:
        choices(manifest, request, this_processor(), None)
    return manifest


def open_best(artifact: Artifact, request: RuntimeRequest) -> tuple[RuntimeChoice, Runtime, str]:
    """The best choice that opens, its runtime, and why it was taken: what failed before is part of that.

    Raises:
        RuntimeUnavailableError, UsageError, ArtifactError, HubError: as `runtimes.load`.
    """
    processor = this_processor()
    tuned = _tuned(artifact, processor)
    failures: list[RuntimeUnavailableError] = []
    for choice in choices(artifact.manifest, request, processor, tuned):
        for variant in filter(None, (choice.variant, choice.unpadded)):
            fetch_graph(artifact, variant.paths, request.offline)
        try:
            runtime = open_choice(artifact, choice)
        except RuntimeUnavailableError as error:
            failures.append(error)
            if request.runtime is not None and request.strict:
                break
            continue
        return choice, runtime, " ".join([f"{choice.why}.", *(f"Not taken: {error}" for error in failures)])
    raise failures[0]


def open_choice(artifact: Artifact, choice: RuntimeChoice) -> Runtime:
    """The runtime of `choice`."""
    manifest = artifact.manifest
    options = RuntimeOptions(
        threads=choice.threads, compute=choice.compute, cuda=cuda_options(choice), tensorrt=_tensorrt_options(choice)
    )
    if choice.unpadded is not None:
        from runtimes.engines.ort.cuda_by_shape import CudaByShape

        ports = (manifest.inputs, manifest.outputs, manifest.config)
        padded, unpadded = (GraphFile(artifact.path(one), *ports) for one in (choice.variant, choice.unpadded))
        return CudaByShape.open(padded, unpadded, options)
    opened: Runtime = choice.row.load_class().open(
        artifact.path(choice.variant), manifest.inputs, manifest.outputs, options, manifest.config
    )
    return opened


def cuda_options(choice: RuntimeChoice) -> CudaOptions | None:
    """What a file of 16 bits with attention by lengths needs on a GPU: that is cuDNN's, which plans for each shape."""
    if choice.row.name != "onnxruntime-cuda" or choice.variant.target != "ort-cuda" or choice.precision == "fp32":
        return None
    from runtimes.engines.ort.cuda_options import CudaOptions

    return CudaOptions(pad_shapes=True)


def _tensorrt_options(choice: RuntimeChoice) -> TensorRtOptions | None:
    if choice.row.name != "onnxruntime-tensorrt":
        return None
    from runtimes.engines.ort.tensorrt_options import TensorRtOptions

    return TensorRtOptions(precision=choice.variant.precision)


def _tuned(artifact: Artifact, processor: Processor) -> Tuned | None:
    """What was measured here; nothing is imported to find out that nothing ever was."""
    if not os.path.isdir(cache_folder("tune")):  # which is False, too, where it may not be looked at
        return None
    from runtimes.machine.cpu import usable_threads
    from runtimes.selection.tuned import load_tuned, tuned_path

    return load_tuned(tuned_path(artifact.manifest_sha256, processor, usable_threads()))

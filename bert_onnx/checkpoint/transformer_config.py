"""sentence_bert_config.json: how the Transformer of a sentence-transformers folder reads its texts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bert_onnx.checkpoint.checkpoint import Checkpoint
from bert_onnx.checkpoint.names import TRANSFORMER_FILES
from bert_onnx.checkpoint.sentence_files import WAY_OUT, read_json
from bert_onnx.errors import CheckpointError

#: What the library hands to transformers when it opens tokenizer, model and config, by today's names and older ones.
_ARGUMENTS = ("processor_kwargs", "tokenizer_args", "model_kwargs", "model_args", "config_kwargs", "config_args")
#: Those that decide where files come from and how fast they run, not what is computed.
_OF_THE_PROGRAM = frozenset((
    "attn_implementation", "cache_dir", "code_revision", "device_map", "dtype", "force_download",
    "local_files_only", "low_cpu_mem_usage", "proxies", "revision", "subfolder", "token", "torch_dtype",
    "trust_remote_code", "unpad_inputs", "use_auth_token", "use_fast", "use_memory_efficient_attention",
    "use_safetensors"
))  # fmt: skip
#: Arguments of a tokenizer's call after which a text has the same ids and a batch the same results.
_OF_THE_BATCH = frozenset(("padding", "pad_to_multiple_of", "return_tensors", "return_attention_mask"))
_LENGTH_OF_TOKENIZER, _LENGTH_OF_CALL = "model_max_length", "max_length"
#: What the transformer gives to the modules behind it, for each task of it that bert-onnx computes.
_OUTPUTS = {"feature-extraction": "last_hidden_state", "fill-mask": "logits", "sequence-classification": "logits"}


@dataclass(frozen=True)
class TransformerConfig:
    """What decides what a text's tokens are.

    Args:
        max_seq_length: length to which texts are cut, in tokens; None where it says nothing.
        do_lower_case: texts are lower-cased, whatever the tokenizer does.
        transformer_task: what the transformer computes; None for hidden states.
        output: what of it the modules behind it read; None where it says nothing.
    """

    max_seq_length: int | None = None
    do_lower_case: bool = False
    transformer_task: str | None = None
    output: str | None = None


def transformer_file(folder: Path) -> Path | None:
    """The config of the Transformer in `folder`, under the first of the names that it has had; None without one."""
    return next((path for name in TRANSFORMER_FILES if (path := folder / name).is_file()), None)


def read_transformer_config(checkpoint: Checkpoint) -> TransformerConfig:
    """What the config of the Transformer says; nothing where there is none.

    Raises:
        CheckpointError: the file is damaged, or hands something to tokenizer, model or config that is not applied here.
    """
    path = transformer_file(checkpoint.folder)
    if path is None:
        return TransformerConfig()
    values = read_json(path)
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} is not a JSON object; {WAY_OUT}.")
    task, output = values.get("transformer_task"), _section(_section(values, "modality_config"), "text")
    lengths = (*_stated_lengths(path, values), values.get("max_seq_length"))
    return TransformerConfig(
        next((length for length in lengths if isinstance(length, int) and length > 0), None),
        values.get("do_lower_case") is True,
        task if isinstance(task, str) else None,
        output.get("method_output_name"),
    )


def check_output(checkpoint: Checkpoint) -> None:
    """Raises CheckpointError where modules read something else of the transformer than its task gives."""
    stated = read_transformer_config(checkpoint)
    given = _OUTPUTS.get(stated.transformer_task or "feature-extraction")
    if stated.output not in (None, given):
        raise CheckpointError(
            f"{transformer_file(checkpoint.folder)}: modules read {str(stated.output)[:80]!r} of the transformer, and "
            f"bert-onnx gives them {given}; {WAY_OUT}."
        )


def _stated_lengths(path: Path, values: Mapping[str, Any]) -> tuple[Any, ...]:
    """Lengths that arguments of the tokenizer state: they count before max_seq_length, those of its calls first."""
    opening = {key: value for name in _ARGUMENTS for key, value in _section(values, name).items()}
    calling = {
        key: value
        for kind in ("common", "text")
        for key, value in _section(_section(values, "processing_kwargs"), kind).items()
    }
    unknown = [key for key in opening if key not in _OF_THE_PROGRAM | {_LENGTH_OF_TOKENIZER}]
    unknown += [key for key in calling if key not in _OF_THE_BATCH | {_LENGTH_OF_CALL}]
    if unknown:
        raise CheckpointError(
            f"{path} hands {', '.join(map(repr, unknown[:5]))} to transformers, which bert-onnx does not apply from "
            "there; state it in tokenizer_config.json or config.json, where it belongs, and take it out there."
        )
    return calling.get(_LENGTH_OF_CALL), opening.get(_LENGTH_OF_TOKENIZER)


def _section(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = values.get(name)
    return section if isinstance(section, Mapping) else {}

"""A tokenizer as an artifact holds it: its tokenizer.json says all, and every other file says the same."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, normalizers

from bert_onnx.errors import TokenizerError
from bert_onnx.tokenization.fast import FastTokenizer
from bert_onnx.tokenization.files import TOKENIZER_FILE
from bert_onnx.tokenization.japanese import MecabTokenizer
from bert_onnx.tokenization.vocab import VOCAB_FILE, read_vocabulary


def write_tokenizer(
    tokenizer: FastTokenizer, source: Path, folder: Path, lower_case: bool, longest: int
) -> tuple[FastTokenizer, tuple[str, ...]]:
    """Write every file of `tokenizer`, which was opened in `source`, into `folder`.

    Args:
        lower_case: sentence-transformers lower-cases texts before it (do_lower_case of sentence_bert_config.json).
        longest: tokens that texts are cut to. It is written as `model_max_length`, as sentence-transformers does with
            its max_seq_length, since programs cut there; fastembed refuses a folder without one, or with 1e30.

    Returns:
        The tokenizer as it was written, and warnings.
    """
    warnings = [*tokenizer.warnings, *_other_vocabulary(tokenizer, source)]
    tokenizer.settings = dataclasses.replace(tokenizer.settings, model_max_length=longest)
    if isinstance(tokenizer, MecabTokenizer):
        warnings.append(
            f"Its words are found by MeCab, which no {TOKENIZER_FILE} can say: there is none in the artifact, and only "
            "bert-onnx (with its extra `japanese`) and transformers read text with it."
        )
    else:
        if lower_case:
            tokenizer = _lower_case(tokenizer)
        if not tokenizer.settings.type_ids:
            tokenizer = _without_type_ids(tokenizer)
        if tokenizer.settings.split_special_tokens:
            warnings.append(
                f"tokenizer_config.json has split_special_tokens, which no {TOKENIZER_FILE} can say: programs that "
                "read that file alone find special tokens in texts."
            )
    tokenizer.save_pretrained(folder)
    return tokenizer, tuple(warnings)


def _other_vocabulary(tokenizer: FastTokenizer, source: Path) -> list[str]:
    """A warning where vocab.txt has other ids than tokenizer.json, which counts."""
    if not (source / TOKENIZER_FILE).is_file() or not (source / VOCAB_FILE).is_file():
        return []
    if tokenizer.kind != "WordPiece":
        return [f"{VOCAB_FILE} is left out: {TOKENIZER_FILE} holds a {tokenizer.kind} tokenizer and counts."]
    try:
        listed = read_vocabulary(source / VOCAB_FILE).ids
    except TokenizerError as error:
        return [f"{error} {TOKENIZER_FILE} counts."]
    known = tokenizer.get_vocab()
    other = [token for token, index in listed.items() if known.get(token) != index]
    if not other:
        return []
    return [f"{VOCAB_FILE} and {TOKENIZER_FILE} disagree about {len(other)} tokens ({other[0]!r}); the latter counts."]


def _lower_case(tokenizer: FastTokenizer) -> FastTokenizer:
    """`tokenizer` with texts lower-cased first, unless it does that already."""
    backend, settings = tokenizer.backend_tokenizer, tokenizer.settings
    normalizer = backend.normalizer
    if _lowers(json.loads(backend.to_str())["normalizer"]):
        return tokenizer
    if isinstance(normalizer, normalizers.BertNormalizer):
        # Left open, accents would go with the case.
        normalizer.strip_accents = bool(normalizer.strip_accents)
        normalizer.lowercase = True
        settings = dataclasses.replace(settings, do_lower_case=True, strip_accents=normalizer.strip_accents)
        backend.normalizer = normalizer
    else:
        stages = [normalizers.Lowercase()] if normalizer is None else [normalizers.Lowercase(), normalizer]
        backend.normalizer = normalizers.Sequence(stages)
    return FastTokenizer(backend, settings)


def _lowers(normalizer: dict[str, Any] | None) -> bool:
    if normalizer is None:
        return False
    if normalizer["type"] == "Sequence":
        return any(map(_lowers, normalizer["normalizers"]))
    return normalizer["type"] == "Lowercase" or bool(normalizer.get("lowercase"))


def _without_type_ids(tokenizer: FastTokenizer) -> FastTokenizer:
    """`tokenizer` with type ids that are all 0: its class returns none, and models then read zeros."""
    document = json.loads(tokenizer.backend_tokenizer.to_str())
    document["post_processor"] = _zero_types(document["post_processor"])
    backend = Tokenizer.from_str(json.dumps(document))
    return FastTokenizer(backend, dataclasses.replace(tokenizer.settings, type_ids=True))


def _zero_types(processor: dict[str, Any] | None) -> dict[str, Any]:
    """A post-processor that builds the same rows with type ids 0."""
    if processor is None:
        return _template([], [], {})
    if processor["type"] == "Sequence":
        parts = [_zero_types(part) for part in processor["processors"]]
        return {**processor, "processors": parts}
    if processor["type"] == "BertProcessing":
        cls, sep = (processor[name] for name in ("cls", "sep"))
        special = {token: {"id": token, "ids": [index], "tokens": [token]} for token, index in (cls, sep)}
        return _template([cls[0]], [sep[0]], special)
    if processor["type"] == "TemplateProcessing":
        for rows in ("single", "pair"):
            for piece in processor[rows]:
                for slot in piece.values():
                    slot["type_id"] = 0
    return processor


def _template(before: list[str], after: list[str], special: dict[str, Any]) -> dict[str, Any]:
    def tokens(contents: list[str]) -> list[dict[str, Any]]:
        return [{"SpecialToken": {"id": content, "type_id": 0}} for content in contents]

    first, second = ({"Sequence": {"id": name, "type_id": 0}} for name in ("A", "B"))
    single = [*tokens(before), first, *tokens(after)]
    pair = [*single, second, *tokens(after)]
    return {"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": special}

"""Tokenizers of every kind, trained here, and checkpoint folders that hold them."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from tokenizer_corpus import MULTILINGUAL, real_strings
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
ROLES = {
    "cls_token": "<s>",
    "sep_token": "</s>",
    "bos_token": "<s>",
    "eos_token": "</s>",
    "pad_token": "<pad>",
    "unk_token": "<unk>",
    "mask_token": "<mask>",
}
KINDS = ("unigram", "bpe", "words", "pieces")
TEXTS = [*MULTILINGUAL, *real_strings()[3000:3080], "a <mask> b  <mask>", "<s>x</s>"]


def _template(pair: str) -> processors.TemplateProcessing:
    return processors.TemplateProcessing(single="<s> $A </s>", pair=pair, special_tokens=[("<s>", 0), ("</s>", 2)])


@cache
def _trained(kind: str) -> str:
    corpus = [*MULTILINGUAL * 2, *real_strings()[:400]]
    corpus = [text for text in corpus if not any(token in text for token in SPECIAL)]  # or they get two ids
    if kind == "unigram":  # as XLM-R
        tokenizer = Tokenizer(models.Unigram())
        spaces = normalizers.Replace(Regex(" {2,}"), " ")
        tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), spaces])
        tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
        trainer: Any = trainers.UnigramTrainer(vocab_size=2500, special_tokens=SPECIAL, unk_token="<unk>")
        rows: Any = _template("<s> $A </s> </s> $B </s>")
    elif kind == "bpe":  # as RoBERTa
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(False), decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=900, special_tokens=SPECIAL, initial_alphabet=alphabet)
        rows = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=False)
    elif kind == "words":
        tokenizer = Tokenizer(models.WordLevel(unk_token="<unk>"))
        tokenizer.pre_tokenizer, tokenizer.normalizer = pre_tokenizers.Whitespace(), normalizers.Lowercase()
        trainer = trainers.WordLevelTrainer(vocab_size=900, special_tokens=SPECIAL)
        rows = _template("<s> $A </s> $B:1 </s>:1")
    else:  # as MPNet
        tokenizer = Tokenizer(models.WordPiece(unk_token="<unk>"))
        tokenizer.normalizer, tokenizer.decoder = normalizers.BertNormalizer(), decoders.WordPiece()
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer = trainers.WordPieceTrainer(vocab_size=2000, special_tokens=SPECIAL)
        rows = _template("<s> $A </s> </s> $B </s>")
    tokenizer.train_from_iterator(corpus, trainer)
    tokenizer.post_processor = rows
    return str(tokenizer.to_str())


def write_folder(folder: Path, kind: str, config: dict[str, Any], special: dict[str, Any] | None = None) -> Path:
    """A checkpoint folder with the tokenizer of that kind, without weights."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(_trained(kind), encoding="utf-8")
    (folder / "config.json").write_text('{"model_type": "bert"}')
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    if special is not None:
        (folder / "special_tokens_map.json").write_text(json.dumps(special))
    return folder

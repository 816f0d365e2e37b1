"""The literal name tables: how tensors and files are called in checkpoints of any age, and what each belongs to."""

from __future__ import annotations

from collections.abc import Iterable

#: Files beside the weights: the tokenizer's, and those of sentence-transformers.
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "added_tokens.json",
)
SENTENCE_FILES = (
    "modules.json",
    "1_Pooling/config.json",
    "config_sentence_transformers.json",
    "sentence_bert_config.json",
)

#: Endings of old checkpoints (converted from TensorFlow) -> today's endings.
RENAMED_ENDINGS: dict[str, str] = {
    "LayerNorm.gamma": "LayerNorm.weight",
    "LayerNorm.beta": "LayerNorm.bias",
}

#: What a class with a head puts before the names of its BertModel.
BASE_PREFIX = "bert."

#: First parts of the names inside BertModel.
BASE_PARTS: tuple[str, ...] = ("embeddings.", "encoder.", "pooler.")

#: Constants that old checkpoints stored as tensors; computed here, so they are left out.
IGNORED_BUFFERS: frozenset[str] = frozenset({"bert.embeddings.position_ids", "bert.embeddings.token_type_ids"})

#: First parts of the names of every head that BERT has (the pooler counts as one). A class that lacks
#: the head leaves them unused.
HEADS: tuple[str, ...] = ("bert.pooler.", "cls.predictions.", "cls.seq_relationship.", "classifier.", "qa_outputs.")

#: Classes whose heads share the name `classifier` but compute different things.
CLASSIFIERS: tuple[str, ...] = (
    "BertForSequenceClassification",
    "BertForMultipleChoice",
    "BertForTokenClassification",
)
CLASSIFIER_HEAD = "classifier."

WORD_EMBEDDING = "bert.embeddings.word_embeddings.weight"
POOLER_WEIGHT = "bert.pooler.dense.weight"


def canonical(name: str) -> str:
    """`name` as a class with a head calls it today: endings renamed, parts of BertModel after `bert.`."""
    for old, new in RENAMED_ENDINGS.items():
        if name.endswith(old):
            name = name[: -len(old)] + new
    return BASE_PREFIX + name if name.startswith(BASE_PARTS) else name


def is_head(name: str) -> bool:
    """Whether the tensor with the canonical `name` belongs to a head."""
    return name.startswith(HEADS)


def listed(names: Iterable[str], limit: int = 5) -> str:
    """The first few of `names`, and how many more there are."""
    every = list(names)
    rest = len(every) - limit
    return ", ".join(every[:limit]) + (f" and {rest} more" if rest > 0 else "")

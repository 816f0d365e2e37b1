"""The literal name tables: how tensors and files are called in checkpoints of any age, and what each belongs to."""

from __future__ import annotations

import re
from collections.abc import Iterable

from bert_onnx.family import Family

#: Files beside the weights: the tokenizer's, and those of sentence-transformers.
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "added_tokens.json",
)
#: Settings of a ColBERT that Stanford's library saved.
STANFORD_FILE = "artifact.metadata"
#: The config of a Transformer of sentence-transformers; its first versions named it after the kind of model.
TRANSFORMER_FILES = tuple(
    f"sentence_{kind}_config.json"
    for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
SENTENCE_FILES = (
    "modules.json",
    "config_sentence_transformers.json",
    *TRANSFORMER_FILES,
    STANFORD_FILE,
)

#: Endings of old checkpoints (converted from TensorFlow) -> today's endings.
RENAMED_ENDINGS: dict[str, str] = {
    "LayerNorm.gamma": "LayerNorm.weight",
    "LayerNorm.beta": "LayerNorm.bias",
}

#: Names that training programs wrap a model in (DDP, torch.compile, FSDP, activation checkpoints); taken out anywhere.
WRAPPERS: frozenset[str] = frozenset({"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})

#: Attributes under which programs hold the model, beside the name that its family has for it; taken off at the front,
#: however often they are there.
HOLDERS: frozenset[str] = frozenset({"model", "bert", "auto_model"})

#: Constants that old checkpoints stored as tensors, in the base model; computed here, so they are left out.
_BUFFERS: frozenset[str] = frozenset({"embeddings.position_ids", "embeddings.token_type_ids"})

#: What a training loop keeps beside the model: the first part of such names, or any part.
_TRAINING_FIRST = re.compile(
    r"(optim(izers?)?|(lr_)?schedulers?|scaler|grad_scaler|ema|ema_model|module_ema|model_ema|shadow|swa_model|teacher"
    r"|logit_(scale|bias)|temp(erature)?|criterion|crit|loss(es|_fn|_fct|_func|_weights?)?|class_weights?|log_vars?|n_averaged|num_updates|global_step"
    r"|epoch|step)(\.|$)"
)
_TRAINING_PART = re.compile(r"(^|\.)(exp_avg(_sq)?|max_exp_avg_sq|momentum_buffer|loss_fn|loss_fct|criterion)(\.|$)")

#: Heads of other kinds than BERT's own: what they return, this model does not.
_OTHER_HEAD = re.compile(r"^(\w+_)?(cls|classifier|heads?|qa_outputs|score|logits)(_\w+|\d+)?\.")

#: Tensors that change what every layer computes, where they are.
_ADAPTER = re.compile(r"lora_|adapter|ia3_|base_layer\.|prefix_encoder|prompt_encoder|prompt_embeddings")
_LAYER = re.compile(r"\.layers?\.(\d+)\.")

#: Tensors in the place of weights -> what has to be done before these are weights again.
_WAYS: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        _ADAPTER,
        "adapters change what every layer computes; merge them into the weights first (peft: merge_and_unload), "
        "save the model and export that",
    ),
    (
        re.compile(r"\.(SCB|weight_format|absmax|quant_map|nested_\w+|quant_state\.\S+|qweight|qzeros|scales|g_idx)$"),
        "they are of a quantised model; export the model that it was made of, which bert-onnx quantises itself, or "
        "save it dequantised (transformers: model.dequantize())",
    ),
    (
        re.compile(r"\.\w+_(orig|mask|g|v)$|\.parametrizations\."),
        "a weight is computed of them at every call; make it one first (torch.nn.utils: prune.remove, "
        "remove_weight_norm or parametrize.remove_parametrizations), save the model and export that",
    ),
)

#: Classes whose heads share the name `classifier` but compute different things.
CLASSIFIERS: tuple[str, ...] = (
    "BertForSequenceClassification",
    "BertForMultipleChoice",
    "BertForTokenClassification",
)
CLASSIFIER_HEAD = "classifier."

#: The end of the name of the word embedding, and the base model's pooler, as they are called here.
WORD_EMBEDDING = "embeddings.word_embeddings.weight"
POOLER_WEIGHT = "bert.pooler.dense.weight"


def canonical(name: str, family: Family, holder: str = "") -> str:
    """`name` as a class of transformers with a head of `family` calls it today.

    Wrappers and the `holder` are taken off, endings renamed, and parts of the base model come after its name.
    """
    name = _unwrapped(name).removeprefix(holder)
    while (first := name.partition("."))[2] and (first[0] in HOLDERS or first[0] == family.base):
        name = first[2]
    for old, new in RENAMED_ENDINGS.items():
        if name.endswith(old):
            name = name[: -len(old)] + new
    return f"{family.base}.{name}" if name.startswith(family.parts) else name


def canonical_names(names: Iterable[str], family: Family) -> dict[str, str]:
    """Canonical names of all tensors of a checkpoint -> the names that they have in it; the last of two counts."""
    every = list(names)
    holder = find_holder(every, family)
    return {canonical(name, family, holder): name for name in every}


def find_holder(names: Iterable[str], family: Family) -> str:
    """What a program's own class puts before the names of the model that it holds, such as `encoder.`; or nothing.

    It is read off the one word embedding that there is, beside those that training left; of several models, none is
    taken for the model.
    """
    ending = family.tensor_name(WORD_EMBEDDING)
    trained = [name for name in map(_unwrapped, names) if name.endswith(ending) and not left_behind(name)]
    found = {name.removesuffix(ending) for name in trained}
    return found.pop().removesuffix(f"{family.base}.") if len(found) == 1 else ""


def _unwrapped(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def changes_layers(name: str) -> bool:
    """Whether the tensor is of an adapter, which changes what the layer that it is in computes."""
    return bool(_ADAPTER.search(name))


def left_behind(name: str) -> bool:
    """Whether the tensor with the canonical `name` is of a training loop, or of a head that BERT does not have."""
    if changes_layers(name):
        return False
    return bool(_TRAINING_FIRST.match(name) or _TRAINING_PART.search(name) or _OTHER_HEAD.match(name))


def way_on(names: Iterable[str], family: Family, layers: int) -> str:
    """What to do about tensors, by their canonical `names`, that a config with so many `layers` has no place for."""
    every = list(names)
    for pattern, way in _WAYS:
        if any(map(pattern.search, every)):
            return way
    numbers = [_LAYER.search(name) for name in every if name.startswith(f"{family.base}.")]
    if any(int(number[1]) >= layers for number in numbers if number):
        return "set num_hidden_layers in config.json to the layers that these weights have, if they belong together"
    return (
        "they may change what the model returns, so they are not left out silently; if nothing computes with them, "
        "save the checkpoint without them, else check that config.json belongs to these weights"
    )


def is_head(name: str, family: Family) -> bool:
    """Whether the tensor with the canonical `name` belongs to a head; the pooler counts as one."""
    return name.startswith(family.heads)


def is_buffer(name: str, family: Family) -> bool:
    """Whether the tensor with the canonical `name` is a constant."""
    return name.removeprefix(f"{family.base}.") in _BUFFERS


def listed(names: Iterable[str], limit: int = 5) -> str:
    """The first few of `names`, and how many more there are."""
    every = list(names)
    rest = len(every) - limit
    return ", ".join(every[:limit]) + (f" and {rest} more" if rest > 0 else "")

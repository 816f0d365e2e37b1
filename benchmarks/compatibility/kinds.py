"""Small checkpoints of the kinds that people bring, most of them made after public bug reports."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file, save_file

from benchmarks.compatibility import libraries
from benchmarks.compatibility.libraries import Library
from bert_onnx.checkpoint.convert import convert_weights
from bert_onnx.checkpoint.finding import sample_folder

_PLAIN = "hello world paris is big old the . , ##s a b c query : find HELLO World what ? river town and of"
#: Lines of a file of texts.
_TEXTS = 240
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *_PLAIN.split()]
_CONFIG: dict[str, Any] = {
    "vocab_size": len(WORDS),
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
    "initializer_range": 0.2,
}
_WEIGHTS = "model.safetensors"
_CLASSIFIER = "BertForSequenceClassification"
_PROMPTS = {"query": "query : ", "document": "find : "}
_IDENTITY = "torch.nn.modules.linear.Identity"
_INFERENCE = ("contradiction", "entailment", "neutral")
Weights = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Kind:
    """One kind of checkpoint.

    Args:
        name: what the table calls it.
        library: what people would run it with.
        make: writes it into a folder.
        change: what is done to it afterwards; the library is asked before, for it may not be able to open what comes
            of it, or fill it with random weights.
        task: what to export it for.
        trained: it knows the built-in texts; others know `WORDS` alone.
    """

    name: str
    library: Library
    make: Callable[[Path], None]
    change: Callable[[Path], None] | None = None
    task: str = "auto"
    trained: bool = False


def save(
    folder: Path, architecture: str = "BertModel", lower: bool = True, vocabulary: bool = True, **config: Any
) -> None:
    """A random model of `architecture` in transformers, its config changed by `config`, and BERT's tokenizer."""
    torch.manual_seed(0)
    model = getattr(transformers, architecture)(transformers.BertConfig(**_CONFIG | config)).eval()
    model.save_pretrained(folder)
    if vocabulary:
        (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
        settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": lower, "model_max_length": 64}
        write(folder / "tokenizer_config.json", settings)


def save_chain(folder: Path, make_modules: Callable[[Any], Sequence[Any]] | None = None, **options: Any) -> None:
    """A chain that sentence-transformers saves: the transformer, and what `make_modules` makes of its `models`."""
    import sentence_transformers
    from sentence_transformers import models

    config = {name: options.pop(name) for name in list(options) if name in _CONFIG or name in ("hidden_act", "lower")}
    save(folder / "inner", **config)
    reader = models.Transformer(str(folder / "inner"), max_seq_length=64)
    rest = [models.Pooling(32, "mean")] if make_modules is None else make_modules(models)
    sentence_transformers.SentenceTransformer(modules=[reader, *rest], device="cpu", **options).save(str(folder))


def write(path: Path, value: Any) -> None:
    """JSON into a file, its folder made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def patch(path: Path, **fields: Any) -> None:
    """Change fields of a JSON file."""
    write(path, json.loads(path.read_text(encoding="utf-8")) | fields)


def write_texts(beside: Path, seed: int) -> Path:
    """A file of texts of `WORDS`, of 3 to 24 words each, to calibrate with or to judge by."""
    drawn, words = random.Random(seed), _PLAIN.replace("##s ", "").split()
    lines = [" ".join(drawn.choices(words, k=drawn.randint(3, 24))) for _ in range(_TEXTS)]
    path = beside.with_name(f"{beside.name}-{seed}.txt")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def rename(folder: Path, name: Callable[[str], str]) -> None:
    """Call every tensor of the checkpoint by another name."""
    tensors = load_file(folder / _WEIGHTS)
    save_file({name(key): value for key, value in tensors.items()}, folder / _WEIGHTS, metadata={"format": "pt"})


def _pickled_and_converted(folder: Path) -> None:
    torch.save(load_file(folder / _WEIGHTS), folder / "pytorch_model.bin")
    (folder / _WEIGHTS).unlink()
    convert_weights(folder)


def _save_in_half(folder: Path) -> None:
    save_chain(folder)
    tensors = {name: value.half() for name, value in load_file(folder / _WEIGHTS).items()}
    save_file(tensors, folder / _WEIGHTS, metadata={"format": "pt"})
    patch(folder / "config.json", dtype="float16")


def _old_norms(name: str) -> str:
    return name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")


def _with_leftovers(folder: Path) -> None:
    tensors = load_file(folder / _WEIGHTS) | {"loss.weight": torch.ones(3), "step": torch.ones(1)}
    save_file(tensors, folder / _WEIGHTS, metadata={"format": "pt"})


def _of_transformers_5(folder: Path) -> None:
    transformers.BertTokenizerFast(vocab_file=str(folder / "vocab.txt")).save_pretrained(folder)
    for name in ("vocab.txt", "special_tokens_map.json"):
        (folder / name).unlink(missing_ok=True)
    roles = {f"{role}_token": f"[{role.upper()}]" for role in ("cls", "mask", "pad", "sep", "unk")}
    write(
        folder / "tokenizer_config.json",
        roles
        | {"backend": "tokenizers", "extra_special_tokens": [], "is_local": True, "model_max_length": 64}
        | {"tokenizer_class": "TokenizersBackend"},
    )
    patch(folder / "config.json", dtype="float32", transformers_version="5.2.0")


def _labels_from_one(folder: Path) -> None:
    patch(
        folder / "config.json", id2label={"1": "B-PER", "2": "I-PER"}, label2id={"B-PER": 1, "I-PER": 2}, num_labels=3
    )


def _save_with(folder: Path, make_tokenizer: Callable[[], Any], roles: Mapping[str, str]) -> None:
    """A chain whose tokenizer is a tokenizer.json alone."""
    tokenizer = make_tokenizer()
    size = tokenizer.get_vocab_size()
    inner = folder / "inner"
    save(inner, vocabulary=False, vocab_size=size, pad_token_id=tokenizer.token_to_id(roles["pad_token"]))
    tokenizer.save(str(inner / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 64}
    write(inner / "tokenizer_config.json", dict(roles) | settings)
    import sentence_transformers
    from sentence_transformers import models

    modules = [models.Transformer(str(inner)), models.Pooling(32, "mean")]
    sentence_transformers.SentenceTransformer(modules=modules, device="cpu").save(str(folder))


_XLM_R = {
    f"{role}_token": token
    for role, token in zip(
        ("cls", "bos", "pad", "sep", "eos", "unk", "mask"),
        ("<s>", "<s>", "<pad>", "</s>", "</s>", "<unk>", "<mask>"),
        strict=True,
    )
}
_CORPUS = [*libraries.TEXTS, *libraries.QUESTION.values(), "the old town and more words here to learn from"] * 40


def _unigram() -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trainer = trainers.UnigramTrainer(vocab_size=60, special_tokens=special, unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator(_CORPUS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return tokenizer


def _byte_level() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(False), decoders.ByteLevel()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(_CORPUS, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return tokenizer


def _save_cross_encoder(folder: Path) -> None:
    """As sentence-transformers 5 saves one: its settings are beside modules.json."""
    import sentence_transformers

    save(folder / "inner", _CLASSIFIER, num_labels=1)
    model = sentence_transformers.CrossEncoder(
        str(folder / "inner"), device="cpu", activation_fn=torch.nn.Identity(), prompts=_PROMPTS
    )
    model.default_prompt_name = "query"
    model.save_pretrained(str(folder))


def _save_splade(folder: Path, strategy: str, activation: str) -> None:
    """As SparseEncoder 5.0 saved one: an MLMTransformer."""
    save(folder, "BertForMaskedLM")
    package = "sentence_transformers.sparse_encoder.models"
    kinds = (("", "MLMTransformer"), ("1_SpladePooling", "SpladePooling"))
    listed = [{"idx": i, "name": str(i), "path": p, "type": f"{package}.{kind}"} for i, (p, kind) in enumerate(kinds)]
    write(folder / "modules.json", listed)
    pooling = {"pooling_strategy": strategy, "activation_function": activation}
    write(folder / "1_SpladePooling" / "config.json", {**pooling, "word_embedding_dimension": len(WORDS)})
    write(folder / "config_sentence_transformers.json", {"model_type": "SparseEncoder", "prompts": {}})


def _save_colbert(folder: Path) -> None:
    """As Stanford's library saves one; markers are the tokens that the model has for them."""
    save(folder, vocab_size=len(WORDS) + 2)
    (folder / "vocab.txt").write_text("\n".join([*WORDS, "[unused0]", "[unused1]"]) + "\n", encoding="utf-8")
    tensors = {f"bert.{name}": value for name, value in load_file(folder / _WEIGHTS).items()}
    save_file(tensors | {"linear.weight": torch.randn(16, 32)}, folder / _WEIGHTS, metadata={"format": "pt"})
    patch(folder / "config.json", architectures=["HF_ColBERT"])
    write(folder / "artifact.metadata", {"query_token_id": "[unused0]", "doc_token_id": "[unused1]"})


def _link_sample(folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(sample_folder(), folder)


def _chain(name: str, make_modules: Callable[[Any], Sequence[Any]] | None = None, **options: Any) -> Kind:
    return Kind(name, libraries.SENTENCES, partial(save_chain, make_modules=make_modules, **options))


def _changed(name: str, change: Callable[[Path], None]) -> Kind:
    return Kind(name, libraries.SENTENCES, save_chain, change)


def _head(name: str, library: Library, architecture: str, task: str = "auto", **config: Any) -> Kind:
    return Kind(name, library, partial(save, architecture=architecture, **config), task=task)


def _cross_encoder(name: str, **config: Any) -> Kind:
    return _head(f"cross-encoder, {name}", libraries.RANKS, _CLASSIFIER, num_labels=1, **config)


def _projected(models: Any) -> Sequence[Any]:
    dense = models.Dense(32, 24, activation_function=torch.nn.Tanh())
    return [models.Pooling(32, "mean"), dense, models.Normalize()]


KINDS: tuple[Kind, ...] = (
    _head("feature-extraction", libraries.STATES, "BertModel"),
    _head("fill-mask", libraries.MASKS, "BertForMaskedLM"),
    _head("text-classification, 3 labels", libraries.LABELS, _CLASSIFIER, num_labels=3),
    _head(
        "text-classification, several at once",
        libraries.LABELS,
        _CLASSIFIER,
        num_labels=3,
        problem_type="multi_label_classification",
    ),
    _head(
        "zero-shot classification",
        libraries.TOPICS,
        _CLASSIFIER,
        id2label=dict(enumerate(_INFERENCE)),
        label2id={name: number for number, name in enumerate(_INFERENCE)},
    ),
    _cross_encoder("nothing said of its scores"),
    _cross_encoder("activation in config.json", sentence_transformers={"activation_fn": _IDENTITY}),
    _cross_encoder("activation under the old key", sbert_ce_default_activation_function=_IDENTITY),
    Kind("cross-encoder, files of sentence-transformers 5", libraries.RANKS, _save_cross_encoder),
    Kind("SPLADE, max", libraries.WEIGHTS, partial(_save_splade, strategy="max", activation="relu")),
    Kind(
        "SPLADE, sum, two logarithms", libraries.WEIGHTS, partial(_save_splade, strategy="sum", activation="log1p_relu")
    ),
    _head("SPLADE of a masked language model", libraries.WEIGHTS, "BertForMaskedLM", task="sparse-embedding"),
    Kind("ColBERT of Stanford's library", libraries.TOKEN_VECTORS, _save_colbert),
    _head("token-classification", libraries.ENTITIES, "BertForTokenClassification", num_labels=3),
    Kind(
        "token-classification, labels from 1",
        libraries.ENTITIES,
        partial(save, architecture="BertForTokenClassification", num_labels=3),
        _labels_from_one,
    ),
    _head("question-answering", libraries.SPANS, "BertForQuestionAnswering"),
    _head("text-generation", libraries.CONTINUATIONS, "BertLMHeadModel", "text-generation-with-past", is_decoder=True),
    Kind("all-MiniLM-L6-v2, trained", libraries.SENTENCES, _link_sample, trained=True),
    _chain("mean pooling"),
    _chain("first token and mean, joined", lambda models: [models.Pooling(32, ("cls", "mean"))]),
    _chain("weighted mean", lambda models: [models.Pooling(32, "weightedmean")]),
    _chain("Dense and Normalize", _projected),
    _chain("a default prompt", prompts=_PROMPTS, default_prompt_name="query"),
    _chain("truncate_dim", truncate_dim=8),
    _chain("24 layers", num_hidden_layers=24),
    _chain("activation mish", hidden_act="mish"),
    _changed("weights of torch.compile", lambda folder: rename(folder, "_orig_mod.{}".format)),
    _changed("weights of DataParallel", lambda folder: rename(folder, "module.{}".format)),
    _changed("LayerNorm.gamma and beta", lambda folder: rename(folder, _old_norms)),
    _changed("pytorch_model.bin, after `convert-weights`", _pickled_and_converted),
    Kind("weights in float16", libraries.SENTENCES, _save_in_half),
    _changed("what a training loop left", _with_leftovers),
    Kind("files of transformers 5", libraries.STATES, save, _of_transformers_5),
    Kind("cased WordPiece", libraries.STATES, partial(save, lower=False)),
    Kind("Unigram, as XLM-R", libraries.SENTENCES, partial(_save_with, make_tokenizer=_unigram, roles=_XLM_R)),
    Kind("byte-level BPE", libraries.SENTENCES, partial(_save_with, make_tokenizer=_byte_level, roles=_XLM_R)),
)

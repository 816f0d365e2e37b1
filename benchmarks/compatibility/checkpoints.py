"""Small checkpoints of random weights, made as people have them, and texts that they know."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file, save_file

from benchmarks.compatibility import libraries
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
CLASSIFIER = "BertForSequenceClassification"
PROMPTS = {"query": "query : ", "document": "find : "}
IDENTITY = "torch.nn.modules.linear.Identity"
INFERENCE = ("contradiction", "entailment", "neutral")


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


def pickled_and_converted(folder: Path) -> None:
    torch.save(load_file(folder / _WEIGHTS), folder / "pytorch_model.bin")
    (folder / _WEIGHTS).unlink()
    convert_weights(folder)


def save_in_half(folder: Path) -> None:
    save_chain(folder)
    tensors = {name: value.half() for name, value in load_file(folder / _WEIGHTS).items()}
    save_file(tensors, folder / _WEIGHTS, metadata={"format": "pt"})
    patch(folder / "config.json", dtype="float16")


def old_norms(name: str) -> str:
    return name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")


def with_leftovers(folder: Path) -> None:
    tensors = load_file(folder / _WEIGHTS) | {"loss.weight": torch.ones(3), "step": torch.ones(1)}
    save_file(tensors, folder / _WEIGHTS, metadata={"format": "pt"})


def of_transformers_5(folder: Path) -> None:
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


def labels_from_one(folder: Path) -> None:
    patch(
        folder / "config.json", id2label={"1": "B-PER", "2": "I-PER"}, label2id={"B-PER": 1, "I-PER": 2}, num_labels=3
    )


def save_with(folder: Path, make_tokenizer: Callable[[], Any], roles: Mapping[str, str]) -> None:
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


XLM_R = {
    f"{role}_token": token
    for role, token in zip(
        ("cls", "bos", "pad", "sep", "eos", "unk", "mask"),
        ("<s>", "<s>", "<pad>", "</s>", "</s>", "<unk>", "<mask>"),
        strict=True,
    )
}
_CORPUS = [*libraries.TEXTS, *libraries.QUESTION.values(), "the old town and more words here to learn from"] * 40


def unigram() -> Any:
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


def byte_level() -> Any:
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


def save_cross_encoder(folder: Path) -> None:
    """As sentence-transformers 5 saves one: its settings are beside modules.json."""
    import sentence_transformers

    save(folder / "inner", CLASSIFIER, num_labels=1)
    model = sentence_transformers.CrossEncoder(
        str(folder / "inner"), device="cpu", activation_fn=torch.nn.Identity(), prompts=PROMPTS
    )
    model.default_prompt_name = "query"
    model.save_pretrained(str(folder))


def save_splade(folder: Path, strategy: str, activation: str) -> None:
    """As SparseEncoder 5.0 saved one: an MLMTransformer."""
    save(folder, "BertForMaskedLM")
    package = "sentence_transformers.sparse_encoder.models"
    kinds = (("", "MLMTransformer"), ("1_SpladePooling", "SpladePooling"))
    listed = [{"idx": i, "name": str(i), "path": p, "type": f"{package}.{kind}"} for i, (p, kind) in enumerate(kinds)]
    write(folder / "modules.json", listed)
    pooling = {"pooling_strategy": strategy, "activation_function": activation}
    write(folder / "1_SpladePooling" / "config.json", {**pooling, "word_embedding_dimension": len(WORDS)})
    write(folder / "config_sentence_transformers.json", {"model_type": "SparseEncoder", "prompts": {}})


def save_colbert(folder: Path) -> None:
    """As Stanford's library saves one; markers are the tokens that the model has for them."""
    save(folder, vocab_size=len(WORDS) + 2)
    (folder / "vocab.txt").write_text("\n".join([*WORDS, "[unused0]", "[unused1]"]) + "\n", encoding="utf-8")
    tensors = {f"bert.{name}": value for name, value in load_file(folder / _WEIGHTS).items()}
    save_file(tensors | {"linear.weight": torch.randn(16, 32)}, folder / _WEIGHTS, metadata={"format": "pt"})
    patch(folder / "config.json", architectures=["HF_ColBERT"])
    write(folder / "artifact.metadata", {"query_token_id": "[unused0]", "doc_token_id": "[unused1]"})


def copy_sample(folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(sample_folder(), folder)

"""The rows. A family that differs in what a column says is a row; one whose mathematics differs needs a column."""

from __future__ import annotations

from dataclasses import fields, replace

from bert_onnx.family.modernbert import ModernBertFields
from bert_onnx.family.row import AFTER_PADDING, ALWAYS, DECODING, NEVER, ROTARY, Family, Summary

#: Classes of `bert_onnx.modeling`, by what their names end with in transformers.
_CLASSES = {
    "Model": "BertModel",
    "ForMaskedLM": "BertForMaskedLM",
    "ForCausalLM": "BertLMHeadModel",
    "ForSequenceClassification": "BertForSequenceClassification",
    "ForTokenClassification": "BertForTokenClassification",
    "ForQuestionAnswering": "BertForQuestionAnswering",
    "ForMultipleChoice": "BertForMultipleChoice",
}


def _classes(prefix: str, *without: str) -> dict[str, str]:
    """The classes of transformers whose names begin with `prefix`, by the classes here."""
    return {ours: prefix + ending for ending, ours in _CLASSES.items() if ending not in without}


#: The language-modelling head as fairseq lays it out, without a transform of its own.
_LM_HEAD = (
    ("cls.predictions.transform.LayerNorm", "lm_head.layer_norm"),
    ("cls.predictions.transform.dense", "lm_head.dense"),
    ("cls.predictions", "lm_head"),
)

_BERT = Family(
    model_type="bert",
    classes={name: name for name in (*_CLASSES.values(), "BertForPreTraining", "BertForNextSentencePrediction")},
    base="bert",
    heads=("bert.pooler.", "cls.predictions.", "cls.seq_relationship.", "classifier.", "qa_outputs."),
    token_types=ALWAYS,
)

_ERNIE = replace(
    _BERT,
    model_type="ernie",
    classes={ours: f"Ernie{ours.removeprefix('Bert')}" for ours in _BERT.classes} | _classes("Ernie"),
    base="ernie",
    heads=("ernie.pooler.", *_BERT.heads[1:]),
    own=frozenset({"use_task_id", "task_type_vocab_size"}),
    defaults={"use_task_id": False, "task_type_vocab_size": 3},
)

_ROBERTA = Family(
    model_type="roberta",
    classes=_classes("Roberta"),
    base="roberta",
    heads=("roberta.pooler.", "lm_head.", "classifier.", "qa_outputs."),
    names=_LM_HEAD,
    defaults={"vocab_size": 50265, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2},
    positions=AFTER_PADDING,
    summary=Summary("tanh"),
    lm_activation="gelu",
)

_XLM_ROBERTA = replace(
    _ROBERTA,
    model_type="xlm-roberta",
    classes=_classes("XLMRoberta"),
    defaults={**_ROBERTA.defaults, "vocab_size": 30522},
)

_XLM_ROBERTA_XL = replace(
    _XLM_ROBERTA,
    model_type="xlm-roberta-xl",
    classes=_classes("XLMRobertaXL"),
    names=(
        ("attention.output.LayerNorm", "attention.self_attn_layer_norm"),
        ("crossattention.output.LayerNorm", "crossattention.self_attn_layer_norm"),
        ("output.LayerNorm", "LayerNorm"),
        *_LM_HEAD,
    ),
    defaults={
        **_XLM_ROBERTA.defaults,
        "vocab_size": 250880,
        "hidden_size": 2560,
        "num_hidden_layers": 36,
        "num_attention_heads": 32,
        "intermediate_size": 10240,
        "max_position_embeddings": 514,
        "type_vocab_size": 1,
        "layer_norm_eps": 1e-5,
    },
    norm_first=True,
    norm_embeddings=False,
    real_tokens_count=True,
)

_DATA2VEC_TEXT = replace(
    _ROBERTA,
    model_type="data2vec-text",
    classes=_classes("Data2VecText"),
    base="data2vec_text",
    heads=("data2vec_text.pooler.", "lm_head.", "classifier.", "qa_outputs."),
    defaults={**_ROBERTA.defaults, "vocab_size": 30522},
)

_CAMEMBERT = replace(_XLM_ROBERTA, model_type="camembert", classes=_classes("Camembert"))

_DISTILBERT = Family(
    model_type="distilbert",
    classes=_classes("DistilBert", "ForCausalLM"),
    base="distilbert",
    parts=("embeddings.", "transformer."),
    heads=(
        *("vocab_transform.", "vocab_layer_norm.", "vocab_projector."),
        *("pre_classifier.", "classifier.", "qa_outputs."),
    ),
    names=(
        ("encoder.layer", "transformer.layer"),
        ("attention.self.query", "attention.q_lin"),
        ("attention.self.key", "attention.k_lin"),
        ("attention.self.value", "attention.v_lin"),
        ("attention.output.dense", "attention.out_lin"),
        ("attention.output.LayerNorm", "sa_layer_norm"),
        ("intermediate.dense", "ffn.lin1"),
        ("output.dense", "ffn.lin2"),
        ("output.LayerNorm", "output_layer_norm"),
        ("cls.predictions.transform.dense", "vocab_transform"),
        ("cls.predictions.transform.LayerNorm", "vocab_layer_norm"),
        ("cls.predictions.decoder", "vocab_projector"),
        ("cls.predictions", "vocab_projector"),
        ("classifier.dense", "pre_classifier"),
        ("classifier.out_proj", "classifier"),
        ("summary.dense", "pre_classifier"),
    ),
    fields={
        "hidden_size": "dim",
        "num_hidden_layers": "n_layers",
        "num_attention_heads": "n_heads",
        "intermediate_size": "hidden_dim",
        "hidden_act": "activation",
        "hidden_dropout_prob": "dropout",
        "attention_probs_dropout_prob": "attention_dropout",
        "classifier_dropout": "seq_classif_dropout",
    },
    own=frozenset({"qa_dropout"}),
    lacks=DECODING | {"type_vocab_size", "layer_norm_eps", "position_embedding_type"},
    defaults={"num_hidden_layers": 6, "type_vocab_size": 1, "classifier_dropout": 0.2, "qa_dropout": 0.1},
    token_types=NEVER,
    pooler=False,
    summary=Summary("relu", dropout_first=False),
    choice_summary=Summary("relu", dropout_first=False),
)

_ELECTRA = Family(
    model_type="electra",
    classes=_classes("Electra") | {"BertForReplacedTokenDetection": "ElectraForPreTraining"},
    base="electra",
    parts=("embeddings.", "embeddings_project.", "encoder."),
    heads=(
        *("discriminator_predictions.", "generator_predictions.", "generator_lm_head."),
        *("sequence_summary.", "classifier.", "qa_outputs."),
    ),
    names=(
        ("embeddings.projection", "embeddings_project"),
        ("cls.predictions.transform", "generator_predictions"),
        ("cls.predictions.decoder", "generator_lm_head"),
        ("cls.predictions", "generator_lm_head"),
        ("summary.dense", "sequence_summary.summary"),
    ),
    own=frozenset({"embedding_size", "summary_type", "summary_use_proj", "summary_activation"}),
    defaults={
        "embedding_size": 128,
        "hidden_size": 256,
        "num_attention_heads": 4,
        "intermediate_size": 1024,
        "summary_type": "first",
        "summary_use_proj": True,
        "summary_activation": "gelu",
    },
    pooler=False,
    summary=Summary("gelu"),
    choice_summary=Summary("gelu", dropout_first=False),
    lm_activation="gelu",
)

_MPNET = Family(
    model_type="mpnet",
    classes=_classes("MPNet", "ForCausalLM"),
    base="mpnet",
    heads=("mpnet.pooler.", "lm_head.", "classifier.", "qa_outputs."),
    names=(
        ("attention.self.query", "attention.attn.q"),
        ("attention.self.key", "attention.attn.k"),
        ("attention.self.value", "attention.attn.v"),
        ("attention.output.dense", "attention.attn.o"),
        ("attention.output.LayerNorm", "attention.LayerNorm"),
        *_LM_HEAD,
    ),
    own=frozenset({"relative_attention_num_buckets"}),
    lacks=DECODING | {"type_vocab_size", "position_embedding_type", "classifier_dropout"},
    defaults={
        "vocab_size": 30527,
        "type_vocab_size": 1,
        "relative_attention_num_buckets": 32,
        "pad_token_id": 1,
        "bos_token_id": 0,
        "eos_token_id": 2,
    },
    positions=AFTER_PADDING,
    token_types=NEVER,
    padding=1,
    relative_bias=True,
    summary=Summary("tanh"),
    lm_activation="gelu",
)

_ALBERT = Family(
    model_type="albert",
    classes=_classes("Albert", "ForCausalLM"),
    base="albert",
    heads=("albert.pooler.", "predictions.", "sop_classifier.", "classifier.", "qa_outputs."),
    names=(
        ("embeddings.projection", "encoder.embedding_hidden_mapping_in"),
        ("encoder.layer.#", "encoder.albert_layer_groups.#.albert_layers.%"),
        ("attention.self", "attention"),
        ("attention.output", "attention"),
        ("intermediate.dense", "ffn"),
        ("output.dense", "ffn_output"),
        ("output.LayerNorm", "full_layer_layer_norm"),
        ("pooler.dense", "pooler"),
        ("cls.predictions.transform", "predictions"),
        ("cls.predictions", "predictions"),
    ),
    fields={"classifier_dropout": "classifier_dropout_prob"},
    own=frozenset({"embedding_size", "num_hidden_groups", "inner_group_num"}),
    lacks=DECODING,
    defaults={
        "vocab_size": 30000,
        "embedding_size": 128,
        "hidden_size": 4096,
        "num_attention_heads": 64,
        "intermediate_size": 16384,
        "hidden_act": "gelu_new",
        "hidden_dropout_prob": 0,
        "attention_probs_dropout_prob": 0,
        "classifier_dropout": 0.1,
        "num_hidden_groups": 1,
        "inner_group_num": 1,
        "bos_token_id": 2,
        "eos_token_id": 3,
    },
    projected=True,
    relative_scaled=False,
)

_MODERNBERT = Family(
    model_type="modernbert",
    classes=_classes("ModernBert", "ForCausalLM"),
    base="model",
    parts=("embeddings.", "layers.", "final_norm."),
    heads=("head.", "decoder.", "classifier."),
    names=(
        ("embeddings.word_embeddings", "embeddings.tok_embeddings"),
        ("embeddings.LayerNorm", "embeddings.norm"),
        ("encoder.LayerNorm", "final_norm"),
        ("encoder.layer", "layers"),
        ("attention.output.LayerNorm", "attn_norm"),
        ("attention.output.dense", "attn.Wo"),
        ("attention.self", "attn"),
        ("output.LayerNorm", "mlp_norm"),
        ("output.dense", "mlp.Wo"),
        ("intermediate", "mlp"),
        ("cls.predictions.transform", "head"),
        ("cls.predictions.decoder", "decoder"),
        ("cls.predictions", "decoder"),
        ("classifier.dense", "head.dense"),
        ("classifier.LayerNorm", "head.LayerNorm"),
        ("classifier.out_proj", "classifier"),
        ("summary", "head"),
        ("head.LayerNorm", "head.norm"),
        ("qa_outputs", "classifier"),
    ),
    stacked={"attn.Wqkv": ("attn.query", "attn.key", "attn.value"), "mlp.Wi": ("mlp.dense", "mlp.gate")},
    fields={
        "hidden_act": "hidden_activation",
        "layer_norm_eps": "norm_eps",
        "attention_probs_dropout_prob": "attention_dropout",
    },
    own=frozenset(field.name for field in fields(ModernBertFields)),
    lacks=DECODING | {"hidden_dropout_prob", "position_embedding_type", "type_vocab_size"},
    defaults={
        "vocab_size": 50368,
        "intermediate_size": 1152,
        "num_hidden_layers": 22,
        "attention_probs_dropout_prob": 0.0,
        "hidden_dropout_prob": 0.0,
        "max_position_embeddings": 8192,
        "position_embedding_type": None,
        "type_vocab_size": 1,
        "layer_norm_eps": 1e-5,
        "pad_token_id": 50283,
        "bos_token_id": 50281,
        "eos_token_id": 50282,
        "sep_token_id": 50282,
        "cls_token_id": 50281,
        "global_attn_every_n_layers": 3,
        "local_attention": 128,
        "global_rope_theta": 160000.0,
        "local_rope_theta": 10000.0,
        "attention_bias": False,
        "mlp_bias": False,
        "norm_bias": False,
        "classifier_bias": False,
        "decoder_bias": True,
        "classifier_activation": "gelu",
        "classifier_pooling": "cls",
        "classifier_dropout": 0.0,
        "embedding_dropout": 0.0,
        "mlp_dropout": 0.0,
    },
    positions=ROTARY,
    token_types=NEVER,
    norm_first=True,
    norm_last_state=False,
    gated=True,
    token_head=True,
    pooler=False,
    summary=Summary(None, dropout_first=False, norm=True),
    choice_summary=Summary(None, dropout_first=False, norm=True, real=True),
)

#: Every family by its model_type.
FAMILIES: dict[str, Family] = {
    family.model_type: family
    for family in (
        *(_BERT, _ERNIE, _ROBERTA, _XLM_ROBERTA, _XLM_ROBERTA_XL, _CAMEMBERT, _DATA2VEC_TEXT),
        *(_DISTILBERT, _ELECTRA, _MPNET, _ALBERT, _MODERNBERT),
    )
}


def canonical_class(name: str) -> str:
    """The class of `bert_onnx.modeling` behind the class `name` of transformers; `name` itself where there is none."""
    return next((ours for row in FAMILIES.values() for ours, theirs in row.classes.items() if theirs == name), name)

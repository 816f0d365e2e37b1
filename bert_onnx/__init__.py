"""The door: `export` makes an artifact, `load` runs it, `push` publishes it, `optimize` rewrites other graphs.

And what BERT is: config, tokenizers, PyTorch models, errors.

Names are imported when they are first used, so that `import bert_onnx` loads no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from bert_onnx.errors import (
    ArtifactError,
    BertOnnxError,
    CheckpointError,
    ConfigError,
    ExportError,
    HubError,
    InputError,
    RuntimeUnavailableError,
    StorageError,
    TokenizerError,
    UsageError,
    VerificationError,
)
from bert_onnx.modeling.classes import FAMILY_CLASSES, MODEL_CLASSES
from bert_onnx.version import __version__ as __version__

if TYPE_CHECKING:
    from bert_onnx.api import export, optimize
    from bert_onnx.artifact.hub.pushing import push
    from bert_onnx.config import BertConfig
    from bert_onnx.modeling.heads import (
        BertForMultipleChoice,
        BertForNextSentencePrediction,
        BertForQuestionAnswering,
        BertForReplacedTokenDetection,
        BertForSequenceClassification,
        BertForTokenClassification,
    )
    from bert_onnx.modeling.lm_heads import BertForMaskedLM, BertForPreTraining, BertLMHeadModel
    from bert_onnx.modeling.model import BertModel
    from bert_onnx.modeling.outputs import (
        BaseModelOutputWithPoolingAndCrossAttentions,
        BertForPreTrainingOutput,
        CausalLMOutputWithCrossAttentions,
        MaskedLMOutput,
        MultipleChoiceModelOutput,
        NextSentencePredictorOutput,
        QuestionAnsweringModelOutput,
        SequenceClassifierOutput,
        TokenClassifierOutput,
    )
    from bert_onnx.modeling.pretrained import BertPreTrainedModel
    from bert_onnx.tokenization import BertTokenizer, BertTokenizerFast
    from runtimes.loading import load

#: Module of every name that is imported when it is first used.
_LAZY = {
    "export": "bert_onnx.api",
    "load": "runtimes.loading",
    "optimize": "bert_onnx.api",
    "push": "bert_onnx.artifact.hub.pushing",
    "BertConfig": "bert_onnx.config",
    "BertTokenizer": "bert_onnx.tokenization",
    "BertTokenizerFast": "bert_onnx.tokenization",
    **MODEL_CLASSES,
    **dict.fromkeys(FAMILY_CLASSES, "bert_onnx.modeling.family_classes"),
    "BaseModelOutputWithPoolingAndCrossAttentions": "bert_onnx.modeling.outputs",
    "BertForPreTrainingOutput": "bert_onnx.modeling.outputs",
    "CausalLMOutputWithCrossAttentions": "bert_onnx.modeling.outputs",
    "MaskedLMOutput": "bert_onnx.modeling.outputs",
    "MultipleChoiceModelOutput": "bert_onnx.modeling.outputs",
    "NextSentencePredictorOutput": "bert_onnx.modeling.outputs",
    "QuestionAnsweringModelOutput": "bert_onnx.modeling.outputs",
    "SequenceClassifierOutput": "bert_onnx.modeling.outputs",
    "TokenClassifierOutput": "bert_onnx.modeling.outputs",
}

__all__ = [
    "ArtifactError",
    "BaseModelOutputWithPoolingAndCrossAttentions",
    "BertConfig",
    "BertForMaskedLM",
    "BertForMultipleChoice",
    "BertForNextSentencePrediction",
    "BertForPreTraining",
    "BertForPreTrainingOutput",
    "BertForQuestionAnswering",
    "BertForReplacedTokenDetection",
    "BertForSequenceClassification",
    "BertForTokenClassification",
    "BertLMHeadModel",
    "BertModel",
    "BertOnnxError",
    "BertPreTrainedModel",
    "BertTokenizer",
    "BertTokenizerFast",
    "CausalLMOutputWithCrossAttentions",
    "CheckpointError",
    "ConfigError",
    "ExportError",
    "HubError",
    "InputError",
    "MaskedLMOutput",
    "MultipleChoiceModelOutput",
    "NextSentencePredictorOutput",
    "QuestionAnsweringModelOutput",
    "RuntimeUnavailableError",
    "SequenceClassifierOutput",
    "StorageError",
    "TokenClassifierOutput",
    "TokenizerError",
    "UsageError",
    "VerificationError",
    "export",
    "load",
    "optimize",
    "push",
]
__all__.extend(FAMILY_CLASSES)  # RobertaModel and so on: a row of the table of families has its own


def __getattr__(name: str) -> Any:
    """Import a public name from the module that defines it."""
    if name not in _LAZY:
        raise AttributeError(f"module 'bert_onnx' has no attribute {name!r}")
    value = getattr(import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

"""What transformers' tokenizer classes decide by their name: special tokens, type ids, and what they overrule.

A class that is not in the table is read as `PreTrainedTokenizerFast`: tokenizer.json says everything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bert_onnx.tokenization.vocab import AddedToken, special_token

BERT_CLASS = "BertTokenizer"
JAPANESE_CLASS = "BertJapaneseTokenizer"
#: Says "whatever tokenizer.json holds"; the options are then in that file alone.
GENERIC_CLASS = "PreTrainedTokenizerFast"

_BERT = {name: special_token(f"[{name[:-6].upper()}]") for name in ("unk_token", "sep_token", "pad_token", "cls_token")}
_BERT["mask_token"] = special_token("[MASK]")
# A mask that swallows the space before it, as a word of its own would.
_MASK = AddedToken("<mask>", lstrip=True, normalized=False, special=True)
_ANGLE = {
    "bos_token": special_token("<s>"),
    "eos_token": special_token("</s>"),
    "unk_token": special_token("<unk>"),
    "sep_token": special_token("</s>"),
    "pad_token": special_token("<pad>"),
    "cls_token": special_token("<s>"),
    "mask_token": _MASK,
}
_HERBERT = {role: special_token(_ANGLE[role].content) for role in _ANGLE if role not in ("bos_token", "eos_token")}
_NORMALISER = ("do_lower_case", "tokenize_chinese_chars", "strip_accents")
#: Rows of one text and of a pair, as the tokenizers library writes its templates, around the tokens `cls` and `sep`.
BERT_ROWS = ("{cls} $A {sep}", "{cls} $A {sep} $B:1 {sep}:1")
WORD_PIECES = ("vocab.txt",)
MERGES = ("vocab.json", "merges.txt")


@dataclass(frozen=True)
class TokenizerClass:
    """One class.

    Args:
        roles: its special tokens, where no file names others.
        type_ids: whether it returns token_type_ids; models then read its template's, and else zeros.
        overrules: settings of tokenizer.json's BertNormalizer that tokenizer_config.json (or the class's default)
            overrules.
        reads: the vocabulary files that it makes a tokenizer of where there is no tokenizer.json.
        rows: how it then builds rows.
        additional: its additional_special_tokens, where no file names others.
        byte_level: overrules what tokenizer.json's post-processor says of spaces.
        lower: its do_lower_case where tokenizer_config.json has none.
    """

    roles: Mapping[str, AddedToken] = field(default_factory=dict)
    type_ids: bool = True
    overrules: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    rows: tuple[str, str] = BERT_ROWS
    additional: tuple[str, ...] = ()
    byte_level: bool = False
    lower: bool = True

    @property
    def reads_like_bert(self) -> bool:
        """Whether BERT's own classes make the same of its vocab.txt."""
        return self.reads == WORD_PIECES and self.rows == BERT_ROWS


_LIKE_BERT = TokenizerClass(_BERT, overrules=_NORMALISER, reads=WORD_PIECES)
_LIKE_ROBERTA = TokenizerClass(_ANGLE, type_ids=False, byte_level=True, reads=MERGES)
_GENERIC = TokenizerClass()
_GENERIC_WITHOUT_TYPES = TokenizerClass(type_ids=False)

_CLASSES = {
    **dict.fromkeys(
        (
            *(BERT_CLASS, "ElectraTokenizer", "ConvBertTokenizer", "MobileBertTokenizer", "LxmertTokenizer"),
            *("DPRContextEncoderTokenizer", "DPRQuestionEncoderTokenizer", "LayoutLMTokenizer"),
            *("RealmTokenizer", "SqueezeBertTokenizer"),
        ),
        _LIKE_BERT,
    ),
    JAPANESE_CLASS: TokenizerClass(_BERT, reads=WORD_PIECES, lower=False),
    **dict.fromkeys(
        ("DistilBertTokenizer", "RetriBertTokenizer"),
        TokenizerClass(_BERT, type_ids=False, overrules=_NORMALISER, reads=WORD_PIECES),
    ),
    "FunnelTokenizer": TokenizerClass(
        {**_HERBERT, "sep_token": special_token("<sep>"), "cls_token": special_token("<cls>")}
        | {role: _ANGLE[role] for role in ("bos_token", "eos_token")},
        overrules=_NORMALISER,
        reads=WORD_PIECES,
        rows=("{cls}:2 $A {sep}", "{cls}:2 $A {sep} $B:1 {sep}:1"),
    ),
    "HerbertTokenizer": TokenizerClass(_HERBERT, reads=MERGES),
    "MPNetTokenizer": TokenizerClass(
        {**_ANGLE, "unk_token": special_token("[UNK]")},
        type_ids=False,
        overrules=("do_lower_case", "strip_accents"),
        reads=WORD_PIECES,
        rows=("{cls} $A {sep}", "{cls} $A {sep} {sep} $B:1 {sep}:1"),
    ),
    "XLMRobertaTokenizer": TokenizerClass(_ANGLE, type_ids=False),
    "CamembertTokenizer": TokenizerClass(
        _ANGLE, type_ids=False, additional=("<s>NOTUSED", "</s>NOTUSED", "<unk>NOTUSED")
    ),
    **dict.fromkeys(("RobertaTokenizer", "LongformerTokenizer", "BartTokenizer", "LEDTokenizer"), _LIKE_ROBERTA),
    "AlbertTokenizer": TokenizerClass(
        {
            **_ANGLE,
            **{role: special_token("[CLS]") for role in ("bos_token", "cls_token")},
            **{role: special_token("[SEP]") for role in ("eos_token", "sep_token")},
            "mask_token": AddedToken("[MASK]", lstrip=True, normalized=False, special=True),
        }
    ),
    **dict.fromkeys(
        (
            *("BarthezTokenizer", "BigBirdTokenizer", "BlenderbotTokenizer", "BloomTokenizer", "CLIPTokenizer"),
            *("CodeLlamaTokenizer", "CodeGenTokenizer", "CohereTokenizer", "GemmaTokenizer", "GPT2Tokenizer"),
            *("GPTNeoXTokenizer", "LlamaTokenizer", "MBartTokenizer", "MBart50Tokenizer", "MvpTokenizer"),
            *("NllbTokenizer", "NougatTokenizer", "OpenAIGPTTokenizer", "PegasusTokenizer", "Qwen2Tokenizer"),
            *("ReformerTokenizer", "SeamlessM4TTokenizer", "T5Tokenizer", "XGLMTokenizer"),
        ),
        _GENERIC_WITHOUT_TYPES,
    ),
}


#: The class of a model_type whose files name none; BERT's for every other.
CLASS_OF_MODEL_TYPE = {
    "camembert": "CamembertTokenizer",
    "data2vec-text": "RobertaTokenizer",
    "roberta": "RobertaTokenizer",
    "xlm-roberta": "XLMRobertaTokenizer",
    "xlm-roberta-xl": "XLMRobertaTokenizer",
}


def tokenizer_class(name: str) -> TokenizerClass:
    """The row of a class by its name, with or without `Fast` behind it."""
    return _CLASSES.get(name.removesuffix("Fast"), _GENERIC)

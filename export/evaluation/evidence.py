"""Is a text any evidence of what a model does with text? Not where its tokenizer knows it only as the unknown token."""

from __future__ import annotations

from bert_onnx.errors import InputError
from bert_onnx.tokenization import FastTokenizer
from export.evaluation.data import is_built_in
from export.evaluation.examples import TextSet
from export.evaluation.languages import EVIDENCE, unknown_share

#: Share of unknown tokens from which on the user is told.
_NOTED = 0.1


def check_evidence(tokenizer: FastTokenizer, texts: TextSet, option: str) -> tuple[str, ...]:
    """A warning where many tokens of `texts` are the unknown one.

    Args:
        option: with what the user gives such texts.

    Raises:
        InputError: most of them are.
    """
    share = unknown_share(tokenizer, texts.texts)
    if share < _NOTED:
        return ()
    found = f"{share:.0%} of the tokens of {texts.name} are {tokenizer.unk_token}"
    if is_built_in(texts.name):
        found += ", and built-in texts in other languages are no better"
    way_on = f"Give text in the model's language with {option} FILE."
    if share > EVIDENCE:
        raise InputError(f"{found}: a text that the tokenizer does not know is no evidence of what is kept. {way_on}")
    return (f"{found}, and say little of the model. {way_on}",)

"""How a sentence-transformers model is used: its prompts, how long its vectors are, how they are compared."""

from __future__ import annotations

from dataclasses import dataclass, field

from bert_onnx.errors import UsageError
from bert_onnx.sentence_modules import Size

SIMILARITIES = ("cosine", "dot", "euclidean", "manhattan")

#: Prompts that every model has, empty unless it says otherwise.
_ALWAYS = ("query", "document")
#: Names of the prompt for what is searched through; the first that a model has counts.
_DOCUMENT_NAMES = ("document", "passage", "corpus")


@dataclass(frozen=True)
class SentenceSettings:
    """config_sentence_transformers.json, as far as it decides what a text's vector is.

    Args:
        prompts: texts by name that are put before a text.
        default_prompt_name: the prompt where a caller names none; None for none.
        similarity_fn_name: one of SIMILARITIES.
        truncate_dim: values of a vector that are kept, the first ones; None for all.

    Raises:
        UsageError: a similarity that there is not, or a default prompt that is not among the prompts.
    """

    prompts: dict[str, str] = field(default_factory=dict)
    default_prompt_name: str | None = None
    similarity_fn_name: str = SIMILARITIES[0]
    truncate_dim: Size | None = None

    def __post_init__(self) -> None:
        if self.similarity_fn_name not in SIMILARITIES:
            raise UsageError(f"the similarity {self.similarity_fn_name!r} is not one of {', '.join(SIMILARITIES)}.")
        if self.default_prompt_name is not None:
            self._named(self.default_prompt_name)

    @property
    def default_prompt(self) -> str:
        """What is put before a text where a caller names no prompt."""
        return "" if self.default_prompt_name is None else self._named(self.default_prompt_name)

    @property
    def document_name(self) -> str:
        """The name of the prompt for what is searched through."""
        return next(name for name in _DOCUMENT_NAMES if name in self._prompts)

    def query_prompt(self, prompt_name: str | None, prompt: str | None) -> str | None:
        """The name of the prompt for queries: `query` where a caller gives neither name nor prompt."""
        return "query" if prompt_name is None and prompt is None else prompt_name

    def document_prompt(self, prompt_name: str | None, prompt: str | None) -> str | None:
        """The name of the prompt for documents: `document_name` where a caller gives neither name nor prompt."""
        return self.document_name if prompt_name is None and prompt is None else prompt_name

    def resolve(self, prompt_name: str | None = None, prompt: str | None = None) -> str:
        """The prompt to put before texts; `prompt` counts before `prompt_name`, and both before the default.

        Raises:
            UsageError: there is no prompt of that name; the message lists those that there are.
        """
        if prompt is not None:
            if not isinstance(prompt, str):
                raise UsageError(f"the prompt is a {type(prompt).__name__}; it must be a string.")
            return prompt
        return self.default_prompt if prompt_name is None else self._named(prompt_name)

    def _named(self, name: str) -> str:
        if name not in self._prompts:
            raise UsageError(f"there is no prompt {name!r}; this model has {', '.join(self._prompts)}.")
        return self._prompts[name]

    @property
    def _prompts(self) -> dict[str, str]:
        return {**dict.fromkeys(_ALWAYS, ""), **self.prompts}

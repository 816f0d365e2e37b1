"""Source: where the weights of a model came from, as the manifest of an artifact keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

#: `folder`: a local folder; `hub`: downloaded; `sample`: the sample package; `random`: weights drawn from a seed.
SOURCE_KINDS = ("folder", "hub", "sample", "random")


@dataclass(frozen=True)
class Source:
    """Origin of a checkpoint.

    Args:
        model: what was asked for: `sample`, a full hub id, or the name of a folder without the path to it,
            so that an artifact tells nothing about the machine it was made on.
        kind: one of `SOURCE_KINDS`.
        revision: the commit that a hub resolved; None elsewhere.
        weights_sha256: sha256 of model.safetensors. For shards, the sha256 of the lines
            `<sha256>  <file name>\\n` (as sha256sum prints them) of the index and of each shard, in the order
            of their names. Empty for random weights.
        seed: the seed of random weights; None elsewhere.
    """

    model: str
    kind: str
    revision: str | None = None
    weights_sha256: str = ""
    seed: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in SOURCE_KINDS:
            raise ValueError(f"kind is {self.kind!r}; it must be one of {', '.join(SOURCE_KINDS)}")

    def to_dict(self) -> dict[str, Any]:
        """JSON form, as the manifest keeps it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Source:
        """Inverse of `to_dict`.

        Raises:
            KeyError, TypeError, ValueError: a field is missing or of the wrong kind.
        """
        for key in ("model", "kind", "weights_sha256"):
            if not isinstance(values[key], str):
                raise TypeError(f"{key} is {values[key]!r}; it must be text")
        revision, seed = values.get("revision"), values.get("seed")
        if revision is not None and not isinstance(revision, str):
            raise TypeError(f"revision is {revision!r}; it must be text or null")
        if seed is not None and (not isinstance(seed, int) or isinstance(seed, bool)):
            raise TypeError(f"seed is {seed!r}; it must be a whole number or null")
        return cls(values["model"], values["kind"], revision, values["weights_sha256"], seed)

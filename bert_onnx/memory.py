"""The memory that this process may use, and what the weights of a config take of it."""

from __future__ import annotations

import os
from pathlib import Path

from bert_onnx.cgroups import cgroups_above
from bert_onnx.config import BertConfig
from bert_onnx.errors import ConfigError

_CGROUPS = Path("/sys/fs/cgroup")
_FLOAT32 = 4
#: Bytes of Python objects that a layer of BERT is made of, beside its weights (measured: 39 KB).
_LAYER_OBJECTS = 39_000


def weight_bytes(config: BertConfig) -> int:
    """Bytes that a BertModel of `config` takes at the least: its weights in float32, and the objects that hold them."""
    hidden, inner = config.hidden_size, config.intermediate_size
    positions = config.max_position_embeddings
    rows = config.vocab_size + config.type_vocab_size + (0 if config.rotary else positions)
    products = 3 if config.family.gated else 2
    attention = 4 * hidden * hidden * (2 if config.add_cross_attention else 1)
    relative = (2 * positions - 1) * config.head_size if config.relative_positions else 0
    layer = _FLOAT32 * (attention + products * hidden * inner + relative) + _LAYER_OBJECTS
    tables = rows * config.embedding_width + config.num_labels * hidden
    return _FLOAT32 * tables + config.own_layers * layer


def check_memory(config: BertConfig, source: str) -> None:
    """Refuse a `config`, read from `source`, whose weights alone are more than this machine's memory.

    Raises:
        ConfigError: with what it needs and what there is.
    """
    usable, needed = usable_memory(), weight_bytes(config)
    if usable is not None and needed > usable:
        raise ConfigError(
            f"{source}: {config.num_hidden_layers:,} layers of hidden_size {config.hidden_size:,} and "
            f"intermediate_size {config.intermediate_size:,} with vocab_size {config.vocab_size:,} and "
            f"max_position_embeddings {config.max_position_embeddings:,} need {gib(needed)} for the weights "
            f"alone, and this process may use {gib(usable)}; mend the config if it is damaged, or take a machine "
            "with more memory."
        )


def usable_memory() -> int | None:
    """Bytes that this process may use: its cgroup's limit or the machine's memory; None where neither is known."""
    return min((limit for limit in (memory_limit(), physical_memory()) if limit), default=None)


def memory_limit(root: Path = _CGROUPS, membership: Path = Path("/proc/self/cgroup")) -> int | None:
    """Bytes that the tightest cgroup (v2 or v1) above this process allows; None without a limit."""
    limits = []
    for controllers, folders in cgroups_above(membership, "memory"):
        base, name = (root / "memory", "memory.limit_in_bytes") if controllers else (root, "memory.max")
        limits += [_read_limit(base / folder.lstrip("/") / name) for folder in folders]
    return min((limit for limit in limits if limit is not None), default=None)


def physical_memory() -> int | None:
    """Bytes of memory that the machine has; None where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _read_limit(path: Path) -> int | None:
    try:
        value = int(path.read_text())
    except (OSError, ValueError):  # missing, or `max`
        return None
    return value if value < 1 << 60 else None  # v1 writes a huge number for none


def gib(count: int) -> str:
    """A number of bytes in GiB, for messages."""
    shown = min(count, 1 << 90)  # beyond any machine; a hostile number could be too long to print
    return f"{shown / (1 << 30):,.1f} GiB"

"""Token, segment and position embeddings: ids in, normalised hidden states out."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bert_onnx.config import BertConfig
from bert_onnx.family.row import NEVER
from bert_onnx.modeling.layers import layer_norm


class BertEmbeddings(nn.Module):
    """LayerNorm(word + segment + position), then dropout (Devlin et al. 2018, figure 2).

    Embeddings that are narrower than hidden states are projected to them (Lan et al. 2019, section 3.1; ELECTRA).
    Those of tasks (Sun et al. 2019, ERNIE 2.0) are of task 0 throughout, as in transformers where nobody says another.
    """

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        width = config.embedding_width
        self.word_embeddings = nn.Embedding(config.vocab_size, width, padding_idx=config.pad_token_id)
        self.padding = config.padding_position
        # The table of positions exists with relative positions, too: checkpoints hold it. It is then unused.
        places = None if config.rotary else config.max_position_embeddings
        self.position_embeddings = None if places is None else nn.Embedding(places, width, padding_idx=self.padding)
        typed = config.family.token_types != NEVER
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, width) if typed else None
        tasks = config.task_type_vocab_size if config.use_task_id else None
        self.task_type_embeddings = None if tasks is None else nn.Embedding(tasks, width)
        self.one_type = not config.takes_token_types
        self.LayerNorm = layer_norm(config, width) if config.family.norm_embeddings else nn.Identity()
        dropout = config.embedding_dropout
        self.dropout = nn.Dropout(config.hidden_dropout_prob if dropout is None else dropout)
        self.absolute_positions = config.position_embedding_type == "absolute"
        projects = config.family.projected or width != config.hidden_size
        self.projection = nn.Linear(width, config.hidden_size) if projects else None

    def forward(
        self,
        input_ids: Tensor | None,
        inputs_embeds: Tensor | None,
        token_type_ids: Tensor | None,
        position_ids: Tensor | None,
        past: int,
    ) -> Tensor:
        """Hidden states [B, S, D] from ids [B, S] or from word vectors [B, S, E].

        Args:
            token_type_ids: [B, S]; None means segment 0 throughout. Not read without a table of them.
            position_ids: [B, S] or [1, S]; None means `past`, `past` + 1, ..., or `counted_positions`.
            past: P, how many tokens came before.
        """
        hidden = self.word_embeddings(input_ids) if inputs_embeds is None else inputs_embeds
        if self.absolute_positions and position_ids is None and self.padding is not None and input_ids is not None:
            position_ids = counted_positions(input_ids, self.padding, past)
        # Where ids are None, rows of the tables are taken directly: one node in a traced graph instead of three.
        positions = self.position_embeddings if self.absolute_positions else None
        table = None if positions is None else positions.weight
        if self.token_type_embeddings is not None and token_type_ids is not None:
            hidden = hidden + self.token_type_embeddings(token_type_ids)
        elif self.token_type_embeddings is not None and self.one_type and table is not None:
            # The one type of all tokens is a part of their positions: a constant in a traced graph.
            table = table.to(hidden.dtype) + self.token_type_embeddings.weight[0].to(hidden.dtype)
        elif self.token_type_embeddings is not None:
            hidden = hidden + self.token_type_embeddings.weight[0]
        if self.task_type_embeddings is not None and table is not None:
            table = table.to(hidden.dtype) + self.task_type_embeddings.weight[0].to(hidden.dtype)
        elif self.task_type_embeddings is not None:
            hidden = hidden + self.task_type_embeddings.weight[0]
        if table is not None and position_ids is not None:
            hidden = hidden + F.embedding(position_ids, table)
        elif table is not None:
            first = past if self.padding is None else past + self.padding + 1
            hidden = hidden + table[first : first + hidden.shape[1]]
        normalised: Tensor = self.dropout(self.LayerNorm(hidden))
        return normalised if self.projection is None else self.projection(normalised)


def counted_positions(input_ids: Tensor, padding: int, past: int) -> Tensor:
    """[B, S]: `padding` for padding, else `padding` + how many real tokens there are up to each, after `past` ones.

    Padding is known by its id, not by the mask (fairseq's `make_positions`; transformers 4.57,
    `create_position_ids_from_input_ids`, which counts `past` whole, padding in it included).
    """
    real = torch.where(input_ids == padding, 0, 1)
    counted: Tensor = (torch.cumsum(real, dim=1) + past) * real + padding
    return counted

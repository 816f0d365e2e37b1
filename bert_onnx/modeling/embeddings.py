"""Token, segment and position embeddings: ids in, normalised hidden states out."""

from __future__ import annotations

from torch import Tensor, nn

from bert_onnx.config import BertConfig


class BertEmbeddings(nn.Module):
    """LayerNorm(word + segment + position), then dropout (Devlin et al. 2018, figure 2)."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id)
        # The table of positions exists with relative positions, too: checkpoints hold it. It is then unused.
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.absolute_positions = config.position_embedding_type == "absolute"

    def forward(
        self,
        input_ids: Tensor | None,
        inputs_embeds: Tensor | None,
        token_type_ids: Tensor | None,
        position_ids: Tensor | None,
        past: int,
    ) -> Tensor:
        """Hidden states [B, S, D] from ids [B, S] or from word vectors [B, S, D].

        Args:
            token_type_ids: [B, S]; None means segment 0 throughout.
            position_ids: [B, S] or [1, S]; None means `past`, `past` + 1, ...
            past: P, how many tokens came before.
        """
        hidden = self.word_embeddings(input_ids) if inputs_embeds is None else inputs_embeds
        # Where ids are None, rows of the tables are taken directly: one node in a traced graph instead of three.
        if token_type_ids is None:
            hidden = hidden + self.token_type_embeddings.weight[0]
        else:
            hidden = hidden + self.token_type_embeddings(token_type_ids)
        if self.absolute_positions and position_ids is None:
            hidden = hidden + self.position_embeddings.weight[past : past + hidden.shape[1]]
        elif self.absolute_positions:
            hidden = hidden + self.position_embeddings(position_ids)
        normalised: Tensor = self.dropout(self.LayerNorm(hidden))
        return normalised

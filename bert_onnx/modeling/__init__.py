"""The PyTorch BERT: embeddings, attention, encoder, heads, outputs, losses.

Read it top down: `heads` and `lm_heads`, `model`, `encoder`, `attention`.
"""

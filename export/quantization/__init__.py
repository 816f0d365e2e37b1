"""Lower precisions: int8, int4, fp16 and bf16."""

"""Lower precisions: int8, int4, fp16 and bf16, and the gate that decides whether they may be published."""

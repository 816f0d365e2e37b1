"""fp16 and bf16: which operators are converted, and an emulation of bf16."""

"""Our graphs on an NVIDIA GPU beside torch and optimum: time, and share of what the GPU can do, on real tokens."""

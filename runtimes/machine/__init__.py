"""What this machine has: processor, cgroups, GPUs, caches."""

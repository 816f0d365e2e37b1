"""Activations and weights in 8 bits: calibration, smoothing, search, static and dynamic schemes."""

"""Attention spelled out in ONNX's text form, with one thing or another said differently."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from spelled_out import D, H, K, normal, parse, states

STATE_INPUTS = "float[B,S,24] q, float[B,R,24] k, float[B,R,24] v"
OUTPUT = "float[B,S,24] y"

CONSTANTS: dict[str, object] = {
    "heads": [0, 0, H, K],
    "merge": [0, 0, D],
    "scale": 1 / math.sqrt(K),
    "root": math.sqrt(K),
    "quarter": K**-0.25,
    "two": 2.0,
    "scales": np.ones((1, H, 1, 1), np.float32),
    "seven": np.full((1, 1, 1, 7), 0.5, np.float32),
    "zero": 0.0,
}


@dataclass(frozen=True)
class Spelling:
    """Lines of an attention, in order; each may be replaced.

    Values: q, k, v states; qh, kh, kt, vh heads (kt with the axes B, H, K, S); s scores, t scaled, b biased,
    p probabilities, c context by heads, m context with heads beside each other, y the result.
    """

    query: str = "qr = Reshape(q, heads) qh = Transpose<perm = [0, 2, 1, 3]>(qr)"
    key: str = "kr = Reshape(k, heads) kt = Transpose<perm = [0, 2, 3, 1]>(kr)"
    value: str = "vr = Reshape(v, heads) vh = Transpose<perm = [0, 2, 1, 3]>(vr)"
    product: str = "s = MatMul(qh, kt)"
    scaled: str = "t = Mul(s, scale)"
    biased: str = "b = Add(t, bias)"
    softmax: str = "p = Softmax<axis = -1>(b)"
    context: str = "c = MatMul(p, vh)"
    merged: str = "m = Transpose<perm = [0, 2, 1, 3]>(c) y = Reshape(m, merge)"
    after: str = ""
    inputs: str = f"{STATE_INPUTS}, float[B,1,1,R] bias"
    outputs: str = OUTPUT

    def model(self, **constants: object) -> ir.Model:
        """The graph."""
        parts = (self.query, self.key, self.value, self.product, self.scaled, self.biased, self.softmax)
        body = "\n".join((*parts, self.context, self.merged, self.after))
        return parse(body, self.inputs, self.outputs, {**CONSTANTS, **constants})


#: Keys and values with a cache before them.
CACHE = f"{STATE_INPUTS}, float[B,1,1,T] bias, float[B,{H},P,{K}] pk, float[B,{H},P,{K}] pv"
CACHED = {
    "key": "kr = Reshape(k, heads) kh = Transpose<perm = [0, 2, 1, 3]>(kr) kc = Concat<axis = 2>(pk, kh) "
    "kt = Transpose<perm = [0, 1, 3, 2]>(kc)",
    "value": "vr = Reshape(v, heads) vn = Transpose<perm = [0, 2, 1, 3]>(vr) vh = Concat<axis = -2>(pv, vn)",
    "inputs": CACHE,
}


def feeds(model: ir.Model, batch: int = 2, queries: int = 4, keys: int = 7, past: int = 3) -> dict[str, np.ndarray]:
    """Random arrays for the inputs of a spelling; biases hide one key."""
    lengths = {"B": batch, "S": queries, "R": keys, "P": past, "T": past + keys}
    arrays = {}
    for number, value in enumerate(model.graph.inputs):
        assert value.shape is not None
        shape = [axis if isinstance(axis, int) else lengths[str(axis.value)] for axis in value.shape]
        arrays[value.name or ""] = states(*shape[:2], seed=number) if shape[2:] == [D] else normal(*shape, seed=number)
    if "bias" in arrays:
        arrays["bias"][..., -1] = -1e4
    return arrays

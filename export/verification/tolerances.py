"""The only table of tolerances: how far a graph may be from eager float32, by precision, runtime and output.

A difference passes if it is at most `absolute + relative * largest`, where `largest` is the largest magnitude of the
reference output in the same case. The relative part is for outputs without a scale of their own, such as logits.
"""

from __future__ import annotations

from dataclasses import dataclass

from bert_onnx.errors import UsageError


@dataclass(frozen=True)
class Tolerance:
    """One row.

    Args:
        absolute: allowed difference of an output whose values are about 1.
        relative: allowed difference as a share of the output's largest magnitude.
        measured: the measurement that justifies the row.
    """

    absolute: float
    relative: float
    measured: str

    def limit(self, largest: float) -> float:
        """Allowed difference where the reference is at most `largest` in magnitude."""
        return self.absolute + self.relative * largest


@dataclass(frozen=True)
class RoundingFactors:
    """What the errors of a float32 graph may be, as multiples of those of eager float32 against float64.

    Args:
        rms, largest: factors for the root mean square and the largest error.
        floor: errors of eager below this share of an output's magnitude are luck; 2^-24 is half a unit in the last
            place.
        measured: the measurement that justifies them.
    """

    rms: float
    largest: float
    floor: float
    measured: str


#: The verdict on float32 graphs.
ROUNDING = RoundingFactors(
    rms=3.0,
    largest=6.0,
    floor=2.0**-24,
    measured="random models, depth 2 to 24, D 24 to 96, weights at 1 to 40 times the usual spread, three targets, 162 "
    "outputs: rms 0.5 to 2.3, largest 0.4 to 2.7; the upper ends for outputs of 56 numbers or extreme weights",
)

#: Kinds of outputs. A family is what stands before the first dot of an output's name.
_KIND_OF_FAMILY = {
    "last_hidden_state": "hidden",
    "hidden_states": "hidden",
    "pooler_output": "unit",
    "sentence_embedding": "embedding",  # of length 1 only where the chain normalises
    "sparse_embedding": "logits",
    "token_embeddings": "unit",
    "attentions": "unit",
    "cross_attentions": "unit",
    "present": "hidden",
    "logits": "logits",
    "prediction_logits": "logits",
    "seq_relationship_logits": "logits",
    "start_logits": "logits",
    "end_logits": "logits",
    # Probabilities of postprocess outputs.
    "probabilities": "unit",
    "seq_relationship_probabilities": "unit",
    "top_probabilities": "unit",
    "scores": "logits",  # an activation of logits: it may have no bounds
    "answer_score": "unit",
    "no_answer_score": "unit",
    **dict.fromkeys(
        (
            "label_ids",
            "seq_relationship_label_ids",
            "choice_ids",
            "top_ids",
            "answer_start",
            "answer_end",
            "next_token_ids",
        ),
        "ids",
    ),
}

_MINILM = "all-MiniLM-L6-v2 and random models of every head, 2 cores of AVX-512, torch 2.13, onnxruntime 1.31"

_HALF = "all-MiniLM-L6-v2, tiny random models of every head with large weights, 24 layers of D = 128; largest seen: "

#: Single values on random tokens say little of integers: these rows only catch graphs that are wrong. The gate judges.
_BOUND = "a bound, not a budget: all-MiniLM-L6-v2 0.46 beside 6.3 in int8; a classifier 6.4 beside 9 in int4"

_PACKED = "tiny random models of every head for ort-cuda-unpadded: at most 1.3e-6 of the largest value"
_FLOATS = ("unit", "embedding", "hidden", "logits")

#: Two runs of the same operators on the same tokens name the same ids; otherwise see `postprocess_parity`.
_SAME = "ids that differ are other ids"

#: (precision, runtime, kind of output) -> tolerance.
TOLERANCES: dict[tuple[str, str, str], Tolerance] = {
    ("fp32", "onnxruntime-cpu", "unit"): Tolerance(1e-5, 0.0, _MINILM),
    ("fp32", "onnxruntime-cpu", "embedding"): Tolerance(1e-5, 1e-5, _MINILM),
    ("fp32", "onnxruntime-cpu", "hidden"): Tolerance(1e-5, 1e-5, _MINILM),
    ("fp32", "onnxruntime-cpu", "logits"): Tolerance(1e-5, 1e-5, _MINILM),
    ("fp32", "onnxruntime-cpu", "ids"): Tolerance(0.5, 0.0, _SAME),
    **{("fp32", "emulated", kind): Tolerance(1e-5, 0.0 if kind == "unit" else 1e-5, _PACKED) for kind in _FLOATS},
    ("fp16", "onnxruntime-cpu", "unit"): Tolerance(6e-3, 0.0, _HALF + "0.0043 (a token's vector of length 1)"),
    ("fp16", "onnxruntime-cpu", "embedding"): Tolerance(4e-3, 3e-3, _HALF + "as hidden states, of which it is a mean"),
    ("fp16", "onnxruntime-cpu", "hidden"): Tolerance(3e-3, 3e-3, _HALF + "0.0065 beside 4.5 (a cached key)"),
    ("fp16", "onnxruntime-cpu", "logits"): Tolerance(5e-3, 5e-3, _HALF + "0.0147 beside 5.6"),
    ("fp16", "emulated", "unit"): Tolerance(6e-3, 0.0, _HALF + "0.0025 (an attention probability)"),
    ("fp16", "emulated", "embedding"): Tolerance(6e-3, 4e-3, _HALF + "as hidden states, of which it is a mean"),
    ("fp16", "emulated", "hidden"): Tolerance(4e-3, 4e-3, _HALF + "0.0069 beside 3.2"),
    ("fp16", "emulated", "logits"): Tolerance(8e-3, 8e-3, _HALF + "0.0221 beside 5.2"),
    ("bf16", "emulated", "unit"): Tolerance(4e-2, 0.0, _HALF + "0.0189 (an attention probability)"),
    ("bf16", "emulated", "embedding"): Tolerance(4e-2, 3e-2, _HALF + "as hidden states, of which it is a mean"),
    ("bf16", "emulated", "hidden"): Tolerance(3e-2, 3e-2, _HALF + "0.0618 beside 3.2"),
    ("bf16", "emulated", "logits"): Tolerance(5e-2, 5e-2, _HALF + "0.156 beside 5.2"),
    ("int8", "onnxruntime-cpu", "unit"): Tolerance(0.5, 0.0, _BOUND),
    ("int8", "onnxruntime-cpu", "embedding"): Tolerance(0.5, 1.0, _BOUND),
    ("int8", "onnxruntime-cpu", "hidden"): Tolerance(2.0, 1.0, _BOUND),
    ("int8", "onnxruntime-cpu", "logits"): Tolerance(2.0, 1.0, _BOUND),
    ("int4", "onnxruntime-cpu", "unit"): Tolerance(0.7, 0.0, _BOUND),
    ("int4", "onnxruntime-cpu", "embedding"): Tolerance(0.7, 1.0, _BOUND),
    ("int4", "onnxruntime-cpu", "hidden"): Tolerance(2.0, 1.0, _BOUND),
    ("int4", "onnxruntime-cpu", "logits"): Tolerance(2.0, 1.0, _BOUND),
}


def find_tolerance(precision: str, runtime: str, output: str) -> Tolerance:
    """The row for an output, by its name.

    Raises:
        UsageError: the table has no such row.
    """
    kind = _KIND_OF_FAMILY.get(output.partition(".")[0])
    row = TOLERANCES.get((precision, runtime, kind or ""))
    if row is None:
        raise UsageError(f"there is no tolerance for {output} in {precision} on {runtime}; add a measured row.")
    return row

"""The PyTorch BERT: embeddings, attention, encoder, heads, outputs, losses.

Read it top down: `heads` and `lm_heads`, `model`, `encoder`, `attention`.

Names of weights and numbers are those of transformers 4.57, with these differences, each on purpose:

* A cache is a tuple of tensors a layer, in and out; there is no cache object that changes under the caller's hands.
* Relative positions count from the query's own place also when there is a cache (`attention`).
* Cross-attention keys and values in a cache are used even when the encoder's states are left out (`encoder`).
* float16 masks with half of the lowest number, so that a row without a visible token gives no NaN (`masks`).
* Feed-forward chunks need not divide the sequence; a classifier's loss does not change the config (`losses`).
* A sequence that is too long, a mask or a cache that does not fit, is an InputError that says so.
"""

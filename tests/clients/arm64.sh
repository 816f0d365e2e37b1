#!/usr/bin/env bash
# Compares an artifact with its test vectors on ARM64, under user-mode emulation:  arm64.sh ARTIFACT [VARIANT ...] [--longest TOKENS]
# Debian's Python and the aarch64 wheels of what running needs are unpacked once into build/arm64.
# Needs Debian's packages qemu-user-static and mmdebstrap, and pip. ARM64_CPU chooses what QEMU emulates.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
repository=$(cd "$here/../.." && pwd)
artifact=$(realpath "${1:?usage: arm64.sh ARTIFACT [VARIANT ...]}")
shift
home=${ARM64_HOME:-$repository/build/arm64}
cpu=${ARM64_CPU:-neoverse-n1}
python=${PYTHON:-python3}
suite=bookworm # its Python is 3.11

for tool in qemu-aarch64-static mmdebstrap; do
    command -v "$tool" > /dev/null || { echo "$tool is not installed (Debian: qemu-user-static, mmdebstrap)" >&2; exit 2; }
done

if [ ! -e "$home/complete" ]; then
    rm -rf "$home"
    mkdir -p "$home/site"
    # `extract` runs no maintainer scripts, so that no emulator has to be registered with the kernel.
    mmdebstrap --quiet --variant=extract --architectures=arm64 \
        --include=python3.11,libpython3.11-stdlib,libstdc++6 "$suite" "$home/root"
    "$python" -m pip --disable-pip-version-check --quiet download --no-deps --only-binary=:all: --python-version 3.11 \
        --platform manylinux2014_aarch64 --platform manylinux_2_27_aarch64 --platform manylinux_2_28_aarch64 \
        --constraint "$repository/constraints.txt" --dest "$home/wheels" \
        onnxruntime numpy tokenizers msgspec filelock
    for wheel in "$home"/wheels/*.whl; do
        "$python" -m zipfile --extract "$wheel" "$home/site"
    done
    # QEMU shows programs the processor of the host; onnxruntime takes an x86 /proc/cpuinfo for an ARM one and crashes.
    # Files below its -L folder win over the host's.
    mkdir -p "$home/root/proc" "$home/root/sys/devices/system/cpu"
    cat > "$home/root/proc/cpuinfo" << 'END'
processor	: 0
BogoMIPS	: 100.00
Features	: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
CPU implementer	: 0x41
CPU architecture: 8
CPU variant	: 0x3
CPU part	: 0xd0c
CPU revision	: 1

END
    for file in possible present online kernel_max; do
        echo 0 > "$home/root/sys/devices/system/cpu/$file"
    done
    touch "$home/complete"
fi

export PYTHONPATH="$home/site:$repository" PYTHONDONTWRITEBYTECODE=1 OMP_NUM_THREADS=1
exec qemu-aarch64-static -cpu "$cpu" -L "$home/root" "$home/root/usr/bin/python3.11" \
    "$here/check_vectors.py" "$artifact" "$@"

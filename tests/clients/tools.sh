#!/usr/bin/env bash
# Installs what the tests of clients need and this machine lacks:  tools.sh [--fast]
# Debian's packages, through apt-get; then the examples' npm packages. --fast leaves out what ARM64 alone needs.
# What is there is left alone, wherever it came from, so that the second call takes no time.
set -euo pipefail
cd "$(dirname "$0")/../.."

fail() {
    printf 'clients: %s\n' "$@" >&2
    exit 2
}

lacking=()
need() { # PACKAGE COMMAND...: one of the commands must be there
    local package=$1 command
    shift
    for command in "$@"; do
        if command -v "$command" > /dev/null; then return; fi
    done
    lacking+=("$package")
}
need nodejs node
need npm npm
need chromium chromium chromium-browser google-chrome
need cmake cmake
need g++ g++
if [ ! -e /usr/include/nlohmann/json.hpp ] && [ ! -e /usr/local/include/nlohmann/json.hpp ]; then
    lacking+=(nlohmann-json3-dev)
fi
if [ "${1:-}" != --fast ]; then
    need qemu-user-static qemu-aarch64-static
    need mmdebstrap mmdebstrap
fi

if [ ${#lacking[@]} -gt 0 ]; then
    command -v apt-get > /dev/null || fail "this system has no apt-get; install what these packages of Debian have:" \
        "  ${lacking[*]}" "then call make again."
    as_root=()
    if [ "$(id -u)" != 0 ]; then
        command -v sudo > /dev/null || fail "as root, run: apt-get install ${lacking[*]}"
        as_root=(sudo)
    fi
    echo "clients: installing ${lacking[*]} (once)"
    get=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Acquire::Retries=2 -o Dpkg::Use-Pty=0)
    # Lists that are there may name versions that the mirror no longer has.
    "${get[@]}" update || echo "clients: the lists of packages are old, since the mirror did not answer" >&2
    "${get[@]}" install -y --no-install-recommends "${lacking[@]}" > /dev/null || fail \
        "apt-get could not install ${lacking[*]}; its message is above." \
        "If the mirror cannot be reached, try later: every other target of make works without these."
fi

version=$(node --version)
major=${version#v}
if [ "${major%%.*}" -lt 18 ]; then fail "node is $version; the examples need 18 or newer."; fi
if [ ! examples/node_modules/.package-lock.json -nt examples/package-lock.json ]; then
    echo "clients: installing the examples' npm packages (once)"
    # onnxruntime-node's own script would download CUDA libraries.
    (cd examples && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error) || fail \
        "npm could not install the examples' packages; its message is above. Is the registry reached?"
fi

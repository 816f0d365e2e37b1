#!/usr/bin/env bash
# Installs Java, which Spark needs, where there is none: Debian's package, through apt-get.
# Where it cannot be had, the tests of Spark are skipped.
set -uo pipefail
if [ -n "${JAVA_HOME:-}" ] || command -v java > /dev/null; then exit 0; fi

as_root=()
if [ "$(id -u)" != 0 ]; then as_root=(sudo --non-interactive); fi
get=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Acquire::Retries=2 -o Dpkg::Use-Pty=0)
echo "scale: installing default-jre-headless (once)"
"${get[@]}" update
"${get[@]}" install -y --no-install-recommends default-jre-headless > /dev/null ||
    echo "scale: no Java can be had, so that the tests of Spark will be skipped" >&2
exit 0

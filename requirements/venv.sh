#!/usr/bin/env bash
# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# venv.sh DIRECTORY: makes a virtual environment with the distribution's Python, or else the newest one that can make one,
# unless a working one exists. PYTHON=/path/to/python3 takes that Python and no other. uv is installed in it, for
# install.py, where it is to be had.
#
# Distributions build their Python with profile-guided optimisation, pyenv does not: the integration tests take an eighth
# more processor time with the latter.
set -euo pipefail

directory=$1
read -ra candidates <<<"${PYTHON:-/usr/bin/python3 python3.14 python3.13 python3.12 python3.11 python3}"

is_new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

works() {
    "$directory/bin/python" -m pip --version >/dev/null 2>&1
}

add_uv() {
    "$directory/bin/python" -m pip install --quiet --only-binary=:all: 'uv>=0.8,<1' ||
        echo "There is no uv to be had here: pip does its work, and takes longer." >&2
}

if works; then
    exit 0
fi

newest=
for python in "${candidates[@]}"; do
    if is_new_enough "$python"; then
        newest=${newest:-$python}
        if "$python" -m venv --clear "$directory" >/dev/null 2>&1 && works; then
            add_uv
            exit 0
        fi
    fi
done
if [[ -z $newest ]]; then
    echo "Python 3.11 or newer is needed, and none of these is: ${candidates[*]}" >&2
    exit 1
fi

# Debian keeps what makes a virtual environment in a package of its own.
package=$("$newest" -c 'import sys; print("python{}.{}-venv".format(*sys.version_info))')
if [[ $EUID -eq 0 ]] && command -v apt-get >/dev/null; then
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends "$package" >/dev/null </dev/null
fi
if ! "$newest" -m venv --clear "$directory"; then
    echo "$newest can't make a virtual environment in $directory. Debian and Ubuntu need the package $package." >&2
    exit 1
fi
add_uv

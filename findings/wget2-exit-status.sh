#!/usr/bin/env bash
# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# One would expect: wget2 exits like wget, 8 when the server answers with an error; its manual too lists "8 Server
#   issued an error response".
# What happens: wget2 exits 0 at 400, 403 and 421. A script or a cron job behind a gate takes a refused certificate for
#   success.
# Seen 2026-11-29: wget2 1.99.1-2.2, wget 1.21.3-1+deb12u1 (Debian 12):
#   400 403 421: wget exits 8 8 8, wget2 exits 0 0 0
set -euo pipefail
export no_proxy=127.0.0.1
work=$(mktemp -d)
server=
cleanup() {
  if [[ -n $server ]]; then
    kill "$server" 2>/dev/null || true
    wait "$server" || true
  fi
  rm -rf "$work"
}
trap cleanup EXIT
cd "$work"
for program in wget wget2; do
  command -v "$program" >/dev/null || timeout 300 apt-get install -y -q --no-install-recommends "$program"
done
# shellcheck disable=SC2016
dpkg-query -W -f '${Package} ${Version}\n' wget wget2
cat >server.py <<'PY'
from http.server import BaseHTTPRequestHandler, HTTPServer


class Refusal(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_error(int(self.path.strip("/")))


server = HTTPServer(("127.0.0.1", 0), Refusal)
print(server.server_port, flush=True)
server.serve_forever()
PY
timeout 120 python3 server.py >port.txt 2>server.log &
server=$!
for _ in $(seq 50); do [[ -s port.txt ]] || sleep 0.1; done
port=$(cat port.txt)
statuses() {
  local seen=()
  for answer in 400 403 421; do
    local status=0
    timeout 30 "$1" -q -O got "http://127.0.0.1:$port/$answer" || status=$?
    seen+=("$status")
  done
  echo "${seen[*]}"
}
wget=$(statuses wget)
wget2=$(statuses wget2)
echo "400 403 421: wget exits $wget, wget2 exits $wget2"
[[ $wget == "8 8 8" && $wget2 == "0 0 0" ]] || { echo "CHANGED: 8 and 0 were expected" >&2; exit 1; }

#!/usr/bin/env bash
# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# One would expect: a TPM in software whose state folder cannot be written says so when it is started.
# What happens: `swtpm socket --tpmstate dir=state --daemon` changes to / and looks for the folder there. It starts, exits with 0 and
#   answers questions; the first command that has to save something puts the TPM into failure mode for good, and clients read
#   "commands not being accepted because of a TPM failure", nothing of a folder.
# Seen 2026-11-29: swtpm 0.7.1-1.3, tpm2-tools 5.4-1 (Debian 12):
#   relative folder: started, TPM failure
#   absolute folder: started, ok
set -euo pipefail
work=$(mktemp -d)
cleanup() {
  for file in "$work"/*.pid; do
    [[ ! -e $file ]] || kill "$(cat "$file")" 2>/dev/null || true
  done
  rm -rf "$work"
}
trap cleanup EXIT
cd "$work"
for package in swtpm tpm2-tools libtss2-tcti-swtpm0; do
  dpkg-query -W "$package" >/dev/null 2>&1 || timeout 300 apt-get install -y -q --no-install-recommends "$package"
done
# shellcheck disable=SC2016
dpkg-query -W -f '${Package} ${Version}\n' swtpm tpm2-tools
start() { # kind of folder, folder
  local port said status=0
  # Its control channel is the next port.
  port=$(python3 - <<'PY'
import socket

while True:
    with socket.socket() as first, socket.socket() as second:
        first.bind(("127.0.0.1", 0))
        port = first.getsockname()[1]
        try:
            second.bind(("127.0.0.1", port + 1))
        except OSError:
            continue
    print(port)
    break
PY
)
  swtpm socket --tpm2 --tpmstate "dir=$2" --flags not-need-init,startup-clear --daemon --pid "file=$work/$1.pid" \
    --server "type=tcp,port=$port,bindaddr=127.0.0.1" --ctrl "type=tcp,port=$((port + 1)),bindaddr=127.0.0.1" 2>"$1.log" || status=$?
  [[ $status == 0 ]] && said=started || said="exit status $status"
  sleep 0.5
  status=0
  TPM2TOOLS_TCTI="swtpm:host=127.0.0.1,port=$port" timeout 60 tpm2_createprimary -c "$1.ctx" >"$1.out" 2>&1 || status=$?
  if [[ $status == 0 ]]; then
    echo "$said, ok"
  else
    echo "$said, $(grep -o 'TPM failure' "$1.out" | sed -n 1p)"
  fi
}
mkdir state other
relative=$(start relative state)
absolute=$(start absolute "$work/other")
echo "relative folder: $relative"
echo "absolute folder: $absolute"
if [[ $relative != "started, TPM failure" || $absolute != "started, ok" ]]; then
  echo "CHANGED: the relative folder was expected to fail after the start" >&2
  exit 1
fi

#!/usr/bin/env bash
# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# One would expect: a broker with one listener, for websockets, starts.
# What happens: it opens that socket and ends at once with "Unable to start any listening sockets, exiting": listeners for
#   websockets are not counted. With any listener for MQTT beside it, it starts.
# Seen 2026-11-30: mosquitto 2.0.11-1.2+deb12u2 (Debian 12):
#   websockets only: exit status 1, Error: Unable to start any listening sockets, exiting.
#   MQTT and websockets: runs
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export PATH=$PATH:/usr/sbin
command -v mosquitto >/dev/null || timeout 300 apt-get install -y -q --no-install-recommends mosquitto
# shellcheck disable=SC2016
dpkg-query -W -f '${Package} ${Version}\n' mosquitto
read -r mqtt websockets < <(python3 -c '
import socket
both = [socket.socket(), socket.socket()]
for one in both:
    one.bind(("127.0.0.1", 0))
print(*(one.getsockname()[1] for one in both))')
# A broker that runs is ended after three seconds, with the status 124.
run() {
  local status=0
  printf '%s\n' "$@" >mosquitto.conf
  timeout 3 mosquitto -c mosquitto.conf >broker.log 2>&1 || status=$?
  echo "$status $(sed -n 's/.*\(Error: .*\)/\1/p' broker.log)"
}
only=$(run "listener $websockets ::1" "protocol websockets")
both=$(run "listener $mqtt 127.0.0.1" "listener $websockets ::1" "protocol websockets")
echo "websockets only: $only"
echo "MQTT and websockets: $both"
if [[ $only != "1 Error: Unable to start any listening sockets, exiting." || $both != "124 " && $both != "0 " ]]; then
  echo "CHANGED: an end was expected without a listener for MQTT, and a broker that runs with one" >&2
  exit 1
fi

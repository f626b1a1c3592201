#!/usr/bin/env bash
# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# One would expect: "listener 9001 127.0.0.1" with "protocol websockets" listens on 127.0.0.1, as a listener for MQTT does, so
#   that only a proxy on the same machine reaches the broker.
# What happens: it listens on every address of the machine, IPv4 and IPv6, and says nothing. "bind_interface lo" does not
#   help either; "socket_domain ipv4" does, and so does ::1. A broker that trusts the proxy is open to the network.
# Seen 2026-11-30: mosquitto 2.0.11-1.2+deb12u2 (Debian 12), on a machine with IPv6:
#   MQTT: 127.0.0.1, websockets: *, websockets with socket_domain ipv4: 127.0.0.1
set -euo pipefail
work=$(mktemp -d)
broker=
cleanup() {
  if [[ -n $broker ]]; then
    kill "$broker" 2>/dev/null || true
    wait "$broker" || true
  fi
  rm -rf "$work"
}
trap cleanup EXIT
cd "$work"
export PATH=$PATH:/usr/sbin
command -v mosquitto >/dev/null || timeout 300 apt-get install -y -q --no-install-recommends mosquitto
command -v ss >/dev/null || timeout 300 apt-get install -y -q --no-install-recommends iproute2
# shellcheck disable=SC2016
dpkg-query -W -f '${Package} ${Version}\n' mosquitto
read -r mqtt websockets < <(python3 -c '
import socket
both = [socket.socket(), socket.socket()]
for one in both:
    one.bind(("127.0.0.1", 0))
print(*(one.getsockname()[1] for one in both))')
address() { ss -Hltn "sport = :$1" | awk '{sub(/:[0-9]+$/, "", $4); print $4}'; }
# The lines of a listener for websockets, beside one for MQTT; prints where both listen.
listen() {
  printf '%s\n' "listener $mqtt 127.0.0.1" "listener $websockets 127.0.0.1" "protocol websockets" "$@" >mosquitto.conf
  mosquitto -c mosquitto.conf >broker.log 2>&1 &
  broker=$!
  for _ in $(seq 50); do [[ -n $(address "$websockets") && -n $(address "$mqtt") ]] || sleep 0.1; done
  echo "MQTT $(address "$mqtt") websockets $(address "$websockets")" >seen
  kill "$broker"
  wait "$broker" || true
  broker=
}
listen
usual=$(cat seen)
listen "socket_domain ipv4"
limited=$(cat seen)
echo "$usual"
echo "$limited, with socket_domain ipv4"
if [[ $usual != "MQTT 127.0.0.1 websockets *" || $limited != "MQTT 127.0.0.1 websockets 127.0.0.1" ]]; then
  echo "CHANGED: every address was expected, and 127.0.0.1 with socket_domain" >&2
  exit 1
fi

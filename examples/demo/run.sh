#!/usr/bin/env bash
# The demo: guards https://127.0.0.1:8443 on this machine, then shows who gets in.
#   run.sh up             needs root, ansible-playbook on the PATH and the collection where Ansible finds it
#   run.sh up 192.0.2.7   the same on port 8443 of every address, under this one, for a phone in the same network
#   run.sh down           takes all of it away again
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
state=$here/../../build/demo
address=${2:-127.0.0.1}
page=https://$address:8443
export ANSIBLE_LOCALHOST_WARNING=false ANSIBLE_DEPRECATION_WARNINGS=false

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }

play() { ansible-playbook -i "$state/inventory/hosts.yml" "$@"; }

nginx_runs() { [ -s /run/nginx.pid ] && kill -0 "$(cat /run/nginx.pid)" 2>/dev/null; } # the machine's own, no container's

packages() { dpkg-query --show --showformat '${Package}\n' | sort; }

up() {
  [ "$(id -u)" = 0 ] || { echo 'make demo installs nginx and writes below /etc/nginx: run it as root' >&2; exit 1; }
  [[ $address =~ ^[A-Za-z0-9][A-Za-z0-9.-]*$ ]] || { echo "$address is not a host name and no IPv4 address" >&2; exit 2; }
  mkdir -p "$state"
  if [ ! -e "$state/before" ]; then
    if ! command -v nginx >/dev/null; then
      echo absent
    elif nginx_runs; then
      echo running
    else
      echo stopped
    fi >"$state/before"
    packages >"$state/packages-before"
  fi
  command -v curl >/dev/null || { apt-get update -q && apt-get install -qy --no-install-recommends curl; }
  local again='' demo=$state/inventory/host_vars/demo.yml
  if [ -d "$state/inventory" ]; then
    again=yes
  else
    cp -r "$here/inventory" "$state/inventory"
  fi
  place "$demo"
  cp "$demo" "$state/demo.yml"

  if [ -n "$again" ]; then
    say '1. The inventory of the last time is kept, with your edits. make demo-clean begins anew.'
  else
    say '1. The inventory has three clients and one service. site.yml makes it true.'
  fi
  cat "$demo"
  play "$here/prepare.yml" >"$state/prepare.log" || { cat "$state/prepare.log"; exit 1; }
  play mtls.nginx.site
  [ -e "$state/packages-added" ] || packages | comm -13 "$state/packages-before" - >"$state/packages-added"

  if [ -n "$again" ]; then
    say '2. The same command again finds nothing to do.'
  else
    say '2. A phone is lost: two lines in host_vars, and the same command again.'
    sed -i 's/^  - name: lost-phone$/&\n    state: revoked\n    reason: keyCompromise/' "$demo"
    diff -u "$state/demo.yml" "$demo" | tail -n +3 || true
  fi
  play mtls.nginx.site

  say '3. The status page shows who may enter where, and when each certificate expires.'
  play mtls.nginx.status

  say '4. Who gets in? Real requests with curl:'
  table
  cat <<TEXT

Look at it:  build/demo/status/status.html and build/demo/pki/clients/iphone-admin/iphone-admin.html, in a browser
Try it:      cd build/demo/pki && curl --cacert ca.crt --cert clients/iphone-admin/iphone-admin.crt --key clients/iphone-admin/iphone-admin.key $page/
Change it:   edit build/demo/inventory/host_vars/demo.yml, then
             ANSIBLE_COLLECTIONS_PATH=build/collections .venv/bin/ansible-playbook -i build/demo/inventory/hosts.yml mtls.nginx.site
On a phone:  docs/first-phone.md
Remove it all: make demo-clean
TEXT
}

place() { # the inventory's file: the service listens on this machine only, or under the address that was given
  local listen=8443 names="[$address]"
  if [ "$address" = 127.0.0.1 ]; then
    listen=127.0.0.1:8443 names='[127.0.0.1, localhost]'
  fi
  [ "$(cat "$state/address" 2>/dev/null)" != "$address" ] || return 0
  sed -i -E "s/^(    listen: )(127\.0\.0\.1:)?8443$/\1$listen/; s/^(    server_names: )\[[^]]*\]$/\1$names/" "$1"
  echo "$address" >"$state/address"
}

table() {
  local clients=$state/pki/clients other=$state/another-pki/clients/iphone-admin/iphone-admin failed=0
  printf '\n  %-46s %-10s %s\n' 'who asks' 'expected' 'got'
  printf '  %-46s %-10s %s\n' '----------------------------------------------' '--------' '---'
  row 'nobody (no certificate)' 400 /
  row 'iphone-admin (on the allow list)' 200 / "$clients/iphone-admin/iphone-admin"
  row 'laptop-guest (valid, not on the list)' 403 / "$clients/laptop-guest/laptop-guest"
  row 'lost-phone (on the list, but revoked)' 400 / "$clients/lost-phone/lost-phone"
  row '"iphone-admin" of another CA of the same name' 400 / "$other"
  row 'nobody, on the public path /health' 200 /health
  return $failed
}

row() { # who, expected status, path, certificate and key without their endings
  local got said='' identity=()
  [ $# -lt 4 ] || identity=(--cert "$4.crt" --key "$4.key")
  got=$(curl --silent --output "$state/answer" --write-out '%{http_code}' --cacert "$state/pki/ca.crt" \
    "${identity[@]}" "$page$3") || true
  # A page's title, or the first line of what is said to programs.
  said=$(sed -n 's/.*<title>\(.*\)<\/title>.*/\1/p' "$state/answer" | tr -d '\r')
  [ "$got" -lt 400 ] || said=$(head -n 1 "$state/answer")
  [ "$got" = "$2" ] || { said="$said   <-- NOT AS EXPECTED"; failed=1; }
  printf '  %-46s %-10s %s %s\n' "$1" "$2" "$got" "${said#"$got" }"
}

down() {
  [ -e "$state/before" ] || { echo 'There is no demo to remove.'; return; }
  if [ -d "$state/inventory" ]; then
    play "$here/remove.yml"
    rmdir --ignore-fail-on-non-empty /etc/nginx/client-certs /etc/nginx/server-certs 2>/dev/null || true
  fi
  case $(cat "$state/before") in
    absent)
      stop_nginx
      # What came with the demo, and nothing else; a run that failed has not noted it.
      [ -e "$state/packages-added" ] || packages | comm -13 "$state/packages-before" - >"$state/packages-added"
      DEBIAN_FRONTEND=noninteractive xargs -r apt-get purge -qqy <"$state/packages-added" >/dev/null
      ;;
    stopped) stop_nginx ;;
  esac
  rm -rf "$state"
  echo 'The demo is removed. (.venv and build/collections stay for make test; make clean removes them.)'
}

stop_nginx() { ! nginx_runs || nginx -s stop; }

case ${1-} in
  up) up "$@" ;;
  down) down ;;
  *) echo "usage: $0 up [address]|down" >&2; exit 2 ;;
esac

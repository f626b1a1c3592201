#!/usr/bin/env bash
# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# One would expect: a wolfSSL client with a CA verifies the server. The README in the same package: "The default policy for the
#   client is to verify the server, this means that if you don't load CAs to verify the server you'll get a connect error".
# What happens: Debian builds it with OPENSSL_COMPATIBLE_DEFAULTS. A client then connects to a server whose certificate is of
#   any other CA, or signed by itself, until it calls wolfSSL_CTX_set_verify(context, WOLFSSL_VERIFY_PEER, NULL).
# Seen 2026-11-30: libwolfssl-dev 5.5.4-2+deb12u3 (Debian 12):
#   by default: connected, with WOLFSSL_VERIFY_PEER: refused
set -euo pipefail
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
dpkg-query -s libwolfssl-dev gcc libc6-dev >/dev/null 2>&1 ||
  timeout 300 apt-get install -y -q --no-install-recommends libwolfssl-dev gcc libc6-dev
# shellcheck disable=SC2016
dpkg-query -W -f '${Package} ${Version}\n' libwolfssl-dev
zgrep -c 'default policy for the client is to verify the server' /usr/share/doc/libwolfssl-dev/README.gz
cat >client.c <<'C'
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <wolfssl/options.h>
#include <wolfssl/ssl.h>

/* client PORT CA [verify] */
int main(int count, char **given)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(given[1]))};
    int descriptor = socket(AF_INET, SOCK_STREAM, 0);
    WOLFSSL_CTX *context;
    WOLFSSL *ssl;

    wolfSSL_Init();
    context = wolfSSL_CTX_new(wolfTLSv1_2_client_method());
    if (wolfSSL_CTX_load_verify_locations(context, given[2], NULL) != WOLFSSL_SUCCESS)
        return 2;
    if (count == 4)
        wolfSSL_CTX_set_verify(context, WOLFSSL_VERIFY_PEER, NULL);
    ssl = wolfSSL_new(context);
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    if (connect(descriptor, (struct sockaddr *)&address, sizeof address))
        return 3;
    wolfSSL_set_fd(ssl, descriptor);
    puts(wolfSSL_connect(ssl) == WOLFSSL_SUCCESS ? "connected" : "refused");
    return 0;
}
C
gcc -o client client.c -lwolfssl
for name in server other; do
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$name.key" -out "$name.crt" -days 2 \
    -subj /CN=localhost 2>openssl.log
done
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
openssl s_server -accept "127.0.0.1:$port" -cert server.crt -key server.key -quiet >server.log 2>&1 &
server=$!
for _ in $(seq 50); do timeout 5 bash -c ": </dev/tcp/127.0.0.1/$port" 2>/dev/null || { sleep 0.1; continue; }; break; done
usual=$(timeout 30 ./client "$port" other.crt)
verified=$(timeout 30 ./client "$port" other.crt verify)
echo "by default: $usual, with WOLFSSL_VERIFY_PEER: $verified"
[[ $usual == connected && $verified == refused ]] || { echo "CHANGED: connected and refused were expected" >&2; exit 1; }

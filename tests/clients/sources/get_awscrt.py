# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One GET by the AWS Common Runtime, whose TLS is s2n: get_awscrt.py HOST PORT CA [CERTIFICATE KEY]."""

from __future__ import annotations

import sys

from awscrt import http, io

host, port, ca, *identity = sys.argv[1:]
options = io.TlsContextOptions.create_client_with_mtls_from_path(*identity) if identity else io.TlsContextOptions()
options.override_default_trust_store_from_path(None, ca)
tls = io.ClientTlsContext(options).new_connection_options()
tls.set_server_name(host)
bootstrap = io.ClientBootstrap(io.EventLoopGroup(1), io.DefaultHostResolver(io.EventLoopGroup(1)))
connecting = http.HttpClientConnection.new(
    host_name=host, port=int(port), bootstrap=bootstrap, socket_options=io.SocketOptions(), tls_connection_options=tls
)
connection = connecting.result(20)
body: list[bytes] = []
status: list[int] = []
request = http.HttpRequest("GET", "/inside", http.HttpHeaders([("Host", f"{host}:{port}")]))
stream = connection.request(
    request,
    lambda http_stream, status_code, headers, **more: status.append(status_code),
    lambda http_stream, chunk, **more: body.append(chunk),
)
stream.activate()
stream.completion_future.result(20)
sys.stdout.write(f"{status[0]}\n{b''.join(body).decode()}")

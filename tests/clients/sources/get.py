# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One GET by Python's `ssl`, or by a library with its interface: get.py MODULE HOST PORT CA [PEM]."""

from __future__ import annotations

import importlib
import socket
import sys

module, host, port, ca, *identity = sys.argv[1:]
ssl = importlib.import_module(module)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.load_verify_locations(ca)
if identity:
    context.load_cert_chain(identity[0])
received = b""
raw = socket.create_connection((host, int(port)), timeout=20)
with context.wrap_socket(raw, server_hostname=host) as connection:
    connection.sendall(f"GET /inside HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
    while chunk := connection.recv(65536):
        received += chunk
sys.stdout.write(received.decode())

# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One GET by httpx: get_httpx.py NAME URL CA [PEM]. With a NAME, another one of that name on its connection."""

from __future__ import annotations

import ssl
import sys

import httpx

name, url, ca, *identity = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
if identity:
    context.load_cert_chain(identity[0])
with httpx.Client(http2=True, verify=context, trust_env=False) as client:
    answer = client.get(url)
    if name:
        answer = client.get(f"{url}/second", headers={"Host": name})
sys.stdout.write(f"{answer.status_code}\n{answer.text}")

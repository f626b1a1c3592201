# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One GET by a Python library with requests' interface: get_requests.py MODULE URL CA [CERTIFICATE KEY]."""

from __future__ import annotations

import importlib
import sys

module, url, ca, *identity = sys.argv[1:]
answer = importlib.import_module(module).get(url, verify=ca, cert=tuple(identity) or None, timeout=20)
sys.stdout.write(f"{answer.status_code}\n{answer.text}")

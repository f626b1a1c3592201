# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One GET by libcurl, as Debian's Python has it, with GnuTLS: get_pycurl.py URL CA [PEM | P12 PASSWORD]."""

from __future__ import annotations

import sys

import pycurl

url, ca, *identity = sys.argv[1:]
curl = pycurl.Curl()
curl.setopt(pycurl.URL, url)
curl.setopt(pycurl.CAINFO, ca)
curl.setopt(pycurl.TIMEOUT, 20)
if identity:
    curl.setopt(pycurl.SSLCERT, identity[0])
if identity[1:]:
    curl.setopt(pycurl.SSLCERTTYPE, "P12")
    curl.setopt(pycurl.KEYPASSWD, identity[1])
curl.perform()

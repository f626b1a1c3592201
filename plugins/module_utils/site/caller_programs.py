# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which program came, by its User-Agent, and what its owner can do there when it sends no certificate.

A User-Agent is what the caller says: nothing but words for people follows from it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_NEITHER = "it offers none that has expired, and none of a CA that the host does not trust"
_TRY_CURL = "try curl with the same files: if that gets in, it is the program's settings"
_LONGEST_NAME = 60  # characters of a User-Agent that nobody knows


@dataclass(frozen=True)
class Program:
    """A program: its ``name``, and what to do where it sends no certificate, as the end of a sentence.

    ``succeeds`` is what it takes for it to fail at a 400 or 403, None where it fails by itself.
    """

    name: str
    remedy: str
    succeeds: str | None = None


# Measured (docs/clients.md, docs/programs.md); the first that matches counts: Chrome's text has Safari's in it.
_KNOWN: tuple[tuple[str, Program], ...] = (
    ("Firefox/", Program("Firefox", f"import the .p12 into Firefox's own store, and restart it; {_NEITHER}")),
    (
        "Chrome/|Chromium/|CriOS/|HeadlessChrome/",
        Program(
            "Chrome or another browser of its kind", f"close it completely, start it again, and choose it; {_NEITHER}"
        ),
    ),
    ("Safari/", Program("Safari", "install the profile or the .p12 on that device, and restart the browser")),
    (
        "^Go-http-client/",
        Program(
            "a Go program",
            "tls.Config.Certificates sends none whose issuer the host does not name: give it the certificate of this"
            " authority, or use GetClientCertificate",
        ),
    ),
    (
        "^Java-http-client/|^Java/|\\(Java/",
        Program(
            "a Java program",
            "name the .p12 as its keystore (javax.net.ssl.keyStore); it sends none whose issuer the host does not"
            " name, and from Java 26 on none that has expired",
        ),
    ),
    (
        "^Wget/",
        Program("wget", f"it says nothing of a file that it cannot read, or of an issuer not named; {_TRY_CURL}"),
    ),
    (
        "^[Ww]get2",
        Program("wget2", f"it says nothing of an issuer that the host does not name; {_TRY_CURL}", "nothing: use wget"),
    ),
    ("^curl/", Program("curl", "give it --cert and --key", "--fail")),
    ("^git-lfs/", Program("git-lfs", "set both http.sslCert and http.sslKey")),
    ("^git/", Program("git", "set http.sslCert and http.sslKey, to PEM files")),
    ("^HTTPie/", Program("httpie", "give it --cert and --cert-key", "--check-status")),
    ("^hurl/", Program("hurl", "give it --cert and --key", "a line HTTP 200 in the file")),
    ("^PostmanRuntime/", Program("newman", "give it --ssl-client-cert and --ssl-client-key", "a test of the status")),
    ("^cadaver/", Program("cadaver", "set client-cert to the .p12", "nothing: read what it prints")),
    ("^pip/", Program("pip", "give it --client-cert, one file with certificate and key")),
)
_OTHERS = f"docs/programs.md says how some 50 programs are given a certificate; {_TRY_CURL}"


def program(agent: str) -> Program:
    """Return what is known of the program that calls itself so, in a request's User-Agent."""
    for pattern, known in _KNOWN:
        if re.search(pattern, agent):
            return known
    name = agent[:_LONGEST_NAME]
    return Program(f"a program that calls itself '{name}'" if name.strip("-") else "a program without a name", _OTHERS)

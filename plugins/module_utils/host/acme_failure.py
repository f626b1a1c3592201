# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Why certbot obtained no certificate: in the ACME server's own words, with what to do."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from typing import Any

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import one_line
from ansible_collections.mtls.nginx.plugins.module_utils.host import acme_lineages

_LOG = re.compile(r"^Saving debug log to (?P<path>/.*)$", re.MULTILINE)
_LOG_END = 1 << 20  # bytes
_CALLED = re.compile(r"^\S+ \S+:Arguments: (?P<words>\[.*)$", re.MULTILINE)
_RECORD = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+:[A-Z]+:[\w.]+:", re.MULTILINE)
_TYPE = "urn:ietf:params:acme:error:"  # RFC 8555, 6.7
# certbot 5 says "Identifier".
_CHALLENGE = re.compile(
    r"^ +(?:Domain|Identifier): (?P<name>.+)\n +Type: +(?P<type>.+)\n +Detail: (?P<detail>(?:.+\n?)+?)(?=\n|\Z)",
    re.MULTILINE,
)
_NOISE = re.compile(
    r"Saving debug log|Requesting a certificate|Renewing an existing|Account registered|Ask for help|Some challenges"
    r"|An unexpected error occurred:|- - -|Hint: |warnings\.warn|.*Warning: "
)
_ELSEWHERE = (
    "another server, or another server block, answers on port 80 there: the DNS record of each name must point to "
    "this host, and port 80 must reach its nginx"
)
_CAA = "allow this ACME server in the CAA record of the domain"
_LIMIT = (
    "wait as long as it says, since every attempt counts; to try things out, set directory_url to that of its staging "
    "server"
)
_AT_A_NAME = {
    "dns": "each name needs a DNS record (A or AAAA) that points to this host",
    "connection": "it must reach port 80 of each name: see the DNS records, the router and the firewall",
    "unauthorized": _ELSEWHERE,
    "incorrectResponse": _ELSEWHERE,
    "caa": _CAA,
    "rateLimited": _LIMIT,
}
_MAIL = "set another email in mtls_acme, or none"
_ACCOUNT = "if that is about certbot's account there, remove {account}, and run again: it makes another one"
_OF_AN_ORDER = {
    "rateLimited": _LIMIT,
    "invalidContact": _MAIL,
    "unsupportedContact": _MAIL,
    "invalidEmail": _MAIL,
    "accountDoesNotExist": _ACCOUNT,
    "unauthorized": _ACCOUNT,
    "rejectedIdentifier": "this ACME server issues no certificate for such a name; see server_names",
    "caa": _CAA,
    "userActionRequired": "do there what it asks for, and run again",
    "serverInternal": "run again later",
}
_PROFILE = "see profile; the directory at that address lists the available ones under profiles"
_BINDING = (
    "register once on the host, with what the ACME server has given you (certbot register --server {url} --eab-kid …"
    " --eab-hmac-key …), and run again"
)
_SEVERAL = (
    "certbot has several accounts there: remove all but one (certbot unregister --server {url} --account …), and run"
    " again"
)
_CLOCK = "see the clock of this host, which says {now}; if it is right, the ACME server's own certificate is wrong"
# What else is known by its words.
_OF_CERTBOT = (
    (re.compile("unrecognized profile|[Ii]nvalid profile"), _PROFILE),
    (re.compile("external account binding"), _BINDING),
    (re.compile("Please choose an account"), _SEVERAL),
    (re.compile("certificate has expired|certificate is not yet valid"), _CLOCK),
    (
        re.compile("CERTIFICATE_VERIFY_FAILED"),
        "if directory_url is right, have this host trust the CA of that ACME server",
    ),
    (
        re.compile("[Nn]ame resolution|[Nn]ame or service not known|Failed to resolve"),
        "see directory_url, and the name servers of this host",
    ),
    (
        re.compile("Connection refused|timed out|Network is unreachable|No route to host"),
        "see directory_url, and whether this host may connect to it",
    ),
    (re.compile(r"<Response \[\d+\]>"), "no ACME server answers at that address; see directory_url"),
    (re.compile("No space left on device"), "make room on that disk, and run again"),
)


def explain(output: str, lineage: str, directory_url: str) -> str:
    """Return why certbot, which was to obtain ``lineage``, did not, and what to do: in one line.

    ``output`` is what it said. Some versions hide there what the ACME server said (certbot 2.1 with Python 3.11 always
    does), so its log is read too.
    """
    found = list(_CHALLENGE.finditer(output))
    if found:
        said = "; ".join(f"{match['name']}: {' '.join(match['detail'].split())}" for match in found)
        return _with_remedies(said, [_AT_A_NAME.get(match["type"], _AT_A_NAME["connection"]) for match in found])
    values = {
        "account": _account_folder(directory_url),
        "url": directory_url,
        "now": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    }
    problem = _problem(_log(output, lineage))
    if problem is not None:
        said, remedy = _words(problem), _OF_AN_ORDER.get(problem["type"][len(_TYPE) :])
        if remedy is not None:
            return _with_remedies(said, [remedy.format(**values)])
    else:
        said = words(output) or "certbot did not say why; see /var/log/letsencrypt"
    remedies = [remedy.format(**values) for pattern, remedy in _OF_CERTBOT if pattern.search(said)]
    return _with_remedies(said, remedies[:1])


def words(output: str) -> str:
    """Return what certbot says, in one line."""
    lines = [line.strip() for line in output.splitlines() if line.strip() and not _NOISE.match(line.strip())]
    return one_line(" ".join(lines))


def _with_remedies(said: str, remedies: list[str]) -> str:
    return one_line("; ".join([said.rstrip(". "), *dict.fromkeys(remedies)]))


def _account_folder(directory_url: str) -> str:
    return os.path.join(acme_lineages.CONFIG_DIR, acme_lineages.accounts(directory_url))


def _log(output: str, lineage: str) -> str:
    """Return what certbot has logged in this call; nothing if another one, by its timer, has come after it."""
    match = _LOG.search(output)
    if match is None:
        return ""
    try:
        with open(match["path"].strip(), "rb") as stream:
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - _LOG_END))
            text = stream.read().decode(errors="replace")
    except OSError:
        return ""
    # Debian has all calls of a week in one file.
    called = list(_CALLED.finditer(text))
    return text[called[-1].start() :] if called and f"'{lineage}'" in called[-1]["words"] else ""


def _problem(log: str) -> dict[str, Any] | None:
    """Return the last problem document (RFC 7807) that the ACME server sent."""
    found = None
    for body in _bodies(log):
        try:
            document = json.loads(body)
        except ValueError:
            continue
        if not isinstance(document, dict) or not isinstance(document.get("detail"), str):
            continue
        # After badNonce certbot tries again.
        if str(document.get("type")).startswith(_TYPE) and document["type"] != f"{_TYPE}badNonce":
            found = document
    return found


def _bodies(log: str) -> Iterator[str]:
    for record in _RECORD.split(log):
        if record.startswith("Received response:"):
            _head, _blank, body = record.partition("\n\n")
            yield body


def _words(problem: dict[str, Any]) -> str:
    """Return what a problem document says, and what it says of single names (RFC 8555, 6.7.1)."""
    parts = [problem["detail"]]
    listed = problem.get("subproblems")
    for each in listed if isinstance(listed, list) else ():
        if isinstance(each, dict) and isinstance(each.get("detail"), str):
            identifier = each.get("identifier")
            name = identifier.get("value") if isinstance(identifier, dict) else None
            parts.append(f"{name}: {each['detail']}" if isinstance(name, str) else each["detail"])
    return " ".join("; ".join(parts).split())

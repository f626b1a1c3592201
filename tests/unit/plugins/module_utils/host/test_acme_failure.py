# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What certbot 2.1.0 and 5.8.0 said, as it was seen, and what the user reads."""

from __future__ import annotations

import json

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.host.acme_failure import explain
from ansible_collections.mtls.nginx.tests.mistakes import FROM_AN_ACME_SERVER, pattern

URL = "https://acme.example.com/directory"
END = (
    "Ask for help or search for solutions at https://community.letsencrypt.org. See the logfile"
    " /var/log/letsencrypt/letsencrypt.log or re-run Certbot with -v for more details.\n"
)
HIDDEN = (
    f"Requesting a certificate for nas.test\nAn unexpected error occurred:\nAttributeError: can't set attribute\n{END}"
)
LIMIT = (
    "too many certificates (5) already issued for this exact set of identifiers in the last 168h0m0s, retry after"
    " 2026-12-01 10:00:00 UTC"
)
ACCOUNT = "/etc/letsencrypt/accounts/acme.example.com/directory"


def challenge(word, *found):
    parts = [f"  {word}: {name}\n  Type:   {kind}\n  Detail: {detail}\n" for name, kind, detail in found]
    return (
        "Certbot failed to authenticate some domains (authenticator: webroot). The Certificate Authority reported these"
        f" problems:\n{chr(10).join(parts)}\nHint: The Certificate Authority failed to download the temporary challenge"
        f" files created by Certbot.\n\nSome challenges have failed.\n{END}"
    )


def connection_error(cause):
    return (
        "An unexpected error occurred:\nrequests.exceptions.SSLError: HTTPSConnectionPool(host='acme.example.com',"
        f" port=443): Max retries exceeded with url: /directory (Caused by {cause})\n{END}"
    )


CERTBOT = [
    (
        challenge("Domain", ("a.test", "dns", "NXDOMAIN looking up A"), ("b.test", "caa", "CAA is in vain")),
        "a.test: NXDOMAIN looking up A; b.test: CAA is in vain; each name needs a DNS record (A or AAAA) that",
    ),
    (challenge("Domain", ("a.test", "caa", "CAA")), "CAA; allow this ACME server in the CAA record of the domain"),
    (
        challenge("Identifier", ("a.test", "connection", "Timeout"), ("b.test", "tls", "no\n   TLS")),
        "a.test: Timeout; b.test: no TLS; it must reach port 80 of each name: see the DNS records, the router",
    ),
    (
        challenge("Identifier", ("a.test", "unauthorized", "192.0.2.9: Invalid response: 404")),
        "a.test: 192.0.2.9: Invalid response: 404; another server, or another server block, answers on port 80",
    ),
    (
        'Order includes unrecognized profile name "nosuch"\n',
        'profile name "nosuch"; see profile; the directory at that address lists',
    ),
    (
        f"Server requires external account binding. Please use --eab-kid and --eab-hmac-key.\n{END}",
        "--eab-hmac-key; register once on the host, with what the ACME server has given you (certbot register",
    ),
    (
        "Missing command line flag:\nPlease choose an account\nChoices: ['vm@1 (90f0)', 'vm@2 (f335)']\n",
        "Choices: ['vm@1 (90f0)', 'vm@2 (f335)']; certbot has several accounts there: remove all but one",
    ),
    (connection_error("certificate has expired"), "; see the clock of this host, which says 20"),
    (
        f"x.py:3: SystemTimeWarning: way off\n  warnings.warn(\n{connection_error('certificate is not yet valid')}",
        "; see the clock of this host, which says 20",
    ),
    (
        connection_error("'[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate'"),
        "; if directory_url is right, have this host trust the CA of that ACME server",
    ),
    (connection_error("[Errno -3] Temporary failure in name resolution"), "and the name servers of this host"),
    (connection_error("[Errno 111] Connection refused"), "; see directory_url, and whether this host may connect"),
    ("acme.errors.ClientError: <Response [404]>\n", "; no ACME server answers at that address; see directory_url"),
    ("OSError: [Errno 28] No space left on device: '/etc/letsencrypt/csr'\n", "; make room on that disk"),
    (f"An unexpected error occurred:\n{LIMIT}\n{END}", LIMIT),
    (HIDDEN, "AttributeError: can't set attribute"),
    (END, "certbot did not say why; see /var/log/letsencrypt"),
]


@pytest.mark.parametrize(("output", "told"), CERTBOT)
def test_what_certbot_says(output, told):
    said = explain(f"Saving debug log to /nonexistent/letsencrypt.log\n{output}", "mtls-nas", URL)
    assert told in said
    assert "\n" not in said
    assert "Ask for help" not in said
    assert "Warning" not in said


def log(problem, lineage="mtls-nas"):
    """The log of one call; each record begins with the time."""
    client = "2026-11-29 22:42:57,086:DEBUG:acme.client:"
    return (
        f"2026-11-29 22:42:56,001:DEBUG:certbot._internal.main:Arguments: ['--cert-name', '{lineage}', '--server']\n"
        f'{client}Received response:\nHTTP 200\nContent-Type: application/json\n\n{{"newNonce": "https://x"}}\n'
        f"{client}Received response:\nHTTP {problem['status']}\nReplay-Nonce: x\n\n{json.dumps(problem, indent=2)}\n"
        "2026-11-29 22:42:58,031:DEBUG:certbot._internal.log:Exiting abnormally:\nTraceback (most recent call last):\n"
    )


SERVER = [
    ("rateLimited", LIMIT, f"{LIMIT}; wait as long as it says, since every attempt counts"),
    (
        "invalidContact",
        'contact email has forbidden domain "example.com"',
        'domain "example.com"; set another email',
    ),
    (
        "accountDoesNotExist",
        "Account 7 not found.",
        f"Account 7 not found; if that is about certbot's account there, remove {ACCOUNT}, and",
    ),
    (
        "unauthorized",
        'Account is not valid, has status "deactivated"',
        f'"deactivated"; if that is about certbot\'s account there, remove {ACCOUNT}',
    ),
    (
        "rejectedIdentifier",
        "forbidden by policy",
        "forbidden by policy; this ACME server issues no certificate for such a name",
    ),
    ("serverInternal", "The service is down for maintenance.", "maintenance; run again later"),
    ("malformed", "Order includes unrecognized profile name", "profile name; see profile;"),
    ("somethingNew", "words of its own", "words of its own"),
]


@pytest.mark.parametrize(("kind", "detail", "told"), SERVER)
def test_what_the_acme_server_says(tmp_path, kind, detail, told):
    path = tmp_path / "letsencrypt.log"
    problem = {"type": f"urn:ietf:params:acme:error:{kind}", "detail": detail, "status": 400}
    output = f"Saving debug log to {path}\n{HIDDEN}"
    path.write_text(log({**problem, "detail": "before"}) + log(problem))
    assert told in explain(output, "mtls-nas", URL)
    # Another call has come after it; a nonce that was refused is tried again.
    path.write_text(log(problem) + log(problem, "mtls-wiki"))
    assert explain(output, "mtls-nas", URL) == "AttributeError: can't set attribute"
    path.write_text(log({**problem, "type": "urn:ietf:params:acme:error:badNonce"}))
    assert explain(output, "mtls-nas", URL) == "AttributeError: can't set attribute"


def test_each_name_that_is_refused(tmp_path):
    path = tmp_path / "letsencrypt.log"
    kind = "urn:ietf:params:acme:error:rejectedIdentifier"
    about = [
        {"type": kind, "detail": "forbidden\ndomain", "identifier": {"type": "dns", "value": "a.test"}},
        {"type": kind, "detail": "too short", "identifier": "none"},
        "none",
    ]
    path.write_text(log({"type": kind, "detail": "Some are refused", "status": 400, "subproblems": about}))
    said = explain(f"Saving debug log to {path}\n{HIDDEN}", "mtls-nas", URL)
    assert said.startswith("Some are refused; a.test: forbidden domain; too short; this ACME server issues")


def test_docs_troubleshooting_has_what_is_told(tmp_path):
    path = tmp_path / "letsencrypt.log"
    said = [explain(output, "mtls-nas", URL) for output, _told in CERTBOT]
    for kind, detail, _told in SERVER:
        path.write_text(log({"type": f"urn:ietf:params:acme:error:{kind}", "detail": detail, "status": 400}))
        said.append(explain(f"Saving debug log to {path}\n{HIDDEN}", "mtls-nas", URL))
    for message in FROM_AN_ACME_SERVER:
        assert any(pattern(message).search(text) for text in said), message

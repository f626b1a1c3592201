# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a CA that is limited by name constraints (RFC 5280, 4.2.1.10) may not issue, by OpenSSL's judgement.

OpenSSL also holds constraints on DNS names against the CN of a certificate without a DNS name, if it looks like a host
name (``NAME_CONSTRAINTS_check_CN``): nginx lets ``phone`` in, and refuses ``anna.smith`` with error 47.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import subjects
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError

try:
    from cryptography import x509
    from cryptography.x509.oid import NameOID
except ImportError:  # reported by entry.require_cryptography
    pass

# cn2dnsid of OpenSSL 3: two labels at least, no dot or hyphen at an end, none beside a dot.
_HOST_NAME = re.compile(r"(?![.-])(?!.*(?:\.[.-]|-\.))(?=.*\.)[A-Za-z0-9_.-]+(?<![.-])", re.ASCII)


def check(chain: Sequence[x509.Certificate], subject: x509.Name, names: Sequence[x509.GeneralName], owner: str) -> None:
    """Raise MtlsError when a CA of the chain may not issue a certificate with this subject and subjectAltName."""
    for ca in chain:
        try:
            limits = ca.extensions.get_extension_for_class(x509.NameConstraints).value
        except x509.ExtensionNotFound:
            continue
        for name in _names(subject, names):
            fault = _fault(name, limits)
            if fault is not None:
                raise MtlsError(
                    f"{owner}: {_text(name)} {fault} the name constraints of {subjects.nginx_dn(ca.subject)}, so "
                    "OpenSSL would refuse it (permitted or excluded subtree violation); give it another name or subject"
                )


def _names(subject: x509.Name, names: Sequence[x509.GeneralName]) -> list[x509.GeneralName]:
    """Return everything of a certificate that OpenSSL compares."""
    every = list(names)
    if not any(isinstance(name, x509.DNSName) for name in names):
        common = (str(each.value) for each in subject.get_attributes_for_oid(NameOID.COMMON_NAME))
        every += [x509.DNSName(text) for text in common if _HOST_NAME.fullmatch(text)]
    return [*every, x509.DirectoryName(subject)]


def _fault(name: x509.GeneralName, limits: x509.NameConstraints) -> str | None:
    permitted = [base for base in limits.permitted_subtrees or () if isinstance(base, type(name))]
    if permitted and not any(_is_within(name, base) for base in permitted):
        return "is outside"
    if any(_is_within(name, base) for base in limits.excluded_subtrees or () if isinstance(base, type(name))):
        return "is excluded by"
    return None


def _is_within(name: x509.GeneralName, base: x509.GeneralName) -> bool:
    if isinstance(name, x509.DNSName):
        return _is_below(name.value, base.value)
    if isinstance(name, x509.RFC822Name):
        if "@" in base.value:
            return bool(name.value.lower() == base.value.lower())
        host = name.value.rpartition("@")[2].lower()
        wanted = base.value.lower()
        return host.endswith(wanted) if wanted.startswith(".") else host == wanted
    if isinstance(name, x509.IPAddress):
        return name.value in base.value
    return subjects.begins_with(name.value.public_bytes(), base.value.public_bytes())  # directory names


def _is_below(host: str, base: str) -> bool:
    host, base = host.lower(), base.lower()
    return not base or host == base or host.endswith(base if base.startswith(".") else f".{base}")


def _text(name: x509.GeneralName) -> str:
    return subjects.nginx_dn(name.value) if isinstance(name, x509.DirectoryName) else str(name.value)

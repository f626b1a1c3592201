# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""TLS between nginx and an ``https://`` upstream: whom nginx believes there, and as whom it comes.

nginx verifies nothing and names nobody unless it is told to (``ngx_http_proxy_module``), so an upstream is verified
unless the inventory says ``verify: false``.
"""

from __future__ import annotations

import os.path
import re
import typing as t
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import chains
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.subjects import nginx_dn
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.common.names import is_address, nearest

SYSTEM = "system"
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_HOST_HEADER = re.compile(rf"(?:{_NAME.pattern}|\[[0-9A-Fa-f:.]+\])(?::[0-9]{{1,5}})?")


@dataclass(frozen=True)
class UpstreamTls:
    """How nginx meets a service's ``https://`` upstream.

    ``ca`` is a file on the controller, ``SYSTEM``, or None where nothing is verified. ``name`` is what nginx asks for
    (SNI) and what the upstream's certificate must be for; None where nobody is named. ``client`` is the client of the
    authority as which nginx comes, None for none.
    """

    verify: bool
    ca: str | None
    name: str | None
    client: str | None


def parse(where: str, value: Mapping[str, t.Any] | None, upstream: str | None, host: str | None) -> UpstreamTls | None:
    """Return what the option ``upstream_tls`` says, None for an upstream without TLS.

    ``host`` is the host name in ``upstream``, None where that is an address or a socket.

    :raises MtlsError: nothing says whom to trust, or what is said contradicts itself.
    """
    if upstream is None or not upstream.startswith("https://"):
        if value is not None:
            raise MtlsError(f"{where}: upstream_tls is about an https:// upstream, and there is none; remove it")
        return None
    if value is None or (value["verify"] and value["ca"] is None):
        raise MtlsError(
            f"{where}: upstream '{upstream}' is https, and nothing says which CA nginx is to trust there; give"
            " upstream_tls: {ca: files/backend-ca.crt} on the controller, {ca: system} for a public CA, or"
            " {verify: false} to trust whoever answers there"
        )
    verify, ca, name, client = value["verify"], value["ca"], value["name"], value["client"]
    if not verify and ca is not None:
        raise MtlsError(f"{where}: upstream_tls: with verify: false the ca is not used; remove one of them")
    if name is not None and (not _NAME.fullmatch(name) or is_address(name)):
        raise MtlsError(
            f"{where}: upstream_tls: name '{name}' is not a host name; give one that is in the upstream's certificate "
            "(nginx compares names, not addresses)"
        )
    name = name or (host.rstrip(".") if host else None)
    if verify and name is None:
        raise MtlsError(
            f"{where}: upstream_tls: '{upstream}' has no host name, and nginx compares the names in a certificate only;"
            " set name to one that is in it"
        )
    return UpstreamTls(verify, ca, name, client)


def check_client(
    where: str, name: str, definition: Mapping[str, t.Any] | None, *, known: Collection[str], keys_kept: bool
) -> None:
    """Raise MtlsError where nginx cannot come as a client; ``definition`` is the inventory's, None where it is none."""
    if definition is None:
        close = nearest(name, known)
        hint = f"did you mean '{close}'?" if close else "add it to mtls_clients of a host"
        raise MtlsError(f"{where}: upstream_tls: client '{name}' is not a client; {hint}")
    if definition.get("state") == "revoked":
        raise MtlsError(f"{where}: upstream_tls: client '{name}' is revoked; name another one, or none")
    if "csr" in definition:
        raise MtlsError(
            f"{where}: upstream_tls: client '{name}' has a csr, so its key is on a device and nginx cannot come as that"
            " client; name one whose key the authority makes"
        )
    if not keys_kept and definition.get("p12") != "none":
        raise MtlsError(
            f"{where}: upstream_tls: with mtls_keep_client_keys: false the key of client '{name}' is in its .p12 only,"
            " where nginx cannot read it; give that client p12: none"
        )


def check_host_header(where: str, value: str | None) -> str | None:
    """Return the option ``upstream_host``.

    :raises MtlsError: it is not a host name or address, with or without a port.
    """
    if value is not None and not _HOST_HEADER.fullmatch(value):
        raise MtlsError(
            f"{where}: upstream_host '{value}' is not a host name; write it alone, with a port if the application "
            "wants it"
        )
    return value


def read_ca(where: str, path: str) -> str:
    """Return the CA certificates in a file on the controller, in PEM, and nothing else that is in it.

    :raises MtlsError: it cannot be read, holds a private key, or no certificate that nginx can start from.
    """
    try:
        with open(path, "rb") as handle:
            content = handle.read()
    except OSError as error:
        raise MtlsError(
            f"{where}: upstream_tls: ca {path}: {error.strerror}; put the CA's certificate there"
        ) from error
    if b"PRIVATE KEY-----" in content:
        raise MtlsError(
            f"{where}: upstream_tls: ca {path}: holds a private key, which must not get to the host; leave only"
            " certificates in it"
        )
    try:
        certificates = chains.read(content.decode("utf-8", "replace"))
    except ValueError:
        raise MtlsError(
            f"{where}: upstream_tls: ca {path}: is damaged, or holds no certificate in PEM; put the CA's there"
        ) from None
    if all(certificate.issuer != certificate.subject for certificate in certificates):
        raise MtlsError(
            f"{where}: upstream_tls: ca {path}: has no root CA, and nginx follows a chain to its end; add the"
            f" certificate of {nginx_dn(certificates[-1].issuer)}"
        )
    return chains.pem(certificates).decode()


@dataclass(frozen=True)
class UpstreamTlsPaths:
    """Where on a host the files for a service's upstream are."""

    ca: str
    certificate: str
    key: str

    @classmethod
    def of(cls, conf_dir: str, service: str) -> UpstreamTlsPaths:
        """Return the paths for the service of this name, which has no dot."""
        stem = os.path.join(conf_dir, "mtls-upstream", service)
        return cls(f"{stem}.ca.crt", f"{stem}.crt", f"{stem}.key")

    @property
    def all(self) -> list[str]:
        """All three."""
        return [self.ca, self.certificate, self.key]

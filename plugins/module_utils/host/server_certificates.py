# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Server certificates that are the host's own: whether nginx can serve what is on disk, and whether it does."""

from __future__ import annotations

import glob
import hashlib
import ipaddress
import os
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.host import certificates, comparison, nginx_conf

MISSING, UNUSABLE, UNFIT, GOOD = "missing", "unusable", "unfit", "good"
# A certificate should have been renewed long before. One that is valid for a few days only is renewed later.
_LAST_DAYS = 3
_LAST_PART = 3  # of its lifetime: a third
_DAY = 86400  # seconds
# An ACME client replaces certificate and key one after the other.
_PATIENCE, _PAUSE = 3.0, 0.5  # seconds
_FILE = re.compile(r"^\s*ssl_certificate(?P<key>_key)?\s+(?P<path>[^\s;]+)\s*;", re.MULTILINE)


@dataclass(frozen=True)
class OwnCertificate:
    """A certificate of the host's own, and the service that is to have it.

    ``server_block`` is the service's file. It is asked at ``address`` and ``port`` for ``server_name``; without a
    ``port`` it is not asked.
    """

    service: str
    path: str
    key: str
    server_names: Sequence[str] = ()
    server_block: str = ""
    address: str = "127.0.0.1"
    port: int | None = None
    server_name: str = ""
    proxy_protocol: bool = False


@dataclass(frozen=True)
class Finding:
    """What was found: ``state``, and ``why`` it is not good, as a sentence that names the file.

    Of what is ``unfit`` nginx serves, and people should not have it; what is ``unusable`` it rejects. ``in_use``: the
    server block names the file. ``stale``: nginx serves another certificate than the file has. ``fingerprint``
    (SHA-256) and ``end`` (notAfter, in seconds since 1970) are None where there is no certificate.
    """

    path: str
    state: str
    why: str | None = None
    in_use: bool = False
    stale: bool = False
    fingerprint: str | None = None
    end: int | None = None

    def as_answer(self) -> dict[str, Any]:
        """Return what a host reports."""
        return asdict(self)


def look(own: OwnCertificate, *, running: bool) -> Finding:
    """Return what there is of a certificate, and whether nginx, if ``running``, serves it."""
    in_use = own.path in _paths(_text(own.server_block))
    deadline = time.monotonic() + _PATIENCE
    while True:
        state, why, leaf = _judge(own, time.time())
        if state != UNUSABLE or time.monotonic() > deadline:
            break
        time.sleep(_PAUSE)
    served = _served(own) if running and in_use and leaf is not None else None
    return Finding(
        own.path,
        state,
        why,
        in_use,
        bool(served and leaf and served != leaf.fingerprint),
        leaf.fingerprint if leaf else None,
        leaf.end if leaf else None,
    )


def in_place(conf_dir: str) -> dict[str, Finding]:
    """Return the certificates that the server blocks of ours in ``conf_dir`` name, by service."""
    found = {}
    for path in sorted(glob.glob(os.path.join(glob.escape(conf_dir), "conf.d", "mtls-*.conf"))):
        service = os.path.basename(path)[len("mtls-") : -len(".conf")]
        own = named_in(service, path)
        if own is not None:
            found[service] = look(own, running=False)
    return found


def named_in(service: str, server_block: str) -> OwnCertificate | None:
    """Return the certificate that a server block of ours names, None without one."""
    text = _text(server_block)
    files = {match["key"]: match["path"] for match in _FILE.finditer(text)}
    if None not in files or "_key" not in files or not nginx_conf.is_managed(text.encode("utf-8", "surrogateescape")):
        return None
    return OwnCertificate(service, files[None], files["_key"], server_block=server_block)


def _judge(own: OwnCertificate, now: float) -> tuple[str, str | None, certificates.HostCertificate | None]:
    """Return the state, why, and the certificate if there is one."""
    try:
        pem, key = comparison.read(own.path), comparison.read(own.key)
    except (MtlsError, OSError) as error:
        return UNUSABLE, _words(own, error), None
    if pem is None or key is None:
        return MISSING, f"{own.path if pem is None else own.key} is not there", None
    found = certificates.leaf(pem)
    if found is None:
        return UNUSABLE, f"{own.path}: does not begin with a certificate in PEM", None
    leaf, names = found
    if trouble := _pair_trouble(own):
        return UNUSABLE, trouble, leaf
    missing = [name for name in own.server_names if not covers(names, name)]
    if missing:
        has = ", ".join(names) or "no name"
        return UNFIT, f"{own.path}: is for {has}, and not for {', '.join(missing)}", leaf
    if leaf.begin > now:
        clock = f"the clock of this host says {_day(now)}"
        return UNFIT, f"{own.path}: is not valid before {_day(leaf.begin)}, and {clock}", leaf
    if leaf.end <= now:
        return UNFIT, f"{own.path}: expired on {_day(leaf.end)}", leaf
    if leaf.end - now < min(_LAST_DAYS * _DAY, (leaf.end - leaf.begin) / _LAST_PART):
        return UNFIT, f"{own.path}: expires on {_day(leaf.end)}, and has not been renewed", leaf
    return GOOD, None, leaf


def covers(names: Iterable[str], wanted: str) -> bool:
    """Return whether a certificate for ``names`` is one for ``wanted``, both in lower case (RFC 6125, 6.4.3)."""
    try:
        address = str(ipaddress.ip_address(wanted))
    except ValueError:
        _first, _dot, rest = wanted.partition(".")
        return any(name in (wanted, f"*.{rest}") for name in names)
    return address in names


def _pair_trouble(own: OwnCertificate) -> str | None:
    """Return what OpenSSL says where the key does not fit, or one of the two is damaged."""
    # Only here: most hosts have no certificate of their own.
    import ssl

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(own.path, own.key, password=lambda: "")
    except (ssl.SSLError, ValueError) as error:
        reason = getattr(error, "reason", None)
        if reason == "KEY_VALUES_MISMATCH":
            return f"{own.path}: the key {own.key} does not belong to this certificate"
        return f"{own.path} and {own.key}: are not a certificate and key that OpenSSL can read ({reason or error})"
    except OSError as error:  # replaced at this moment
        return _words(own, error)
    return None


def _served(own: OwnCertificate) -> str | None:
    """Return the SHA-256 fingerprint of what nginx serves for this service; None where it is not asked."""
    if own.port is None:
        return None
    from ansible_collections.mtls.nginx.plugins.module_utils.common import probe

    served = probe.served_certificate(probe.Target(own.address, own.port, own.server_name, own.proxy_protocol))
    return hashlib.sha256(served).hexdigest() if served else None


def _paths(server_block: str) -> set[str]:
    return {match["path"] for match in _FILE.finditer(server_block)}


def _text(path: str) -> str:
    try:
        content = comparison.read(path) if path else None
    except (MtlsError, OSError):
        content = None
    return (content or b"").decode("utf-8", "surrogateescape")


def _words(own: OwnCertificate, error: Exception) -> str:
    said = (error.strerror or str(error)).lower() if isinstance(error, OSError) else str(error)
    return f"{own.path} and {own.key}: cannot be read ({said})"


def _day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(seconds))

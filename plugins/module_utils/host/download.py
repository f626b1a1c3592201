# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetches a file from a web server that is not trusted: bounded in size, in time and in redirects."""

from __future__ import annotations

import contextlib
import email.utils
import http.client
import signal
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType
from typing import IO

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError

LARGEST = 1 << 24  # bytes: a CRL with some 300,000 entries
SECONDS = 60.0  # for all of it, names and redirects included
REDIRECTS = 5
_SILENCE = 20.0  # seconds without a byte
_PART = 1 << 16
_DATES = ("Last-Modified", "Date")
_SETTLED = 2  # seconds


@dataclass(frozen=True)
class Answer:
    """What was fetched, and the ``validators`` that ask for it only if it has changed, as headers.

    ``content`` is None where it has not.
    """

    content: bytes | None
    validators: dict[str, str]


class _Late(Exception):
    """The time is up."""


class _Redirects(urllib.request.HTTPRedirectHandler):
    max_redirections = REDIRECTS
    max_repeats = 2

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        scheme = urllib.parse.urlsplit(newurl).scheme
        if scheme not in ("http", "https") or (req.type == "https" and scheme == "http"):
            raise MtlsError(
                f"redirects from {req.type} to {scheme}, which is not followed; give the address it leads to"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def fetch(url: str, ca_file: str, validators: dict[str, str]) -> Answer:
    """Return what is at ``url``, at most ``LARGEST`` bytes.

    A server is known by the system's CAs or by those in ``ca_file``.

    :raises MtlsError: it cannot be had, and why; the sentence begins with the address.
    """
    try:
        with _deadline(SECONDS):
            return _fetch(url, ca_file, validators)
    except MtlsError as error:
        raise MtlsError(f"{url}: {error}") from None
    except _Late:
        raise MtlsError(f"{url}: took longer than {SECONDS:.0f} seconds; check that server") from None
    except urllib.error.HTTPError as error:
        redirects = 300 <= error.code < 400
        what = "redirects too often, or to no web address" if redirects else f"answers {error.code} ({error.reason})"
        raise MtlsError(f"{url}: {what}; check that server, or correct mtls_crl_url") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        said = getattr(error, "reason", None) or error
        raise MtlsError(f"{url}: cannot be fetched ({said or type(error).__name__}); check that server") from None


def _fetch(url: str, ca_file: str, validators: dict[str, str]) -> Answer:
    context = ssl.create_default_context()
    context.load_verify_locations(ca_file)
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(context=context),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _Redirects(),
    ):
        opener.add_handler(handler)
    headers = {"User-Agent": "mtls.nginx", "Accept-Encoding": "identity", **validators}
    try:
        response = opener.open(urllib.request.Request(url, headers=headers), timeout=_SILENCE)
    except urllib.error.HTTPError as error:
        if error.code == http.client.NOT_MODIFIED and validators:
            return Answer(None, validators)
        raise
    if response is None:
        raise MtlsError("is not an address that begins with http:// or https://; correct mtls_crl_url")
    with response:
        content = _read(response)
        named = {"If-None-Match": "ETag", "If-Modified-Since": "Last-Modified"}
        found = {ours: response.headers[theirs] for ours, theirs in named.items() if response.headers[theirs]}
        return Answer(content, found if _is_settled(response.headers) else {})


def _is_settled(headers: http.client.HTTPMessage) -> bool:
    """Tell whether another content would have another date (RFC 9110, 8.8.2.2); nginx's ETag is made of it, too.

    What is published twice within a second, and has one size, would be "not modified" for ever.
    """
    if not headers["Last-Modified"]:
        return True
    try:
        changed, sent = (email.utils.parsedate_to_datetime(headers[name]) for name in _DATES)
        return (sent - changed).total_seconds() >= _SETTLED
    except (TypeError, ValueError):  # one is missing, or no date
        return False


def _read(response: http.client.HTTPResponse) -> bytes:
    if response.status != http.client.OK:
        raise MtlsError(f"answers {response.status} ({response.reason}); check that server, or correct mtls_crl_url")
    parts, size = [], 0
    while part := response.read1(_PART):
        parts.append(part)
        size += len(part)
        if size > LARGEST:
            raise MtlsError(f"answers with more than {LARGEST >> 20} MiB, too much for a CRL; correct mtls_crl_url")
    if response.length:  # read1 does not say that the connection ended too early
        raise MtlsError(f"is cut off after {size:,} bytes; check that server")
    return b"".join(parts)


@contextlib.contextmanager
def _deadline(seconds: float) -> Iterator[None]:
    """Raise _Late in the block once the time is up, whatever it waits for. For the main thread."""

    def ring(_number: int, _frame: FrameType | None) -> None:
        raise _Late

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

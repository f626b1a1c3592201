# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The HTTP API of an OpenBao or Vault server: log in, ask, ask for many things at once.

Python's standard library only. TLS is verified always. A token is in a header and nowhere else: what an error
quotes is the method, the path and the server's own words.
"""

from __future__ import annotations

import contextlib
import email.utils
import http.client
import json
import os
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Callable, TypeVar
from urllib.parse import quote, urlsplit

from ansible_collections.mtls.nginx.plugins.module_utils.common import times
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError

T = TypeVar("T")
R = TypeVar("R")

CONNECTIONS = 16  # at a time: enough to keep a server busy that is tens of milliseconds away
TIMEOUT = 30.0  # seconds without an answer
_IDLE = 30.0  # seconds after which a connection is not trusted to be there still
_LONGEST_QUOTE = 300
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_CAPABILITIES = {"GET": "read", "LIST": "list", "POST": "create and update"}
_RESUME = "run again when it is back: what was issued is kept"


class _Data(dict[str, Any]):
    """What an answer holds. What is asked of it with ``[…]`` must be there."""

    def __init__(self, request: str, content: Mapping[str, Any]) -> None:
        super().__init__(content)
        self._request = request

    def __missing__(self, key: str) -> Any:
        raise MtlsError(
            f"{self._request} has no {key} in its answer; check that no proxy, and no policy with response wrapping or "
            "control groups, stands in between"
        )


@dataclass(frozen=True)
class Answer:
    """What the server said: the status, its ``data`` (or ``errors``), and its clock."""

    status: int
    data: Mapping[str, Any] = field(default_factory=dict)
    errors: tuple[str, ...] = ()
    date: datetime | None = None


class Server:
    """One server, with a token for it."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        """Take the options of the backend; nothing is asked yet.

        :raises MtlsError: an address, a CA file or a way to log in that cannot be.
        """
        self.url = settings["url"].rstrip("/")
        self._settings = settings
        self._base, self._connect = _connector(self.url, settings.get("ca_file"))
        self._headers = {"X-Vault-Request": "true"}
        if settings.get("namespace"):
            self._headers["X-Vault-Namespace"] = settings["namespace"]
        self._idle: list[http.client.HTTPConnection] = []
        self._used = time.monotonic()
        self._login_token = False

    @contextlib.contextmanager
    def session(self) -> Iterator[Server]:
        """Log in; at the end give back a token that was made for this session.

        :raises MtlsError: no way to log in was given, or it is not accepted.
        """
        try:
            token = self._log_in()
            if any(not 32 < ord(character) < 127 for character in token):
                raise MtlsError(
                    f"{self.url}: the token contains characters that no token can have; check where it comes from"
                )
            self._headers["X-Vault-Token"] = token
            yield self
        finally:
            if self._login_token:
                with contextlib.suppress(MtlsError):
                    self.ask("POST", "auth/token/revoke-self")
            self._close()

    def _log_in(self) -> str:
        settings = self._settings
        if settings.get("token"):
            return str(settings["token"])
        if settings.get("token_file"):
            path = os.path.expanduser(settings["token_file"])
            with open(path, encoding="ascii", errors="replace") as stream:
                token = stream.read().strip()
            if not token:
                raise MtlsError(f"{path}: is empty; write the token into it")
            return token
        if settings.get("role_id") or settings.get("secret_id"):
            if not (settings.get("role_id") and settings.get("secret_id")):
                raise MtlsError(f"{self.url}: an AppRole needs both, role_id and secret_id; set the other one too")
            login = {"role_id": settings["role_id"], "secret_id": settings["secret_id"]}
            answer = self.ask("POST", "auth/approle/login", login, accept=(400, 403))
            if answer.status != 200:
                said = _quote(answer)
                raise MtlsError(
                    f"{self.url}: the AppRole was not accepted ({said}); check role_id and secret_id, which may have "
                    "been used up or have expired, and that approle is enabled"
                )
            self._login_token = True
            return str(answer.data["client_token"])
        token = (os.environ.get("BAO_TOKEN") or os.environ.get("VAULT_TOKEN") or "").strip()
        if not token:
            raise MtlsError(
                f"{self.url}: there is no token; set token_file, token, or role_id and secret_id in mtls_ca_openbao, "
                "or BAO_TOKEN in the environment"
            )
        return token

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None, accept: Sequence[int] = ()) -> Answer:
        """Return the answer to one request, if its status is a success or one of ``accept``.

        :arg path: what follows ``/v1/``.
        :raises MtlsError: unreachable, sealed, denied, or another refusal; the text says which.
        """
        if time.monotonic() - self._used > _IDLE:
            self._close()
        try:
            connection = self._idle.pop()
        except IndexError:  # all are in use
            connection = self._connect()
        try:
            payload = None if body is None else json.dumps(body).encode()
            connection.request(method, f"{self._base}/v1/{quote(path, safe='/:')}", payload, self._headers)
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise self._unreachable(error) from error
        self._idle.append(connection)
        self._used = time.monotonic()
        answer = _answer(f"{self.url}: {method} {path}", response, content)
        if answer is None:
            raise MtlsError(f"{self.url}: does not answer as OpenBao or Vault does; correct url")
        if answer.status // 100 == 2 or answer.status in accept:
            return answer
        raise self._refused(method, path, answer)

    def each(self, work: Callable[[T], R], items: Sequence[T]) -> list[R]:
        """Return ``[work(item) for item in items]``, as many at a time as there may be connections.

        After a failure no new item is begun; those under way are finished. Raises what failed first. All threads
        have ended when this returns: processes may be forked then.
        """
        failures: list[BaseException] = []
        results: list[R] = []

        def guarded(item: T) -> list[R]:
            if not failures:
                try:
                    return [work(item)]
                except Exception as error:
                    failures.append(error)
            return []

        if len(items) < 2:
            return [work(item) for item in items]
        with ThreadPoolExecutor(min(CONNECTIONS, len(items))) as pool:
            for done in pool.map(guarded, items):
                results += done
        if failures:
            raise failures[0]
        return results

    def _close(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def _unreachable(self, error: Exception) -> MtlsError:
        if isinstance(error, ssl.SSLCertVerificationError):
            return MtlsError(
                f"{self.url}: its certificate is not trusted ({error.verify_message}); name the CA that signed it in "
                "ca_file, and the server as in its certificate in url"
            )
        # What ends in the midst of TLS is a server that goes down, not one that speaks something else.
        if isinstance(error, ssl.SSLError) and not isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
            return MtlsError(f"{self.url}: TLS fails ({error.reason or error}); check that url is its https address")
        said = "no answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
        return MtlsError(f"{self.url}: is not reachable ({said}); {_RESUME}")

    def _refused(self, method: str, path: str, answer: Answer) -> MtlsError:
        said = _quote(answer)
        if answer.status == 503 or "is sealed" in said or "node not active" in said:
            if "sealed" in said:
                return MtlsError(f"{self.url}: is sealed; unseal it (`bao operator unseal`) and run again")
            return MtlsError(f"{self.url}: is not ready ({said}); {_RESUME}")
        if "namespace not found" in said:
            return MtlsError(f"{self.url}: has no namespace {self._settings.get('namespace')!r}; correct namespace")
        if answer.status == 403:
            return MtlsError(
                f"{self.url}: {method} {path} is denied; the token's policy must grant {_CAPABILITIES[method]} on "
                f"{path}, or the token has expired (`bao token lookup`)"
            )
        if answer.status == 404 and "no handler for route" in said:
            return MtlsError(f"{self.url}: nothing is mounted at {path}; correct the mount in mtls_ca_openbao")
        if answer.status // 100 == 3:
            return MtlsError(f"{self.url}: redirects to another server; set url to the address of the active one")
        if answer.status == 429:
            return MtlsError(
                f"{self.url}: rejects more requests, by a rate limit or quota ({said}); raise that limit, and run again"
            )
        return MtlsError(f"{self.url}: {method} {path} failed with status {answer.status}: {said}")


def _connector(url: str, ca_file: str | None) -> tuple[str, Callable[[], http.client.HTTPConnection]]:
    """Return the path in ``url``, and what opens a connection."""
    remedy = "write it as https://bao.example.com:8200"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise MtlsError(f"url {url!r}: is not an address; {remedy}") from error
    if not host or parts.username or parts.query or not url.isascii() or not url.isprintable() or " " in url:
        raise MtlsError(f"the url of mtls_ca_openbao is not a plain address; {remedy}")
    if parts.scheme == "http" and host in _LOOPBACK:
        return parts.path, lambda: http.client.HTTPConnection(host, port, timeout=TIMEOUT)
    if parts.scheme != "https":
        raise MtlsError(f"url {url!r}: a token must not be sent unencrypted; {remedy}")
    try:
        context = ssl.create_default_context(cafile=ca_file and os.path.expanduser(ca_file))
    except (FileNotFoundError, PermissionError) as error:
        raise MtlsError(f"{ca_file}: cannot be read ({error.strerror}); correct ca_file") from error
    except ssl.SSLError as error:
        raise MtlsError(f"{ca_file}: holds no CA certificate in PEM; correct ca_file") from error
    return parts.path, lambda: http.client.HTTPSConnection(host, port, timeout=TIMEOUT, context=context)


def _answer(request: str, response: http.client.HTTPResponse, content: bytes) -> Answer | None:
    """Return what the server said to ``request``, or None for a success that is none of this API."""
    try:
        parsed = json.loads(content) if content else {}
    except (ValueError, RecursionError):
        parsed = None
    said = parsed if isinstance(parsed, dict) else {}
    data, errors = said.get("data") or said.get("auth") or {}, said.get("errors") or []
    if response.status // 100 == 2 and not (isinstance(parsed, dict) and isinstance(data, dict)):
        return None
    if content and not (isinstance(errors, list) and said.keys() & {"data", "auth", "errors"}):  # a proxy's words
        errors = [content[:_LONGEST_QUOTE].decode("utf-8", "replace")]
    data = _Data(request, data if isinstance(data, dict) else {})
    return Answer(response.status, data, tuple(map(str, errors)), _date(response.headers.get("Date")))


def _date(text: str | None) -> datetime | None:
    try:
        date = email.utils.parsedate_to_datetime(text) if text else None
    except (TypeError, ValueError):
        return None
    return date and date.replace(tzinfo=date.tzinfo or timezone.utc)


def _quote(answer: Answer) -> str:
    return " ".join("; ".join(answer.errors).split())[:_LONGEST_QUOTE] or "no reason given"


def server_time(text: str) -> datetime:
    """Return a time of the API (RFC 3339, with fractions of a second) in whole seconds; raises ValueError."""
    return times.from_iso(text[:19] + "Z")

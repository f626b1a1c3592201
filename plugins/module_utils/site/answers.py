# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What hosts may answer.

A compromised host says what it likes, and nothing of it is used, printed or written before it is read here. An answer
is reduced to the values that are named below; whatever else it holds, facts and other keys that mean something to
Ansible among them, is dropped.
"""

from __future__ import annotations

import re
import time
import typing as t
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError, one_line

LARGEST = 1 << 27  # characters of an answer, which repeats what the host was sent: all of its files
_LONGEST_MESSAGE = 10_000  # characters
_LAST_SECOND = 253402300799  # of the year 9999, the last that datetime knows


class _Odd(Exception):
    """A value that no honest host gives: where it stands in the answer, and what is wrong with it."""


class Spec(t.Protocol):
    """What a value must be."""

    def read(self, value: t.Any, where: str) -> t.Any:
        """Return the value, rebuilt from plain types; raise ``_Odd`` for one that no honest host gives."""


@dataclass(frozen=True)
class Text:
    """A text of printable characters; ``pattern`` must match all of it."""

    pattern: str = ""
    most: int = 4096

    def read(self, value: t.Any, where: str) -> str:
        """Return the text; raise ``_Odd`` for anything else."""
        if not isinstance(value, str):
            raise _odd(where, value, "not text")
        if len(value) > self.most:
            raise _Odd(f"{where} has {len(value)} characters, and at most {self.most} are possible")
        if not value.isprintable():
            raise _Odd(f"{where} holds control characters: {_excerpt(value)}")
        if self.pattern and not re.fullmatch(self.pattern, value, re.ASCII):
            raise _Odd(f"{where} is {_excerpt(value)}")
        return str.__str__(value)


@dataclass(frozen=True)
class Ascii:
    """A text of printable ASCII characters and line feeds, as a PEM file is."""

    most: int

    def read(self, value: t.Any, where: str) -> str:
        """Return the text; raise ``_Odd`` for anything else."""
        if not isinstance(value, str):
            raise _odd(where, value, "not text")
        if len(value) > self.most:
            raise _Odd(f"{where} has {len(value)} characters, and at most {self.most} are possible")
        if other := re.search(r"[^\n -~]", value):
            raise _Odd(f"{where} contains {other[0]!a}")
        return str.__str__(value)


@dataclass(frozen=True)
class Message:
    """A text for people: control characters are shown as escapes, and what is too long is cut."""

    lines: bool = False
    most: int = _LONGEST_MESSAGE

    def read(self, value: t.Any, where: str) -> str:
        """Return the text, harmless; raise ``_Odd`` for anything else."""
        if not isinstance(value, str):
            raise _odd(where, value, "not text")
        return printable(value, lines=self.lines, most=self.most)


@dataclass(frozen=True)
class Whole:
    """A whole number."""

    least: int = 0
    most: int = 2**53

    def read(self, value: t.Any, where: str) -> int:
        """Return the number; raise ``_Odd`` for anything else."""
        if isinstance(value, bool) or not isinstance(value, int):
            raise _odd(where, value, "not a whole number")
        if not self.least <= value <= self.most:
            raise _Odd(f"{where} is a number that is not between {self.least} and {self.most}")
        return int(value)


@dataclass(frozen=True)
class Moment:
    """Seconds since 1970, with or without a fraction."""

    def read(self, value: t.Any, where: str) -> float:
        """Return the seconds; raise ``_Odd`` for anything else."""
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise _odd(where, value, "not a number")
        if not 0 <= value <= _LAST_SECOND:  # what is not a number is not between them either
            raise _Odd(f"{where} is not a time")
        return float(value)


@dataclass(frozen=True)
class Timestamp:
    """A time as ``times.iso`` writes it."""

    def read(self, value: t.Any, where: str) -> str:
        """Return the text; raise ``_Odd`` for anything else."""
        text = Text(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ").read(value, where)
        try:
            time.strptime(text, "%Y-%m-%dT%H:%M:%SZ")
        except ValueError:
            raise _Odd(f"{where} is {_excerpt(text)}") from None
        return text


@dataclass(frozen=True)
class Flag:
    """True or false."""

    def read(self, value: t.Any, where: str) -> bool:
        """Return the value; raise ``_Odd`` for anything else."""
        if not isinstance(value, bool):
            raise _odd(where, value, "neither true nor false")
        return value


@dataclass(frozen=True)
class Maybe:
    """A value that may be null, or left out."""

    spec: Spec

    def read(self, value: t.Any, where: str) -> t.Any:
        """Return the value, or None; raise ``_Odd`` for anything else."""
        return None if value is None else self.spec.read(value, where)


@dataclass(frozen=True)
class Each:
    """A list."""

    spec: Spec
    most: int = 1_000_000

    def read(self, value: t.Any, where: str) -> list[t.Any]:
        """Return the list; raise ``_Odd`` for anything else."""
        if not isinstance(value, Sequence) or isinstance(value, (str, bytes)):
            raise _odd(where, value, "not a list")
        if len(value) > self.most:
            raise _Odd(f"{where} has {len(value)} entries, and at most {self.most} are possible")
        return [self.spec.read(item, f"{where}[{number}]") for number, item in enumerate(value)]


@dataclass(frozen=True)
class Table:
    """Values by names that are not known here."""

    names: Text
    spec: Spec
    most: int = 1_000_000

    def read(self, value: t.Any, where: str) -> dict[str, t.Any]:
        """Return the values by name; raise ``_Odd`` for anything else."""
        if not isinstance(value, Mapping):
            raise _odd(where, value, "not a dictionary")
        if len(value) > self.most:
            raise _Odd(f"{where} has {len(value)} entries, and at most {self.most} are possible")
        found = {}
        for key, item in value.items():
            name = self.names.read(key, f"a name in {where}")
            found[name] = self.spec.read(item, f"{where}[{_excerpt(name)}]")
        return found


@dataclass(frozen=True)
class Fields:
    """Values by name. What is not named is dropped."""

    fields: Mapping[str, Spec]

    def read(self, value: t.Any, where: str) -> dict[str, t.Any]:
        """Return the named values; raise ``_Odd`` for anything else."""
        if not isinstance(value, Mapping):
            raise _odd(where, value, "not a dictionary")
        return {
            name: spec.read(value.get(name), f"{where}.{name}" if where else name) for name, spec in self.fields.items()
        }


_SHA256 = Text(r"[0-9a-f]{64}")
_VERSION = Text(r"\d{1,4}(\.\d{1,4}){1,5}")
_SERIAL = r"[0-9A-F]{1,64}"
_WARNINGS = Maybe(Each(Message(), most=100))
_OWN_BOUND = Fields({"value": Text(most=256), "file": Message()})
_DIRECTIVES = (
    "client_header_timeout",
    "map_hash_bucket_size",
    "resolver",
    "server_names_hash_bucket_size",
    "set_real_ip_from",
    "ssl_session_cache",
    "variables_hash_bucket_size",
    "variables_hash_max_size",
    "worker_shutdown_timeout",
)

_UNGUARDED = Each(Fields({"service": Text(most=64), "path": Text()}))
_ELSEWHERE = Each(Fields({"service": Text(most=64), "why": Message()}), most=100)
# Server names are sent as they are here: only what a host name can be. Where a gate is asked stays our choice.
_SNIPPET_GATES = Each(
    Fields(
        {
            "service": Text(most=64),
            "place": Message(),
            "port": Maybe(Whole(1, 65535)),
            "server_name": Maybe(Text(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")),
            "address": Maybe(Text(r"[0-9a-f.:]{2,45}")),
            "proxy_protocol": Flag(),
            "own_pages": Flag(),
            "trouble": Maybe(Message()),
        }
    ),
    most=2000,
)
_DATE = Whole(least=-_LAST_SECOND, most=_LAST_SECOND)
# Who could enter what, as `host/gates.py` reads a host's maps: texts that are compared and shown, and nothing else.
_ACCESS = Fields(
    {
        "gates": Maybe(
            Each(
                Fields(
                    {
                        "service": Text(r"[a-z0-9-]{1,64}"),
                        "path": Message(),
                        "everybody": Flag(),
                        "subjects": Each(Message()),
                        "public": Each(Message()),
                        "networks": Each(Message()),
                    }
                ),
                most=10_000,
            )
        ),
        "revoked": Each(
            Fields({"path": Text(), "added": Each(Text(_SERIAL)), "removed": Each(Text(_SERIAL))}), most=1000
        ),
    }
)
_PEM = Fields(
    {
        "certificates": Each(
            Fields({"subject": Message(), "fingerprint": _SHA256, "key": _SHA256, "begin": _DATE, "end": _DATE}),
            most=1000,
        ),
        "crls": Each(
            Fields(
                {
                    "issuer": Message(),
                    "name": _SHA256,
                    "key_identifier": Text(r"[0-9a-f]*"),
                    "number": Maybe(Text(r"[0-9a-f]{1,42}")),
                    "begin": _DATE,
                    "end": Maybe(_DATE),
                    "content": _SHA256,
                }
            ),
            most=1000,
        ),
    }
)

_NGINX = Fields(
    {
        "installed": Flag(),
        "binary": Maybe(Text()),
        "version": Maybe(_VERSION),
        "conf_path": Text(),
        "conf_dir": Text(),
        "running": Flag(),
        "upgrading": Flag(),
        "includes_conf_d": Maybe(Flag()),
        "config_error": Maybe(Message()),
        "directives": Fields(dict.fromkeys(_DIRECTIVES, Maybe(Text(r"[ -~]*", most=256)))),
        "unguarded": Maybe(Each(Text())),
        "snippet_gates": _SNIPPET_GATES,
        "snippet_error": Maybe(Message()),
        "elsewhere": Maybe(_ELSEWHERE),
        "socket_error": Maybe(Message()),
        "away": Maybe(Each(Text(r"[0-9A-Fa-f.:]{2,45}"), most=1000)),
        "asked": Maybe(Each(Fields({"status": Maybe(Whole(100, 999)), "error": Maybe(Message())}), most=10_000)),
        "ssi": Maybe(Flag()),
        "own_ports": Maybe(Each(Whole(1, 65535), most=65535)),
        "ipv6": Flag(),
        "systemd": Flag(),
        "name_servers": Each(Text(r"[0-9.]{7,15}|\[[0-9A-Fa-f:.]+\]"), most=3),
        "names": Table(Text(r"[\w.-]+"), Maybe(Text(r"[\w.-]+"))),
        "kept": Table(Text(r"[\w.-]+"), Flag()),
        "system_ca": Maybe(Text(r"/[a-z0-9./-]+")),
        "comparison": Maybe(
            Fields(
                {
                    "settled": Flag(),
                    "fingerprints": Table(Text(), Maybe(Text(r"not ours|[0-7]{4} [0-9a-f]{64}"))),
                    "own_shutdown_timeout": Maybe(_OWN_BOUND),
                    "unguarded": _UNGUARDED,
                    "snippet_gates": _SNIPPET_GATES,
                }
            )
        ),
        "certificates": Table(
            Text(r"[\w-]{1,64}"),
            Fields(
                {
                    "path": Text(),
                    "state": Text("missing|unusable|unfit|good"),
                    "why": Maybe(Message()),
                    "in_use": Flag(),
                    "stale": Flag(),
                    "fingerprint": Maybe(_SHA256),
                    "end": Maybe(_DATE),
                }
            ),
            most=1000,
        ),
        "acme": Maybe(
            Fields({name: Each(Text(r"mtls-[a-z0-9-]{1,64}"), most=1000) for name in ("outdated", "abandoned")})
        ),
        "python": Text(r"/[\w./@+~-]{1,120}"),
        "trust": Fields({"clock": Moment(), "held": Table(Text(), _PEM)}),
        "init_script": Maybe(Text()),
        "crl_fetch": Maybe(
            Fields({"digest": Maybe(_SHA256), "success": Moment(), "failures": Each(Message(), most=100)})
        ),
    }
)
NGINX_FACTS = Fields({"changed": Flag(), "nginx": _NGINX})
# None where only `nginx_facts` can tell.
NGINX_GLANCE = Fields({"changed": Flag(), "nginx": Maybe(_NGINX)})

NGINX_CONFIG = Fields(
    {
        "changed": Flag(),
        "files": Each(Fields({"path": Text(), "change": Text("created|changed|removed")})),
        "reloaded": Flag(),
        "started": Flag(),
        "accepted": Maybe(Flag()),
        "own_shutdown_timeout": Maybe(_OWN_BOUND),
        "unguarded": _UNGUARDED,
        "snippet_gates": _SNIPPET_GATES,
        "elsewhere": Maybe(_ELSEWHERE),
        "handover": Maybe(Message()),
        "nginx": Fields({"version": Maybe(_VERSION)}),
        "access": Maybe(_ACCESS),
        "message": Message(),
        "warnings": _WARNINGS,
        "diff": Maybe(
            Each(
                Fields(
                    {
                        "before_header": Message(),
                        "after_header": Message(),
                        "before": Message(lines=True, most=LARGEST),
                        "after": Message(lines=True, most=LARGEST),
                    }
                )
            )
        ),
    }
)

NGINX_GATE = Fields(
    {
        "changed": Flag(),
        "gate": Fields(
            {
                "clock": Moment(),
                "running": Flag(),
                "configured": Flag(),
                "included": Maybe(Flag()),
                "snippet_gates": _SNIPPET_GATES,
                "allow": Maybe(Fields({"everybody": Flag(), "subjects": Each(Message())})),
                "certificate": Maybe(_SHA256),
                "ca": Maybe(_SHA256),
                "crl": Maybe(_SHA256),
                "crl_begin": Maybe(Whole(most=_LAST_SECOND)),
                "crl_end": Maybe(Whole(most=_LAST_SECOND)),
                "revoked": Flag(),
                "requests": Each(
                    Fields(
                        {
                            "when": Text(r"[\w/: +-]{20,26}"),
                            "status": Whole(0, 999),
                            "verify": Message(most=200),
                            "serial": Text(f"-|{_SERIAL}"),
                            "probe": Flag(),
                            "agent": Message(most=400),
                        }
                    ),
                    most=100,
                ),
                "without": Each(
                    Fields(
                        {
                            "when": Text(r"[\w/: +-]{20,26}"),
                            "caller": Message(most=100),
                            "agent": Message(most=400),
                        }
                    ),
                    most=100,
                ),
                "http3": Flag(),
                "errors": Each(Message(), most=100),
                "unread": Each(Text(), most=100),
            }
        ),
    }
)

NGINX_CRL_FETCH = Fields({"changed": Flag(), "message": Message(), "warnings": _WARNINGS})

NGINX_ACME = Fields(
    {
        "changed": Flag(),
        "installed": Flag(),
        "failures": Each(Message(), most=1000),
        "obtained": Each(Text(r"[a-z0-9-]{1,64}"), most=1000),
        "warnings": _WARNINGS,
    }
)

NGINX_CRLS = Fields(
    {
        "changed": Flag(),
        "warnings": _WARNINGS,
        "crls": Each(Fields({"path": Text(r"/.*/crl\.pem"), "content": Ascii(LARGEST)}), most=1000),
    }
)

ACCESS_LOG = Fields(
    {
        "changed": Flag(),
        "warnings": _WARNINGS,
        "unread": Each(Text()),
        "callers": Each(
            Fields(
                {
                    "service": Text(most=64),
                    "serial": Text(_SERIAL),
                    "dn": Message(),
                    "last": Timestamp(),
                    "status": Whole(0, 999),
                    "requests": Whole(),
                    "fetched": Maybe(Timestamp()),
                }
            )
        ),
    }
)

# Of `ansible.builtin.setup`, of a package manager's module, of `ansible.builtin.systemd_service`.
PACKAGE_MANAGER = Fields({"ansible_facts": Fields({"ansible_pkg_mgr": Text(r"[a-z0-9_]{1,32}")})})
CHANGED = Fields({"changed": Flag()})

# Of a host that was asked live, for the status: what `nginx_facts`, `trust_check` and `tls_probe` ended with.
LIVE = Fields(
    {
        "facts": Fields(
            {
                "unreachable": Maybe(Flag()),
                "msg": Maybe(Message()),
                "nginx": Maybe(
                    Fields(
                        {
                            name: _NGINX.fields[name]
                            for name in (
                                *("installed", "running", "version", "config_error", "includes_conf_d"),
                                *("unguarded", "snippet_error", "elsewhere", "socket_error", "crl_fetch"),
                            )
                        }
                        | {"certificates": Maybe(_NGINX.fields["certificates"])}
                    )
                ),
            }
        ),
        "trust": Fields(
            {
                "msg": Maybe(Message()),
                "asked": Maybe(Flag()),
                "behind": Maybe(Each(Message(), most=1000)),
            }
        ),
        "probe": Fields(
            {
                "msg": Maybe(Message()),
                "skipped": Maybe(Flag()),
                "not_asked": Maybe(Each(Fields({"service": Message(), "why": Message()}), most=1000)),
                "unanswered": Maybe(Each(Fields({"service": Message(), "why": Message()}), most=1000)),
                "certificates": Maybe(
                    Each(
                        Fields(
                            {
                                "service": Message(),
                                "issuer": Message(),
                                "fingerprint": _SHA256,
                                "names": Each(Message(), most=1000),
                                "begin": _DATE,
                                "end": _DATE,
                                "own": Flag(),
                                "stands_in": Flag(),
                                "trouble": Maybe(Message()),
                            }
                        ),
                        most=1000,
                    )
                ),
                "attempts": Maybe(
                    Each(
                        Fields(
                            {
                                "service": Message(),
                                "who": Message(),
                                "expected": Message(),
                                "got": Message(),
                                "ok": Flag(),
                            }
                        )
                    )
                ),
            }
        ),
    }
)

_FAILURE = Fields(
    {
        "msg": Maybe(Message(lines=True)),
        "rc": Maybe(Whole(-(2**31), 2**32)),
        "module_stdout": Maybe(Message(lines=True)),
        "module_stderr": Maybe(Message(lines=True)),
        "forgotten": Maybe(Table(Text(_SERIAL), Message())),
    }
)


def read(host: str, what: str, spec: Fields, answer: t.Any) -> dict[str, t.Any]:
    """Return what ``host`` answered to ``what`` (the name of a module), as ``spec`` has it.

    A failure comes back as ``failed`` with its message, and with nothing else that is not text or a number.

    :raises MtlsError: it is no answer that an honest host gives.
    """
    try:
        if isinstance(answer, Mapping) and answer.get("failed"):
            said = {name: value for name, value in _FAILURE.read(answer, "").items() if value is not None}
            return {"msg": f"{what} failed on {host} and did not say why", **said, "failed": True, "changed": False}
        return spec.read(answer, "")
    except _Odd as odd:
        raise refusal(host, what, str(odd)) from None


def read_live(host: str, answer: t.Any) -> dict[str, t.Any]:
    """Return what the tasks of ``tasks/ask_host.yml`` ended with on ``host``, failed ones too, as ``LIVE`` has it.

    :raises MtlsError: it is nothing that they can end with.
    """
    found = {"facts": {}, "trust": {}, "probe": {}, **answer} if isinstance(answer, Mapping) else answer
    try:
        return LIVE.read(found, "")
    except _Odd as odd:
        raise refusal(host, "status", str(odd)) from None


def read_snippet_gates(host: str, value: t.Any) -> list[dict[str, t.Any]]:
    """Return what a host has said of where its snippets can be asked, from wherever that comes by now.

    :raises MtlsError: it is nothing that a host can say.
    """
    try:
        found: list[dict[str, t.Any]] = _SNIPPET_GATES.read(value, "snippet_gates")
    except _Odd as odd:
        raise refusal(host, "tls_probe", str(odd)) from None
    return found


def refusal(host: str, what: str, why: str) -> MtlsError:
    """Return what to say of an answer that cannot be one."""
    return MtlsError(
        f"host {host}: its answer to {what} cannot be trusted: {why.strip()}; find out what on that host has been"
        " altered before you trust it again"
    )


def printable(text: str, *, lines: bool = False, most: int = _LONGEST_MESSAGE) -> str:
    """Return ``text`` with control and invisible characters as escapes; with ``lines``, line breaks and tabs stay.

    A terminal obeys nothing in it. What is longer than ``most`` characters is cut.
    """
    text = text.replace("\r\n", "\n")  # as a terminal on the host makes them
    if len(text) > most:
        text = f"{text[:most]}… ({len(text) - most} more characters)"
    text = text.encode("utf-8", "replace").decode()  # half a surrogate pair cannot be written anywhere
    if not lines:
        return one_line(text)
    if text.isprintable():
        return text
    return "".join(part if part in "\n\t" else one_line(part) for part in re.split(r"([\n\t])", text))


def _odd(where: str, value: t.Any, what: str) -> _Odd:
    kind = {dict: "a dictionary", list: "a list", str: "text", bool: "true or false", type(None): "null"}.get(
        type(value), type(value).__name__
    )
    return _Odd(f"{where or 'it'} is {kind}, {what}")


def _excerpt(text: str) -> str:
    return repr(text[:60])

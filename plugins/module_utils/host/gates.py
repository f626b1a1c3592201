# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may enter which service, as the maps and the CRL of a host say it. Reads, and changes nothing.

The controller reads what it has rendered with the same code, so that both can be compared.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.mtls.nginx.plugins.module_utils.common import files
from ansible_collections.mtls.nginx.plugins.module_utils.host import nginx_conf

_VARIABLE = re.compile(r"\$mtls_(?P<service>[a-z0-9_]{1,64})_(?P<kind>list|zone|open|net)")
# What stands before a key of an allow list: nothing, or where paths have lists of their own, `rest` for all others.
_WHOLE_SERVICE = ("", "rest:", "~^rest:")
_ZONE = re.compile(r"~\^1:(?P<stem>.*)\(\?:/\|\\z\)", re.DOTALL)
_REVOKED = re.compile(rb"^([0-9A-F]{1,64}) 1;$", re.MULTILINE)


@dataclass(frozen=True)
class Gate:
    """Who may enter a service, or one of its paths that has an allow list of its own.

    ``path`` is empty for the service itself. ``everybody`` is every valid client of the authority; else ``subjects``
    may enter, in nginx's DN format. Without a certificate, ``public`` paths are open, and ``networks`` let in.
    """

    service: str
    path: str = ""
    everybody: bool = False
    subjects: tuple[str, ...] = ()
    public: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()

    @property
    def variable(self) -> str:
        """What the service's nginx variables begin with, see ``Service.variable``."""
        return "mtls_" + self.service.replace("-", "_")


def read(maps: bytes) -> list[Gate] | None:
    """Return the gates that ``mtls.conf`` describes; None where it is no nginx configuration."""
    try:
        directives = nginx_conf.parse(maps.decode("utf-8", "replace"))
    except nginx_conf.ConfSyntaxError:
        return None
    found: dict[str, dict[str, list[nginx_conf.Directive]]] = {}
    for directive in directives:
        match = _VARIABLE.fullmatch(directive.values[-1]) if directive.values else None
        if match and directive.name in ("map", "geo"):
            found.setdefault(match["service"], {})[match["kind"]] = directive.block or []
    return [gate for service, maps_of in found.items() if "list" in maps_of for gate in _gates(service, maps_of)]


def _gates(variable: str, maps: Mapping[str, list[nginx_conf.Directive]]) -> list[Gate]:
    service = variable.replace("_", "-")
    listed: dict[str, dict[str, None]] = {}
    for line in maps["list"]:
        # A key ends in the result of the verification, and where there is a list, in a colon and the subject.
        zone, success, rest = line.name.partition("SUCCESS")
        if success and line.values == ["1"]:
            listed.setdefault("" if zone in _WHOLE_SERVICE else zone.rstrip(":"), {})[rest[1:]] = None
    own = listed.get("", {})
    gates = [
        Gate(
            service,
            everybody="" in own,
            subjects=tuple(filter(None, own)),
            public=tuple(_path(line.name) for line in maps.get("open", ()) if line.values == ["1"]),
            networks=tuple(line.name for line in maps.get("net", ()) if line.values == ["1"]),
        )
    ]
    for line in maps.get("zone", ()):
        match = _ZONE.fullmatch(line.name)
        if match and len(line.args) == 1:
            gates.append(Gate(service, _literal(match["stem"]) + "/", subjects=tuple(listed.get(line.values[0], ()))))
    return gates


def _path(pattern: str) -> str:
    """Return the path of a pattern for ``$uri``; it ends in ``/`` where what is below is meant too."""
    stem = pattern[2:] if pattern.startswith("~^") else pattern
    return _literal(stem[:-2] if stem.endswith(r"\z") else stem)


def _literal(escaped: str) -> str:
    return re.sub(r"\\(.)", r"\1", escaped, flags=re.DOTALL)


def held(
    maps: str, revoked: Iterable[str], wanted: Mapping[str, bytes], *, always: bool = True
) -> dict[str, Any] | None:
    """Return what the host has before its files are replaced by those of ``wanted``, by path.

    Unless ``always``, None where neither maps nor CRLs differ, so that nobody gains or loses entry by these files.
    ``gates`` are those of the file ``maps``, none where it is missing, and null where it cannot be read. ``revoked``
    says of these files, which have the serials of a CRL, what the new ones add and remove; a file that is new adds
    nothing: the CRL itself was there before it.
    """
    content = _content(maps)
    crls = []
    for path in revoked:
        before, after = _content(path), wanted.get(path)
        if before is not None and after is not None:
            old, new = set(_REVOKED.findall(before)), set(_REVOKED.findall(after))
            crls.append({"path": path, "added": _texts(new - old), "removed": _texts(old - new)})
    if not always and wanted.get(maps, content) == content and not any(crl["added"] or crl["removed"] for crl in crls):
        return None
    gates = [] if content is None else read(content)
    return {
        "gates": None if gates is None else [as_answer(gate) for gate in gates],
        "revoked": crls,
    }


def as_answer(gate: Gate) -> dict[str, Any]:
    """Return a gate as plain values."""
    return {
        "service": gate.service,
        "path": gate.path,
        "everybody": gate.everybody,
        "subjects": list(gate.subjects),
        "public": list(gate.public),
        "networks": list(gate.networks),
    }


def of_answer(answer: Mapping[str, Any]) -> Gate:
    """Return the gate that ``as_answer`` wrote."""
    return Gate(
        answer["service"],
        answer["path"],
        answer["everybody"],
        tuple(answer["subjects"]),
        tuple(answer["public"]),
        tuple(answer["networks"]),
    )


def _content(path: str) -> bytes | None:
    """Return what is in a file; None where there is none that can be read, of which the transaction says more."""
    try:
        return files.read_if_there(path)
    except OSError:
        return None


def _texts(serials: Iterable[bytes]) -> list[str]:
    return sorted(serial.decode("ascii") for serial in serials)

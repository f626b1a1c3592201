# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The inventory as a whole: which authority serves which clients and servers, and whether hosts contradict each other.

The union is taken over all hosts that are given, an authority (``mtls_ca_dir``) at a time. Nothing here touches a file
but the certificates on allow lists.
"""

from __future__ import annotations

import copy
import functools
import os
import re
import typing as t
from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.subjects import (
    dn_of_plain_name,
    nginx_dn,
    subject_name,
)
from ansible_collections.mtls.nginx.plugins.module_utils.ca.options import OPENBAO, TRUST
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.layout import ClientFiles, Layout
from ansible_collections.mtls.nginx.plugins.module_utils.common import as_written, valid_items
from ansible_collections.mtls.nginx.plugins.module_utils.common.contact import Contact
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.common.names import check_client_name, nearest
from ansible_collections.mtls.nginx.plugins.module_utils.site import upstream_tls
from ansible_collections.mtls.nginx.plugins.module_utils.site.services import (
    RENEWAL_PATH,
    Service,
    check_server_name,
    parse_services,
)

# What all hosts of one authority must agree on, and what the module options are called.
AUTHORITY_SETTINGS = {
    "mtls_ca_subject": "subject",
    "mtls_ca_passphrase": "passphrase",
    "mtls_ca_backend": "backend",
    "mtls_ca_pkcs11": "pkcs11",
    "mtls_ca_openbao": "openbao",
    "mtls_ca_trust": "trust",
    "mtls_ca_old_passphrase": "old_passphrase",
    "mtls_ca_key_type": "key_type",
    "mtls_ca_key_size": "key_size",
    "mtls_ca_curve": "curve",
    "mtls_ca_days": "days",
    "mtls_ca_parent": "parent",
    "mtls_ca_certificate": "certificate",
    "mtls_ca_parent_crl": "parent_crl",
    "mtls_ca_parent_crl_warn_days": "parent_crl_warn_days",
    "mtls_ca_renew_before": "renew_before",
    "mtls_ca_repair": "repair",
    "mtls_crl_publish": "crl_publish",
    "mtls_crl_distribution_point": "crl_distribution_point",
    "mtls_crl_days": "crl_days",
    "mtls_crl_refresh_before": "crl_refresh_before",
    "mtls_crl_prune": "crl_prune",
    "mtls_crl_max_entries": "crl_max_entries",
    "mtls_client_days": "client_days",
    "mtls_client_renew_before": "client_renew_before",
    "mtls_client_key_type": "client_key_type",
    "mtls_client_mobileconfig": "client_mobileconfig",
    "mtls_profile_signer": "profile_signer",
    "mtls_keep_client_keys": "keep_client_keys",
    "mtls_contact": "contact",
    "mtls_handouts": "handouts",
    "mtls_handout_template": "handout_template",
    "mtls_server_days": "server_days",
    "mtls_server_renew_before": "server_renew_before",
    "mtls_server_key_type": "server_key_type",
}
# How an authority is asked to revoke, and what its CRL is made of.
_TO_REVOKE = (
    "mtls_ca_backend",
    "mtls_ca_passphrase",
    "mtls_ca_pkcs11",
    "mtls_ca_openbao",
    "mtls_ca_trust",
    "mtls_ca_parent",
    "mtls_ca_parent_crl",
    "mtls_crl_days",
)
# A host that has none of these has nothing to do with the collection.
_FLEET = "mtls_fleet_clients"
_TELLING = frozenset({"mtls_clients", _FLEET, "mtls_services", "mtls_revoked", "mtls_authorities"})
_NO_TEXT = (
    (bool, "true or false"),
    ((int, float), "a number"),
    (date, "a date"),
    ((list, tuple), "a list"),
    (Mapping, "a dictionary"),
)
# What lets in more people where it is not given: nothing after the colon may be what is left of a list.
_NEVER_EMPTY = {
    "allow": "write [] to let in nobody, or remove the line to let in every client",
    "authority": "name a directory, or remove the line for that of mtls_ca_dir",
}
_TYPES = {
    "bool": "true or false",
    "dict": "a dictionary; write it as name: value",
    "float": "a number",
    "int": "a whole number",
    "list": "a list; write one item a line, with a dash in front",
    "path": "a path",
    "str": "text",
}
# How Ansible says that a value has the wrong type; what follows cites the value.
_WRONG_TYPE = re.compile(
    r"(?:argument|Elements value for option) '(\w+)'(?: found in '[^']*'\.?)? is of type"
    r" .* unable to convert to (" + "|".join(_TYPES) + r"): .*",
    re.DOTALL,
)
_SECRETS = frozenset(
    {
        "mtls_ca_passphrase",
        "mtls_ca_old_passphrase",
        "mtls_ca_pkcs11",
        "mtls_ca_openbao",
        "mtls_ca_parent",
        "mtls_profile_signer",
        "p12_password",
    }
)
# Where in the settings there are paths: relative ones start at the inventory's directory.
_PATHS = (
    ("mtls_ca_certificate",),
    ("mtls_ca_parent_crl",),
    ("mtls_ca_openbao", "ca_file"),
    ("mtls_ca_openbao", "token_file"),
    ("mtls_ca_pkcs11", "pin_file"),
    ("mtls_ca_parent", "path"),
    ("mtls_ca_parent", "pkcs11", "pin_file"),
    ("mtls_ca_trust", "certificates"),
    ("mtls_profile_signer", "certificate"),
    ("mtls_profile_signer", "key"),
    ("mtls_handout_template",),
    ("mtls_crl_publish", "file"),
)
_REVOCABLE = ("serial", "certificate", "name", "fingerprint")  # how an item of mtls_revoked names what is meant


@dataclass
class AuthorityPlan:
    """What one authority has to make true.

    ``clients`` and ``servers`` have the shape of the modules' options; ``services`` are those that its clients enter,
    each with its host. An authority that ``follows`` another one issues no server certificates yet. ``crl_min_days`` is
    the longest time, in days, for which one of the hosts wants a CRL to be still valid.
    """

    path: str
    settings: dict[str, t.Any]
    first_host: str
    clients: list[dict[str, t.Any]] = field(default_factory=list)
    servers: list[dict[str, t.Any]] = field(default_factory=list)
    services: list[tuple[str, Service]] = field(default_factory=list)
    revoked: list[dict[str, t.Any]] = field(default_factory=list)
    follows: bool = False
    crl_min_days: int = 0

    def as_options(self) -> dict[str, t.Any]:
        """Return the plan as one dictionary, as the ``ca`` role passes it on."""
        return {
            "path": self.path,
            **self.settings,
            # During a rollover, what the old one publishes has the CRLs of both.
            "crl_publish": None if self.follows else self.settings["crl_publish"],
            "clients": self.clients,
            "servers": self.servers,
            "services": self._described_services(),
            "hosts": list(dict.fromkeys(host for host, service in self.services if service.present)),
            "revoked": self.revoked,
        }

    def _described_services(self) -> list[dict[str, t.Any]]:
        """Return what clients are told of the services; one on several hosts is one to people."""
        described: list[dict[str, t.Any]] = []
        for _host, service in self.services:
            found = {
                "name": service.name,
                "urls": list(service.urls),
                "allow": None if service.allow is None else list(service.named),
                "issued_by_authority": service.issued_by_authority,
            }
            if service.self_renewal:
                urls = [f"{url.rstrip('/')}{RENEWAL_PATH}" for url in service.urls if "*" not in url]
                allow = None if service.allow is None else list(service.allow.names)
                found |= {"renewal_urls": urls, "renewal_allow": allow}
            if service.present and found not in described:
                described.append(found)
        return described


@dataclass(frozen=True)
class _Defined:
    host: str
    definition: dict[str, t.Any]


@dataclass
class RevokingPlan:
    """The authorities at which something can be revoked, by directory.

    ``contradictions`` do not keep anybody from that. What is ``left_out``, authorities and hosts whose authorities are
    not known, cannot be asked, each for its reason.
    """

    authorities: dict[str, AuthorityPlan] = field(default_factory=dict)
    contradictions: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


class InventoryReader:
    """Reads the ``mtls_*`` variables of hosts against the roles' argument specifications.

    ``ca_spec`` and ``server_spec`` are the ``options`` of the roles' ``meta/argument_specs.yml``.
    """

    def __init__(self, *, ca_spec: Mapping[str, t.Any], server_spec: Mapping[str, t.Any]) -> None:
        self._ca_spec = dict(ca_spec)
        self._server_spec = dict(server_spec)
        self.variables = sorted({*ca_spec, *server_spec})
        self._fleet: tuple[t.Any, list[dict[str, t.Any]]] | None = None  # as it was given last, and validated

    def check_as_written(self, host: str, values: Mapping[str, t.Any], follow: t.Callable[[t.Any], t.Any]) -> None:
        """Raise MtlsError where a secret or a serial of a host is no text in the inventory itself.

        :arg values: the variables as they stand there, before Ansible made text of what their templates name.
        :arg follow: returns what a template stands for.
        """
        for name, spec in {**self._ca_spec, **self._server_spec}.items():
            if name in values:
                as_written.check(f"host {host}: {name}", values[name], spec, name, follow)
        authorities = follow(values.get("mtls_authorities"))
        for item in authorities if isinstance(authorities, (list, tuple)) else ():
            own = follow(item)
            if isinstance(own, Mapping):
                prefixed = {f"mtls_{key}": value for key, value in own.items() if key != "authorities"}
                self.check_as_written(host, prefixed, follow)

    def plan(
        self,
        hosts: Mapping[str, Mapping[str, t.Any]],
        base_dirs: Mapping[str, str | None],
        spared: Container[str] = frozenset(),
    ) -> dict[str, AuthorityPlan]:
        """Return the plan of every authority that the hosts name, by its directory.

        ``hosts`` maps each host of the inventory to those of ``variables`` that it has, ``base_dirs`` to the directory
        at which its relative paths start, if there is one. The services of ``spared`` hosts are left out, whatever is
        wrong with them.

        :raises MtlsError: naming hosts, for whatever contradicts itself.
        """
        collectors: dict[str, _Collector] = {}
        placed: list[tuple[str, Service, str, int]] = []
        for host, values in hosts.items():
            if not values.keys() & _TELLING:
                continue
            base_dir = base_dirs[host]
            own = self._ca_settings(host, values, base_dir)
            try:
                server = self._validate(host, values, self._server_spec)
                services = _services(host, server, base_dir)
                if server["mtls_require_allow"]:
                    _require_allow(host, services)
            except MtlsError:
                if host not in spared:
                    raise
                server, services = {}, []
            others = [self._other_authority(host, raw, base_dir) for raw in own["mtls_authorities"]]
            _check_publish(host, own["mtls_crl_publish"], hosts)
            for settings in [*([own] if _uses_its_own(own, services) else []), *others]:
                _check_days(host, settings)
                path = authority_path(settings["mtls_ca_dir"], base_dir)
                collectors.setdefault(path, _Collector(path, host, settings)).add(host, settings, base_dir)
            placed += [
                (
                    host,
                    service,
                    authority_path(service.authority or own["mtls_ca_dir"], base_dir),
                    server["mtls_crl_min_days"],
                )
                for service in services
                if host not in spared
            ]
        for host, service, path, crl_min_days in placed:
            if path not in collectors:
                raise MtlsError(
                    f"host {host}, service {service.name}: its authority {service.authority} is not defined; add"
                    " it to mtls_authorities, or correct the path"
                )
            collectors[path].add_service(host, service, crl_min_days)
        plans = {path: collector.finish() for path, collector in collectors.items()}
        _refuse_one_file_for_two(plans)
        return plans

    def plan_to_revoke(
        self,
        hosts: Mapping[str, Mapping[str, t.Any]],
        base_dirs: Mapping[str, str | None],
        spared: Container[str] = frozenset(),
    ) -> RevokingPlan:
        """Return what is needed to revoke at once, whatever else the inventory says wrong.

        An authority is left out only where hosts differ in how it is asked. Of the services of ``spared`` hosts nothing
        is said.
        """
        found = RevokingPlan()
        collectors: dict[str, _Collector] = {}
        placed: list[tuple[str, Service, str, int]] = []
        for host, values in hosts.items():
            if not values.keys() & _TELLING:
                continue
            try:
                own = self._ca_settings(host, values, base_dirs[host])
                others = [self._other_authority(host, raw, base_dirs[host]) for raw in own["mtls_authorities"]]
            except MtlsError as error:  # which authorities it has is not known
                found.left_out[f"host {host}"] = str(error)
                continue
            try:
                server = self._validate(host, values, self._server_spec)
                services = _services(host, server, base_dirs[host])
                uses_own = _uses_its_own(own, services)
            except MtlsError as error:
                if host not in spared:
                    found.contradictions.append(str(error))
                server, services, uses_own = {}, [], True
            for service in services if host not in spared else ():
                path = authority_path(service.authority or own["mtls_ca_dir"], base_dirs[host])
                placed.append((host, service, path, server["mtls_crl_min_days"]))
            for settings in [*([own] if uses_own else []), *others]:
                path = authority_path(settings["mtls_ca_dir"], base_dirs[host])
                collector = collectors.setdefault(path, _Collector(path, host, settings))
                try:
                    collector.agree(host, settings, _TO_REVOKE)
                except MtlsError as error:
                    found.left_out[path] = str(error)
                    continue
                try:
                    collector.add(host, settings, base_dirs[host])
                except MtlsError as error:
                    found.contradictions.append(str(error))
        for host, service, path, crl_min_days in placed:
            try:
                if path in collectors:  # else site.yml says so
                    collectors[path].add_service(host, service, crl_min_days)
            except MtlsError as error:
                found.contradictions.append(str(error))
        for path, collector in collectors.items():
            try:
                found.authorities[path] = collector.finish()
            except MtlsError as error:
                found.contradictions.append(str(error))
                found.authorities[path] = collector.unchecked()
        for path in found.left_out:
            found.authorities.pop(path, None)
        return found

    def _other_authority(self, host: str, raw: t.Any, base_dir: str | None) -> dict[str, t.Any]:
        """Return the settings of an item of ``mtls_authorities``, whose keys are the role's variables, unprefixed."""
        where = f"host {host}: an item of mtls_authorities"
        known = sorted(name[len("mtls_") :] for name in self._ca_spec if name != "mtls_authorities")
        if not isinstance(raw, Mapping) or not raw.get("ca_dir"):
            raise MtlsError(f"{where} has no ca_dir, which names it; give its directory")
        for key in raw:
            if key not in known:
                close = nearest(str(key), known)
                hint = f"did you mean {close}?" if close else f"known are {', '.join(known)}"
                raise MtlsError(f"{where}, {raw['ca_dir']}, has the unknown key {key!r}; {hint}")
        published = raw.get("crl_publish")
        if isinstance(published, Mapping) and published.get("host"):
            raise MtlsError(
                f"{where}, {raw['ca_dir']}: only the CRL of a host's own mtls_ca_dir is served by a host; use file or"
                " command in its crl_publish"
            )
        values = {f"mtls_{key}": value for key, value in raw.items()}
        return self._ca_settings(host, values, base_dir)

    def _ca_settings(self, host: str, values: Mapping[str, t.Any], base_dir: str | None) -> dict[str, t.Any]:
        """Return a host's variables of the ``ca`` role, validated.

        The fleet's clients are mostly in group_vars, so that each host has the same: they are validated once.
        """
        own = dict(values)
        fleet = own.pop(_FLEET, None)
        settings = _with_absolute_paths(self._validate(host, own, self._ca_spec), base_dir)
        try:
            Contact.of(settings["mtls_contact"])
        except MtlsError as error:
            raise MtlsError(f"host {host}: {error}") from None
        if self._fleet is None or self._fleet[0] != fleet:
            spec = {_FLEET: self._ca_spec[_FLEET]}
            given = {} if fleet is None else {_FLEET: fleet}
            self._fleet = (fleet, self._validate(host, given, spec)[_FLEET])
        return {**settings, _FLEET: self._fleet[1]}

    def services(self, host: str, values: Mapping[str, t.Any], base_dir: str | None) -> list[Service]:
        """Return one host's services; relative paths of certificates on allow lists start at ``base_dir``.

        :raises MtlsError: as ``plan`` does.
        """
        return _services(host, self._validate(host, values, self._server_spec), base_dir)

    @staticmethod
    def _validate(host: str, values: Mapping[str, t.Any], spec: Mapping[str, t.Any]) -> dict[str, t.Any]:
        given = {key: values[key] for key in spec if key in values}
        rest, valid, _secrets = valid_items.set_aside(spec, given)
        for key, value in rest.items():
            as_written.check(f"host {host}: {key}", value, spec[key], key)
            _check_shape(f"host {host}: {key}", value, spec[key])
        result = ArgumentSpecValidator(dict(spec)).validate(rest)
        if result.error_messages:
            raise MtlsError(f"host {host}: {_placed(given, spec) or _plainly(result.error_messages)}")
        validated: dict[str, t.Any] = {**result.validated_parameters, **valid}
        return validated


def _services(host: str, server: Mapping[str, t.Any], base_dir: str | None) -> list[Service]:
    """Return the services in a host's variables of the ``server`` role, validated."""
    place = functools.partial(beside_inventory, base_dir=base_dir)
    return parse_services(
        host, server["mtls_services"], place, self_renewal=server["mtls_self_renewal"], acme=server["mtls_acme"]
    )


def _check_days(host: str, settings: Mapping[str, t.Any]) -> None:
    """Raise MtlsError for times with which nothing could be issued, or everything in each run."""
    for name in ("mtls_ca_days", "mtls_client_days", "mtls_crl_days"):
        if settings[name] is not None and settings[name] < 1:
            raise MtlsError(f"host {host}: {name} is {settings[name]}; use 1 or more")
    refresh, days = settings["mtls_crl_refresh_before"], settings["mtls_crl_days"]
    if None not in (refresh, days) and refresh >= days:
        raise MtlsError(
            f"host {host}: mtls_crl_refresh_before ({refresh}) is not less than mtls_crl_days ({days}), so every run"
            " would write a new CRL; make it less"
        )


def _placed(given: Mapping[str, t.Any], spec: Mapping[str, t.Any]) -> str | None:
    """Return what Ansible says of the first item of a list that it refuses, with that item; None where it is none."""
    for variable, value in given.items():
        if spec[variable].get("elements") != "dict" or "options" not in spec[variable]:
            continue
        for number, item in enumerate(value or (), 1):
            alone = ArgumentSpecValidator({variable: spec[variable]}).validate({variable: [item]})
            if alone.error_messages:
                said = re.sub(rf" found in {variable}(?: -> (.+))?$", _within, _plainly(alone.error_messages))
                return f"{variable}, {_item(number, item)}: {said}"
    return None


def _within(found: re.Match[str]) -> str:
    return f" (in {found[1]})" if found[1] else ""


def _plainly(messages: Sequence[str]) -> str:
    """Return Ansible's messages, those about types in words of ours."""
    return "; ".join(_WRONG_TYPE.sub(lambda found: f"{found[1]} is not {_TYPES[found[2]]}", each) for each in messages)


def _item(number: int, item: t.Any) -> str:
    """Return how an item of a list is called: by its place, and its name if it has one."""
    name = item.get("name") if isinstance(item, Mapping) else None
    return f"item {number} ({name})" if isinstance(name, str) and name.isprintable() else f"item {number}"


def _check_shape(where: str, value: t.Any, spec: Mapping[str, t.Any]) -> None:
    """Raise MtlsError for what Ansible's validator breaks at, or says less of.

    Where dictionaries are expected, something else is given, or an option that there is not.
    """
    if value is None:
        return
    _check_text(where, value, spec)
    if spec.get("elements") == "dict":
        if not isinstance(value, Sequence) or isinstance(value, (str, bytes)):
            raise MtlsError(f"{where} is not a list; write one item a line, with a dash in front")
        items = [(f"{where}, {_item(number, item)}", item) for number, item in enumerate(value, 1)]
    elif "options" in spec:
        items = [(where, value)]
    else:
        return
    options = spec.get("options")
    for place, item in items:
        if not isinstance(item, Mapping) or not all(isinstance(key, str) for key in item):
            raise MtlsError(f"{place} is not a dictionary; write it as name: value")
        if options is None:  # an authority beside the host's own, which has the variables of the role
            continue
        for key in item.keys() - options.keys():
            close = nearest(key, options)
            hint = f"did you mean {close}?" if close else "docs/variables.md lists the options"
            raise MtlsError(f"{place}: there is no option {key!r}; {hint}")
        for key in options.keys() & item.keys():
            if item[key] is None and key in _NEVER_EMPTY:
                raise MtlsError(f"{place}: {key} has no value; {_NEVER_EMPTY[key]}")
            _check_shape(f"{place}, {key}", item[key], options[key])


def _check_text(where: str, value: t.Any, spec: Mapping[str, t.Any]) -> None:
    """Raise MtlsError for what is written as text and something else to YAML: ``yes``, ``1.10``, a date, ``[phone]``.

    A whole number may be meant, as a name; ``as_written`` has refused it where it would be a secret or a serial.
    """
    if spec.get("elements") in ("str", "raw") and isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        for number, item in enumerate(value, 1):
            if spec["elements"] == "str" or not isinstance(item, Mapping):
                _check_text(f"{where}, item {number}", item, {"type": "str"})
    elif spec.get("type") == "str":
        what = next((name for kind, name in _NO_TEXT if isinstance(value, kind)), None)
        if what == "a number" and isinstance(value, int):
            return
        if what:
            raise MtlsError(f"{where}: is {what} to YAML, and not the text that was written; put it in quotes")


def _check_publish(host: str, publish: Mapping[str, t.Any] | None, hosts: Collection[str]) -> None:
    """Raise MtlsError where ``mtls_crl_publish`` names no host of the inventory, or half of what it needs."""
    if not publish:
        return
    where = f"host {host}: mtls_crl_publish"
    if bool(publish["host"]) != bool(publish["server_name"]):
        raise MtlsError(f"{where} needs host and server_name together; give both, or neither")
    if not publish["host"]:
        return
    if publish["host"] not in hosts:
        close = nearest(publish["host"], hosts)
        hint = f"did you mean {close!r}?" if close else "name a host of the inventory"
        raise MtlsError(f"{where}: there is no host {publish['host']!r}; {hint}")
    check_server_name(where, publish["server_name"])
    if not 0 < publish["port"] < 65536:
        raise MtlsError(f"{where}: port is {publish['port']}; use 1 to 65535")


def _refuse_one_file_for_two(plans: Mapping[str, AuthorityPlan]) -> None:
    """Raise MtlsError where two authorities would publish their CRLs in one file, each over the other's."""
    files: dict[str, str] = {}
    for path, plan in plans.items():
        published = (plan.settings["crl_publish"] or {}).get("file")
        other = files.setdefault(published, path) if published else path
        if other != path:
            raise MtlsError(
                f"mtls_crl_publish: the authorities {other} and {path} would both write {published}; give each a file"
                " of its own"
            )


def _uses_its_own(settings: Mapping[str, t.Any], services: Sequence[Service]) -> bool:
    """Whether a host has anything to do with the authority of its ``mtls_ca_dir``."""
    return (
        not settings["mtls_authorities"]
        or any(service.authority is None for service in services)
        or any(settings[name] for name in ("mtls_clients", _FLEET, "mtls_revoked"))
    )


def _require_allow(host: str, services: Iterable[Service]) -> None:
    """Raise MtlsError for a service that is open to every client."""
    for service in services:
        if service.present and service.allow is None:
            raise MtlsError(
                f"host {host}, service {service.name}: has no allow, so it is open to every client of its authority,"
                " and mtls_require_allow is true; list in allow who may enter (allow: [] lets in nobody), or set"
                " mtls_require_allow: false for this host"
            )


def authority_path(ca_dir: str, base_dir: str | None) -> str:
    """Return the authority's directory as an absolute path; a relative one starts at the inventory's directory."""
    return beside_inventory("mtls_ca_dir", ca_dir, base_dir)


def _with_absolute_paths(settings: dict[str, t.Any], base_dir: str | None) -> dict[str, t.Any]:
    """Return the settings with relative paths in them made absolute."""
    settings = {name: copy.deepcopy(value) if isinstance(value, Mapping) else value for name, value in settings.items()}
    for *outer, last in _PATHS:
        place: t.Any = settings
        for name in outer:
            place = place and place[name]
        if place and place[last]:
            place[last] = beside_inventory(".".join([*outer, last]), place[last], base_dir)
    if settings["mtls_ca_trust"]:
        settings["mtls_ca_trust"]["crl"] = [
            source
            if source.startswith(("http://", "https://"))
            else beside_inventory("mtls_ca_trust.crl", source, base_dir)
            for source in settings["mtls_ca_trust"]["crl"]
        ]
    return settings


def beside_inventory(what: str, path: str, base_dir: str | None) -> str:
    """Return an absolute path; a relative one starts at the inventory's directory.

    :raises MtlsError: it is relative, and the inventory has no directory.
    """
    path = os.path.expanduser(path)
    if base_dir is None and not os.path.isabs(path):
        raise MtlsError(
            f"{what} '{path}' is relative, and this inventory is not a file, whose directory such a path starts at; "
            "give the full path"
        )
    return os.path.normpath(os.path.join(base_dir or os.sep, path))


class _Collector:
    """Gathers what the hosts of one authority say, and refuses contradictions."""

    def __init__(self, path: str, host: str, values: Mapping[str, t.Any]) -> None:
        self._plan = AuthorityPlan(
            path=path, first_host=host, settings={option: values[name] for name, option in AUTHORITY_SETTINGS.items()}
        )
        self._clients: dict[str, _Defined] = {}
        self._fleet: tuple[list[dict[str, t.Any]], str | None] | None = None  # the list added last, and its base

    def add(self, host: str, values: Mapping[str, t.Any], base_dir: str | None) -> None:
        """Add what a host says of the authority, its clients and revocations."""
        self.agree(host, values, AUTHORITY_SETTINGS)
        fleet = values[_FLEET]
        if self._fleet is None or self._fleet[0] is not fleet or self._fleet[1] != base_dir:
            for raw in fleet:
                self._add_client(host, raw, base_dir)
            self._fleet = (fleet, base_dir)
        for raw in values["mtls_clients"]:
            self._add_client(host, raw, base_dir)
        for raw in values["mtls_revoked"]:
            revocation = _revocation(host, raw, base_dir)
            if revocation not in self._plan.revoked:
                self._plan.revoked.append(revocation)

    def add_service(self, host: str, service: Service, crl_min_days: int) -> None:
        """Add a service that the authority's clients enter, and the days that its host asks of the CRL."""
        self._plan.services.append((host, service))
        self._plan.crl_min_days = max(self._plan.crl_min_days, crl_min_days)
        backend = self._plan.settings["backend"]
        if service.present and service.self_renewal and backend == TRUST:
            raise MtlsError(
                f"host {host}, service {service.name}: its authority is trusted only and renews no certificate; set"
                " self_renewal: false"
            )
        # What OpenBao issues, its roles decide: they need not know the names of public certificates.
        if service.may_stand_in and not service.acme and backend in (TRUST, OPENBAO):
            return
        if not (service.issued_by_authority or service.may_stand_in):
            return
        if backend == TRUST:
            raise MtlsError(
                f"host {host}, service {service.name}: its authority is trusted only and issues no server certificate;"
                " give the service one of its own (certificate, with path and key)"
            )
        server = {"host": host, "name": service.name, "server_names": list(service.server_names)}
        self._plan.servers.append({**server, "stands_in": True} if service.may_stand_in else server)

    def finish(self) -> AuthorityPlan:
        """Return the plan, once every host has been added."""
        self._refuse_lookalikes()
        self._refuse_nobody()
        self._refuse_revoked_yet_present()
        return self.unchecked()

    def unchecked(self) -> AuthorityPlan:
        """Return the plan, although its clients may contradict each other."""
        self._plan.clients = [defined.definition for defined in self._clients.values()]
        return self._plan

    def agree(self, host: str, values: Mapping[str, t.Any], names: Iterable[str]) -> None:
        """Raise MtlsError where a host says something else of the authority than the first one."""
        for name in names:
            first, here = self._plan.settings[AUTHORITY_SETTINGS[name]], values[name]
            if first != here:
                said = "" if name in _SECRETS else f" ({_said(first)} and {_said(here)})"
                raise MtlsError(
                    f"hosts {self._plan.first_host} and {host} share the authority {self._plan.path} but differ in"
                    f" {name}{said}; set it once in group_vars, or give one of them another mtls_ca_dir"
                )

    def _add_client(self, host: str, raw: Mapping[str, t.Any], base_dir: str | None) -> None:
        definition = {key: value for key, value in raw.items() if value is not None}
        name = definition["name"]
        try:
            check_client_name(name)
        except MtlsError as error:
            raise MtlsError(f"host {host}: {error}") from None
        if "csr" in definition:
            definition["csr"] = _request_path(host, definition, base_dir)
        first = self._clients.setdefault(name, _Defined(host, definition))
        if first.definition != definition:
            both = f"hosts {first.host} and {host}" if first.host != host else f"host {host} twice"
            keys = sorted(set(first.definition) | set(definition))
            differing = [key for key in keys if first.definition.get(key) != definition.get(key)]
            said = ", ".join(
                key
                if key in _SECRETS
                else f"{key}: {_said(first.definition.get(key))} and {_said(definition.get(key))}"
                for key in differing
            )
            raise MtlsError(
                f"client '{name}' is defined by {both}, differently ({said});"
                " define it once, or write the same in both places"
            )

    def _refuse_lookalikes(self) -> None:
        """Nginx's maps ignore case, so names or subjects that differ in nothing else are one client to nginx."""
        by_name: dict[str, str] = {}
        by_dn: dict[str, tuple[str, str]] = {}
        for name, defined in self._clients.items():
            other = by_name.setdefault(name.casefold(), name)
            if other != name:
                raise MtlsError(
                    f"clients {self._said(other)} and {self._said(name)} differ only in case,"
                    " and nginx's maps ignore case; rename one of them"
                )
            subject = defined.definition.get("subject")
            dn = (None if subject else dn_of_plain_name(name)) or nginx_dn(subject_name(subject or {"CN": name}, name))
            other, _dn = by_dn.setdefault(dn.lower(), (name, dn))
            if other != name:
                raise MtlsError(
                    f"clients {self._said(other)} and {self._said(name)} have the same subject ({dn}),"
                    " so nginx could not tell them apart; change the subject of one of them"
                )
        for host, service in self._plan.services:
            for dn in service.subjects:
                other, theirs = by_dn.get(dn.lower(), ("", dn))
                if theirs != dn:
                    raise MtlsError(
                        f"host {host}, service {service.name}: allow has the subject {dn}, and client"
                        f" {self._said(other)} differs from it only in case, which nginx's maps ignore; change the"
                        " subject of that client, or list it by its name"
                    )

    def _said(self, name: str) -> str:
        return f"'{name}' (host {self._clients[name].host})"

    def _refuse_nobody(self) -> None:
        for host, service in self._plan.services:
            for name in service.named:
                if name not in self._clients:
                    close = nearest(name, self._clients)
                    hint = f"did you mean '{close}'?" if close else "add it to mtls_clients of a host"
                    raise MtlsError(
                        f"host {host}, service {service.name}: allow names '{name}', which is not a client; {hint}"
                    )
            if service.present and service.upstream_client:
                if self._plan.settings["backend"] == TRUST:
                    raise MtlsError(
                        f"host {host}, service {service.name}: upstream_tls: its authority is trusted only and issues"
                        " no client certificates; leave out client"
                    )
                defined = self._clients.get(service.upstream_client)
                upstream_tls.check_client(
                    f"host {host}, service {service.name}",
                    service.upstream_client,
                    defined.definition if defined else None,
                    known=self._clients,
                    keys_kept=self._plan.settings["keep_client_keys"],
                )

    def _refuse_revoked_yet_present(self) -> None:
        """Raise MtlsError for who would get a new certificate in each run, which the same run revokes."""
        for revocation in self._plan.revoked:
            if revocation.get("state") == "released":
                continue
            defined = self._clients.get(revocation.get("name", ""))
            if defined is not None and defined.definition["state"] != "revoked":
                name = revocation["name"]
                raise MtlsError(
                    f"client {self._said(name)} is present, and mtls_revoked names it; set state: revoked where it is "
                    "defined"
                )
            if (path := revocation.get("certificate")) and os.path.realpath(path) in self._certificates:
                raise MtlsError(
                    f"mtls_revoked names {path}, where the next certificate of a present client or service will be; "
                    "give the serial of the one to revoke, or set state: revoked on the client"
                )

    @functools.cached_property
    def _certificates(self) -> set[str]:
        """The files with the certificates of whoever is present, as far as links lead."""
        layout = Layout(self._plan.path)
        present = [name for name, each in self._clients.items() if each.definition["state"] != "revoked"]
        files = [ClientFiles.of(layout.clients, name).certificate for name in present]
        files += [f"{layout.server(server['host'], server['name'])}.crt" for server in self._plan.servers]
        return set(map(os.path.realpath, files))


def _said(value: t.Any) -> str:
    """Return a value as YAML has it, more or less."""
    if value is None:
        return "not set"
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _request_path(host: str, definition: Mapping[str, t.Any], base_dir: str | None) -> str:
    chosen = "p12_password" in definition or "key_type" in definition or definition.get("formats")
    if chosen or definition.get("p12", "none") != "none":
        raise MtlsError(
            f"host {host}, client '{definition['name']}': with csr the key stays on the device, so there is"
            " no file with it and no key to choose; remove p12, p12_password, key_type and formats, or remove csr"
        )
    return beside_inventory(f"client '{definition['name']}': csr", definition["csr"], base_dir)


def _revocation(host: str, raw: Mapping[str, t.Any], base_dir: str | None) -> dict[str, t.Any]:
    given = [kind for kind in _REVOCABLE if raw.get(kind) is not None]
    if len(given) != 1:
        raise MtlsError(f"host {host}: an item of mtls_revoked needs one of {', '.join(_REVOCABLE)}; give one of them")
    value = raw[given[0]]
    if given == ["certificate"]:
        value = beside_inventory("mtls_revoked: certificate", value, base_dir)
    revocation = {given[0]: value, "reason": raw["reason"]}
    return {**revocation, "state": "released"} if raw["state"] == "released" else revocation

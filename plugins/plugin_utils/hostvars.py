# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The inventory's ``mtls_*`` variables, read from Ansible for the action plugins."""

from __future__ import annotations

import glob
import os
import re
import typing as t
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

from ansible import constants as C
from ansible import context
from ansible.errors import AnsibleError
from ansible.inventory.manager import IGNORED
from ansible.module_utils.common.yaml import yaml_load

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.site.host_paths import trusts_of
from ansible_collections.mtls.nginx.plugins.module_utils.site.inventory import (
    AuthorityPlan,
    InventoryReader,
    RevokingPlan,
    authority_path,
    beside_inventory,
)
from ansible_collections.mtls.nginx.plugins.module_utils.site.known_variables import (
    check_batch,
    check_probe_from,
    refuse_unknown,
)
from ansible_collections.mtls.nginx.plugins.module_utils.site.rollover_plan import Move, with_next
from ansible_collections.mtls.nginx.plugins.module_utils.site.services import Service
from ansible_collections.mtls.nginx.plugins.plugin_utils.facts import facts_wanted, lacks_facts, refuse_facts
from ansible_collections.mtls.nginx.plugins.plugin_utils.plain import is_plain, plain

COLLECTION_DIR = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_REFERENCE = re.compile(r"\s*\{\{\s*(\w+)\s*\}\}\s*")  # a template that is a variable and nothing else
_LOCAL = ("local", "ansible.builtin.local", "ansible.legacy.local")
_SERVICES = "mtls_services"
_OF_REVOCATION = "mtls_revok"  # begins the names of all that is said of one, and of what is meant to be one
_LONGEST_WAY = 20  # from one variable to the next
TEMPLATE_DIR = os.path.join(COLLECTION_DIR, "roles", "server", "templates")
PAGE_DIR = os.path.join(COLLECTION_DIR, "roles", "ca", "templates")


@lru_cache(maxsize=1)
def inventory_reader() -> InventoryReader:
    """Return a reader that knows the argument specifications of the collection's roles."""
    return InventoryReader(ca_spec=_role_options("ca"), server_spec=_role_options("server"))


def read_plan(
    task_vars: Mapping[str, t.Any], move: Move | None = None, *, complete: bool = False, crls_only: bool = False
) -> dict[str, AuthorityPlan]:
    """Return the plan of every authority, from all hosts of the inventory; successors of authorities are included.

    ``move`` says which clients move to the next authority now; with ``complete`` an interrupted rollover is completed
    first. With ``crls_only``, the services of hosts outside of the play may be wrong or unknown.

    :raises MtlsError: the inventory contradicts itself, or a variable cannot be read.
    """
    reader = inventory_reader()
    hosts, base_dirs, spared = {}, {}, _not_played(task_vars) if crls_only else frozenset()
    for each in _inventory(task_vars):
        each.check_names()
        each.check_how_it_runs()
        each.check_as_written()
        hosts[each.host] = each.values(reader.variables, optional=[_SERVICES] if each.host in spared else [])
        base_dirs[each.host] = base_dir(each.variables)
    plans = reader.plan(hosts, base_dirs, spared)
    for path in plans:
        refuse_as_inventory("the authority", path)
    return with_next(plans, move, complete=complete)


def read_plan_to_revoke(task_vars: Mapping[str, t.Any], *, complete: bool = False) -> RevokingPlan:
    """Return the authorities that can be asked to revoke, although the inventory may contradict itself elsewhere.

    :raises MtlsError: nothing is certain: a host's facts hold names of ours, a rollover was interrupted, or what the
        command line says of the revocation is misspelled.
    """
    reader = inventory_reader()
    hosts, base_dirs, contradictions, left_out = {}, {}, [], {}
    spared = _not_played(task_vars)
    for each in _inventory(task_vars):
        each.check_names_of_revocation()
        try:
            each.check_names()
        except MtlsError as error:
            contradictions.append(str(error))
        try:
            each.check_as_written()
            hosts[each.host] = each.values(reader.variables, optional=[_SERVICES])
            if each.host not in spared:
                each.values([_SERVICES])
        except MtlsError as error:
            if each.host in hosts:
                contradictions.append(str(error))
            else:
                left_out[f"host {each.host}"] = str(error)
        base_dirs[each.host] = base_dir(each.variables)
    found = reader.plan_to_revoke(hosts, base_dirs, spared)
    for path in list(found.authorities):
        try:
            refuse_as_inventory("the authority", path)
        except MtlsError as error:
            left_out[path] = str(error)
            del found.authorities[path]
    return RevokingPlan(
        with_next(found.authorities, complete=complete),
        [*contradictions, *found.contradictions],
        {**left_out, **found.left_out},
    )


@dataclass(frozen=True)
class _HostVariables:
    """A host's variables, ``raw`` as they stand in the inventory, and those of the command line (``extra``)."""

    host: str
    variables: Mapping[str, t.Any]
    raw: Mapping[str, t.Any]
    extra: Mapping[str, t.Any]
    everybody: Collection[str]

    def check_names(self) -> None:
        """Raise MtlsError where there is a variable that nothing reads."""
        refuse_unknown(self.host, self.variables, _all_options(), self.extra)

    def check_names_of_revocation(self) -> None:
        """Raise MtlsError where the command line says something of a revocation that nothing reads."""
        given = [name for name in self.extra if name.startswith(_OF_REVOCATION)]
        refuse_unknown(self.host, given, _all_options(), self.extra)

    def check_how_it_runs(self) -> None:
        """Raise MtlsError where the host cannot be run on, or probed, as its variables say."""
        about_runs = self.values(["mtls_batch", "mtls_probe_from"])
        check_batch(self.host, about_runs.get("mtls_batch"))
        check_probe_from(self.host, about_runs.get("mtls_probe_from"), self.everybody)

    def check_as_written(self) -> None:
        """Raise MtlsError where a secret or a serial is a number or the like, before templating makes text of it."""
        inventory_reader().check_as_written(self.host, self.raw, _follower(self.raw))

    def values(self, names: Sequence[str], *, optional: Collection[str] = ()) -> dict[str, t.Any]:
        """Return the values of variables; those of ``optional`` are left out where they cannot be read."""
        values = {}
        for name in names:
            if name not in self.variables:
                continue
            try:
                values[name] = self._value(name)
            except MtlsError:
                if name not in optional:
                    raise
        return values

    def _value(self, name: str) -> t.Any:
        if name in self.raw and is_plain(self.raw[name]):
            return plain(self.raw[name])  # as templating would leave it, which takes long for many clients
        try:
            value = plain(self.variables[name])
        except AnsibleError as error:
            if wanted := facts_wanted(self.raw, name):
                raise lacks_facts(self.host, name, wanted) from error
            raise MtlsError(f"host {self.host}: variable {name} cannot be read: {error}") from error
        # Before ansible-core 2.19 a template with something undefined stays as it is.
        if _has_template(value) and (wanted := facts_wanted(self.raw, name)):
            raise lacks_facts(self.host, name, wanted)
        return value


def _inventory(task_vars: Mapping[str, t.Any]) -> Iterator[_HostVariables]:
    """Return the variables of each host of the inventory.

    :raises MtlsError: a host's facts hold names of ours.
    """
    everybody = task_vars["groups"]["all"]  # hostvars may hold an implicit localhost too
    refuse_facts(task_vars, everybody)
    hostvars = task_vars["hostvars"]
    extra = hostvars._variable_manager.extra_vars
    for host in everybody:
        variables = hostvars[host]  # computed at each access
        raw = getattr(variables, "_vars", variables)  # what raw_get would compute a second time
        yield _HostVariables(host, variables, raw, extra, everybody)


def _not_played(task_vars: Mapping[str, t.Any]) -> frozenset[str]:
    """Return the hosts that this run does not touch."""
    every = task_vars["groups"]["all"]
    return frozenset(every) - frozenset(task_vars.get("ansible_play_hosts_all", every))


def refuse_as_inventory(what: str, path: str) -> None:
    """Raise MtlsError where the folder ``path``, with ``what``, is inside an inventory folder.

    Ansible reads every file there as inventory: keys in vain, and passwords as host names.
    """
    for source in context.CLIARGS.get("inventory") or C.DEFAULT_HOST_LIST:
        folder = os.path.realpath(source)
        below = os.path.relpath(os.path.realpath(path), folder)
        parts = below.split(os.sep) if below != os.curdir else []  # Ansible ignores what begins with a dot
        if not os.path.isdir(folder) or os.pardir in parts:
            continue
        if not any(IGNORED.search(os.fsencode(part)) for part in parts):
            remedy = "choose a folder outside of it"
            if parts:
                remedy = f"set ignore_patterns = ^{re.escape(parts[0])}$ in section [inventory] of ansible.cfg"
            raise MtlsError(
                f"{what} {path} would lie inside the inventory folder {folder}, and Ansible reads every file"
                " there as inventory, passwords as host names too; run with -i and the inventory's file instead of its"
                f" folder, or {remedy}"
            )


@lru_cache(maxsize=1)
def _all_options() -> frozenset[str]:
    """Return the options of all roles and of all their entry points."""
    found: set[str] = set()
    for path in glob.glob(os.path.join(glob.escape(COLLECTION_DIR), "roles", "*", "meta", "argument_specs.yml")):
        for spec in _argument_specs(path).values():
            found.update(spec.get("options", {}))
    return frozenset(found)


def _role_options(role: str) -> dict[str, t.Any]:
    specs = _argument_specs(os.path.join(COLLECTION_DIR, "roles", role, "meta", "argument_specs.yml"))
    options: dict[str, t.Any] = specs["main"]["options"]
    return options


@cache
def _argument_specs(path: str) -> dict[str, t.Any]:
    with open(path, encoding="utf-8") as stream:
        specs: dict[str, t.Any] = yaml_load(stream)["argument_specs"]
    return specs


def _follower(raw: Mapping[str, t.Any]) -> t.Callable[[t.Any], t.Any]:
    """Return a function that returns the value of the variable that a template consists of, as far as it leads.

    Before ansible-core 2.19 such a template is a text, even when the variable is a number.
    """

    def follow(value: t.Any) -> t.Any:
        for _step in range(_LONGEST_WAY):
            found = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
            if found is None or found[1] not in raw:
                break
            value = raw[found[1]]
        return value

    return follow


def _has_template(value: t.Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_has_template, value.values()))
    if isinstance(value, list):
        return any(map(_has_template, value))
    return isinstance(value, str) and "{{" in value


def plan_file(given: str | None, variables: Mapping[str, t.Any]) -> str | None:
    """Return where the access plan goes, by ``mtls_plan_file``; None where it goes nowhere.

    :raises MtlsError: it cannot be written there.
    """
    if not given:
        return None
    path = beside_inventory("mtls_plan_file", given, base_dir(variables))
    refuse_as_inventory("the access plan", path)
    if not os.path.isdir(os.path.dirname(path)):
        raise MtlsError(f"mtls_plan_file: {path}: there is no folder {os.path.dirname(path)}; make it")
    return path


def base_dir(variables: Mapping[str, t.Any]) -> str | None:
    """Return where relative paths start: the inventory's directory; None where it is a bare list of hosts."""
    return variables.get("inventory_dir")


def authorities_of(services: Sequence[Service], own: str, base: str | None) -> dict[str, tuple[str, list[Service]]]:
    """Return the authorities of a host by ``Service.trust``: the directory, and the services that its clients enter.

    ``own`` is the host's ``mtls_ca_dir``.
    """
    present = [service for service in services if service.present]
    entered = {trust: [each for each in present if each.trust == trust] for trust in trusts_of(services)}
    return {
        trust: (authority_path((each[0].authority if each else None) or own, base), each)
        for trust, each in entered.items()
    }


def is_local(variables: Mapping[str, t.Any]) -> bool:
    """Tell whether the host is the controller itself, by whichever of its names the connection is called."""
    return variables.get("ansible_connection") in _LOCAL


def probe_address(given: str | None, service: Service, variables: Mapping[str, t.Any]) -> str:
    """Return where a service is asked: its own ``probe_address``, the ``given`` one, or the one that it listens on.

    Else the address of the connection.
    """
    if service.probe_address or given:
        return str(service.probe_address or given)
    if is_local(variables):
        return service.local_address
    return address_for_others(service, variables)


def address_for_others(service: Service, variables: Mapping[str, t.Any]) -> str:
    """Return where another machine reaches a service: the one address that it listens on, or that of the host."""
    if service.own_address and not service.at_loopback:
        return service.own_address
    found: str = variables.get("ansible_host") or variables["inventory_hostname"]
    return found

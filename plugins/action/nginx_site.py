# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller side of ``mtls.nginx.nginx_site``: renders a host's files, and has the host put them in place."""

from __future__ import annotations

import functools
import os
import time
import typing as t
from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence

from ansible import constants as C
from ansible.utils.display import Display

from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders import revoking
from ansible_collections.mtls.nginx.plugins.module_utils.common import contact
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.host import crl_timer, gates, heard
from ansible_collections.mtls.nginx.plugins.module_utils.host.request import (
    Elsewhere,
    Snippet,
    SnippetGate,
    SnippetPlaces,
)
from ansible_collections.mtls.nginx.plugins.module_utils.host.shutdown import OwnBound
from ansible_collections.mtls.nginx.plugins.module_utils.host.transaction import TransactionOutcome
from ansible_collections.mtls.nginx.plugins.module_utils.site import (
    access_plan,
    answers,
    crl_program,
    host_paths,
    upstream_tls,
)
from ansible_collections.mtls.nginx.plugins.module_utils.site.host_files import (
    HostFiles,
    crl_files,
    host_files,
    load_templates,
    textfile,
    to_compare,
)
from ansible_collections.mtls.nginx.plugins.module_utils.site.host_paths import TrustPaths
from ansible_collections.mtls.nginx.plugins.module_utils.site.host_view import (
    CrlServer,
    NginxHost,
    hash_advice,
    host_names,
    needs_system_ca,
)
from ansible_collections.mtls.nginx.plugins.module_utils.site.inventory import (
    AuthorityPlan,
    authority_path,
    beside_inventory,
)
from ansible_collections.mtls.nginx.plugins.module_utils.site.own_certificates import Choice
from ansible_collections.mtls.nginx.plugins.module_utils.site.people import (
    RUN_BEGAN,
    Turn,
    anything_issued,
    foreseen_revocations,
    is_renewed,
    people_of,
)
from ansible_collections.mtls.nginx.plugins.module_utils.site.publication import (
    Publication,
    publish,
    publish_crl,
    rehearse,
)
from ansible_collections.mtls.nginx.plugins.module_utils.site.renewals import Offer
from ansible_collections.mtls.nginx.plugins.module_utils.site.services import Service
from ansible_collections.mtls.nginx.plugins.module_utils.site.standing import (
    Standing,
    TrustAnswer,
    check,
    expected,
    guard_options,
    may_forget,
)
from ansible_collections.mtls.nginx.plugins.plugin_utils.host_certificates import HostCertificates, Steps, failed_after
from ansible_collections.mtls.nginx.plugins.plugin_utils.hostvars import (
    TEMPLATE_DIR,
    authorities_of,
    base_dir,
    inventory_reader,
    read_plan,
)
from ansible_collections.mtls.nginx.plugins.plugin_utils.package_action import PackageAction
from ansible_collections.mtls.nginx.plugins.plugin_utils.renewal_offers import RenewalOffers

ARGUMENTS = {
    "authority": {"type": "path", "required": True},
    "services": {"type": "list", "elements": "dict", "required": True},
    "settings": {
        "type": "dict",
        "apply_defaults": True,
        "options": {
            "binary": {"type": "str", "default": "nginx"},
            "conf_path": {"type": "path", "default": "/etc/nginx/nginx.conf"},
            "log_dir": {"type": "path", "default": "/var/log/nginx"},
            "crl_min_days": {"type": "int", "default": 3},
            "replace_authority": {"type": "bool", "default": False},
            "error_pages": {"type": "bool", "default": True},
            "contact": contact.OPTION,
            "error_page_template": {"type": "str"},
            "shutdown_timeout": {"type": "int", "default": 60},
            "restart": {"type": "bool"},
            "session_resumption": {"type": "str", "choices": ["auto", "off"], "default": "auto"},
            "textfile_dir": {"type": "path"},
            "crl_url": {"type": "str"},
            "crl_urls": {"type": "dict", "default": {}},
            "crl_fetch_minutes": {"type": "int", "default": 60},
            "self_renewal": {"type": "bool", "default": False},
            "host_notify_command": {"type": "list", "elements": "str", "default": []},
            "upkeep_warn_days": {"type": "int", "default": 3},
            "acme": {"type": "dict"},
            "crl_server": {
                "type": "dict",
                "options": {
                    "host": {"type": "str", "required": True},
                    "server_name": {"type": "str", "required": True},
                    "port": {"type": "int", "default": 80},
                },
            },
        },
    },
    "crl_only": {"type": "bool", "default": False},
    "require_nginx": {"type": "bool", "default": True},
    "foreseen": {"type": "list", "elements": "dict", "default": []},
}

# The role's variables that say the settings where the task does not. The role's task does not name them, since Ansible
# compiles each template of a task anew for each host, and most of these variables are no templates.
VARIABLES = {
    "binary": "mtls_nginx_binary",
    "conf_path": "mtls_nginx_conf",
    "log_dir": "mtls_nginx_log_dir",
    "restart": "mtls_nginx_restart",
    **{
        name: f"mtls_{name}"
        for name in (
            "crl_min_days",
            "replace_authority",
            "error_pages",
            "contact",
            "error_page_template",
            "session_resumption",
            "shutdown_timeout",
            "textfile_dir",
            "crl_url",
            "crl_fetch_minutes",
            "self_renewal",
            "host_notify_command",
            "upkeep_warn_days",
            "acme",
        )
    },
}
_CRL_SERVER = ("host", "server_name", "port")

display = Display()


def load() -> None:
    """Load what is the same for each host."""
    inventory_reader()
    load_templates(TEMPLATE_DIR, C.DEFAULT_LOCAL_TMP)


class ActionModule(PackageAction):
    """Renders the files on the controller, where the authority is.

    The module ``nginx_facts`` looks at the host. Only where something differs, ``nginx_config`` is called to change it.
    """

    def _result(self) -> dict[str, t.Any]:
        if "settings" not in self._task.args:
            self._task.args = {**self._task.args, "settings": self._of_the_role()}
        _validation, arguments = self.validate_argument_spec(argument_spec=ARGUMENTS)
        settings = arguments["settings"]
        self._arguments: dict[str, t.Any] = {
            **arguments,
            **settings,
            "conf_path": os.path.normpath(settings["conf_path"]),
        }
        given = {
            "mtls_services": arguments["services"],
            "mtls_self_renewal": settings["self_renewal"],
            "mtls_acme": settings["acme"],
        }
        services = inventory_reader().services(self._host, given, base_dir(self._task_vars))
        bring = self._bring_crl if arguments["crl_only"] else self._bring_all
        return bring(services)

    def _of_the_role(self) -> dict[str, t.Any]:
        """Return the settings that the role's variables say. What is empty there is not set."""
        said = {option: self._variable(name) for option, name in VARIABLES.items()}
        # Whatever else they may be, the inventory's plan has told.
        published = self._variable("mtls_crl_publish")
        if isinstance(published, Mapping) and published.get("host") is not None:
            said["crl_server"] = {name: published[name] for name in _CRL_SERVER if name in published}
        authorities = self._variable("mtls_authorities")
        said["crl_urls"] = {
            each["ca_dir"]: each["crl_url"]
            for each in (authorities if isinstance(authorities, list) else ())
            if isinstance(each, Mapping) and "ca_dir" in each and each.get("crl_url") is not None
        }
        return {option: value for option, value in said.items() if value not in (None, "")}

    def _variable(self, name: str) -> t.Any:
        return self._templar.template(self._task_vars.get(name))

    def _watch(self) -> heard.Watch | None:
        """Return whom the host tells when the controller does not come any more, None for nobody."""
        command = self._arguments["host_notify_command"]
        return heard.Watch(self._arguments["upkeep_warn_days"], command) if command else None

    @property
    def _conf_dir(self) -> str:
        return os.path.dirname(str(self._arguments["conf_path"]))

    def _authorities(self, services: list[Service]) -> dict[str, tuple[str, list[Service]]]:
        return authorities_of(services, self._arguments["authority"], base_dir(self._task_vars))

    def _bring_crl(self, services: list[Service]) -> dict[str, t.Any]:
        min_days = 0 if self._task.check_mode else self._arguments["crl_min_days"]
        crls, missing = {}, []
        for trust, (path, _entered) in self._authorities(services).items():
            try:
                crls[trust] = publish_crl(path, min_days)
            except MtlsError as error:  # what another authority has revoked gets here all the same
                missing.append(str(error))
        if missing and not crls:
            raise MtlsError("; ".join(missing))
        wanted = crl_files(
            self._conf_dir, services, crls, self._arguments["textfile_dir"], self._renewals(services).still_there()
        )
        # ca.crt stays as it is: with another CA's CRL beside it nobody would get in.
        standings = self._standings(services, crls)
        placed = self._put_in_place(services, wanted, standings, replace_authority=False)
        result = {**placed, "refused": {}}
        if not result.get("failed"):
            self._renewals(services).hear()
            result["access"] = self._access(services, result["access"], None)
        if missing:
            said = [result["msg"]] if result.get("failed") else ["the CRLs of the other authorities are in place"]
            result.update(failed=True, msg="; ".join([*missing, *said]))
        return result

    def _bring_all(self, services: list[Service]) -> dict[str, t.Any]:
        publications = self._publications(services)
        standings = self._standings(services, publications)
        before = time.time()
        looked = self._look(services, standings)
        if looked.get("failed"):
            return looked
        facts = looked["nginx"]
        if not facts["installed"] and not self._arguments["require_nginx"]:
            return {
                "changed": False,
                "installed": False,
                "systemd": facts["systemd"],
                "message": "nginx is not installed",
            }
        if not facts["installed"] and self._task.check_mode:
            display.warning(
                f"host {self._host}: nginx is not installed, so its version is not known, and the configuration shown"
                " is that for the oldest one: a run may write some lines otherwise (http2, ssl_conf_command, sessions),"
                " and asks nginx whether it accepts them"
            )
        replace_authority = self._arguments["replace_authority"]
        now = time.time()
        answer = TrustAnswer.of(facts["trust"], before, now)
        if about_clock := check(self._host, answer, standings, now, replace_authority=replace_authority):
            display.warning(about_clock)
        known = {name for publication in publications.values() for name in publication.credentials}
        certificates = HostCertificates(self._host, self._conf_dir, services, known, check=self._task.check_mode)
        offers = self._renewals(services).offers(lambda: read_plan(self._task_vars))
        upstream_cas = self._upstream_cas(services)
        steps = Steps(
            look=functools.partial(self._look, services, standings),
            transact=functools.partial(self._transact, services, publications, standings, offers, upstream_cas),
            ask=self._ask,
            install=self._install,
        )
        result, choice = certificates.bring(steps, facts)
        if not result.get("failed"):
            result = self._have_crl_fetched(facts, services, result)
        if not result.get("failed"):
            result = certificates.tell(result, choice)
        refused = {name: who for publication in publications.values() for name, who in publication.refused.items()}
        said = {name: facts[name] for name in ("installed", "systemd", "away")}
        return {**result, **said, "refused": refused}

    def _transact(
        self,
        services: list[Service],
        publications: dict[str, Publication],
        standings: list[Standing],
        offers: Mapping[str, Sequence[Offer]],
        upstream_cas: Mapping[str, str],
        facts: dict[str, t.Any],
        choice: Choice,
    ) -> dict[str, t.Any]:
        """Put in place what differs."""
        nginx = _nginx_host(facts, self._arguments, base_dir(self._task_vars), self._host, choice.stand_ins)
        wanted = host_files(nginx, services, publications, TEMPLATE_DIR, C.DEFAULT_LOCAL_TMP, upstream_cas, offers)
        wanted.reload = bool(choice.stale)
        unchanged = None if wanted.reload else _unchanged(facts, wanted)
        held = None
        if unchanged is None:
            result = self._put_in_place(
                services, wanted, standings, replace_authority=self._arguments["replace_authority"]
            )
            held = result.get("access")
            if result.get("failed") and "_hash_" in result.get("msg", ""):
                result["msg"] += hash_advice(result["msg"], nginx, services, publications) or ""
        else:
            result = unchanged.as_result()
            self._warn(unchanged.own_bound, wanted)
            for snippet in unchanged.snippets.unguarded:
                display.warning(snippet.warning)
        if not result.get("failed"):
            result["access"] = self._access(services, held, wanted)
        return result

    def _have_crl_fetched(
        self, facts: dict[str, t.Any], services: list[Service], result: dict[str, t.Any]
    ) -> dict[str, t.Any]:
        """Install or remove what fetches the CRL, where that differs; return the result with it."""
        program = crl_program.program_files(
            self._conf_dir,
            services,
            self._crl_urls(services),
            minutes=self._arguments["crl_fetch_minutes"],
            nginx=self._where,
            textfile=textfile(self._conf_dir, services, self._arguments["textfile_dir"]),
            watch=self._watch(),
        )
        there = facts["crl_fetch"]
        if there is None if program is None else there and there["digest"] == crl_timer.fingerprint(program):
            return result
        answer = self._ask(
            "nginx_crl_fetch", {"files": program or {}, "conf_path": self._where["conf_path"]}, answers.NGINX_CRL_FETCH
        )
        if answer.get("failed"):
            return failed_after(result, answer)
        warnings = [*result.get("warnings", ()), *answer.get("warnings", ())]
        return {
            **result,
            **({"warnings": warnings} if warnings else {}),
            "changed": result["changed"] or answer["changed"],
            "message": f"{result['message']}; {answer['message']}",
        }

    def _upstream_cas(self, services: list[Service]) -> dict[str, str]:
        """Return the CAs that upstreams are verified with, in PEM, by service."""
        base, found = base_dir(self._task_vars), {}
        for service in services:
            ca = service.upstream_tls.ca if service.present and service.upstream_tls else None
            if ca is not None and ca != upstream_tls.SYSTEM:
                where = f"host {self._host}, service {service.name}"
                path = beside_inventory(f"{where}: upstream_tls: ca", ca, base)
                found[service.name] = upstream_tls.read_ca(where, path)
        return found

    def _crl_urls(self, services: list[Service]) -> dict[str, str]:
        """Return where the host fetches CRLs from, by ``Service.trust``."""
        base = base_dir(self._task_vars)
        others = {authority_path(path, base): url for path, url in self._arguments["crl_urls"].items()}
        own = self._arguments["crl_url"]
        urls = {
            trust: others.get(path) if trust else own for trust, (path, _entered) in self._authorities(services).items()
        }
        return {trust: url for trust, url in urls.items() if url}

    def _renewals(self, services: list[Service]) -> RenewalOffers:
        return RenewalOffers(
            self._host,
            self._authorities(services),
            str(self._arguments["log_dir"]),
            lambda options: self._ask("access_log", options, answers.ACCESS_LOG),
            check=self._task.check_mode,
        )

    def _publications(self, services: list[Service]) -> dict[str, Publication]:
        authorities = self._authorities(services)
        if not self._task.check_mode:
            min_days = self._arguments["crl_min_days"]
            return {
                trust: publish(path, self._host, entered, min_days, functools.partial(self._revoked, path))
                for trust, (path, entered) in authorities.items()
            }
        plans = read_plan(self._task_vars)
        return {
            trust: rehearse(path, self._host, entered, *_planned(plans.get(path)))
            for trust, (path, entered) in authorities.items()
        }

    def _revoked(self, path: str) -> set[str]:
        """Return the clients of the authority in ``path`` that the inventory wants revoked."""
        plan = read_plan(self._task_vars).get(path)
        return {client["name"] for client in (plan.clients if plan else ()) if client["state"] == "revoked"}

    def _standings(self, services: list[Service], published: Container[str]) -> list[Standing]:
        """Return the standing of each authority that has ``published`` its files, by ``Service.trust``."""
        return [
            Standing.of(self._conf_dir, trust, path)
            for trust, (path, _entered) in self._authorities(services).items()
            if trust in published
        ]

    def _look(self, services: list[Service], standings: list[Standing]) -> dict[str, t.Any]:
        compare = to_compare(
            self._conf_dir,
            services,
            self._arguments["shutdown_timeout"],
            self._arguments["textfile_dir"],
            restart=self._arguments["restart"],
        )
        options = {
            "test": False,
            "compare": compare,
            "expected": expected(standings),
            "names": host_names(services),
            "system_ca": needs_system_ca(services),
            "addresses": [service.own_address for service in services if service.own_address],
            **self._where,
        }
        special: list[t.Any] = [options["names"], options["system_ca"]]
        special += [compare[name] for name in ("textfile", "snippets", "certificates")]
        special += [(compare["acme"] or {}).get("lineages"), self._crl_urls(services), self._watch()]
        # What this run has made, the host does not have yet.
        if not any(special) and not _in_this_run(is_renewed, (standing.directory for standing in standings)):
            glance = {name: compare[name] for name in ("paths", "owned", "shutdown_timeout", "restart", "renewals")}
            glance.update(self._where, expected=options["expected"], addresses=options["addresses"])
            looked = self._ask("nginx_glance", glance, answers.NGINX_GLANCE)
            if looked.get("failed") or looked["nginx"] is not None:
                return looked
        return self._ask("nginx_facts", options, answers.NGINX_FACTS)

    def _access(
        self, services: list[Service], held: dict[str, t.Any] | None, wanted: HostFiles | None
    ) -> dict[str, t.Any]:
        """Return who gains and who loses entry; ``held`` is what the host had, None where its gates stay as they are.

        ``wanted`` is None where only the CRL is brought.
        """
        authorities = {trust: path for trust, (path, _entered) in self._authorities(services).items()}
        access = {"changes": [], "compared": True, "authorities": list(authorities.values())}
        issued = self._task.check_mode or _in_this_run(anything_issued, authorities.values())
        if held is None and (wanted is None or not issued):
            return access
        after = self._gates(wanted) if wanted else None
        before = after if held is None else held["gates"] and [gates.of_answer(gate) for gate in held["gates"]]
        if before is None:
            return {**access, "compared": False}
        plans = read_plan(self._task_vars) if self._task.check_mode and wanted else {}
        people: dict[str, list[access_plan.Person]] = {}
        try:
            for trust, path in authorities.items():
                known = people_of(path, self._turn(path, trust, held, plans.get(path)))
                people.update((service.name, known) for service in services if service.trust == trust)
        except MtlsError:  # one of several authorities; whoever brings its CRL says why
            return {**access, "compared": False}
        found = access_plan.changes(before, before if after is None else after, people)
        return {**access, "changes": [change.as_result() for change in found]}

    def _gates(self, wanted: HostFiles) -> list[gates.Gate] | None:
        path = host_paths.maps_path(self._conf_dir)
        content = next(item["content"] for item in wanted.files if item["path"] == path)
        return gates.read(content.encode("utf-8", "surrogateescape"))

    def _turn(self, path: str, trust: str, held: dict[str, t.Any] | None, plan: AuthorityPlan | None) -> Turn:
        """Return what this run does, or would do, to certificates of the authority in ``path``."""
        revoked_map = TrustPaths.of(self._conf_dir, trust).revoked
        crls = [crl for crl in (held or {}).get("revoked", ()) if crl["path"] == revoked_map]
        foreseen = foreseen_revocations(path, plan.revoked) if plan else {}
        for told in self._arguments["foreseen"] if self._task.check_mode else ():
            if told.get("mtls__crl_of") == path:
                foreseen.update((item["serial"], item["action"]) for item in told.get("revoked") or ())
        return Turn(
            added={serial for crl in crls for serial in crl["added"]},
            removed={serial for crl in crls for serial in crl["removed"]},
            revoking={serial for serial, action in foreseen.items() if action == revoking.REVOKED},
            releasing={serial for serial, action in foreseen.items() if action == revoking.RELEASED},
            clients=plan.clients if plan else None,
            began=_run_began(),
        )

    def _put_in_place(
        self, services: list[Service], wanted: HostFiles, standings: list[Standing], *, replace_authority: bool
    ) -> dict[str, t.Any]:
        guard = guard_options(self._host, standings, time.time(), replace_authority=replace_authority)
        access = {
            "maps": host_paths.maps_path(self._conf_dir),
            "revoked": [TrustPaths.of(self._conf_dir, trust).revoked for trust in host_paths.trusts_of(services)],
        }
        options = {**wanted.as_options(), **self._where, "guard": guard, "access": access}
        result = self._ask("nginx_config", options, answers.NGINX_CONFIG)
        forgotten = result.get("forgotten")
        if forgotten and may_forget(forgotten, standings):
            guard["forgettable"] = list(forgotten)
            result = self._ask("nginx_config", options, answers.NGINX_CONFIG)
        own = result.get("own_shutdown_timeout")
        self._warn(OwnBound(**own) if own else None, wanted)
        return result

    @property
    def _where(self) -> dict[str, t.Any]:
        return {name: self._arguments[name] for name in ("binary", "conf_path")}

    @staticmethod
    def _warn(own: OwnBound | None, wanted: HostFiles) -> None:
        if warning := own and own.warning(wanted.shutdown_timeout):
            display.warning(warning)


def _unchanged(facts: dict[str, t.Any], wanted: HostFiles) -> TransactionOutcome | None:
    """Return what ``nginx_config`` would say of a host on which nothing differs; None where it has to be asked."""
    compared = facts["comparison"]
    if not (facts["running"] and compared and compared["settled"]):
        return None
    if compared["fingerprints"] != wanted.fingerprints():
        return None
    own = compared["own_shutdown_timeout"]
    return TransactionOutcome(
        own_bound=OwnBound(**own) if own else None,
        snippets=SnippetPlaces(
            [Snippet(item["service"], item["path"]) for item in compared["unguarded"]],
            [SnippetGate(**item) for item in compared["snippet_gates"]],
        ),
        elsewhere=[Elsewhere(**item) for item in facts["elsewhere"] or ()],
    )


def _run_began() -> float | None:
    """Return when the playbook began, in seconds since 1970; None where no callback has noted it."""
    return float(os.environ.get(RUN_BEGAN) or 0) or None


def _in_this_run(happened: Callable[[str, float], bool], authorities: Iterable[str]) -> bool:
    """Tell whether it has ``happened`` to one of the authorities, by their directories, since the playbook began."""
    began = _run_began()
    return began is not None and any(happened(path, began) for path in authorities)


def _planned(plan: AuthorityPlan | None) -> tuple[list[dict[str, t.Any]], list[dict[str, t.Any]]]:
    """Return the clients and the servers of an authority's plan."""
    return (plan.clients, plan.servers) if plan else ([], [])


def _nginx_host(
    facts: dict[str, t.Any], arguments: dict[str, t.Any], base: str | None, host: str, stand_ins: Collection[str]
) -> NginxHost:
    template = arguments["error_page_template"]
    server = arguments["crl_server"]
    return NginxHost(
        version=tuple(int(part) for part in (facts["version"] or "0").split(".")),
        ipv6=facts["ipv6"],
        conf_path=arguments["conf_path"],
        log_dir=os.path.normpath(arguments["log_dir"]),
        directives=facts["directives"] or {},
        shutdown_timeout=arguments["shutdown_timeout"],
        restart=arguments["restart"],
        textfile_dir=arguments["textfile_dir"],
        error_pages=arguments["error_pages"],
        name_servers=facts["name_servers"],
        kept=facts["kept"],
        system_ca=facts["system_ca"],
        names=facts["names"],
        contact=contact.Contact.of(arguments["contact"]),
        crl_server=CrlServer(server["server_name"].lower(), server["port"])
        if server and server["host"] == host
        else None,
        error_page_template=template and beside_inventory("mtls_error_page_template", template, base),
        stand_ins=stand_ins,
        binary=arguments["binary"],
        python=facts["python"],
        ssi=bool(facts["ssi"]),
        own_ports=facts["own_ports"],
        session_resumption=arguments["session_resumption"] == "auto",
    )

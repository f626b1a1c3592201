# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fleets to look at: real authorities, with certificates that were issued at many times."""

from __future__ import annotations

import contextlib
import copy
import random
import shutil
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from unittest import mock

import jinja2

from ansible_collections.mtls.nginx.plugins.module_utils.ca.access import Access, open_authority
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders import clients, servers
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client
from ansible_collections.mtls.nginx.plugins.module_utils.common import times
from ansible_collections.mtls.nginx.plugins.module_utils.common.contact import Contact
from ansible_collections.mtls.nginx.plugins.module_utils.site import error_pages
from ansible_collections.mtls.nginx.plugins.module_utils.site.handouts import Handouts, Template
from ansible_collections.mtls.nginx.plugins.module_utils.site.inventory import AuthorityPlan
from ansible_collections.mtls.nginx.plugins.module_utils.site.services import parse_services
from ansible_collections.mtls.nginx.plugins.module_utils.site.status.judge import Settings, status_of
from ansible_collections.mtls.nginx.plugins.module_utils.site.status.model import Status
from ansible_collections.mtls.nginx.tests.authorities import new_authority

CONTACT = Contact("Ana", "mailto:ana@example.com")
ROLES = Path(__file__).resolve().parents[2] / "roles"
ANSIBLE = "ansible-playbook -i inventory/hosts.yml"
SETTINGS = {
    "crl_refresh_before": 7,
    "client_days": 365,
    "client_renew_before": 30,
    "server_days": 365,
    "server_renew_before": 30,
    "crl_publish": None,
    "contact": {"name": "Ana", "url": "mailto:ana@example.com"},
}
PEOPLE = ("anna", "ben", "chloé", "dimitri", "eva", "farid", "grace", "henrik", "inés", "jonas")
DEVICES = ("phone", "laptop", "tablet", "desktop", "watch")


@contextlib.contextmanager
def days_ago(days: float) -> Iterator[None]:
    """What happens inside happened then."""
    then = times.now() - timedelta(days=days)
    with mock.patch.object(times, "now", return_value=then):
        yield


class Fleet:
    """An authority in a folder, and an inventory that grows as the authority is used."""

    def __init__(self, path: Path, subject: str = "Acme Root CA", *, age: float = 400) -> None:
        self.path = path
        self.plan = AuthorityPlan(str(path), dict(SETTINGS), "nas")
        with days_ago(age):
            new_authority(path, {"C": "ES", "O": "Acme", "CN": subject})

    def copy(self, path: Path) -> Fleet:
        """Return the same fleet with a folder of its own."""
        other = copy.deepcopy(self)
        shutil.copytree(self.path, path)
        other.path, other.plan.path = path, str(path)
        return other

    def service(self, host: str, name: str, allow: Sequence[str] | None = None, **more: object) -> None:
        """Add one to the inventory."""
        raw = {"name": name, "server_names": [f"{name}.example.com"], "upstream": "http://127.0.0.1:5000", **more}
        (service,) = parse_services(host, [{**raw, "allow": allow}])
        self.plan.services.append((host, service))

    def clients(self, *names: str, age: float = 0, issue: bool = True, **definition: object) -> None:
        """Add clients to the inventory, with certificates that were issued ``age`` days ago."""
        self.plan.clients += [{"name": name, **definition} for name in names]
        if issue:
            self.issue(*names, age=age)

    def issue(self, *names: str, age: float = 0, revoked: bool = False) -> None:
        """Give clients certificates, or revoke them, whatever the inventory says."""
        with days_ago(age), open_authority(Access(str(self.path)), read_only=False) as authority:
            wanted = [Client(name, p12="none", revoked=revoked, reason="keyCompromise") for name in names]
            clients.reconcile(authority, wanted, new_key_type="ecdsa", check=False)

    def servers(self, age: float = 0) -> None:
        """Issue the server certificates of all services that lack one."""
        wanted = [
            servers.Server(host, service.name, service.server_names)
            for host, service in self.plan.services
            if service.issued_by_authority
        ]
        with days_ago(age), open_authority(Access(str(self.path)), read_only=False) as authority:
            servers.reconcile(authority, wanted, new_key_type="ecdsa", check=False)

    def crl(self, age: float = 0) -> None:
        """Write the CRL."""
        with days_ago(age), open_authority(Access(str(self.path)), read_only=False) as authority:
            authority.write_crl(30)

    def status(self, **more: object) -> Status:
        """How it stands."""
        return status_of([self.plan], times.now(), Settings(ansible=ANSIBLE), **more)


def small(folder: Path) -> Fleet:
    """Three clients, one service, all well."""
    fleet = Fleet(folder / "pki")
    fleet.clients("iphone-admin", "laptop-work", "tablet-kitchen", age=20)
    fleet.service("nas", "nas", ["iphone-admin", "laptop-work"])
    fleet.servers(age=20)
    fleet.crl(age=9)
    return fleet


def household(folder: Path) -> Fleet:
    """Six clients, three services, one device that was lost and one certificate that ends soon."""
    fleet = Fleet(folder / "pki")
    fleet.clients("anna-laptop", "anna-phone", "kitchen-tablet", age=20)
    fleet.clients("ben-laptop", age=190)
    fleet.clients("ben-phone", age=350)
    fleet.clients("lost-phone", age=300, state="revoked")
    fleet.issue("lost-phone", age=12, revoked=True)
    fleet.service("nas", "nas", ["anna-laptop", "anna-phone", "ben-laptop"])
    fleet.service("nas", "photos")
    fleet.service("home", "home", ["anna-phone", "ben-phone", "kitchen-tablet"])
    fleet.servers(age=20)
    fleet.crl(age=9)
    return fleet


def mixed(folder: Path) -> Fleet:
    """Eighteen clients and five services, where not all is well."""
    fleet = Fleet(folder / "pki")
    names = [f"{person}-{device}" for person in PEOPLE[:6] for device in DEVICES[:3]]
    for number, name in enumerate(names[:13]):
        fleet.clients(name, age=20 + number * 23)
    fleet.clients(names[13], age=353)
    fleet.clients(names[14], age=357)
    fleet.clients(names[15], age=380)
    fleet.clients(*names[16:18], issue=False)
    fleet.clients("lost-phone", "old-laptop", age=200, state="revoked")
    fleet.issue("lost-phone", age=30, revoked=True)
    fleet.issue("former-contractor", "test-machine", age=100)
    fleet.service("nas", "nas", [*names[:9], "lost-phone"])
    fleet.service("nas", "photos", names[::2])
    fleet.service("home", "home", names[:4])
    fleet.service("web", "grafana", names[9:])
    fleet.service("web", "wiki")
    fleet.servers(age=120)
    fleet.crl(age=27)
    return fleet


def mixed_answers() -> dict[str, dict]:
    """What the hosts of ``mixed`` said when asked."""
    facts = {"installed": True, "running": True, "config_error": None, "version": "1.26.3"}
    good = [
        {"service": "nas", "who": "nobody (no certificate)", "expected": "400", "got": "400", "ok": True},
        {"service": "nas", "who": "client 'anna-phone', who may enter,", "expected": "204", "got": "204", "ok": True},
    ]
    bad = [{"service": "wiki", "who": "nobody (no certificate)", "expected": "400", "got": "200", "ok": False}]
    return {
        "nas": {"facts": {"nginx": facts}, "probe": {"attempts": good}},
        "home": {"facts": {"unreachable": True, "msg": "ssh: connect to host home port 22: No route to host"}},
        "web": {"facts": {"nginx": facts}, "probe": {"attempts": bad}},
    }


def large(folder: Path, clients_count: int = 1000, services_count: int = 50) -> Fleet:
    """Many clients, many services, in teams of people with the same access and some without a team."""
    chance = random.Random(8)
    fleet = Fleet(folder / "pki")
    names = [f"{DEVICES[number % 5]}-{PEOPLE[number // 5 % 10]}-{number:04}" for number in range(clients_count)]
    months = 12
    for month in range(months):
        fleet.clients(*names[month::months], age=month * 29 + 14)
    fleet.clients("late-phone", "late-laptop", "late-tablet", age=355)
    fleet.clients("ended-phone", age=370)
    fleet.clients("new-phone", "new-laptop", issue=False)
    gone = [f"gone-{number:03}" for number in range(150)]
    fleet.clients(*gone, age=90, state="revoked")
    fleet.issue(*gone, age=10, revoked=True)
    fleet.issue("unlisted-phone", age=50)
    teams = [names[start::20] for start in range(20)]
    for number in range(services_count):
        if number % 10 == 0:
            allow = None
        else:
            allow = [name for team in chance.sample(teams, 7) for name in team] + chance.sample(names, 2)
        fleet.service(f"web-{number // 5 + 1}", f"service-{number + 1:02}", allow)
    fleet.servers(age=60)
    fleet.crl(age=3)
    return fleet


def handout(folder: Path) -> bytes:
    """The page of somebody with a phone, for whom two services are open."""
    return _handout(folder, Client("iphone-anna", mobileconfig=True))


def handout_of_a_program(folder: Path) -> bytes:
    """The page of a client that has a PEM pair only."""
    return _handout(folder, Client("ci-runner", p12="none"))


def _handout(folder: Path, client: Client) -> bytes:
    fleet = Fleet(folder / "pki")
    fleet.service("nas", "nas", [client.name])
    fleet.service("home", "photos")
    with open_authority(Access(str(fleet.path)), read_only=False) as authority:
        clients.reconcile(authority, [client], new_key_type="ecdsa", check=False)
    template = Template(str(ROLES / "ca" / "templates"), None, CONTACT)
    Handouts(str(fleet.path), fleet.plan.as_options()["services"], template).reconcile(wanted=True, check=False)
    return (fleet.path / "clients" / client.name / f"{client.name}.html").read_bytes()


def refusals() -> dict[str, bytes]:
    """The page for each reason for which people are refused."""
    loader = jinja2.FileSystemLoader(ROLES / "server" / "templates")
    made = error_pages.pages(jinja2.Environment(loader=loader), None, CONTACT)
    link = '<p><a href="https://nas.example.com/">https://nas.example.com/</a></p>'  # which nginx puts there
    return {
        page["reason"]: "".join(link if piece is None else piece for piece in page["pieces"]).encode() for page in made
    }

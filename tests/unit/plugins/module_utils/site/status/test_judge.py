# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How things stand, judged on real authorities whose certificates were issued at many times."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from ansible_collections.mtls.nginx.plugins.module_utils.ca.access import Access, ensure_authority, open_authority
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import keys, profiles
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders import revoking
from ansible_collections.mtls.nginx.plugins.module_utils.ca.options import OPENBAO, TRUST
from ansible_collections.mtls.nginx.plugins.module_utils.ca.wanted import WantedAuthority
from ansible_collections.mtls.nginx.plugins.module_utils.common import times
from ansible_collections.mtls.nginx.plugins.module_utils.site.renewal_notes import Notes
from ansible_collections.mtls.nginx.plugins.module_utils.site.renewals import pending
from ansible_collections.mtls.nginx.plugins.module_utils.site.rollover_plan import with_next
from ansible_collections.mtls.nginx.plugins.module_utils.site.status import metrics
from ansible_collections.mtls.nginx.plugins.module_utils.site.status.judge import (
    Settings,
    ansible_command,
    host_status,
    status_of,
)
from ansible_collections.mtls.nginx.plugins.module_utils.site.status.model import ACT_NOW, ACT_SOON, NOTE, Upkeep
from ansible_collections.mtls.nginx.tests.pages import samples


def found(status):
    """Level, kind and names of each finding."""
    return [(finding.level, finding.kind, finding.about) for finding in status.findings]


def kinds(status):
    return [finding.kind for finding in status.findings]


def day(days):
    return f"{times.now() + timedelta(days=days):%Y-%m-%d}"


@pytest.fixture(scope="module")
def untouched(tmp_path_factory):
    return samples.small(tmp_path_factory.mktemp("small"))


@pytest.fixture
def small(untouched, tmp_path):
    return untouched.copy(tmp_path / "pki")


def test_a_fleet_where_all_is_well(small):
    status = small.status()
    assert found(status) == []
    assert not status.due
    assert status.summary == "3 clients, 1 service: nothing needs attention"
    (authority,) = status.authorities
    assert [(client.name, client.enters, client.waits) for client in authority.clients] == [
        ("iphone-admin", ("nas/nas",), ()),
        ("laptop-work", ("nas/nas",), ()),
        ("tablet-kitchen", (), ()),
    ]
    assert authority.subject == "CN=Acme Root CA,O=Acme,C=ES"
    assert [(crl.number, crl.entries, crl.state) for crl in authority.crls] == [(2, 0, "valid")]
    assert authority.services[0].certificate.state == "valid"


def test_a_fleet_with_much_to_do(tmp_path):
    status = samples.mixed(tmp_path).status(answers=samples.mixed_answers())
    assert [(level, kind) for level, kind, _about in found(status)] == [
        (ACT_NOW, "gate_open"),
        (ACT_NOW, "client_none"),
        (ACT_NOW, "client_ended"),
        (ACT_NOW, "still_valid"),
        (ACT_SOON, "crl_soon"),
        (ACT_SOON, "client_soon"),
        (ACT_SOON, "unmanaged"),
        (ACT_SOON, "host_unreachable"),
        (NOTE, "revoked_listed"),
    ]
    about = {kind: names for _level, kind, names in found(status)}
    assert about["gate_open"] == ("web (wiki: nobody (no certificate) got 200 instead of 400)",)
    assert about["client_none"] == ("farid-laptop", "farid-tablet")
    assert about["client_ended"] == (f"farid-phone ({day(-15)})",)
    assert about["still_valid"] == ("old-laptop",)
    assert about["client_soon"] == (f"eva-tablet ({day(8)})", f"eva-laptop ({day(12)})")
    assert about["unmanaged"] == ("former-contractor", "test-machine")
    assert about["revoked_listed"] == ("lost-phone at nas/nas",)
    (authority,) = status.authorities
    clients = {client.name: client for client in authority.clients}
    assert clients["farid-phone"].enters == ()
    assert clients["farid-phone"].waits == ("web/grafana", "web/wiki")
    assert clients["anna-phone"].enters == ("nas/nas", "nas/photos", "home/home", "web/wiki")
    assert "lost-phone" not in clients
    assert [(each.name, each.reason) for each in authority.revoked] == [("lost-phone", "keyCompromise")]
    assert authority.open_services == ("web/wiki",)
    assert status.due
    assert "Clients without a certificate: farid-laptop, farid-tablet; " in status.summary
    assert "revoked_listed" not in status.summary
    assert "Valid certificates that are not in the inventory: former-contractor, test-machine; " in status.summary


@pytest.mark.parametrize(("days", "late"), [(2, False), (3, False), (4, True)])
def test_upkeep_that_no_longer_succeeds(small, days, late):
    now = times.now()
    past = [now - timedelta(days=each) for each in (30, days, 20)]
    upkeep = Upkeep(3, past[0], {"refresh_crl": past[1], "site": past[2]})
    status = status_of([small.plan], now, Settings(), upkeep=upkeep)
    assert [finding.title for finding in status.findings] == (["Upkeep has not succeeded for 4 days"] if late else [])
    if late:
        about = (f"refresh_crl ({day(-4)})", f"site ({day(-20)})")
        assert found(status) == [(ACT_SOON, "upkeep_late", about)]


@pytest.mark.parametrize(("days", "late"), [(3, False), (4, True)])
def test_upkeep_that_has_never_succeeded(small, days, late):
    now = times.now()
    status = status_of([small.plan], now, Settings(), upkeep=Upkeep(3, now - timedelta(days=days), {}))
    assert found(status) == ([(ACT_SOON, "upkeep_late", ())] if late else [])


def test_upkeep_that_is_not_installed_is_not_late(small):
    assert found(status_of([small.plan], times.now(), Settings(), upkeep=None)) == []


def test_before_the_first_run(small, tmp_path):
    small.plan.path = str(tmp_path / "elsewhere")
    status = small.status()
    assert found(status) == [(ACT_NOW, "authority_missing", (small.plan.path,))]
    assert status.findings[0].command == f"{samples.ANSIBLE} mtls.nginx.site"
    assert status.summary == f"0 clients, 0 services: There is no authority yet: {small.plan.path}"


@pytest.mark.parametrize("name", ["ca.crt", "index.txt"])
def test_an_authority_that_cannot_be_read_keeps_no_other_from_being_shown(small, tmp_path, name):
    other = samples.small(tmp_path / "other")
    (small.path / name).write_text("nonsense\n")
    status = status_of([small.plan, other.plan], times.now(), Settings())
    ((level, kind, (message,)),) = found(status)
    assert (level, kind) == (ACT_NOW, "authority_unreadable")
    assert name in message
    assert [len(authority.clients) for authority in status.authorities] == [0, 3]


@pytest.mark.parametrize(
    ("days_left", "kind"), [(30, None), (5.1, None), (4.9, "crl_soon"), (0.1, "crl_soon"), (-1, "crl_unusable")]
)
def test_the_crl_is_told_when_two_nights_have_not_renewed_it(small, days_left, kind):
    small.crl(age=30 - days_left)
    assert kinds(small.status()) == ([kind] if kind else [])
    assert small.status().authorities[0].crls[0].state == {None: "valid", "crl_soon": "soon"}.get(kind, "ended")


@pytest.mark.parametrize(("days_left", "state"), [(0.6, "valid"), (0.4, "soon")])
def test_a_crl_that_is_renewed_in_its_last_day(small, days_left, state):
    small.plan.settings["crl_refresh_before"] = 1
    small.crl(age=30 - days_left)
    assert small.status().authorities[0].crls[0].state == state


def test_who_is_revoked_hides_nobody(small):
    small.clients("lost", "stolen", age=20, state="revoked")
    small.clients("Zoe-phone", "ben-phone", age=20)
    for age, name in ((3, "lost"), (2, "stolen")):
        small.issue(name, age=age, revoked=True)
    small.crl()
    status = small.status()
    (authority,) = status.authorities
    assert found(status) == []
    order = ["ben-phone", "iphone-admin", "laptop-work", "tablet-kitchen", "Zoe-phone"]
    assert [client.name for client in authority.clients] == order
    assert [revoked.name for revoked in authority.revoked] == ["stolen", "lost"]  # the latest first


def test_a_certificate_of_its_own_is_none_of_the_authoritys(small):
    small.service("nas", "wiki", certificate={"path": "/etc/ssl/a.crt", "key": "/etc/ssl/a.key"})
    status = small.status()
    assert found(status) == []
    assert [service.certificate is None for service in status.authorities[0].services] == [False, True]
    small.plan.follows = True  # during a rollover the old one issues them
    assert small.status().authorities[0].services[0].certificate is None


def test_what_unmanaged_certificates_open_is_said_where_they_open_something(small):
    small.issue("somebody", age=20)
    (finding,) = small.status().findings
    assert (finding.kind, "They enter every service" in finding.remedy) == ("unmanaged", False)
    small.service("nas", "photos")
    small.servers(age=20)
    (finding,) = small.status().findings
    assert (finding.kind, "They enter every service" in finding.remedy) == ("unmanaged", True)


@pytest.mark.parametrize(
    ("min_days", "days_left", "kind"),
    [(3, 3.1, "crl_soon"), (3, 2.9, "crl_short"), (0, 0.1, "crl_soon"), (10, 9.9, "crl_short")],
)
def test_a_crl_that_no_run_installs_is_for_now(small, min_days, days_left, kind):
    small.plan.crl_min_days = min_days
    small.crl(age=30 - days_left)
    ((level, found_kind, _about),) = found(small.status())
    assert (level, found_kind) == (ACT_NOW if kind == "crl_short" else ACT_SOON, kind)
    assert small.status().authorities[0].crls[0].state == kind.removeprefix("crl_")


@pytest.mark.parametrize("content", [None, b"", b"nonsense"])
def test_a_crl_that_cannot_be_used(small, content):
    crl = small.path / "crl.pem"
    crl.unlink()
    if content is not None:
        crl.write_bytes(content)
    assert kinds(small.status()) == ["crl_unusable"]
    assert small.status().authorities[0].crls == ()
    assert small.status().findings[0].command == f"{samples.ANSIBLE} mtls.nginx.refresh_crl"


def test_a_crl_that_lacks_a_revocation(small):
    small.clients("lost-phone", state="revoked")
    small.issue("lost-phone", revoked=True)
    assert kinds(small.status()) == ["crl_stale"]
    small.crl()
    assert kinds(small.status()) == []


@pytest.mark.parametrize(
    ("renew_before", "age", "state"),
    [
        (None, 343, "valid"),  # 30 days before: 21 are 70 % of them
        (None, 345, "soon"),
        (60, 343, "valid"),  # never more than 21
        (10, 357, "valid"),
        (10, 359, "soon"),
        (0, 345, "soon"),  # never renewed before its end
    ],
)
def test_without_a_number_of_days_a_certificate_is_judged_by_its_renewal(small, renew_before, age, state):
    small.plan.settings["client_renew_before"] = 30
    small.clients("phone", age=age, renew_before=renew_before)
    (client,) = (client for client in small.status().authorities[0].clients if client.name == "phone")
    assert client.certificate.state == state
    assert client.certificate.works


def test_a_number_of_days_is_obeyed(small):
    def named(days):
        status = status_of([small.plan], times.now(), Settings(warn_days=days))
        return [kind for _level, kind, _about in found(status)]

    assert named(344) == []
    assert named(346) == ["server_soon", "client_soon"]
    assert named(0) == []


def test_the_authority_tells_its_end_when_it_can_renew_nothing_any_more(tmp_path):
    fleet = samples.Fleet(tmp_path / "pki", age=3650 - 364)
    fleet.crl()
    assert kinds(fleet.status()) == ["authority_short"]
    fleet.plan.settings |= {"client_days": 300, "server_days": 300}
    assert kinds(fleet.status()) == []
    fleet.plan.clients.append({"name": "phone", "days": 366, "state": "revoked"})
    assert kinds(fleet.status()) == ["authority_short"]
    assert kinds(samples.Fleet(tmp_path / "soon", age=3640).status()) == ["crl_unusable", "authority_soon"]
    ended = samples.Fleet(tmp_path / "ended", age=3660)
    (finding,) = (each for each in ended.status().findings if each.kind == "authority_ended")
    assert finding.remedy == "Renew it with mtls_ca_renew_before (docs/authorities.md), or set up a new authority."
    ended.plan.settings["backend"] = OPENBAO
    (finding,) = (each for each in ended.status().findings if each.kind == "authority_ended")
    assert finding.remedy == "Set up a new authority in another mtls_ca_dir (docs/openbao.md)."
    ended.plan.settings["backend"] = TRUST
    (finding,) = (each for each in ended.status().findings if each.kind == "authority_ended")
    assert finding.remedy.startswith("Ask whoever runs it for the next CA certificate")


def test_certificates_that_are_not_as_the_inventory_wants_them(small):
    small.issue("laptop-work", revoked=True)
    small.crl()
    (small.path / "servers" / "nas" / "nas.crt").unlink()
    lines = (small.path / "index.txt").read_text().splitlines(keepends=True)
    (small.path / "index.txt").write_text("".join(line for line in lines if "tablet" not in line))
    assert found(small.status()) == [
        (ACT_NOW, "server_none", ("nas/nas",)),
        (ACT_NOW, "client_unrecorded", ("tablet-kitchen",)),
        (ACT_NOW, "client_revoked", ("laptop-work",)),
    ]


def test_what_is_to_be_revoked_by_serial_or_by_file(small):
    (entry,) = (client for client in small.status().authorities[0].clients if client.name == "laptop-work")
    path = str(small.path / "clients" / "iphone-admin" / "iphone-admin.crt")
    small.plan.revoked = [
        {"serial": entry.certificate.serial.lower(), "reason": "unspecified"},
        {"certificate": path, "reason": "unspecified"},
    ]
    assert found(small.status()) == [(ACT_NOW, "still_valid", (entry.certificate.serial.lower(), path))]
    with open_authority(Access(str(small.path)), read_only=False) as authority:
        serials = [client.certificate.serial for client in small.status().authorities[0].clients[:2]]
        authority.revoke(dict.fromkeys(serials, "unspecified"))
    assert "still_valid" not in kinds(small.status())


def revocation(kind, value, **more):
    """An entry of mtls_revoked, as the inventory hands it on."""
    return {kind: str(value), "reason": "keyCompromise", **more}


def certificate_of(fleet, name):
    return x509.load_pem_x509_certificate((fleet.path / "clients" / name / f"{name}.crt").read_bytes())


def carry_out(fleet):
    """Revoke and release what the inventory wants, as the next run would."""
    with open_authority(Access(str(fleet.path)), read_only=False) as authority:
        finder = revoking.Finder.of(authority)
        for item in fleet.plan.revoked:
            revoking.carry_out(authority, finder.find(revoking.RevocationRequest.of(item)))
        authority.write_crl(30)


@pytest.mark.parametrize("kind", ["serial", "certificate", "der", "name", "SHA-1", "SHA-256"])
def test_whatever_mtls_revoked_names_is_told_until_it_is_revoked(small, tmp_path, kind):
    small.issue("old-phone")  # of nobody in the inventory
    certificate = certificate_of(small, "old-phone")
    der = tmp_path / "old-phone.cer"
    der.write_bytes(certificate.public_bytes(serialization.Encoding.DER))
    small.plan.revoked = [
        {
            "serial": revocation("serial", f"{certificate.serial_number:x}"),
            "certificate": revocation("certificate", small.path / "clients/old-phone/old-phone.crt"),
            "der": revocation("certificate", der),
            "name": revocation("name", "old-phone"),
            "SHA-1": revocation("fingerprint", certificate.fingerprint(hashes.SHA1()).hex()),
            "SHA-256": revocation("fingerprint", certificate.fingerprint(hashes.SHA256()).hex(":")),
        }[kind]
    ]
    (said,) = [str(value) for key, value in small.plan.revoked[0].items() if key != "reason"]
    assert (ACT_NOW, "still_valid", (said,)) in found(small.status())
    carry_out(small)
    assert kinds(small.status()) == []


def test_what_is_to_be_released_is_told_until_it_is(small):
    small.plan.revoked = [revocation("name", "tablet-kitchen") | {"reason": "certificateHold"}]
    small.plan.clients = [client for client in small.plan.clients if client["name"] != "tablet-kitchen"]
    carry_out(small)
    assert kinds(small.status()) == []
    small.plan.revoked = [revocation("name", "tablet-kitchen", state="released")]
    assert found(small.status()) == [(ACT_NOW, "still_on_hold", ("tablet-kitchen",))]
    carry_out(small)
    assert kinds(small.status()) == ["unmanaged"]


def test_an_entry_that_no_run_can_carry_out_is_told_with_the_reason(small):
    small.plan.revoked = [
        revocation("name", "tablet-kichen"),
        revocation("fingerprint", "abc"),
        revocation("certificate", "/nowhere.crt"),
    ]
    ((level, kind, about),) = found(small.status())
    assert (level, kind) == (ACT_NOW, "revocation_unclear")
    assert "did you mean 'tablet-kitchen'?" in about[0]
    assert "fingerprint 'abc': is neither SHA-1" in about[1]
    assert "/nowhere.crt: no such file or directory" in about[2]
    assert not any(line.count("\n") for line in about)


def test_what_has_expired_need_not_be_revoked(small):
    small.issue("old-phone", age=400)
    serial = f"{certificate_of(small, 'old-phone').serial_number:X}"
    small.plan.revoked = [revocation("serial", serial), revocation("name", "old-phone")]
    assert kinds(small.status()) == []


def test_a_renewed_client_that_is_to_be_revoked_is_out_only_with_all_its_certificates(small):
    small.clients("phone", age=340)
    small.issue("phone")
    small.plan.clients[-1]["state"] = "revoked"
    assert [len(about) for _level, kind, about in found(small.status()) if kind == "still_valid"] == [1]
    with open_authority(Access(str(small.path)), read_only=False) as authority:
        authority.revoke({authority.record.namesakes("/CN=phone")[-1]: "unspecified"})
    assert "still_valid" in kinds(small.status())
    small.issue("phone", revoked=True)
    assert "still_valid" not in kinds(small.status())


def test_commands_can_be_pasted():
    assert ansible_command([]) == "ansible-playbook"
    assert ansible_command(["a b/hosts.yml", "x.yml"]) == "ansible-playbook -i 'a b/hosts.yml' -i x.yml"


FACTS = {"installed": True, "running": True, "config_error": None, "version": "1.26.3", "includes_conf_d": True}


@pytest.mark.parametrize(
    ("answer", "state", "troubles"),
    [
        (None, "not asked", ()),
        ({"facts": {"nginx": FACTS}, "probe": {"attempts": []}}, "as it should be", ()),
        (
            {"facts": {"nginx": {**FACTS, "includes_conf_d": False}}, "probe": {"attempts": []}},
            "wrong",
            ("nginx.conf does not include conf.d/mtls.conf, so that the next reload ends what is served",),
        ),
        (
            {
                "facts": {"nginx": FACTS},
                "probe": {"skipped": True, "msg": "nothing was asked in check mode", "attempts": []},
            },
            "as it should be",
            (),
        ),
        ({"facts": {"unreachable": True, "msg": "no route"}}, "unreachable", ("no route",)),
        ({"facts": {"msg": "sudo: a password is required"}}, "wrong", ("sudo: a password is required",)),
        ({"facts": {"nginx": {**FACTS, "running": False}}}, "wrong", ("nginx is not running",)),
        (
            {"facts": {"nginx": {**FACTS, "installed": False, "version": None}}},
            "wrong",
            ("nginx is not installed",),
        ),
        (
            {"facts": {"nginx": {**FACTS, "config_error": "unknown directive"}}},
            "wrong",
            ("nginx refuses its configuration: unknown directive",),
        ),
        (
            {"facts": {"nginx": {**FACTS, "unguarded": ["/s/mtls-a.conf"]}}},
            "wrong",
            ("/s/mtls-a.conf guards nothing",),
        ),
        (
            {"facts": {"nginx": {**FACTS, "snippet_error": "'if' comes before"}}},
            "wrong",
            ("'if' comes before",),
        ),
        (
            {"facts": {"nginx": {**FACTS, "crl_fetch": {"digest": "1" * 64, "success": 1.0, "failures": []}}}},
            "as it should be",
            (),
        ),
        (
            {"facts": {"nginx": {**FACTS, "crl_fetch": {"digest": None, "success": 0, "failures": ["http://a: 404"]}}}},
            "wrong",
            ("http://a: 404", "mtls-crl.timer, which fetches the CRL, was changed or is not running"),
        ),
        (
            {
                "facts": {"nginx": FACTS},
                "probe": {"msg": "pki: ca.crt is missing"},
            },
            "wrong",
            ("pki: ca.crt is missing",),
        ),
    ],
)
def test_what_a_host_said(answer, state, troubles):
    host = host_status("nas", answer)
    assert (host.state, host.troubles) == (state, troubles)


def test_what_the_next_restart_would_not_survive_comes_first(small):
    (small.path / "crl.pem").unlink()
    broken = {**FACTS, "config_error": '[emerg] unknown directive "sever" in /etc/nginx/sites-enabled/shop:1'}
    status = status_of([small.plan], times.now(), Settings(), {"nas": {"facts": {"nginx": broken}}})
    level, kind, about = found(status)[0]
    assert (level, kind) == (ACT_NOW, "config_broken")
    assert about == (
        'nas (nginx refuses its configuration: [emerg] unknown directive "sever" in /etc/nginx/sites-enabled/shop:1)',
    )
    assert [kind for _level, kind, _about in found(status)] == ["config_broken", "crl_unusable"]


def test_an_nginx_that_does_not_run_has_no_restart_to_fear(small):
    answer = {"facts": {"nginx": {**FACTS, "running": False, "config_error": "[emerg] unknown directive"}}}
    status = status_of([small.plan], times.now(), Settings(), {"nas": answer})
    about = "nas (nginx refuses its configuration: [emerg] unknown directive; nginx is not running)"
    assert found(status) == [(ACT_NOW, "host_wrong", (about,))]


def test_a_host_that_cannot_fetch_its_crl_is_a_finding_of_its_own(small):
    crl_fetch = {"digest": "1" * 64, "success": 1.0, "failures": ["http://a/crl.pem: answers 404"]}
    answer = {"facts": {"nginx": {**FACTS, "crl_fetch": crl_fetch}}, "probe": {"attempts": []}}
    status = status_of([small.plan], times.now(), Settings(), {"nas": answer})
    assert found(status) == [(ACT_SOON, "crl_unfetched", ("nas (http://a/crl.pem: answers 404)",))]


def test_a_host_that_has_missed_a_revocation_comes_before_what_can_wait(small):
    why = "/etc/nginx/client-certs/crl.pem does not list what /srv/pki has revoked: phone (01)"
    crl_fetch = {"digest": None, "success": 0, "failures": []}
    answer = {
        "facts": {"nginx": {**FACTS, "crl_fetch": crl_fetch}},
        "trust": {"asked": True, "behind": [why]},
        "probe": {"attempts": []},
    }
    host = host_status("nas", answer)
    assert (host.state, host.troubles[0], host.behind) == ("wrong", why, (why,))
    first, second = found(status_of([small.plan], times.now(), Settings(), {"nas": answer}))
    assert first == (ACT_NOW, "crl_missed", (f"nas ({why})",))
    assert second[1] == "crl_unfetched"


def test_why_a_run_would_refuse_a_host_is_told(small):
    older = "host nas has CRL 3, and /srv/pki has CRL 2, which is older"
    answer = {"facts": {"nginx": FACTS}, "trust": {"msg": older}, "probe": {"attempts": []}}
    assert found(status_of([small.plan], times.now(), Settings(), {"nas": answer})) == [
        (ACT_NOW, "host_wrong", (f"nas ({older})",))
    ]
    # What the facts say is said once.
    unasked = {"msg": "host nas cannot be asked: no Python there", "asked": False}
    host = host_status("nas", {"facts": {"nginx": FACTS}, "trust": unasked, "probe": {"attempts": []}})
    assert (host.state, host.troubles) == ("as it should be", ())


def test_what_could_not_be_asked_is_no_trouble_of_the_host():
    host = host_status(
        "nas",
        {
            "facts": {"nginx": FACTS},
            "probe": {"attempts": [], "not_asked": [{"service": "photos", "why": "no name leads there"}]},
        },
    )
    assert (host.state, host.troubles) == ("as it should be", ())
    assert host.not_asked == ("photos: no name leads there",)


def test_a_gate_with_nothing_behind_it_is_no_trouble_of_the_host(small):
    why = "the gate opens, but http://127.0.0.1:23100 does not answer (502)"
    answer = {
        "facts": {"nginx": FACTS},
        "probe": {"attempts": [], "unanswered": [{"service": "wiki", "why": why}]},
    }
    host = host_status("nas", answer)
    assert (host.state, host.troubles, host.unanswered) == ("as it should be", (), (f"wiki: {why}",))
    status = status_of([small.plan], times.now(), Settings(), {"nas": answer})
    assert found(status) == [(ACT_SOON, "page_unanswered", (f"nas (wiki: {why})",))]


def test_a_block_of_the_same_name_at_one_address_is_trouble_and_one_of_another_is_a_note(small):
    error = "service wiki: wiki.lan is served in /etc/nginx/conf.d/own.conf, line 2 as well"
    host = host_status("nas", {"facts": {"nginx": {**FACTS, "socket_error": error}}, "probe": {"attempts": []}})
    assert (host.state, host.troubles) == ("wrong", (error,))
    note = {"service": "wiki", "why": "at 192.0.2.7:443, /etc/nginx/conf.d/own.conf, line 2 answers in its place"}
    answer = {"facts": {"nginx": {**FACTS, "elsewhere": [note]}}, "probe": {"attempts": []}}
    host = host_status("nas", answer)
    assert (host.state, host.troubles, host.elsewhere) == ("as it should be", (), (f"wiki: {note['why']}",))
    status = status_of([small.plan], times.now(), Settings(), {"nas": answer})
    assert found(status) == [(NOTE, "answered_elsewhere", (f"nas (wiki: {note['why']})",))]


def test_a_weak_authority_is_told(tmp_path, monkeypatch):
    """With real keys: test_creation.py."""
    fleet = samples.Fleet(tmp_path)
    before = kinds(fleet.status())
    monkeypatch.setattr(profiles, "key_weakness", lambda _ca: "has an RSA key of 1024 bits")
    monkeypatch.setattr(profiles, "signature_weakness", lambda _ca: "SHA-1")
    assert set(kinds(fleet.status())) - set(before) >= {"authority_weak", "authority_sha1"}
    assert not {"authority_weak", "authority_sha1"} & set(before)


def attempt(expected, got):
    return {"service": "wiki", "who": "nobody", "expected": expected, "got": got, "ok": expected == got}


@pytest.mark.parametrize("got", ["200", "204", "302", "404", "500", "502"])
@pytest.mark.parametrize("expected", ["400", "403"])
def test_whatever_comes_from_behind_the_gate_says_that_it_is_open(small, expected, got):
    answer = {"facts": {"nginx": FACTS}, "probe": {"attempts": [attempt("204", "400"), attempt(expected, got)]}}
    status = status_of([small.plan], times.now(), Settings(), {"nas": answer})
    assert found(status) == [
        (ACT_NOW, "gate_open", (f"nas (wiki: nobody got {got} instead of {expected})",)),
        (ACT_NOW, "host_wrong", ("nas (wiki: nobody got 400 instead of 204)",)),
    ]


@pytest.mark.parametrize(("expected", "got"), [("400", "403"), ("403", "400"), ("204", "200"), ("400", "TLS: alert")])
def test_another_refusal_is_wrong_but_not_open(small, expected, got):
    answer = {"facts": {"nginx": FACTS}, "probe": {"attempts": [attempt(expected, got)]}}
    status = status_of([small.plan], times.now(), Settings(), {"nas": answer})
    assert kinds(status) == ["host_wrong"]


@pytest.mark.parametrize(
    ("got", "kind"), [("204", "gate_open"), ("200", None), ("no answer within 10 s", "host_wrong")]
)
def test_where_own_pages_hide_refusals_only_the_gates_own_answer_says_that_it_is_open(small, got, kind):
    wiki = {**attempt("anything but 204", got), "ok": got == "200"}
    answer = {"facts": {"nginx": FACTS}, "probe": {"attempts": [wiki]}}
    assert kinds(status_of([small.plan], times.now(), Settings(), {"nas": answer})) == ([kind] if kind else [])


def test_each_ca_of_a_chain_has_its_own_crl(small, tmp_path):
    above, below = str(small.path), str(tmp_path / "below")
    wanted = WantedAuthority(below, {"CN": "Devices"}, keys.KeyKind("ecdsa"), None, 700, 30)
    ensure_authority(Access(below), wanted, check=False, parent=Access(above))
    with samples.days_ago(25), open_authority(Access(above), read_only=False) as authority:
        authority.write_crl(30)
    with open_authority(Access(below), read_only=False) as authority:
        authority.take_crls((small.path / "crl.pem").read_bytes(), above)
        authority.write_crl(30)

    def judged(**settings):
        plan = replace(small.plan, path=below, settings={**samples.SETTINGS, **settings}, services=[], clients=[])
        return status_of([plan], times.now(), Settings(ansible=samples.ANSIBLE))

    status = judged()
    assert [(crl.issuer, crl.state) for crl in status.authorities[0].crls] == [
        ("CN=Devices", "valid"),
        ("CN=Acme Root CA,O=Acme,C=ES", "soon"),
    ]
    assert kinds(status) == ["crl_soon"]
    for settings, remedy in (
        ({}, "Put that CA's newer CRL into a file that mtls_ca_parent_crl names, and run this."),
        ({"parent_crl": "/srv/root.crl"}, "Put that CA's newer CRL into /srv/root.crl, and run this."),
        ({"backend": OPENBAO}, "Append the newer CRL of that CA to crl.pem, and run this."),
        ({"parent": {"path": above}}, "The nightly job renews it; see why it has not."),
        ({"backend": TRUST}, "The nightly job takes it from where mtls_ca_trust says; ask whoever runs that CA"),
    ):
        (finding,) = judged(**settings).findings
        assert finding.remedy.startswith(remedy)
        assert finding.command == f"{samples.ANSIBLE} mtls.nginx.refresh_crl"
        assert finding.about[0].startswith(f"CN=Acme Root CA,O=Acme,C=ES ({day(5)}")


def test_who_has_not_fetched_the_next_certificate(tmp_path):
    """All have one; that of the first two ends in five days, and one of them is in use already."""
    fleet = samples.Fleet(tmp_path / "pki")
    fleet.clients("anna-phone", "ben-phone", age=360)
    fleet.clients("eva-phone", age=340)
    fleet.issue("anna-phone", "ben-phone", "eva-phone", age=5)
    fleet.service("nas", "nas")
    fleet.servers(age=20)
    fleet.crl(age=9)
    assert kinds(fleet.status()) == []
    (before,) = fleet.status().authorities
    assert {client.renewal for client in before.clients} == {None}
    fleet.service("nas", "photos", self_renewal=True)
    fleet.servers(age=20)
    notes = Notes(str(fleet.path))
    serials = {renewal.client: renewal.serial for renewal in pending(str(fleet.path), None)}
    moment = times.iso(times.now())
    notes.note_callers(
        {serials["ben-phone"]: {}}, [{"serial": serials["ben-phone"], "status": 200, "last": moment, "fetched": None}]
    )
    notes.save()
    status = fleet.status()
    assert found(status) == [(ACT_SOON, "renewal_waiting", (f"anna-phone ({day(5)})",))]
    assert "They can ask Ana (ana@example.com)." in status.findings[0].remedy
    states = {client.name: client.renewal.state for client in status.authorities[0].clients}
    assert states == {"anna-phone": "waiting", "ben-phone": "used", "eva-phone": "waiting"}


def test_who_enters_by_a_subject_on_a_list(small):
    small.service("nas", "by-subject", allow=[{"dn": "CN=Tablet-kitchen"}, {"dn": "CN=a+UID=7"}])
    (authority,) = small.status().authorities
    entered = {client.name: client.enters for client in authority.clients}
    assert entered["tablet-kitchen"] == ("nas/by-subject",)
    assert entered["laptop-work"] == ("nas/nas",)
    assert authority.services[-1].subjects == ("CN=Tablet-kitchen", "CN=a+UID=7")


@pytest.fixture
def rolling(small):
    """A fleet in the middle of a rollover: one client has moved, and another was revoked by both authorities."""
    small.clients("ben", state="revoked")
    small.issue("ben", revoked=True)
    small.crl()
    following = samples.Fleet(small.path / "next")  # of the same name
    following.issue("laptop-work", "ben")
    following.issue("ben", revoked=True)
    following.crl()

    def status():
        return status_of(with_next({str(small.path): small.plan}).values(), times.now(), Settings())

    small.status = status
    small.following = following
    return small


def test_each_authority_of_a_rollover_is_judged_by_its_own_files(rolling):
    status = rolling.status()
    assert found(status) == []
    old, new = status.authorities
    assert [(each.path, len(each.crls), [one.name for one in each.revoked]) for each in (old, new)] == [
        (str(rolling.path), 1, ["ben"]),
        (str(rolling.following.path), 1, ["ben"]),
    ]
    assert status.summary == "3 clients, 1 service: nothing needs attention"
    lines = metrics.render(status, times.now(), "here").decode().splitlines()
    series = [line.rpartition(" ")[0] for line in lines if not line.startswith("#")]
    assert len(series) == len(set(series))  # Prometheus refuses a file that has one twice


def test_a_revocation_that_the_next_authority_has_to_make_is_told_once(rolling):
    rolling.following.issue("guest")
    rolling.plan.revoked = [{"name": "guest", "reason": "unspecified"}]
    assert [(kind, about) for _level, kind, about in found(rolling.status())] == [
        ("still_valid", ("guest",)),
        ("unmanaged", ("guest",)),
    ]
    rolling.following.issue("guest", revoked=True)
    rolling.following.crl()
    assert found(rolling.status()) == []
    rolling.plan.revoked = [{"name": "gust", "reason": "unspecified"}]
    assert kinds(rolling.status()) == ["revocation_unclear", "revocation_unclear"]

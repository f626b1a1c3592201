# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each cause alone, and several at once: what weighs most comes first, and the verdict is what was seen."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.common import probe
from ansible_collections.mtls.nginx.plugins.module_utils.site.allow_lists import AllowList
from ansible_collections.mtls.nginx.plugins.module_utils.site.diagnosis import (
    AuthorityRecord,
    ClientCertificate,
    HostState,
    Intent,
    Reality,
    diagnose,
)
from ansible_collections.mtls.nginx.plugins.module_utils.site.pages import PageTrouble
from ansible_collections.mtls.nginx.plugins.module_utils.site.verify_errors import VERIFY_ERRORS

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
PHONE = "CN=phone,O=Acme"
INTENT = Intent("web1", "nas", "client 'phone'", "phone", allow=AllowList(("phone", "tablet")))
CERTIFICATE = ClientCertificate(PHONE, "0A", NOW - DAY, NOW + 300 * DAY, "CN=CA")
RECORD = AuthorityRecord(
    authority="CN=CA",
    path="/srv/pki",
    certificate=CERTIFICATE,
    allow_dns={"phone": PHONE, "tablet": "CN=tablet"},
    ca_end=NOW + 3000 * DAY,
    crl_end=NOW + 30 * DAY,
    ca="ca",
    crl="crl",
)
HOST = HostState(
    allow={"everybody": False, "subjects": [PHONE, "CN=tablet"]},
    ca="ca",
    crl="crl",
    crl_begin=NOW - DAY,
    crl_end=NOW + 30 * DAY,
)
WITHOUT_PHONE = {"everybody": False, "subjects": ["CN=tablet"]}
EVERYBODY = {"everybody": True, "subjects": []}


def answer(status, error=None):
    return probe.ProbeOutcome(probe.Attempt("somebody", probe.LET_IN), status, error)


def reality(host=HOST, status=204, **values):
    """What is, after a request with the client's own certificate that got `status`; None: nobody could ask so."""
    asked = {"answer": answer(status), "as_client": True} if status else {"answer": answer(400)}
    return Reality(now=NOW, host=host, **{"address": "192.0.2.1:443", **asked, **values})


def record(**values):
    return replace(RECORD, **values)


def certified(**values):
    return replace(RECORD, certificate=replace(CERTIFICATE, **values))


def test_logs_that_cannot_be_read_are_named_and_not_taken_for_silence():
    unread = ["/var/log/nginx/mtls-nas.access.log.1.xz"]
    silent = diagnose(INTENT, RECORD, reality(host(unread=unread)))
    assert (silent.let_in, [finding.cause for finding in silent.findings]) == (True, ["log_unread"])
    assert f"it is not known whether it came lately, because {unread[0]} could not be read" in silent.paragraph
    request = visit("0A", "SUCCESS", 200, when="23/Nov/2026:18:33:01 +0000")
    assert not diagnose(INTENT, RECORD, reality(host(unread=unread, requests=[request]))).findings


def test_a_proxy_in_front_is_not_taken_for_the_client():
    line = "[info] 7#7: *1 client SSL certificate verify error: (26:…) while reading, client: 192.0.2.1, server: nas"
    said = {}
    for proxied in (False, True):
        found = diagnose(intent(proxied=proxied), RECORD, reality(host(errors=[line]), status=400)).findings
        said[proxied] = next(finding.text for finding in found if finding.cause == "unexplained")
    assert ", client: 192.0.2.1, server" in said[False]
    assert ", client (the proxy in front): 192.0.2.1, server" in said[True]


CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36"
EARLIER, LATER = "23/Nov/2026:10:00:00 +0000", "23/Nov/2026:13:00:00 +0000"


def test_a_program_that_sends_none_is_recognised_and_told_what_helps_there():
    said = {
        agent: diagnose(INTENT, RECORD, reality(host(without=[without(agent)])))
        for agent in (
            CHROME,
            "Wget/1.21.3",
            "wget2/1.99.1",
            "Go-http-client/2.0",
            "Java-http-client/17.0.15",
            "curl/8.5.0",
        )
    }
    assert [[each.cause for each in one.findings] for one in said.values()] == [["sends_none"]] * len(said)
    assert all(one.as_intended and one.let_in for one in said.values())
    assert (
        "as the inventory wants it. However, Chrome or another browser of its kind at 192.0.2.7 came without a"
        " certificate on 23/Nov/2026:11:59:00 +0000 and got 400. "
    ) in said[CHROME].paragraph
    assert "it offers none that has expired, and none of a CA that the host does not trust" in said[CHROME].remedy
    assert "an issuer not named; try curl with the same files" in said["Wget/1.21.3"].remedy
    assert said["wget2/1.99.1"].paragraph.count("wget2 at 192.0.2.7") == 1
    assert "use GetClientCertificate" in said["Go-http-client/2.0"].remedy
    assert "from Java 26 on none that has expired" in said["Java-http-client/17.0.15"].remedy


def test_only_who_came_after_the_client_last_did_may_be_the_client():
    came = [without("Wget/1.21.3"), without("a\x1b[31m" + "b" * 99), without(CHROME, caller="192.0.2.8")]
    several = diagnose(INTENT, RECORD, reality(host(without=came)))
    assert "Chrome or another browser of its kind at 192.0.2.8 came" in several.paragraph
    assert "and got 400, and before that a program that calls itself 'a\\x1b[31mbbb" in several.paragraph
    assert "b" * 60 not in several.paragraph
    for when, causes in ((EARLIER, ["sends_none"]), (LATER, [])):
        own = [visit("0A", "SUCCESS", 200, when=when), visit("0A", "SUCCESS", 204, when=LATER, probe=True)]
        found = diagnose(INTENT, RECORD, reality(host(without=came, requests=own)))
        assert [each.cause for each in found.findings] == causes
    # Something that keeps it out explains more.
    expired = diagnose(INTENT, certified(not_after=NOW - HOUR), reality(host(without=came), status=400))
    assert [each.cause for each in expired.findings] == ["expired"]
    assert (
        "browsers and Java from 26 on no longer offer it, and get 'A certificate is needed here'" in expired.paragraph
    )


def test_a_program_that_reports_success_when_refused_is_named():
    off = {"everybody": False, "subjects": ["CN=tablet"]}
    for agent, status, causes in (
        ("curl/8.5.0", 403, ["not_listed", "reports_success"]),
        ("HTTPie/3.2.4", 400, ["not_listed", "reports_success"]),
        ("Wget/1.21.3", 403, ["not_listed"]),
        ("curl/8.5.0", 200, ["not_listed"]),
    ):
        own = [visit("0A", "SUCCESS", status, when=EARLIER, agent=agent)]
        found = diagnose(OFF_LIST, RECORD, reality(host(allow=off, requests=own), status=403))
        assert [each.cause for each in found.findings] == causes, agent
    own = [visit("0A", "SUCCESS", 403, when=EARLIER, agent="curl/8.5.0")]
    found = diagnose(OFF_LIST, RECORD, reality(host(allow=off, requests=own), status=403))
    assert (
        "curl was refused with it on 23/Nov/2026:10:00:00 +0000 (403), but ended with exit status 0" in found.paragraph
    )
    assert found.remedy.endswith("to make curl fail in that case: --fail")


def test_a_refusal_that_is_over_is_none_that_a_program_hides():
    own = [visit("0A", "SUCCESS", 403, when=EARLIER, agent="curl/8.5.0")]
    assert not diagnose(INTENT, RECORD, reality(host(requests=own))).findings


def test_http3_beside_a_snippet_is_named():
    found = diagnose(INTENT, RECORD, reality(host(http3=True)))
    assert ([each.cause for each in found.findings], found.as_intended) == (["http3"], True)
    assert "over which browsers send an empty certificate" in found.paragraph


def intent(**values):
    return replace(INTENT, **values)


def host(**values):
    return replace(HOST, **values)


def visit(serial, verify, status=400, **values):
    request = {
        "when": "23/Nov/2026",
        "status": status,
        "verify": verify,
        "serial": serial,
        "probe": False,
        "agent": "x",
    }
    return {**request, **values}


def without(agent, when="23/Nov/2026:11:59:00 +0000", caller="192.0.2.7"):
    return {"when": when, "caller": caller, "agent": agent}


def refused(words, when="23/Nov/2026:11:59:00 +0000", **values):
    return [visit("0A", f"FAILED:{words}", when=when, **values)]


OFF_LIST = intent(allow=AllowList(("tablet",)))
REVOKED = record(revoked=True, revoked_at=NOW - DAY, reason="keyCompromise")
IN, OUT, UNKNOWN = True, False, None

# name: (intent, record, reality, let in, as intended, causes, part of the paragraph)
CASES = {
    "all is well": (INTENT, RECORD, reality(), IN, True, [], "Client 'phone' is let in to the service nas on web1, as"),
    "a strange name": (intent(who="client '{}%s'"), RECORD, reality(), IN, True, [], "Client '{}%s' is let in"),
    "every valid client": (intent(allow=None), RECORD, reality(host(allow=EVERYBODY)), IN, True, [], "is let in"),
    "case is nothing to nginx": (
        INTENT,
        RECORD,
        reality(host(allow={"everybody": False, "subjects": ["cn=PHONE,o=acme"]})),
        IN,
        True,
        [],
        "is let in",
    ),
    "the key is not here": (INTENT, RECORD, reality(status=None), IN, True, [], "would be let in"),
    "no service here": (
        intent(present=False, elsewhere=("web2", "web3")),
        RECORD,
        Reality(now=NOW),
        OUT,
        True,
        ["no_service"],
        "the inventory has no service nas on web1, but on web2, web3",
    ),
    "service taken away": (
        intent(present=False),
        RECORD,
        Reality(now=NOW),
        OUT,
        True,
        ["no_service"],
        "(state: absent)",
    ),
    "no certificate yet": (
        INTENT,
        record(certificate=None),
        reality(host(allow=WITHOUT_PHONE), status=None),
        OUT,
        False,
        ["no_certificate"],
        "/srv/pki has issued no certificate to it yet. Its private key",
    ),
    "no certificate yet, and not on the list": (
        OFF_LIST,
        record(certificate=None),
        reality(host(allow=WITHOUT_PHONE), status=None),
        OUT,
        True,
        ["no_certificate", "not_listed"],
        "add phone to allow",
    ),
    "another CA, and a serial that ours has revoked": (
        INTENT,
        certified(by_authority=False, issuer="CN=Other"),
        reality(host(revoked=True), status=400),
        OUT,
        True,
        ["other_authority"],
        "",
    ),
    "another CA": (
        INTENT,
        certified(by_authority=False, issuer="CN=Other"),
        reality(status=400),
        OUT,
        True,
        ["other_authority"],
        "was issued by CN=Other, and nas on web1 takes those of CN=CA only",
    ),
    "a client of another authority": (
        INTENT,
        record(certificate=ClientCertificate(PHONE, issuer="CN=Other", by_authority=False)),
        reality(status=None),
        OUT,
        True,
        ["other_authority"],
        "it is a client of CN=Other, and nas on web1 takes those of CN=CA",
    ),
    "another CA of the same name": (
        INTENT,
        certified(by_authority=False),
        reality(status=400),
        OUT,
        True,
        ["other_authority"],
        "signed by another key under the authority's own name",
    ),
    "a server's certificate": (
        INTENT,
        certified(for_clients=False),
        reality(status=400),
        OUT,
        True,
        ["not_for_clients"],
        "extendedKeyUsage",
    ),
    "expired": (
        INTENT,
        certified(not_after=NOW - HOUR),
        reality(status=400),
        OUT,
        False,
        ["expired"],
        "though the inventory wants it to enter: its certificate 0A expired on 2026-11-23 11:00 UTC",
    ),
    "not yet valid": (INTENT, certified(not_before=NOW + HOUR), reality(status=400), OUT, False, ["not_yet_valid"], ""),
    "revoked": (
        intent(revoked=True, wanted=False),
        REVOKED,
        reality(host(revoked=True, allow=WITHOUT_PHONE), status=400),
        OUT,
        True,
        ["revoked"],
        "its certificate 0A was revoked on 2026-11-22 12:00 UTC (reason: keyCompromise). A request",
    ),
    "revoked by hand": (
        INTENT,
        REVOKED,
        reality(host(revoked=True), status=400),
        OUT,
        False,
        ["revoked"],
        "--limit web1 issues a new one; then give the device the new certificate from /srv/pki/clients/phone/",
    ),
    "revoked, and the host does not know": (
        intent(revoked=True, wanted=False),
        REVOKED,
        reality(host(crl="older")),
        IN,
        False,
        ["let_in_against_inventory", "revoked"],
        "ALARM: client 'phone' IS let in to the service nas on web1, and the inventory does not want it to enter",
    ),
    "revoked by hand, and the host does not know": (
        INTENT,
        REVOKED,
        reality(host(crl="older")),
        IN,
        False,
        ["let_in_against_inventory", "revoked"],
        "ALARM: client 'phone' IS let in to the service nas on web1, and the authority has revoked its certificate",
    ),
    "not recorded": (INTENT, record(recorded=False), reality(), IN, True, ["not_recorded"], "no record of its cert"),
    "to be revoked": (
        intent(revoked=True, wanted=False),
        RECORD,
        reality(),
        IN,
        False,
        ["let_in_against_inventory", "revoked"],
        "the authority has not done so yet",
    ),
    "revoked in the host's CRL only": (
        INTENT,
        RECORD,
        reality(host(revoked=True, crl="newer"), status=400),
        OUT,
        False,
        ["revoked", "old_crl"],
        "lists its certificate 0A, which is valid according to /srv/pki",
    ),
    "the CRL has ended": (
        INTENT,
        RECORD,
        reality(host(crl_end=NOW - HOUR, crl="older"), status=400),
        OUT,
        False,
        ["crl_expired"],
        "the CRL on web1 expired on 2026-11-23 11:00 UTC, and nginx lets nobody in",
    ),
    "the authority has ended": (
        INTENT,
        record(ca_end=NOW - HOUR),
        reality(status=400),
        OUT,
        False,
        ["authority_expired"],
        "with it all that it issued",
    ),
    "not on the list": (
        OFF_LIST,
        RECORD,
        reality(host(allow=WITHOUT_PHONE), status=403),
        OUT,
        True,
        ["not_listed"],
        "add phone to allow of the service nas, and run ansible-playbook mtls.nginx.site --limit web1",
    ),
    "not on the list, but a similar one is": (
        intent(allow=AllowList(("phone2",))),
        record(allow_dns={"phone2": "CN=phone2"}),
        reality(host(allow={"everybody": False, "subjects": ["CN=phone2"]}), status=403),
        OUT,
        True,
        ["not_listed"],
        "it names 'phone2', who is somebody else",
    ),
    "spelled otherwise": (
        intent(client=None, wanted=False, given=True, who="the certificate a.crt (O=Acme,CN=phone)"),
        certified(dn="O=Acme,CN=phone"),
        reality(status=403),
        OUT,
        True,
        ["spelled_otherwise"],
        "says O=Acme,CN=phone, but the allow list says CN=phone,O=Acme, which to nginx is somebody else",
    ),
    "spelled otherwise on the list itself": (
        intent(client=None, given=True, wanted=False, allow=AllowList((), (PHONE,)), who="the certificate a.crt"),
        certified(dn="O=Acme,CN=phone"),
        reality(host(allow={"everybody": False, "subjects": [PHONE]}), status=403),
        OUT,
        True,
        ["spelled_otherwise"],
        "write the subject into allow of the service nas as it stands, {dn: 'O=Acme,CN=phone'} and run",
    ),
    "on the list by its subject": (
        intent(client=None, given=True, wanted=False, allow=AllowList((), ("CN=Phone,O=Acme",)), who="a.crt"),
        RECORD,
        reality(),
        IN,
        True,
        [],
        "is let in",
    ),
    "not rolled out: the map": (
        INTENT,
        RECORD,
        reality(host(allow=WITHOUT_PHONE), status=403),
        OUT,
        False,
        ["not_rolled_out"],
        "the inventory lets CN=phone,O=Acme in, and the map on web1 does not have it yet",
    ),
    "not rolled out: the service": (
        INTENT,
        RECORD,
        reality(host(configured=False, allow=None), status=404),
        OUT,
        False,
        ["not_rolled_out"],
        "web1 does not have the service yet",
    ),
    "the authority's directory is not there": (
        INTENT,
        record(authority="", certificate=None, ca=None, crl=None, ca_end=None, crl_end=None, allow_dns={}),
        reality(status=None),
        None,
        False,
        ["authority_missing"],
        "restore that directory, or correct mtls_ca_dir",
    ),
    "not rolled out: the CA": (INTENT, RECORD, reality(host(ca="old"), status=400), OUT, False, ["not_rolled_out"], ""),
    "not rolled out: no CRL": (
        INTENT,
        RECORD,
        reality(host(crl=None, crl_begin=None, crl_end=None), status=400),
        OUT,
        False,
        ["not_rolled_out"],
        "crl.pem is missing on web1",
    ),
    "still on the host's list": (
        OFF_LIST,
        RECORD,
        reality(),
        IN,
        False,
        ["let_in_against_inventory", "not_rolled_out"],
        "ALARM",
    ),
    "still on the host's list, by the files": (
        OFF_LIST,
        RECORD,
        reality(status=None),
        IN,
        False,
        ["let_in_against_inventory", "not_rolled_out"],
        "ALARM: client 'phone' would be let in",
    ),
    "taken off the host's list, and nginx not reloaded": (
        OFF_LIST,
        RECORD,
        reality(host(allow=WITHOUT_PHONE)),
        IN,
        False,
        ["let_in_against_inventory", "not_listed"],
        "nginx runs with an older configuration. Besides, the allow list of nas on web1 does not name it. A request",
    ),
    "let in against the inventory, and the host is out of reach": (
        OFF_LIST,
        RECORD,
        reality(None, trouble="no route"),
        IN,
        False,
        ["let_in_against_inventory", "not_listed", "host_unknown"],
        "Remedy: ansible-playbook mtls.nginx.site --limit web1",
    ),
    "added, and the host's files do not know": (
        INTENT,
        RECORD,
        reality(host(allow=WITHOUT_PHONE)),
        IN,
        True,
        ["not_rolled_out"],
        "as the inventory wants it. However, the inventory lets",
    ),
    "an open gate": (
        INTENT,
        RECORD,
        reality(answer=answer(204), as_client=False),
        IN,
        False,
        ["open_gate"],
        "ALARM: everybody is let in to the service nas on web1: nas on web1 let in a request without any certificate",
    ),
    "a snippet that is included nowhere": (
        INTENT,
        RECORD,
        reality(host(included=False), answer=None),
        IN,
        False,
        ["guards_nothing"],
        "ALARM: everybody is let in to the service nas on web1: no server block there includes the service's snippet",
    ),
    "a snippet that is included": (
        INTENT,
        RECORD,
        reality(host(included=True), answer=None),
        IN,
        True,
        [],
        "as the inventory wants it.",
    ),
    "the host's clock is ahead": (
        INTENT,
        RECORD,
        reality(host(offset=400 * DAY), status=400),
        OUT,
        False,
        ["clock"],
        "(2027-12-28 12:00 UTC there, 2026-11-23 12:00 UTC here), so nginx takes the CRL for expired and",
    ),
    "the host's clock is behind": (
        INTENT,
        RECORD,
        reality(host(offset=-2 * DAY), status=400),
        OUT,
        False,
        ["clock"],
        "the certificate for not yet valid",
    ),
    "the host's clock is ahead, and there is no certificate yet": (
        INTENT,
        record(certificate=None),
        reality(host(offset=400 * DAY), status=None),
        OUT,
        False,
        ["clock", "no_certificate"],
        "so nginx takes the CRL for expired. Besides, /srv/pki has issued no certificate to it yet.",
    ),
    "a wrong clock that keeps nobody out": (
        INTENT,
        record(certificate=None),
        reality(host(offset=HOUR), status=None),
        OUT,
        False,
        ["no_certificate", "clock"],
        "Besides, the clock of web1 is 60 minutes ahead",
    ),
    "a wrong clock that harms nobody": (INTENT, RECORD, reality(host(offset=HOUR)), IN, True, ["clock"], "60 minutes"),
    "a clock that is a little wrong": (
        INTENT,
        RECORD,
        reality(host(offset=timedelta(minutes=-10))),
        IN,
        True,
        [],
        "is let in",
    ),
    "a wrong clock that lets in": (
        INTENT,
        certified(not_after=NOW - HOUR),
        reality(host(offset=-3 * HOUR)),
        IN,
        True,
        ["clock"],
        "so nginx takes the certificate for valid",
    ),
    "nginx is not running": (
        INTENT,
        RECORD,
        reality(host(running=False), answer=answer(None, "connection refused")),
        OUT,
        False,
        ["no_answer"],
        "nginx is not running on web1",
    ),
    "nobody answers": (
        INTENT,
        RECORD,
        reality(answer=answer(None, "no answer within 10 s")),
        OUT,
        False,
        ["no_answer"],
        "nas on web1 (192.0.2.1:443) cannot be reached from here: no answer within 10 s",
    ),
    "somebody else answers": (INTENT, RECORD, reality(status=421), OUT, False, ["no_answer"], "answered 421"),
    "the host is out of reach": (
        INTENT,
        RECORD,
        reality(None, trouble="no route"),
        IN,
        True,
        ["host_unknown"],
        "web1 itself could not be examined (no route)",
    ),
    "the host is out of reach, and the key is not here": (
        INTENT,
        RECORD,
        reality(None, None, trouble="no route"),
        UNKNOWN,
        False,
        ["host_unknown"],
        "It is not known whether client 'phone' is let in to the service nas on web1; the inventory wants",
    ),
    "the host is out of reach, and yet it is clear": (
        OFF_LIST,
        RECORD,
        reality(None, None, trouble="no route"),
        OUT,
        True,
        ["not_listed", "host_unknown"],
        "Client 'phone' is not let in",
    ),
    "the device has its former certificate": (
        INTENT,
        RECORD,
        reality(host(requests=[visit("09", "FAILED:certificate revoked"), visit("0A", "SUCCESS", 204, probe=True)])),
        IN,
        True,
        ["former_certificate"],
        "came with another certificate of the same subject, 09, and got 400 (certificate revoked)",
    ),
    "no reason in sight": (
        INTENT,
        RECORD,
        reality(host(errors=["[info] some\x1b[31mthing"]), status=400),
        OUT,
        False,
        ["unexplained"],
        "is: [info] some\\x1b[31mthing. A request with its own certificate got 400. Remedy: nginx may still",
    ),
    "somebody else's client": (
        INTENT,
        replace(RECORD, certificate=ClientCertificate(PHONE), issues=False),
        reality(status=None),
        IN,
        True,
        [],
        "would be let in",
    ),
    "a snippet": (INTENT, RECORD, reality(answer=None, as_client=False), IN, True, [], "would be let in"),
    # What nginx has logged counts more
    "the CRL has another scope, and the key is not here": (
        INTENT,
        RECORD,
        reality(host(requests=refused("different CRL scope")), status=None),
        OUT,
        False,
        ["refused"],
        "on 23/Nov/2026:11:59:00 +0000 nginx refused its certificate 0A (different CRL scope): no CRL covers it",
    ),
    "the CRL has another scope, and the key is here": (
        INTENT,
        RECORD,
        reality(host(requests=refused("different CRL scope", probe=True)), status=400),
        OUT,
        False,
        ["refused"],
        "got 400, and nginx logged: different CRL scope. Remedy: ansible-playbook mtls.nginx.refresh_crl --limit",
    ),
    "a snippet's log": (
        INTENT,
        RECORD,
        reality(
            host(included=True, requests=refused("unhandled critical CRL extension")), answer=None, as_client=False
        ),
        OUT,
        False,
        ["refused"],
        "a CRL has a critical extension that OpenSSL does not process",
    ),
    "the CRL was at fault, and there is a newer one": (
        INTENT,
        RECORD,
        reality(host(requests=refused("different CRL scope", when="21/Nov/2026:11:59:00 +0000")), status=None),
        IN,
        True,
        [],
        "would be let in",
    ),
    "the CRL was at fault, and nobody knows when": (
        INTENT,
        RECORD,
        reality(host(requests=refused("different CRL scope", when="21/Nov/2026: in the night")), status=None),
        OUT,
        False,
        ["refused"],
        "on 21/Nov/2026: in the night nginx refused",
    ),
    "the CRL was at fault by a clock that is behind": (
        INTENT,
        RECORD,
        reality(
            host(
                offset=-20 * timedelta(minutes=1),
                crl_begin=NOW - HOUR,
                requests=refused("different CRL scope", when="23/Nov/2026:10:50:00 +0000"),
            ),
            status=None,
        ),
        OUT,
        False,
        ["refused", "clock"],
        "different CRL scope",
    ),
    "refused, and then let in": (
        INTENT,
        RECORD,
        reality(host(requests=[*refused("different CRL scope"), visit("0A", "SUCCESS", 200)]), status=None),
        IN,
        True,
        [],
        "would be let in",
    ),
    "refused once, and let in now": (
        INTENT,
        RECORD,
        reality(host(requests=refused("different CRL scope"))),
        IN,
        True,
        [],
        "is let in",
    ),
    "somebody else was refused": (
        INTENT,
        RECORD,
        reality(host(requests=[visit("0B", "FAILED:different CRL scope")]), status=None),
        IN,
        True,
        ["former_certificate"],
        "would be let in",
    ),
    "too weak, which is not another key's signature": (
        INTENT,
        certified(by_authority=False),
        reality(host(requests=refused("CA signature digest algorithm too weak", probe=True)), status=400),
        OUT,
        True,
        ["refused"],
        "is signed with a digest that is too weak for nginx's OpenSSL, as SHA-1 is",
    ),
    "what is known already is not said twice": (
        INTENT,
        certified(not_after=NOW - HOUR),
        reality(host(requests=refused("certificate has expired", probe=True)), status=400),
        OUT,
        False,
        ["expired"],
        "its certificate 0A expired on",
    ),
    "another CA, by nginx too": (
        INTENT,
        certified(by_authority=False, issuer="CN=Other"),
        reality(host(requests=refused("unable to verify the first certificate")), status=None),
        OUT,
        True,
        ["other_authority"],
        "was issued by CN=Other",
    ),
    "no CRL covers it": (
        INTENT,
        RECORD,
        reality(host(requests=refused("unable to get certificate CRL", probe=True)), status=400),
        OUT,
        False,
        ["refused"],
        "no CRL that nginx has loaded covers it",
    ),
    "nobody's CRL covers a stranger": (
        INTENT,
        certified(by_authority=False, issuer="CN=Other"),
        reality(host(requests=refused("unable to get certificate CRL", probe=True)), status=400),
        OUT,
        True,
        ["other_authority"],
        "was issued by CN=Other",
    ),
    "this host's OpenSSL takes weak certificates": (
        INTENT,
        certified(weakness="is signed with SHA-1"),
        reality(host(requests=[visit("0A", "SUCCESS", 200)]), status=None),
        IN,
        True,
        [],
        "would be let in",
    ),
    "nginx has loaded other CAs": (
        INTENT,
        RECORD,
        reality(host(requests=refused("unable to verify the first certificate")), status=None),
        OUT,
        False,
        ["refused"],
        "Remedy: nginx may still run with an older configuration: ansible web1",
    ),
    "nginx has loaded another CRL": (
        INTENT,
        RECORD,
        reality(host(requests=refused("certificate revoked", probe=True)), status=400),
        OUT,
        False,
        ["refused"],
        "state=reloaded",
    ),
    "words that nobody knows": (
        INTENT,
        RECORD,
        reality(host(requests=refused("a new \x1b[31merror", probe=True)), status=400),
        OUT,
        False,
        ["refused"],
        "(a new \\x1b[31merror)",
    ),
    # Several at once
    "expired and the CRL ended": (
        INTENT,
        certified(not_after=NOW - HOUR),
        reality(host(crl_end=NOW - HOUR), status=400),
        OUT,
        False,
        ["crl_expired", "expired"],
        "Remedy: ansible-playbook mtls.nginx.refresh_crl --limit web1; then ansible-playbook mtls.nginx.site --limit",
    ),
    "revoked, expired and not on the list": (
        intent(allow=AllowList(("tablet",)), revoked=True, wanted=False),
        replace(REVOKED, certificate=replace(CERTIFICATE, not_after=NOW - HOUR)),
        reality(host(allow=WITHOUT_PHONE, revoked=True), status=400),
        OUT,
        True,
        ["revoked", "expired", "not_listed"],
        ". Besides, its certificate 0A expired",
    ),
    "another CA, and expired": (
        INTENT,
        certified(by_authority=False, issuer="CN=Other", not_after=NOW - HOUR),
        reality(status=400),
        OUT,
        True,
        ["other_authority", "expired"],
        "Besides",
    ),
    "revoked, and not on the list": (
        intent(allow=AllowList(("tablet",)), wanted=False, revoked=True),
        REVOKED,
        reality(host(allow=WITHOUT_PHONE, revoked=True), status=400),
        OUT,
        True,
        ["revoked", "not_listed"],
        "(reason: keyCompromise). Besides, the allow list of nas on web1 does not name it",
    ),
    "a wrong clock, and not on the list": (
        OFF_LIST,
        RECORD,
        reality(host(offset=400 * DAY, allow=WITHOUT_PHONE), status=400),
        OUT,
        True,
        ["clock", "not_listed"],
        "Besides, the allow list",
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_diagnoses(case):
    wanted, recorded, is_so, let_in, as_intended, causes, part = case
    diagnosis = diagnose(wanted, recorded, is_so)
    assert [finding.cause for finding in diagnosis.findings] == causes
    assert diagnosis.let_in is let_in
    assert diagnosis.as_intended is as_intended
    assert part in diagnosis.paragraph
    assert "\n" not in diagnosis.paragraph
    assert diagnosis.paragraph.endswith(".")
    assert ".." not in diagnosis.paragraph
    for finding in diagnosis.findings:
        assert finding.text in diagnosis.paragraph


@pytest.mark.parametrize(
    ("record_", "is_so", "commands"),
    [
        (RECORD, reality(), ()),
        (
            record(revoked=True),
            reality(host(revoked=True), status=400),
            ("ansible-playbook -i 'my hosts.yml' -J mtls.nginx.site --limit web1",),
        ),
        (  # one command begins as another does
            record(recorded=False, crl="new"),
            reality(),
            (
                "ansible-playbook -i 'my hosts.yml' -J mtls.nginx.site",
                "ansible-playbook -i 'my hosts.yml' -J mtls.nginx.refresh_crl --limit web1",
            ),
        ),
        (
            RECORD,
            reality(host(running=False), status=400),
            ("ansible -i 'my hosts.yml' -J web1 -b -m ansible.builtin.service -a 'name=nginx state=started'",),
        ),
    ],
)
def test_commands_can_be_typed_as_they_are(record_, is_so, commands):
    diagnosis = diagnose(intent(options="-i 'my hosts.yml' -J"), record_, is_so)
    assert diagnosis.commands == commands
    for command in commands:
        assert command in diagnosis.remedy


@pytest.mark.parametrize("words", sorted(VERIFY_ERRORS))
def test_a_verify_error_is_one_sentence_and_no_guess_stands_beside_it(words):
    """The one thing that is known is what nginx logged: beside it nothing is unexplained."""
    diagnosis = diagnose(
        INTENT, RECORD, reality(host(requests=refused(words), errors=["something of TLS"]), status=400)
    )
    assert [finding.cause for finding in diagnosis.findings] == ["refused"]
    assert VERIFY_ERRORS[words].sentence in diagnosis.paragraph
    assert "something of TLS" not in diagnosis.paragraph


def test_a_former_certificate_in_a_file_is_not_meant():
    given = intent(wanted=False, given=True, who="the certificate old.crt")
    old = replace(REVOKED, current="0B")
    diagnosis = diagnose(given, old, reality(host(revoked=True), status=400))
    assert (diagnosis.let_in, diagnosis.meant) == (False, False)
    assert "nas on web1: it was revoked on" in diagnosis.paragraph
    assert diagnosis.remedy == "give the device the new certificate from /srv/pki/clients/phone/"


def found(intent_, record_, reality_):
    diagnosis = diagnose(intent_, record_, reality_)
    return {finding.cause: f"{finding.text}; {finding.remedy}" for finding in diagnosis.findings}


STRANGER = {"who": "the certificate", "client": None}
FOREIGN = {"by_authority": False, "issuer": "CN=Other"}
ENDED = {"not_before": NOW - 9 * DAY, "not_after": NOW - DAY}


@pytest.mark.parametrize(
    ("asked", "recorded", "cause", "said"),
    [
        (intent(revoked=True), record(certificate=None), "no_certificate", "is revoked in the inventory and has no"),
        (
            INTENT,
            replace(certified(**FOREIGN), issues=False),
            "other_authority",
            "use a certificate of CN=CA",
        ),
        (
            intent(**STRANGER, allow=None, wanted=False),
            certified(**ENDED),
            "expired",
            "add a client to mtls_clients and run",
        ),
        (INTENT, replace(certified(**ENDED), issues=False), "expired", "ask whoever runs CN=CA for a new"),
        (
            INTENT,
            record(ca_end=NOW - HOUR),
            "authority_expired",
            "; renew it with mtls_ca_renew_before (docs/authorities",
        ),
        (
            INTENT,
            replace(record(ca_end=NOW - HOUR), issues=False),
            "authority_expired",
            "; ask whoever runs CN=CA for the next CA certificate",
        ),
        (
            intent(**STRANGER),
            certified(dn="CN=somebody"),
            "not_listed",
            "add its subject to allow of the service nas as it stands",
        ),
        (
            intent(**STRANGER),
            replace(certified(dn="O=Acme,CN=phone"), allow_dns={}),
            "spelled_otherwise",
            f"but the allow list says {PHONE}, which to nginx is somebody else",
        ),
    ],
)
def test_who_is_a_stranger_and_who_issues_nothing(asked, recorded, cause, said):
    causes = found(asked, recorded, reality(status=403))
    assert said in causes[cause]


def test_nothing_explains_it_and_the_log_is_empty():
    causes = found(INTENT, RECORD, reality(status=403))
    assert causes["unexplained"].startswith("inventory, record and the host's files all say that it may enter; nginx")


SILENT = PageTrouble("the gate opens, but http://a does not answer (502)", "start the application there", "upstream")


def test_what_is_not_behind_the_gate_comes_first_and_is_not_the_gates_fault():
    found = diagnose(intent(options="-i hosts.yml"), RECORD, reality(host(crl="another"), page=SILENT))
    assert [each.cause for each in found.findings] == ["page_unanswered", "old_crl"]
    assert (found.let_in, found.as_intended) == (True, True)
    site = "ansible-playbook -i hosts.yml mtls.nginx.site --limit web1"
    assert "as the inventory wants it: the gate opens, but http://a does not answer (502). Besides" in found.paragraph
    assert f"start the application there, or correct upstream in the service and run {site}" in found.paragraph
    assert found.commands[0] == site


def test_what_the_inventory_cannot_mend_names_no_run_of_it():
    found = diagnose(INTENT, RECORD, reality(page=replace(SILENT, option=None)))
    assert (found.remedy, found.commands) == ("start the application there", ())


def test_a_server_certificate_that_programs_refuse_is_no_verdict_about_the_client():
    why = "the certificate that it serves (CN=R11) expired on 2026-11-28"
    found = diagnose(intent(options="-i hosts.yml"), RECORD, reality(served=why))
    assert [each.cause for each in found.findings] == ["server_certificate"]
    assert (found.let_in, found.as_intended) == (True, True)
    assert f"{why}: programs that verify it do not get as far as the gate" in found.paragraph
    assert found.commands == ("ansible-playbook -i hosts.yml mtls.nginx.site --limit web1",)

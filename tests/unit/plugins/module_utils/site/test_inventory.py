# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The union over the inventory: what each authority has to do, and contradictions between hosts."""

from __future__ import annotations

import datetime
import pathlib
import re

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.site import inventory
from ansible_collections.mtls.nginx.plugins.module_utils.site.inventory import InventoryReader, authority_path
from ansible_collections.mtls.nginx.tests.unit.support import read_yaml

ROLES = pathlib.Path(__file__).parents[5] / "roles"


def options(role):
    return read_yaml(ROLES / role / "meta" / "argument_specs.yml")["argument_specs"]["main"]["options"]


READER = InventoryReader(ca_spec=options("ca"), server_spec=options("server"))
SERVICE = {"name": "nas", "server_names": ["nas.lan"], "upstream": "http://127.0.0.1:1"}


def plan(**hosts):
    return READER.plan(hosts, dict.fromkeys(hosts, "/inventory"))


def refused(**hosts):
    with pytest.raises(MtlsError) as caught:
        plan(**hosts)
    return str(caught.value)


def test_times_with_which_nothing_could_be_issued_keep_nobody_in():
    hosts = {"a": {"mtls_clients": [{"name": "phone"}], "mtls_client_days": 0}}
    assert refused(**hosts) == "host a: mtls_client_days is 0; use 1 or more"
    found = READER.plan_to_revoke(hosts, {"a": "/inventory"})
    assert (list(found.authorities), found.left_out) == (["/inventory/pki"], {})


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"mtls_ca_days": 0}, "mtls_ca_days is 0; use 1 or more"),
        ({"mtls_crl_days": -1}, "mtls_crl_days is -1; use 1 or more"),
        ({"mtls_crl_days": 7, "mtls_crl_refresh_before": 7}, "mtls_crl_refresh_before (7) is not less than"),
        ({"mtls_contact": {"name": "Ana", "url": "javascript:x"}}, "mtls_contact: url 'javascript:x' is not an"),
        (
            {"mtls_crl_publish": {"host": "a", "server_name": "crl.lan", "port": 0}},
            "mtls_crl_publish: port is 0; use 1 to 65535",
        ),
        (
            {"mtls_crl_publish": {"host": "a", "server_name": "crl.lan", "port": 65536}},
            "mtls_crl_publish: port is 65536",
        ),
    ],
)
def test_settings_with_which_nothing_would_work(variables, said):
    assert f"host a: {said}" in refused(a={"mtls_clients": [], **variables})


@pytest.mark.parametrize(
    "variables",
    [
        {"mtls_ca_days": 1, "mtls_client_days": 1, "mtls_crl_days": 1, "mtls_crl_refresh_before": 0},
        {"mtls_crl_publish": {"host": "a", "server_name": "crl.lan", "port": 1}},
        {"mtls_crl_publish": {"host": "a", "server_name": "crl.lan", "port": 65535}},
    ],
)
def test_settings_at_their_limits(variables):
    assert plan(a={"mtls_clients": [], **variables})


def test_where_each_service_needs_an_allow_list():
    strict = {"mtls_require_allow": True, "mtls_clients": [{"name": "a"}]}
    closed = [{**SERVICE, "allow": ["a"]}, {**SERVICE, "name": "old", "state": "absent"}]
    plan(a={**strict, "mtls_services": closed}, b={"mtls_services": [SERVICE]})
    hosts = {"a": {**strict, "mtls_services": [*closed, {**SERVICE, "name": "open", "server_names": ["o"]}]}}
    assert refused(**hosts).startswith("host a, service open: has no allow, so it is open to every client")
    assert READER.plan(hosts, {"a": "/inventory"}, spared={"a"})["/inventory/pki"].services == []


def test_a_host_that_says_nothing_ends_nothing():
    said = {"mtls_clients": [{"name": "phone"}]}
    for found in (
        plan(a={}, b=said),
        READER.plan_to_revoke({"a": {}, "b": said}, dict.fromkeys("ab", "/i")).authorities,
    ):
        assert [names(authority) for authority in found.values()] == [["phone"]]


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"mtls_clients": [{"name": "x"}]}, "client 'nas-client' is not a client; add it to mtls_clients of a host"),
        ({"mtls_clients": [{"name": "nas-client", "state": "revoked"}]}, "client 'nas-client' is revoked"),
        ({"mtls_clients": [{"name": "nas-client"}], "mtls_keep_client_keys": False}, "is in its .p12 only"),
    ],
)
def test_who_cannot_be_nginxs_own_client(variables, said):
    tls = {"verify": False, "client": "nas-client"}
    behind = {**SERVICE, "upstream": "https://b.lan", "upstream_tls": tls}
    refusal = refused(a={**variables, "mtls_services": [behind]})
    assert refusal.startswith("host a, service nas: upstream_tls: ")
    assert said in refusal
    plan(a={"mtls_clients": [{"name": "nas-client"}], "mtls_services": [behind]})


def test_a_released_certificate_ends_no_search_for_who_is_present():
    revoked = [{"name": "a", "state": "released"}, {"name": "phone"}]
    assert "client 'phone' (host a) is present, and mtls_revoked names it" in refused(
        a={"mtls_clients": [{"name": "phone"}], "mtls_revoked": revoked}
    )


@pytest.mark.parametrize("more", [{"p12_password": "a-long-password"}, {"key_type": "rsa"}, {"formats": ["pem"]}])
def test_with_a_request_there_is_no_key_to_choose(more):
    said = refused(a={"mtls_clients": [{"name": "phone", "csr": "phone.csr", **more}]})
    assert said.startswith("host a, client 'phone': with csr the key stays on the device")


def test_a_name_may_be_a_whole_number():
    (authority,) = plan(a={"mtls_clients": [{"name": 1003}], "mtls_services": [{**SERVICE, "allow": [1003]}]}).values()
    assert [client["name"] for client in authority.clients] == ["1003"]


def names(authority):
    return [client["name"] for client in authority.clients]


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        (
            {"mtls_services": [{"name": "wiki", "server_names": ["wiki.lan"], "upsteam": "http://127.0.0.1:1"}]},
            "mtls_services, item 1 (wiki): there is no option 'upsteam'; did you mean upstream?",
        ),
        (
            {"mtls_clients": [{"name": "a"}, {"name": "phone", "p12password": "x"}]},
            "mtls_clients, item 2 (phone): there is no option 'p12password'; did you mean p12_password?",
        ),
        ({"mtls_fleet_clients": [{"nmae": "ci"}]}, "mtls_fleet_clients, item 1: there is no option 'nmae'; did you"),
        (
            {"mtls_services": [{"name": "wiki", "server_names": ["a"], "hsts": {"maxage": 1}}]},
            "mtls_services, item 1 (wiki), hsts: there is no option 'maxage'; did you mean max_age?",
        ),
        (
            {"mtls_revoked": [{"serail": "01"}]},
            "mtls_revoked, item 1: there is no option 'serail'; did you mean serial?",
        ),
        (
            {"mtls_ca_openbao": {"tokenfile": "token"}},
            "mtls_ca_openbao: there is no option 'tokenfile'; did you mean token_file?",
        ),
        (
            {"mtls_clients": [{"name": "phone", "qqqq": 1}]},
            "mtls_clients, item 1 (phone): there is no option 'qqqq'; docs/variables.md lists the options",
        ),
        # What YAML makes of words that are not in quotes.
        ({"mtls_services": [{**SERVICE, "allow": ["a", False]}]}, "(nas), allow, item 2: is true or false to YAML"),
        ({"mtls_clients": [{"name": datetime.date(2026, 11, 29)}]}, "item 1, name: is a date to YAML"),
        ({"mtls_clients": [{"name": 1.1}]}, "item 1, name: is a number to YAML, and not the text that was written"),
        (
            {"mtls_clients": [{"name": "a", "p12_password": 83}]},
            "item 1, p12_password: is not text, since without quotes YAML reads",
        ),
        # What Ansible would make text of.
        ({"mtls_clients": [{"name": ["phone"]}]}, "mtls_clients, item 1, name: is a list to YAML, and not the text"),
        ({"mtls_clients": [{"name": {"a": None}}]}, "mtls_clients, item 1, name: is a dictionary to YAML, and not"),
        ({"mtls_ca_passphrase": ["sesame"]}, "mtls_ca_passphrase: is a list or a dictionary, and not one text"),
        ({"mtls_ca_dir": ["pki"]}, "mtls_ca_dir: is a list to YAML, and not the text that was written"),
        ({"mtls_contact": {"name": ["Ana"]}}, "mtls_contact, name: is a list to YAML, and not the text"),
        ({"mtls_services": [{**SERVICE, "server_names": [["a"]]}]}, "server_names, item 1: is a list to YAML"),
        # An empty list lets in nobody, and no list everybody: nothing after the colon is neither.
        ({"mtls_services": [{**SERVICE, "allow": None}]}, "mtls_services, item 1 (nas): allow has no value; write []"),
        ({"mtls_services": [{**SERVICE, "authority": None}]}, "item 1 (nas): authority has no value; name a directory"),
        (
            {"mtls_services": [{**SERVICE, "paths": [{"path": "/a/", "allow": None}]}]},
            "mtls_services, item 1 (nas), paths, item 1: allow has no value; write [] to let in nobody",
        ),
        (
            {"mtls_crl_publish": {"file": "crl.pem", "hots": "a"}},
            "mtls_crl_publish: there is no option 'hots'; did you mean host?",
        ),
        (
            {"mtls_crl_publish": {"host": "b", "server_name": "crl.lan"}},
            "mtls_crl_publish: there is no host 'b'; name a host of the inventory",
        ),
        ({"mtls_crl_publish": {"host": "a"}}, "mtls_crl_publish needs host and server_name together"),
        (
            {"mtls_crl_publish": {"host": "a", "server_name": "crl lan"}},
            "mtls_crl_publish: server name 'crl lan' is neither a host name",
        ),
        (
            {"mtls_crl_publish": {"host": "a", "server_name": "crl.lan", "port": 0}},
            "mtls_crl_publish: port is 0; use 1 to 65535",
        ),
        (
            {"mtls_authorities": [{"ca_dir": "b", "crl_publish": {"host": "a", "server_name": "crl.lan"}}]},
            "only the CRL of a host's own mtls_ca_dir is served by a host",
        ),
        (
            {"mtls_authorities": [{"ca_dir": "b", "crl_publish": "crl.pem"}]},
            "mtls_crl_publish is not a dictionary; write it as name: value",
        ),
        ({"mtls_authorities": 5}, "mtls_authorities is not a list; write one item a line, with a dash in front"),
        ({"mtls_authorities": [{"ca_dir": "b"}, "c"]}, "mtls_authorities, item 2 is not a dictionary; write it as"),
        # What Ansible says, and of which item.
        (
            {"mtls_services": [{"name": "a", "server_names": ["a"]}, {"name": "wiki"}]},
            "mtls_services, item 2 (wiki): missing required arguments: server_names",
        ),
        (
            {"mtls_clients": [{"name": "a"}, {"name": "phone", "state": "lost"}]},
            "mtls_clients, item 2 (phone): value of state must be one of: present, revoked, got: lost",
        ),
        (
            {"mtls_clients": [{"name": "a"}, {"name": "phone", "days": "many"}]},
            "mtls_clients, item 2 (phone): days is not a whole number",
        ),
        ({"mtls_clients": [{"name": "a\x1b[2J", "days": "many"}]}, "mtls_clients, item 1: days is not a whole number"),
        ({"mtls_ca_days": "many"}, "host a: mtls_ca_days is not a whole number"),
    ],
)
def test_a_wrong_option_is_named_with_its_place_and_the_nearest_one(variables, said):
    message = refused(a={"mtls_clients": [], **variables})
    assert said in message
    assert message.startswith("host a: ")
    assert len(message) < 300


def test_what_hosts_differ_in_is_said_as_yaml_has_it():
    client = {"name": "x", "days": 90}
    said = refused(a={"mtls_clients": [client]}, b={"mtls_clients": [{"name": "x", "mobileconfig": True}]})
    assert "differently (days: 90 and not set, mobileconfig: not set and true)" in said
    said = refused(a={"mtls_clients": [], "mtls_ca_subject": {"CN": "A"}}, b={"mtls_clients": []})
    assert "differ in mtls_ca_subject ({'CN': 'A'} and not set)" in said


@pytest.mark.parametrize("role", ["ca", "server"])
def test_defaults_and_argument_specification_say_the_same(role):
    defaults = read_yaml(ROLES / role / "defaults" / "main.yml")
    described = {name: option["default"] for name, option in options(role).items() if "default" in option}
    assert defaults == described


def test_the_union_is_taken_over_all_hosts():
    fleet = [{"name": "ci-runner"}]
    (authority,) = plan(
        nas={"mtls_fleet_clients": fleet, "mtls_clients": [{"name": "phone"}], "mtls_services": [SERVICE]},
        web={"mtls_fleet_clients": fleet, "mtls_clients": [{"name": "laptop", "days": 90}]},
        printer={},
    ).values()
    assert names(authority) == ["ci-runner", "phone", "laptop"]
    assert authority.servers == [{"host": "nas", "name": "nas", "server_names": ["nas.lan"]}]
    assert authority.path == "/inventory/pki"
    assert authority.as_options()["client_days"] == 365


def test_a_fleet_that_hosts_share_is_validated_once_and_one_that_differs_counts_too(monkeypatch):
    validated = []
    real = inventory.valid_items.set_aside

    def counted(specs, given):
        validated.append(given)
        return real(specs, given)

    monkeypatch.setattr(inventory.valid_items, "set_aside", counted)
    shared = [{"name": f"client-{number}"} for number in range(3)]
    hosts = {f"host-{number}": {"mtls_fleet_clients": [dict(each) for each in shared]} for number in range(4)}
    hosts["other"] = {"mtls_fleet_clients": [*shared, {"name": "more"}]}
    reader = InventoryReader(ca_spec=options("ca"), server_spec=options("server"))
    (authority,) = reader.plan(hosts, dict.fromkeys(hosts, "/inventory")).values()
    assert names(authority) == ["client-0", "client-1", "client-2", "more"]
    lists = [given["mtls_fleet_clients"] for given in validated if "mtls_fleet_clients" in given]
    assert lists == [shared, [*shared, {"name": "more"}]]


def test_a_request_of_the_fleet_starts_at_the_inventory_of_each_host():
    fleet = {"mtls_fleet_clients": [{"name": "build-agent", "csr": "agent.csr"}]}
    with pytest.raises(MtlsError, match=r"hosts one and two, differently \(csr: '/a/agent\.csr' and '/b/agent\.csr'\)"):
        READER.plan(
            {"one": {**fleet, "mtls_ca_dir": "/pki"}, "two": {**fleet, "mtls_ca_dir": "/pki"}},
            {"one": "/a", "two": "/b"},
        )


def test_services_of_all_hosts_are_told_to_people_once():
    listed = {**SERVICE, "allow": ["phone"]}
    own = {"name": "wiki", "server_names": ["wiki.lan"], "listen": "8443", "snippet": True}
    behind = {**SERVICE, "name": "app", "server_names": ["app.lan"], "listen": 8443, "public_port": 443, "allow": []}
    (authority,) = plan(
        one={"mtls_clients": [{"name": "phone"}], "mtls_services": [listed, own, behind]},
        two={"mtls_services": [listed, {**SERVICE, "name": "gone", "listen": "444", "state": "absent"}]},
    ).values()
    assert authority.as_options()["services"] == [
        {"name": "nas", "urls": ["https://nas.lan/"], "allow": ["phone"], "issued_by_authority": True},
        {"name": "wiki", "urls": ["https://wiki.lan:8443/"], "allow": None, "issued_by_authority": False},
        {"name": "app", "urls": ["https://app.lan/"], "allow": [], "issued_by_authority": True},
    ]


def test_where_clients_renew_they_are_told_where():
    (authority,) = plan(
        one={"mtls_clients": [{"name": "phone"}], "mtls_services": [{**SERVICE, "allow": ["phone"]}]},
        two={"mtls_self_renewal": True, "mtls_services": [{**SERVICE, "name": "wiki"}]},
    ).values()
    nas, wiki = authority.as_options()["services"]
    assert "renewal_urls" not in nas
    assert (wiki["renewal_urls"], wiki["renewal_allow"]) == (["https://nas.lan/.mtls/"], None)


def test_an_external_ca_renews_nothing_and_issues_no_client():
    trusted = {"mtls_ca_backend": "trust", "mtls_ca_trust": {"certificates": "ca.pem", "crl": ["crl.pem"]}}
    service = {**SERVICE, "certificate": {"path": "/a.crt", "key": "/a.key"}}
    said = refused(one={**trusted, "mtls_services": [{**service, "self_renewal": True}]})
    assert "service nas: its authority is trusted only and renews no certificate; set self_renewal: false" in said
    upstream = {"upstream": "https://app.lan:1", "upstream_tls": {"verify": True, "ca": "system", "client": "phone"}}
    said = refused(one={**trusted, "mtls_services": [{**service, **upstream}]})
    assert "service nas: upstream_tls: its authority is trusted only and issues no client certificates" in said


def test_files_that_the_settings_name_start_at_the_inventory():
    signer = {"certificate": "files/s.crt", "key": "/elsewhere/s.key", "passphrase": "of the signer"}
    settings = {"mtls_profile_signer": signer, "mtls_handout_template": "files/page.j2"}
    (authority,) = plan(one={**settings, "mtls_clients": []}, two={**settings, "mtls_clients": []}).values()
    made = authority.as_options()
    assert made["profile_signer"] == {**signer, "certificate": "/inventory/files/s.crt"}
    assert made["handout_template"] == "/inventory/files/page.j2"
    other = {**settings, "mtls_profile_signer": {**signer, "passphrase": "another"}, "mtls_clients": []}
    said = refused(one={**settings, "mtls_clients": []}, two=other)
    assert "differ in mtls_profile_signer; set it once" in said
    assert "of the signer" not in said


def test_two_authorities_publish_in_two_files():
    shared = {"mtls_clients": [], "mtls_crl_publish": {"file": "crl.pem"}}
    message = refused(a={**shared, "mtls_ca_dir": "one"}, b={**shared, "mtls_ca_dir": "two"})
    assert message.startswith("mtls_crl_publish: the authorities /inventory/one and /inventory/two would both write")
    assert len(plan(a=shared, b=shared)) == 1


def test_an_authority_that_follows_another_publishes_nothing_of_its_own():
    (authority,) = plan(a={"mtls_clients": [], "mtls_crl_publish": {"file": "crl.pem"}}).values()
    assert authority.as_options()["crl_publish"]["file"] == "/inventory/crl.pem"
    authority.follows = True
    assert authority.as_options()["crl_publish"] is None


def test_a_published_file_starts_at_the_inventory():
    (authority,) = plan(a={"mtls_clients": [], "mtls_crl_publish": {"file": "www/crl.pem"}}).values()
    assert authority.settings["crl_publish"]["file"] == "/inventory/www/crl.pem"


def test_each_directory_is_an_authority_of_its_own():
    plans = plan(
        a={"mtls_ca_dir": "/one", "mtls_clients": [{"name": "x"}], "mtls_ca_days": 10},
        b={"mtls_ca_dir": "two/../two", "mtls_clients": [{"name": "x", "days": 5}]},
    )
    assert {path: names(authority) for path, authority in plans.items()} == {"/one": ["x"], "/inventory/two": ["x"]}


def test_authority_path_is_absolute_and_plain():
    assert authority_path("pki", "/inv") == "/inv/pki"
    assert authority_path("/a/b/../pki/", "/inv") == "/a/pki"


def test_the_files_of_an_authority_start_at_the_inventory_too():
    token = {"module": "softhsm2.so", "token": "mtls", "key": "root", "pin_file": "pin"}
    shared = {"mtls_clients": [{"name": "x"}], "mtls_ca_backend": "pkcs11", "mtls_ca_pkcs11": token}
    below = {"mtls_ca_parent": {"path": "root", "backend": "pkcs11", "pkcs11": token}}
    offline = {"mtls_ca_dir": "/two", "mtls_ca_certificate": "in/ca.pem", "mtls_ca_parent_crl": "/in/root.crl"}
    one, two = (plan.as_options() for plan in plan(a={**shared, **below}, b={**shared, **offline}).values())
    assert one["pkcs11"]["module"] == "softhsm2.so"
    assert one["pkcs11"]["pin_file"] == one["parent"]["pkcs11"]["pin_file"] == "/inventory/pin"
    assert (one["parent"]["path"], one["certificate"], one["parent_crl"]) == ("/inventory/root", None, None)
    assert (two["parent"], two["certificate"], two["parent_crl"]) == (None, "/inventory/in/ca.pem", "/in/root.crl")


def test_a_parent_s_passphrase_that_differs_is_not_shown():
    hosts = {
        name: {"mtls_clients": [{"name": "x"}], "mtls_ca_parent": {"path": "root", "passphrase": f"hunter{name}"}}
        for name in ("a", "b")
    }
    said = refused(**hosts)
    assert "differ in mtls_ca_parent;" in said
    assert "hunter" not in said


def test_a_client_defined_twice_the_same_way_is_one_client():
    (authority,) = plan(
        a={"mtls_clients": [{"name": "x", "days": 5}]}, b={"mtls_clients": [{"name": "x", "days": "5"}]}
    ).values()
    assert names(authority) == ["x"]


def test_a_client_defined_twice_differently_names_both_hosts():
    said = refused(a={"mtls_clients": [{"name": "x", "days": 5}]}, b={"mtls_clients": [{"name": "x"}]})
    assert "client 'x' is defined by hosts a and b, differently (days: 5 and not set)" in said


def test_a_password_that_differs_is_not_shown():
    said = refused(
        a={"mtls_clients": [{"name": "x", "p12_password": "hunter2"}]},
        b={"mtls_clients": [{"name": "x", "p12_password": "hunter3"}]},
    )
    assert "p12_password" in said
    assert "hunter" not in said


def test_names_that_differ_only_in_case():
    said = refused(a={"mtls_clients": [{"name": "John"}]}, b={"mtls_clients": [{"name": "john"}]})
    assert "'John' (host a)" in said
    assert "'john' (host b)" in said
    assert "case" in said


def test_two_names_with_one_subject():
    subject = {"O": "Acme", "CN": "José"}
    twin = {"O": "ACME", "CN": "José"}
    said = refused(a={"mtls_clients": [{"name": "one", "subject": subject}, {"name": "two", "subject": twin}]})
    assert "same subject" in said


@pytest.mark.parametrize("name", ["", "a/b", "..", "a\nb", "a\0b", "x" * 65, " a", ".hidden"])
def test_client_names_that_cannot_be(name):
    assert "host a" in refused(a={"mtls_clients": [{"name": name}]})


def test_a_paths_list_names_nobody():
    service = dict(SERVICE, paths=[{"path": "/admin/", "allow": ["iphone-admn"]}])
    said = refused(a={"mtls_clients": [{"name": "iphone-admin"}], "mtls_services": [service]})
    assert "host a, service nas: allow names 'iphone-admn', which is not a client; did you mean 'iphone-admin'?" in said


def test_allow_names_nobody():
    said = refused(
        a={"mtls_clients": [{"name": "iphone-admin"}], "mtls_services": [dict(SERVICE, allow=["iphone-admn"])]}
    )
    assert "host a, service nas: allow names 'iphone-admn', which is not a client; did you mean 'iphone-admin'?" in said


def test_allow_may_name_another_hosts_client():
    plan(a={"mtls_services": [dict(SERVICE, allow=["x"])]}, b={"mtls_clients": [{"name": "x"}]})


def test_settings_that_hosts_of_one_authority_disagree_on():
    said = refused(
        a={"mtls_clients": [{"name": "x"}], "mtls_ca_days": 10}, b={"mtls_clients": [{"name": "y"}], "mtls_ca_days": 20}
    )
    assert "hosts a and b share the authority /inventory/pki but differ in mtls_ca_days (10 and 20)" in said


def test_a_passphrase_that_differs_is_not_shown():
    said = refused(
        a={"mtls_clients": [], "mtls_ca_passphrase": "s3cret"}, b={"mtls_clients": [], "mtls_ca_passphrase": "other"}
    )
    assert "mtls_ca_passphrase" in said
    assert "s3cret" not in said


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"mtls_clients": [{"nam": "x"}]}, "nam"),
        ({"mtls_clients": [{"name": "x", "state": "gone"}]}, "state"),
        ({"mtls_clients": [{"name": "x", "reason": "stolen"}]}, "reason"),
        ({"mtls_clients": [{"name": "x", "days": "soon"}]}, "days"),
        ({"mtls_clients": "x y"}, "mtls_clients"),
        ({"mtls_services": [{"name": "nas"}]}, "server_names"),
        ({"mtls_services": [dict(SERVICE, alow=["x"])]}, "alow"),
        ({"mtls_clients": [{"name": "x", "csr": "x.csr", "p12": "modern"}]}, "with csr the key stays on the device"),
        ({"mtls_clients": [{"name": "x", "csr": "x.csr", "formats": ["pem"]}]}, "with csr the key stays on the device"),
        ({"mtls_revoked": [{"reason": "superseded"}]}, "one of serial, certificate, name, fingerprint"),
    ],
)
def test_what_the_specification_refuses_names_the_host(values, said):
    message = refused(a=values)
    assert message.startswith("host a")
    assert said in message


def test_relative_files_start_at_the_inventory():
    (authority,) = plan(
        a={
            "mtls_clients": [{"name": "x", "csr": "files/x.csr"}],
            "mtls_revoked": [{"certificate": "../old.crt"}, {"serial": "03E8", "reason": "superseded"}],
        }
    ).values()
    assert authority.clients[0]["csr"] == "/inventory/files/x.csr"
    assert authority.revoked == [
        {"certificate": "/old.crt", "reason": "unspecified"},
        {"serial": "03E8", "reason": "superseded"},
    ]


def test_relative_paths_need_an_inventory_that_is_a_file():
    with pytest.raises(MtlsError, match="mtls_ca_dir 'pki' is relative"):
        READER.plan({"a": {"mtls_clients": []}}, {"a": None})
    assert list(READER.plan({"a": {"mtls_clients": [], "mtls_ca_dir": "/pki"}}, {"a": None})) == ["/pki"]


PARTNERS = {"ca_dir": "partners", "ca_subject": {"CN": "Partners"}, "clients": [{"name": "pepe"}]}
PORTAL = {"name": "portal", "server_names": ["portal.lan"], "root": "/srv", "authority": "partners"}


def test_a_service_with_an_authority_of_its_own():
    plans = plan(
        nas={"mtls_clients": [{"name": "phone"}], "mtls_services": [SERVICE, PORTAL], "mtls_authorities": [PARTNERS]}
    )
    assert {path: names(authority) for path, authority in plans.items()} == {
        "/inventory/pki": ["phone"],
        "/inventory/partners": ["pepe"],
    }
    ours, theirs = plans["/inventory/pki"], plans["/inventory/partners"]
    assert [server["name"] for server in ours.servers] == ["nas"]
    assert [server["name"] for server in theirs.servers] == ["portal"]
    assert theirs.settings["subject"] == {"CN": "Partners"}
    assert theirs.settings["passphrase"] == ""


def test_the_authority_may_be_that_of_other_hosts():
    plans = plan(
        nas={"mtls_services": [SERVICE, PORTAL], "mtls_clients": []},
        web={"mtls_ca_dir": "partners", "mtls_clients": [{"name": "pepe"}]},
    )
    assert [server["host"] for server in plans["/inventory/partners"].servers] == ["nas"]


def test_the_own_authority_is_not_needed_where_no_service_is_for_its_clients():
    assert list(plan(nas={"mtls_services": [PORTAL], "mtls_authorities": [PARTNERS]})) == ["/inventory/partners"]


@pytest.mark.parametrize(
    ("authorities", "service", "said"),
    [
        ([], PORTAL, "its authority partners is not defined; add it to mtls_authorities"),
        ([{**PARTNERS, "ca_dir": None}], PORTAL, "has no ca_dir, which names it"),
        ([{**PARTNERS, "subject": {}}], PORTAL, "has the unknown key 'subject'; did you mean ca_subject?"),
        ([{**PARTNERS, "mtls_clients": []}], PORTAL, "did you mean clients?"),
        ([{**PARTNERS, "crl_days": "many"}], PORTAL, "crl_days"),
        ([PARTNERS], {**PORTAL, "allow": ["phone"]}, "service portal: allow names 'phone', which is not a client"),
        ([PARTNERS], {**PORTAL, "authority": "a/Partners"}, "authority 'a/Partners' ends in 'Partners'"),
    ],
)
def test_mistakes_around_authorities(authorities, service, said):
    assert said in refused(
        nas={"mtls_clients": [{"name": "phone"}], "mtls_services": [service], "mtls_authorities": authorities}
    )


def test_two_authorities_that_would_share_their_place_on_the_host():
    other = {**PORTAL, "name": "other", "server_names": ["other.lan"], "authority": "elsewhere/partners"}
    authorities = [PARTNERS, {**PARTNERS, "ca_dir": "elsewhere/partners"}]
    assert "would share their place on the host" in refused(
        nas={"mtls_services": [PORTAL, other], "mtls_authorities": authorities}
    )


def test_a_trusted_authority_issues_no_server_certificate():
    trusted = {"ca_dir": "partners", "ca_backend": "trust", "ca_trust": {"certificates": "their.crt", "crl": "/a.pem"}}
    assert "issues no server certificate; give the service one of its own" in refused(
        nas={"mtls_services": [PORTAL], "mtls_authorities": [trusted]}
    )
    certificate = {"path": "/etc/ssl/a.crt", "key": "/etc/ssl/a.key"}
    (authority,) = plan(
        nas={"mtls_services": [{**PORTAL, "certificate": certificate}], "mtls_authorities": [trusted]}
    ).values()
    assert authority.settings["trust"] == {"certificates": "/inventory/their.crt", "crl": ["/a.pem"]}
    assert authority.servers == []
    # Until certbot has obtained one, somebody must have issued another.
    public = {**PORTAL, "server_names": ["a.example.com"], "certificate": "acme"}
    assert "issues no server certificate" in refused(nas={"mtls_services": [public], "mtls_authorities": [trusted]})


def test_a_certificate_that_can_stand_in_for_the_hosts_own():
    own = {**PORTAL, "certificate": {"path": "/etc/ssl/a.crt", "key": "/etc/ssl/a.key"}}
    (authority,) = plan(nas={"mtls_services": [own], "mtls_authorities": [PARTNERS]}).values()
    (server,) = authority.servers
    assert (server["host"], server["name"], server["stands_in"]) == ("nas", own["name"], True)
    (described,) = authority.as_options()["services"]
    assert described["issued_by_authority"] is False


def test_a_client_that_is_present_cannot_be_in_mtls_revoked_by_name():
    said = refused(a={"mtls_clients": [{"name": "x"}]}, b={"mtls_revoked": [{"name": "x"}]})
    assert "client 'x' (host a) is present, and mtls_revoked names it; set state: revoked" in said
    (authority,) = plan(
        a={"mtls_clients": [{"name": "x", "state": "revoked"}], "mtls_revoked": [{"name": "x"}, {"fingerprint": "ab"}]}
    ).values()
    assert [list(item) for item in authority.revoked] == [["name", "reason"], ["fingerprint", "reason"]]


@pytest.mark.parametrize(
    ("path", "is_refused"),
    [
        ("pki/clients/x/x.crt", True),
        ("pki/clients/x/../x/x.crt", True),
        ("pki/servers/a/nas.crt", True),
        ("pki/clients/x/x-1F.crt", False),
        ("pki/clients/gone/gone.crt", False),
        ("pki/clients/lost/lost.crt", False),
        ("pki/servers/a/gone.crt", False),
    ],
)
def test_a_file_with_the_certificate_of_who_is_present_cannot_be_in_mtls_revoked(path, is_refused):
    """The run would put the next certificate there, and revoke that one."""
    people = [{"name": "x"}, {"name": "lost", "state": "revoked"}]
    hosts = {"a": {"mtls_clients": people, "mtls_services": [SERVICE], "mtls_revoked": [{"certificate": path}]}}
    if is_refused:
        assert ", where the next certificate of a present client or service will be; give the" in refused(**hosts)
    else:
        assert len(plan(**hosts)["/inventory/pki"].revoked) == 1
    hosts["a"]["mtls_revoked"][0]["state"] = "released"
    assert len(plan(**hosts)["/inventory/pki"].revoked) == 1


def to_revoke(**hosts):
    return READER.plan_to_revoke(hosts, dict.fromkeys(hosts, "/inventory"))


def test_what_is_wrong_elsewhere_keeps_nobody_from_revoking():
    phone = {"name": "phone"}
    found = to_revoke(
        nas={"mtls_clients": [phone], "mtls_services": [{"name": "nas", "server_names": ["-"], "root": "/srv"}]},
        web={"mtls_clients": [{**phone, "days": 9}], "mtls_ca_days": 9},
        db={"mtls_services": [{**SERVICE, "allow": ["nobody"]}]},
    )
    assert list(found.authorities) == ["/inventory/pki"]
    assert [client["name"] for client in found.authorities["/inventory/pki"].clients] == ["phone"]
    assert found.left_out == {}
    said = " ".join(found.contradictions)
    assert "server name '-'" in said
    assert "differ in mtls_ca_days" in said
    assert "allow names 'nobody', which is not a client" in said


def test_what_says_nothing_of_whom_to_revoke():
    """A host without a variable of ours, and a service of an authority that nobody defines."""
    elsewhere = {**SERVICE, "authority": "elsewhere"}
    nas = {"mtls_clients": [{"name": "phone"}], "mtls_services": [elsewhere]}
    found = to_revoke(bastion={"mtls_batch": 1}, nas=nas)
    assert list(found.authorities) == ["/inventory/pki"]
    assert (found.contradictions, found.left_out) == ([], {})


def test_what_two_hosts_want_revoked_is_revoked_once():
    lost = {"mtls_revoked": [{"serial": "4F2A"}]}
    (found,) = plan(nas=lost, web=lost).values()
    assert len(found.revoked) == 1


@pytest.mark.parametrize(
    ("name", "value"), [("mtls_ca_passphrase", "secret"), ("mtls_ca_backend", "openbao"), ("mtls_crl_days", 9)]
)
def test_an_authority_that_cannot_be_asked_for_certain_is_left_out(name, value):
    phone = {"mtls_clients": [{"name": "phone"}]}
    other = {**phone, "mtls_ca_dir": "other"}
    found = to_revoke(nas=phone, web=other, db={**other, name: value})
    assert list(found.authorities) == ["/inventory/pki"]
    assert (
        f"hosts web and db share the authority /inventory/other but differ in {name}"
        in (found.left_out["/inventory/other"])
    )
    assert "secret" not in str(found.left_out)


def test_a_host_whose_authority_is_not_known_is_left_out():
    found = to_revoke(nas={"mtls_clients": [{"name": "phone"}]}, web={"mtls_clients": "phone"})
    assert list(found.authorities) == ["/inventory/pki"]
    assert "host web: mtls_clients is not a list" in found.left_out["host web"]


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"mtls_ca_passphrase": 5349}, "mtls_ca_passphrase: is not text"),
        ({"mtls_ca_old_passphrase": True}, "mtls_ca_old_passphrase: is not text"),
        ({"mtls_ca_pkcs11": {"module": "m", "token": "t", "key": "k", "pin": 83}}, "mtls_ca_pkcs11, pin: is not text"),
        ({"mtls_clients": [{"name": "a", "p12_password": 3.1}]}, "mtls_clients, item 1, p12_password: is not text"),
        ({"mtls_fleet_clients": [{"name": "a", "p12_password": 45045}]}, "item 1, p12_password: is not text"),
        ({"mtls_revoked": [{"serial": 64}]}, r"mtls_revoked, item 1, serial: is not text, .* \(64\)"),
        ({"mtls_authorities": [{"ca_dir": "x", "ca_passphrase": 5349}]}, "mtls_ca_passphrase: is not text"),
    ],
)
def test_what_yaml_read_as_a_number_is_refused(variables, said):
    assert re.search(f"^host nas: .*{said}.*put it in quotes", refused(nas={"mtls_clients": [], **variables}))


def test_what_a_template_stands_for_is_followed_in_the_inventory_itself():
    follow = {"{{ vault }}": 5349}
    raw = {"mtls_ca_passphrase": "{{ vault }}"}
    with pytest.raises(MtlsError, match="host nas: mtls_ca_passphrase: is not text"):
        READER.check_as_written("nas", raw, lambda value: follow.get(value, value) if isinstance(value, str) else value)
    other = {"mtls_authorities": [{"ca_dir": "x", "ca_passphrase": "{{ vault }}"}]}
    with pytest.raises(MtlsError, match="host nas: mtls_ca_passphrase: is not text"):
        READER.check_as_written(
            "nas", other, lambda value: follow.get(value, value) if isinstance(value, str) else value
        )


@pytest.mark.parametrize("odd", [5, True, "other", ["other"], [5], {"ca_dir": "other"}])
def test_authorities_that_are_none_keep_no_secret_from_being_looked_at(odd):
    """What is wrong with their shape, the plan says."""
    READER.check_as_written("nas", {"mtls_authorities": odd}, lambda value: value)
    beside = [odd, {"ca_dir": "x", "ca_passphrase": 5349}]
    with pytest.raises(MtlsError, match="host nas: mtls_ca_passphrase: is not text"):
        READER.check_as_written("nas", {"mtls_authorities": beside}, lambda value: value)


def test_where_the_crl_is_published():
    served = {"host": "b", "server_name": "crl.lan", "file": "crl.pem"}
    (found,) = plan(a={"mtls_clients": [], "mtls_crl_publish": {**served, "port": 65535}}, b={}).values()
    assert found.settings["crl_publish"] == {**served, "port": 65535, "file": "/inventory/crl.pem", "command": None}


def test_a_subject_that_differs_from_a_clients_in_case_only_would_let_that_client_in():
    service = {"name": "nas", "server_names": ["a"], "upstream": "http://x"}
    hosts = {"mtls_clients": [{"name": "phone"}], "mtls_services": [{**service, "allow": [{"dn": "CN=Phone"}]}]}
    assert refused(nas=hosts).startswith(
        "host nas, service nas: allow has the subject CN=Phone, and client 'phone' (host nas) differs from it only in"
        " case, which nginx's maps ignore"
    )
    hosts["mtls_services"][0]["allow"] = [{"dn": "CN=phone"}, {"dn": "CN=other"}]
    (found,) = plan(nas=hosts).values()
    assert found.services[0][1].subjects == ("CN=phone", "CN=other")


@pytest.mark.parametrize("item", [True, 1.5])
def test_what_is_no_text_is_no_name_on_a_list(item):
    service = {"name": "nas", "server_names": ["a"], "upstream": "http://x", "allow": ["phone", item]}
    said = refused(nas={"mtls_clients": [{"name": "phone"}], "mtls_services": [service]})
    assert "mtls_services, item 1 (nas), allow, item 2: is " in said
    assert "put it in quotes" in said


def test_a_certificate_on_a_list_is_looked_for_beside_the_inventory():
    service = {"name": "nas", "server_names": ["a"], "upstream": "http://x", "allow": [{"certificate": "files/a.crt"}]}
    assert "allow, item 1: /inventory/files/a.crt: no such file" in refused(nas={"mtls_services": [service]})
    service = {**service, "allow": [], "paths": [{"path": "/a/", "allow": [{"certificate": "files/a.crt"}]}]}
    assert "allow of /a/, item 1: /inventory/files/a.crt" in refused(nas={"mtls_services": [service]})

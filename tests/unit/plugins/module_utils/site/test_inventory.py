# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The union over the inventory: what each authority has to do, and contradictions between hosts."""

from __future__ import annotations

import pathlib

import pytest
import yaml

from ansible_collections.mtls.nginx.plugins.module_utils.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.site.inventory import InventoryReader, authority_path

ROLES = pathlib.Path(__file__).parents[5] / "roles"


def options(role):
    text = (ROLES / role / "meta" / "argument_specs.yml").read_text(encoding="utf-8")
    return yaml.safe_load(text)["argument_specs"]["main"]["options"]


READER = InventoryReader(ca_spec=options("ca"), server_spec=options("server"))
SERVICE = {"name": "nas", "server_names": ["nas.lan"], "upstream": "http://127.0.0.1:1"}


def plan(**hosts):
    return READER.plan(hosts, dict.fromkeys(hosts, "/inventory"))


def refused(**hosts):
    with pytest.raises(MtlsError) as caught:
        plan(**hosts)
    return str(caught.value)


def names(authority):
    return [client["name"] for client in authority.clients]


@pytest.mark.parametrize("role", ["ca", "server"])
def test_defaults_and_argument_specification_say_the_same(role):
    defaults = yaml.safe_load((ROLES / role / "defaults" / "main.yml").read_text(encoding="utf-8"))
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


def test_each_directory_is_an_authority_of_its_own():
    plans = plan(
        a={"mtls_ca_dir": "/one", "mtls_clients": [{"name": "x"}], "mtls_ca_days": 10},
        b={"mtls_ca_dir": "two/../two", "mtls_clients": [{"name": "x", "days": 5}]},
    )
    assert {path: names(authority) for path, authority in plans.items()} == {"/one": ["x"], "/inventory/two": ["x"]}


def test_authority_path_is_absolute_and_plain():
    assert authority_path("pki", "/inv") == "/inv/pki"
    assert authority_path("/a/b/../pki/", "/inv") == "/a/pki"


def test_a_client_defined_twice_the_same_way_is_one_client():
    (authority,) = plan(
        a={"mtls_clients": [{"name": "x", "days": 5}]}, b={"mtls_clients": [{"name": "x", "days": "5"}]}
    ).values()
    assert names(authority) == ["x"]


def test_a_client_defined_twice_differently_names_both_hosts():
    said = refused(a={"mtls_clients": [{"name": "x", "days": 5}]}, b={"mtls_clients": [{"name": "x"}]})
    assert "client 'x' is defined by hosts a and b, differently (days: 5 and None)" in said


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


def test_allow_names_nobody():
    said = refused(
        a={"mtls_clients": [{"name": "iphone-admin"}], "mtls_services": [dict(SERVICE, allow=["iphone-admn"])]}
    )
    assert "host a, service nas: allow names 'iphone-admn', which is no client; did you mean 'iphone-admin'?" in said


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


def test_a_client_that_is_present_cannot_be_in_mtls_revoked_by_name():
    said = refused(a={"mtls_clients": [{"name": "x"}]}, b={"mtls_revoked": [{"name": "x"}]})
    assert "client 'x' (host a) is present, and mtls_revoked names it; set state: revoked" in said
    (authority,) = plan(
        a={"mtls_clients": [{"name": "x", "state": "revoked"}], "mtls_revoked": [{"name": "x"}, {"fingerprint": "ab"}]}
    ).values()
    assert [list(item) for item in authority.revoked] == [["name", "reason"], ["fingerprint", "reason"]]

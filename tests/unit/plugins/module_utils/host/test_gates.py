# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may enter according to the maps that the role writes, and to whatever else is in that file."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.mtls.nginx.plugins.module_utils.host.gates import Gate, as_answer, held, of_answer, read
from ansible_collections.mtls.nginx.tests.unit.plugins.module_utils.site.test_host_files import NAS, render

MAPS = "/etc/nginx/conf.d/mtls.conf"


def gates_of(*services, **options) -> list[Gate] | None:
    """The gates in the maps that these services get."""
    rendered = {item["path"]: item["content"] for item in render(*services, **options).files}
    return read(rendered[MAPS].encode())


def nas(**options) -> dict:
    return {**NAS, **options}


@pytest.mark.parametrize(
    ("options", "expected"),
    {
        "a list": ({}, [Gate("nas", subjects=("CN=phone",))]),
        "nobody": ({"allow": []}, [Gate("nas")]),
        "everybody": ({"allow": None}, [Gate("nas", everybody=True)]),
        "a name with dashes": ({"name": "a-b-c"}, [Gate("a-b-c", subjects=("CN=phone",))]),
        "public paths": (
            {"public_paths": ["/.well-known/", "/a+b.txt"]},
            [Gate("nas", subjects=("CN=phone",), public=("/.well-known/", "/a+b.txt"))],
        ),
        "networks": (
            {"exempt_networks": ["192.0.2.0/24", "2001:db8::/32"]},
            [Gate("nas", subjects=("CN=phone",), networks=("192.0.2.0/24", "2001:db8::/32"))],
        ),
        "networks behind a proxy": (
            {"exempt_networks": ["192.0.2.0/24"], "proxy_protocol_from": ["192.0.2.9"]},
            [Gate("nas", subjects=("CN=phone",), networks=("192.0.2.0/24",))],
        ),
        "paths": (
            {"paths": [{"path": "/a.b/", "allow": ["tablet"]}, {"path": "/a.b/c/", "allow": []}]},
            [
                Gate("nas", subjects=("CN=phone",)),
                Gate("nas", "/a.b/c/"),
                Gate("nas", "/a.b/", subjects=('O=Acme,CN=SUCCESS: "x\\\\',)),
            ],
        ),
        "paths of a service that is open otherwise": (
            {"allow": None, "paths": [{"path": "/a/", "allow": ["phone"]}]},
            [Gate("nas", everybody=True), Gate("nas", "/a/", subjects=("CN=phone",))],
        ),
    }.values(),
)
def test_what_the_role_writes_is_read_as_it_was_meant(options, expected):
    dns = {"phone": "CN=phone", "tablet": 'O=Acme,CN=SUCCESS: "x\\\\'}
    assert gates_of(nas(**options), dns=dns) == expected


def test_several_services_of_one_host():
    found = gates_of(nas(), nas(name="wiki", server_names=["wiki.lan"], allow=None), dns={"phone": "CN=phone"})
    assert found == [Gate("nas", subjects=("CN=phone",)), Gate("wiki", everybody=True)]


@given(st.binary(max_size=400))
def test_whatever_is_in_the_file_it_is_read_or_it_is_not(content):
    found = read(content)
    assert found is None or [of_answer(as_answer(gate)) for gate in found] == found


def test_what_a_host_had(tmp_path):
    maps, revoked = tmp_path / "mtls.conf", tmp_path / "revoked.map"
    wanted = {str(revoked): b"# lines\n02 1;\n03 1;\n"}

    def found() -> dict:
        return held(str(maps), [str(revoked), str(tmp_path / "other.map")], wanted)

    assert found() == {"gates": [], "revoked": []}
    maps.write_text("map $ssl_client_verify $mtls_nas_list { default 0; SUCCESS 1; }\nmap $a $b { }\n")
    revoked.write_text("# Managed\n01 1;\n02 1;\nnonsense\n")
    assert found() == {
        "gates": [as_answer(Gate("nas", everybody=True))],
        "revoked": [{"path": str(revoked), "added": ["03"], "removed": ["01"]}],
    }
    # Nobody need look where nothing of it changes.
    same = {str(maps): maps.read_bytes(), str(revoked): revoked.read_bytes()}
    assert held(str(maps), [str(revoked)], same, always=False) is None
    assert held(str(maps), [str(revoked)], {}, always=False) is None
    for changed in ({**same, str(maps): b""}, {**same, str(revoked): b"01 1;\n"}):
        assert held(str(maps), [str(revoked)], changed, always=False) is not None
    maps.write_text("map {")
    assert found()["gates"] is None
    maps.unlink()
    maps.mkdir()
    assert found()["gates"] == []

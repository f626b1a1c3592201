# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The CRLs of a host, read by root where others may have put something else."""

from __future__ import annotations

import os

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.host import crls
from ansible_collections.mtls.nginx.tests.unit.support import run_module

CRL = "-----BEGIN X509 CRL-----\nMIIB\n-----END X509 CRL-----\n"


@pytest.fixture
def conf_dir(tmp_path):
    for folder in ("client-certs", "client-certs/acme", "client-certs/zeta/deep"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / "crl.pem").write_text(f"{folder}\n{CRL}")
        (tmp_path / folder / "ca.crt").write_text("something else")
    return tmp_path


def read(conf_dir, **options):
    warnings = []
    found = crls.read_all(str(conf_dir), warnings.append, **options)
    return {os.path.relpath(file.path, conf_dir): file.content for file in found}, warnings


def test_each_is_found(conf_dir):
    found, warnings = read(conf_dir)
    assert found == {
        f"{folder}/crl.pem": f"{folder}\n{CRL}"
        for folder in ("client-certs", "client-certs/acme", "client-certs/zeta/deep")
    }
    assert warnings == []


def test_a_host_without_services_has_none(tmp_path):
    assert read(tmp_path) == ({}, [])


def test_no_link_is_followed_and_nothing_is_waited_for(conf_dir, tmp_path):
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "crl.pem").write_text("root's own")
    (conf_dir / "client-certs" / "linked").symlink_to(secret)
    for name in ("acme", "zeta/deep"):
        (conf_dir / "client-certs" / name / "crl.pem").unlink()
    (conf_dir / "client-certs" / "acme" / "crl.pem").symlink_to(secret / "crl.pem")
    os.mkfifo(conf_dir / "client-certs" / "zeta" / "deep" / "crl.pem")
    found, warnings = read(conf_dir)
    assert list(found) == ["client-certs/crl.pem"]
    assert len(warnings) == 2
    assert warnings[0].startswith(f"{conf_dir}/client-certs/acme/crl.pem: ")
    assert warnings[1].startswith(f"{conf_dir}/client-certs/zeta/deep/crl.pem: is not a regular file")


def test_what_does_not_fit_is_left_out(conf_dir):
    (conf_dir / "client-certs" / "acme" / "crl.pem").write_bytes(b"x" * 1000)
    found, warnings = read(conf_dir, most=200)
    assert list(found) == ["client-certs/crl.pem", "client-certs/zeta/deep/crl.pem"]
    assert warnings == [
        f"{conf_dir}/client-certs/acme/crl.pem: was not read, because the CRLs of this host have more than 200 bytes"
    ]


def test_what_no_pem_file_needs_is_not_passed_on(conf_dir):
    (conf_dir / "client-certs" / "crl.pem").write_bytes(b"\x1b[2J gr\xc3\xbcn\t\0\r\n" + CRL.encode())
    found, _warnings = read(conf_dir)
    assert found["client-certs/crl.pem"] == f"?[2J gr??n??\n{CRL}"


def test_the_module(conf_dir):
    done = run_module("nginx_crls", conf_path=str(conf_dir / "nginx.conf"), check=True)
    assert done["changed"] is False
    assert [crl["path"] for crl in done["crls"]] == [
        f"{conf_dir}/client-certs{folder}/crl.pem" for folder in ("", "/acme", "/zeta/deep")
    ]
    assert set(done["crls"][0]) == {"path", "content"}

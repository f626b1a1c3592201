# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A variable that nothing reads is refused, with what may have been meant."""

from __future__ import annotations

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.site.known_variables import (
    PROBE_FROM,
    check_batch,
    check_probe_from,
    refuse_unknown,
)

OPTIONS = {"mtls_clients", "mtls_services", "mtls_revoked", "mtls_crl_days", "mtls_revoke", "mtls_recover_confirm"}


@pytest.mark.parametrize(
    ("name", "extra", "said"),
    [
        ("mtls_clinets", (), "there is no variable mtls_clinets; did you mean mtls_clients?"),
        ("mtls_crl_day", (), "there is no variable mtls_crl_day; did you mean mtls_crl_days?"),
        ("mtls_hots", ("mtls_hots",), "there is no variable mtls_hots; did you mean mtls_hosts?"),
        ("mtls_zzzzzzzzzzzz", (), "there is no variable mtls_zzzzzzzzzzzz; docs/variables.md lists all of them"),
        (
            "mtls_revoke",
            (),
            "mtls_revoke is for one run (-e mtls_revoke=...) and does nothing in the inventory; did",
        ),
        ("mtls_service", (), "mtls_service is for one run (-e mtls_service=...)"),
    ],
)
def test_what_nothing_reads(name, extra, said):
    with pytest.raises(MtlsError) as error:
        refuse_unknown("nas", [name, "ansible_host"], OPTIONS, extra)
    assert str(error.value).startswith(f"host nas: {said}")


def test_what_somebody_else_reads_is_none_of_ours():
    names = ["ansible_host", "vault_mtls_ca_passphrase", "mtls__inventory", "mtlsx", "MTLS_CLIENTS", "mtls_batch"]
    refuse_unknown("nas", [*names, *(OPTIONS - {"mtls_revoke", "mtls_recover_confirm"})], OPTIONS, ())
    refuse_unknown("nas", ["mtls_revoke", "mtls_step"], OPTIONS, ("mtls_revoke", "mtls_step"))


@pytest.mark.parametrize("value", [None, 5, "5", "25%", [1, "5", "25%"], ["100%"], []])
def test_batches_that_ansible_understands(value):
    check_batch("nas", value)


@pytest.mark.parametrize("value", ["two", "5 hosts", "%", [1, "half"], -1, 1.5, True, "[1, 5]"])
def test_a_batch_that_is_none(value):
    with pytest.raises(MtlsError, match=r"^host nas: mtls_batch has .*, which is neither a number .*write 5, 25%"):
        check_batch("nas", value)


def test_from_where_services_can_be_asked():
    hosts = ["nas", "bastion"]
    for value in (None, *PROBE_FROM, *hosts):
        check_probe_from("nas", value, hosts)
    for value in ("", "Host", "moon", 1, ["host"]):
        with pytest.raises(MtlsError, match=r"host nas: mtls_probe_from is .*[;?] write controller, host"):
            check_probe_from("nas", value, hosts)
    for value, meant in (("bastoin", "bastion"), ("contoller", "controller")):
        said = f"'{value}', which is not a host of the inventory; did you mean {meant}[?] write controller, host"
        with pytest.raises(MtlsError, match=said):
            check_probe_from("nas", value, hosts)

# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What YAML makes of a secret or a serial without quotes is refused wherever it stands, and no secret is shown."""

from __future__ import annotations

import pytest
import yaml

from ansible_collections.mtls.nginx.plugins.module_utils.common import as_written
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError

SECRET = {"type": "str", "no_log": True}
CLIENTS = {"type": "list", "elements": "dict", "options": {"name": {"type": "str"}, "p12_password": SECRET}}
REVOKED = {"type": "list", "elements": "dict", "options": {"serial": {"type": "str"}, "name": {"type": "str"}}}


@pytest.mark.parametrize("text", ["0123456", "12:30:45", "yes", "3.10", "2026-11-23", "1e3.0", "0x10", "1_000"])
def test_a_secret_that_yaml_reads_is_refused_and_not_shown(text):
    value = yaml.safe_load(text)
    if isinstance(value, str):
        as_written.check("p", value, SECRET, "passphrase")
        return
    with pytest.raises(MtlsError, match=r"^p: is not text, .*; put it in quotes$") as refusal:
        as_written.check("p", value, SECRET, "passphrase")
    assert str(value) not in str(refusal.value)


@pytest.mark.parametrize("text", ["0123456", "yes", "three words", "", " ends with a space "])
def test_what_is_in_quotes_is_taken(text):
    as_written.check("p", yaml.safe_load(f"'{text}'"), SECRET, "passphrase")
    as_written.check("p", None, SECRET, "passphrase")


def test_a_line_break_at_the_end_is_refused():
    with pytest.raises(MtlsError, match=r"^p: ends with a line break"):
        as_written.check("p", yaml.safe_load("|\n  secret\n"), SECRET, "passphrase")
    as_written.check("p", yaml.safe_load("|-\n  secret\n"), SECRET, "passphrase")


@pytest.mark.parametrize("text", ["[secret]", "- secret", "{secret: }", "[[secret]]"])
def test_a_secret_that_is_several_texts_is_refused_and_not_shown(text):
    with pytest.raises(MtlsError, match=r"^p: is a list or a dictionary, and not one text; write it in quotes$"):
        as_written.check("p", yaml.safe_load(text), SECRET, "passphrase")


def test_it_is_found_at_any_depth():
    clients = [{"name": "phone"}, {"name": "pad", "p12_password": 42798}]
    with pytest.raises(MtlsError, match=r"^host nas: mtls_clients, item 2, p12_password: is not text"):
        as_written.check("host nas: mtls_clients", clients, CLIENTS, "mtls_clients")


@pytest.mark.parametrize(("text", "read"), [("0100", 64), ("0x0100", 256), ("10:03", 603), ("1003", 1003)])
def test_a_serial_that_is_a_number_is_refused(text, read):
    with pytest.raises(
        MtlsError, match=rf"^mtls_revoked, item 1, serial: is not text, .* \({read}\); put it in quotes$"
    ):
        as_written.check("mtls_revoked", yaml.safe_load(f"[serial: {text}]"), REVOKED, "mtls_revoked")
    as_written.check("mtls_revoked", [{"serial": text, "name": 7}], REVOKED, "mtls_revoked")


def test_a_template_is_followed():
    raw = {"{{ vault }}": 5349}
    with pytest.raises(MtlsError, match=r"^p: is not text"):
        as_written.check("p", "{{ vault }}", SECRET, "passphrase", lambda value: raw.get(value, value))

# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.host import crl_records


@pytest.mark.parametrize("content", ["", "[]", '{"": {"odd": 1}}', '{"": 1}'])
def test_what_was_remembered_is_damaged(tmp_path, content):
    (tmp_path / crl_records.STATE).write_text(content)
    assert crl_records.records(str(tmp_path)) == {}


def test_what_is_remembered_comes_back(tmp_path):
    written = {"": {"url": "http://crl.test/1", "success": 1.5}, "other": {"url": "http://crl.test/2", "failure": "no"}}
    (tmp_path / crl_records.STATE).write_text(json.dumps(written))
    found = crl_records.records(str(tmp_path))
    assert [(name, record.url, record.success, record.failure) for name, record in found.items()] == [
        ("", "http://crl.test/1", 1.5, None),
        ("other", "http://crl.test/2", None, "no"),
    ]
    assert crl_records.records(str(tmp_path / "nowhere")) == {}


def test_metrics_are_beside_the_others():
    assert crl_records.metrics_of({"path": "/prom/mtls_nginx.prom"}) == "/prom/mtls_nginx_crl_fetch.prom"
    assert crl_records.metrics_of(None) is None

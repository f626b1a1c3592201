# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which folders an AWX job throws away."""

from __future__ import annotations

import os

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.plugin_utils import throwaway

JOB = {"AWX_PRIVATE_DATA_DIR": "/tmp/awx_61_x", "AWX_ISOLATED_DATA_DIR": "/runner/artifacts/61"}


@pytest.mark.parametrize("path", ["/runner/project/pki", "/runner/pki", "/tmp/awx_61_x/project/pki"])
def test_in_the_folder_of_the_job(path):
    with pytest.raises(MtlsError, match=f"^{path}: lies in the folder of this AWX job"):
        throwaway.refuse(path, JOB)


@pytest.mark.parametrize(
    ("path", "environment"),
    [
        ("/srv/pki", JOB),
        ("/runners/pki", JOB),
        ("/tmp/awx_61_xy/pki", JOB),
        # Others use ansible-runner too, with a project that stays.
        ("/runner/project/pki", {"AWX_ISOLATED_DATA_DIR": "/runner/artifacts/61"}),
        ("/runner/project/pki", {}),
        ("/srv/pki", {"AWX_PRIVATE_DATA_DIR": "/", "AWX_ISOLATED_DATA_DIR": "/a"}),
    ],
)
def test_elsewhere(path, environment):
    throwaway.refuse(path, environment)


def test_a_volume_in_it_stays(monkeypatch):
    monkeypatch.setattr(os.path, "ismount", lambda path: path == "/runner/volume")
    throwaway.refuse("/runner/volume/acme/pki", JOB)
    with pytest.raises(MtlsError):
        throwaway.refuse("/runner/project/pki", JOB)


def test_by_way_of_a_link(tmp_path):
    (tmp_path / "job").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "job")
    with pytest.raises(MtlsError):
        throwaway.refuse(str(tmp_path / "link" / "pki"), {"AWX_PRIVATE_DATA_DIR": str(tmp_path / "job")})

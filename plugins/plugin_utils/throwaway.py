# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Folders that AWX and Automation Controller throw away after a job.

Each job has a checkout of the project of its own, so an authority in it is a copy, and what it signs is forgotten: two
jobs, or two slices of one, would sign different certificates with one serial number.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError


def refuse(path: str, environment: Mapping[str, str] | None = None) -> None:
    """Raise MtlsError for an authority in the folder of an AWX job, unless a volume is mounted there.

    AWX sets AWX_PRIVATE_DATA_DIR, the folder's path on the execution node. In the execution environment it is another
    one, in which ansible-runner has ``artifacts/<job>``: AWX_ISOLATED_DATA_DIR.
    """
    environment = os.environ if environment is None else environment
    private = environment.get("AWX_PRIVATE_DATA_DIR")
    if not private:
        return
    folders = {private}
    if artifacts := environment.get("AWX_ISOLATED_DATA_DIR"):
        folders.add(os.path.dirname(os.path.dirname(artifacts)))
    place = os.path.realpath(path)
    for folder in map(os.path.realpath, sorted(folders - {"", "/"})):
        if os.path.commonpath([folder, place]) == folder and not _is_on_a_volume(place, folder):
            raise MtlsError(
                f"{path}: lies in the folder of this AWX job, which is thrown away after it with all that the job"
                " issues and revokes, and other jobs and slices have copies of their own. Put mtls_ca_dir on a volume"
                " that all jobs share, or use OpenBao, see docs/rollouts.md"
            )


def _is_on_a_volume(path: str, folder: str) -> bool:
    while path != folder:
        if os.path.ismount(path):
            return True
        path = os.path.dirname(path)
    return False

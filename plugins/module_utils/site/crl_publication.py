# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts an authority's CRLs where hosts can fetch them: a file on the controller, or whatever a program makes of it."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence

from ansible_collections.mtls.nginx.plugins.module_utils.ca.access import read_authority
from ansible_collections.mtls.nginx.plugins.module_utils.common import files
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.host import setback
from ansible_collections.mtls.nginx.plugins.module_utils.site.standing import Standing, may_forget

_MODE = 0o644
_COMMAND_SECONDS = 120


def to_file(directory: str, path: str, *, check: bool) -> bool:
    """Put the CRLs of the authority in ``directory`` at ``path``, in one step; return whether that changes it.

    :raises MtlsError: nginx must not be given them, or the file has newer ones, or some that list more.
    :raises OSError: it cannot be written.
    """
    authority = read_authority(directory)
    crl = authority.crl()
    if files.read_if_there(path) == crl:
        return False
    _refuse_setback(Standing(directory, os.path.join(directory, "ca.crt"), path, authority.chain(), crl))
    if not check:
        files.make_directory(os.path.dirname(path), 0o755)
        files.write_file(path, crl, _MODE)
    return True


def to_command(directory: str, command: Sequence[str]) -> None:
    """Have a program publish the CRLs of the authority in ``directory``, which it gets on its standard input.

    :raises MtlsError: it fails, or nginx must not be given them.
    """
    crl = read_authority(directory).crl()
    name = command[0]
    try:
        done = subprocess.run(
            list(command),
            input=crl,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_COMMAND_SECONDS,
            check=False,
        )
    except OSError as error:
        raise MtlsError(
            f"mtls_crl_publish: {name}: {error.strerror}; give the path of a program and its arguments"
        ) from None
    except subprocess.TimeoutExpired:
        raise MtlsError(f"mtls_crl_publish: {name} takes longer than {_COMMAND_SECONDS} seconds") from None
    if done.returncode != 0:
        said = done.stdout.decode("utf-8", "replace").strip()[-500:]
        raise MtlsError(f"mtls_crl_publish: {name} ended with status {done.returncode}: {said or 'it said nothing'}")


def _refuse_setback(standing: Standing) -> None:
    """Raise MtlsError where the published CRLs are newer, or list what has not expired and the new ones do not."""
    crl, chain = standing.crl or b"", standing.chain or b""
    known = setback.KnownAuthority(standing.directory, standing.ca_path, standing.crl_path, chain)
    guard = setback.Guard("the controller", authorities=[known])
    try:
        setback.refuse(guard, {standing.crl_path: crl}, time.time(), files.read_if_there)
    except MtlsError as error:
        forgotten = error.result.get("forgotten")
        if not forgotten or not may_forget(forgotten, [standing]):
            raise

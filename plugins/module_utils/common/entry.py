# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a module starts and where its errors become its failure message."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import pwd
import re
from typing import TYPE_CHECKING, Any, Callable, Protocol

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError, one_line

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

MINIMUM_CRYPTOGRAPHY = 42

_REMEDIES = {
    errno.EACCES: "run as a user who may do this, or change the permissions",
    errno.EPERM: "run as a user who may do this, or change the permissions",
    errno.ENOSPC: "free some space and run again",
    errno.EDQUOT: "free some space and run again",
    errno.EROFS: "mount the file system for writing, or choose another path",
    errno.ENOTDIR: "a part of this path is a file, not a directory: choose another path",
    errno.ENOENT: "check the path",
}


class Call(Protocol):
    """What a module is asked: an ``AnsibleModule``, or what an action plugin makes of a task."""

    params: dict[str, Any]
    check_mode: bool

    def warn(self, warning: str) -> None:
        """Show a warning beside the result."""


def run_module(module: AnsibleModule, work: Callable[[], dict[str, Any]]) -> None:
    """Leave the module with ``result_of(work)``."""
    result = result_of(work)
    if result.get("failed"):
        module.fail_json(**result)
    module.exit_json(**result)


def result_of(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return ``work()``, or a failure with one message a user understands.

    Only ``MtlsError`` and operating system errors that name a file are the user's: anything else is a
    defect and keeps its traceback.
    """
    gc.disable()  # looking for cycles among thousands of clients takes an eighth of the time and finds none
    try:
        return work()
    except MtlsError as error:
        return {**error.result, "failed": True, "msg": str(error)}
    except OSError as error:
        if error.filename is None:
            raise
        return {"failed": True, "msg": describe(error)}


def describe(error: OSError) -> str:
    """Return ``<file>: <what the system said>; <remedy>``."""
    remedy = _REMEDIES.get(error.errno or 0)
    if remedy and error.errno in (errno.EACCES, errno.EPERM):
        remedy = _about_owner(str(error.filename)) + remedy
    said = (error.strerror or str(error)).lower()
    return one_line(f"{error.filename}: {said}" + (f"; {remedy}" if remedy else ""))


def _about_owner(path: str) -> str:
    """Return whose a file is, or the folder of one that is not there, and who we are, as the beginning of a remedy."""
    for place in (path, os.path.dirname(path)):
        with contextlib.suppress(OSError):
            owner = os.stat(place).st_uid
            return "" if owner == os.geteuid() else f"it belongs to {_user(owner)}, and this is {_user(os.geteuid())}; "
    return ""


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"


def check_at_least_one(options: dict[str, Any], *names: str) -> None:
    """Raise MtlsError when one of the numbers in ``options`` is not positive."""
    for name in names:
        if options[name] is not None and options[name] < 1:
            raise MtlsError(f"{name}: is {options[name]}; use 1 or more")


def require_cryptography() -> None:
    """Raise MtlsError, in Ansible's usual words, when this Python lacks ``cryptography`` 42 or newer."""
    needed = f"cryptography >= {MINIMUM_CRYPTOGRAPHY}"
    try:
        import cryptography
    except ImportError as error:
        # Only here: the program that fetches a host's CRL uses this file where there is no Ansible.
        from ansible.module_utils.basic import missing_required_lib

        raise MtlsError(missing_required_lib(needed)) from error
    found = re.match(r"\d+", cryptography.__version__)
    if found is None or int(found.group()) < MINIMUM_CRYPTOGRAPHY:
        raise MtlsError(f"cryptography {cryptography.__version__} is too old: install {needed}")

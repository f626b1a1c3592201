# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options by which a module is told which authority is meant, and what opens it."""

from __future__ import annotations

from typing import Any

DIRECTORY, PKCS11, OPENBAO, TRUST = "directory", "pkcs11", "openbao", "trust"
BACKENDS = (DIRECTORY, PKCS11, OPENBAO, TRUST)

# The options by which a module is told where the key is.
_BACKEND_OPTIONS: dict[str, dict[str, Any]] = {
    "backend": {"type": "str", "choices": list(BACKENDS), "default": DIRECTORY},
    "pkcs11": {
        "type": "dict",
        "options": {
            "module": {"type": "path", "required": True},
            "token": {"type": "str", "required": True, "no_log": False},
            "key": {"type": "str", "required": True, "no_log": False},
            "pin": {"type": "str", "no_log": True},
            "pin_file": {"type": "path"},
        },
    },
    "openbao": {
        "type": "dict",
        "options": {
            "url": {"type": "str", "required": True},
            "mount": {"type": "str", "default": "pki"},
            "client_role": {"type": "str", "default": "client"},
            "server_role": {"type": "str", "default": "server"},
            "lock_mount": {"type": "str", "default": "secret"},
            "namespace": {"type": "str"},
            "ca_file": {"type": "path"},
            "token": {"type": "str", "no_log": True},
            "token_file": {"type": "path"},
            "role_id": {"type": "str"},
            "secret_id": {"type": "str", "no_log": True},
        },
    },
    "trust": {
        "type": "dict",
        "options": {
            "certificates": {"type": "path", "required": True},
            "crl": {"type": "list", "elements": "str", "required": True},
        },
    },
}
CREATION_OPTIONS = {f"ca_{name}": spec for name, spec in _BACKEND_OPTIONS.items()}
# The authority above, which signs the certificate of one: only what keeps a record here can be one.
PARENT_OPTION = {
    "type": "dict",
    "options": {
        "path": {"type": "path", "required": True},
        "passphrase": {"type": "str", "no_log": True},
        "backend": {"type": "str", "choices": [DIRECTORY, PKCS11], "default": DIRECTORY},
        "pkcs11": _BACKEND_OPTIONS["pkcs11"],
        "crl_days": {"type": "int", "default": 30},
    },
}
AUTHORITY_OPTIONS = {
    "ca_path": {"type": "path", "required": True},
    "ca_passphrase": {"type": "str", "no_log": True},
    **CREATION_OPTIONS,
}

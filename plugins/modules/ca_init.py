# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module: create an authority, or adopt one where it is."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ca_init
short_description: Create a certificate authority, or adopt one where it is
version_added: "0.1.0"
description:
  - Creates a certificate authority in a directory of C(openssl ca), with an empty CRL. It is self-signed, or
    signed by an authority above it, see O(parent) and O(certificate).
  - A directory that was made by hand is adopted. What is missing is added, what exists stays as it is, and
    C(openssl ca -config openssl.cnf) keeps working in it.
  - In an adopted directory, C(unique_subject) in C(index.txt.attr) is set to C(no), because otherwise C(openssl ca)
    refuses the whole index once a certificate has been renewed.
  - With O(ca_backend=openbao), the directory mirrors the CA on the server. The module never creates one there.
options:
  path:
    description: The directory of the authority. It is created with mode 0700.
    type: path
    required: true
  subject:
    description:
      - The subject of the authority, in this order. Keys are the names of openssl, such as C(C), C(ST), C(L), C(O),
        C(OU) and C(CN); a list as value makes one attribute of each element.
      - Required when there is no authority yet. When there is one with another subject, the module fails.
    type: dict
  key_type:
    description:
      - The type of the private key of a new authority. The key of an existing one stays.
      - With V(ed25519), browsers do not trust server certificates of the authority. Not with O(ca_backend=pkcs11).
    type: str
    choices: [rsa, ecdsa, ed25519]
    default: rsa
  key_size:
    description: The size of a new RSA key in bits, at least 2048.
    type: int
    default: 4096
  curve:
    description: The curve of a new ECDSA key.
    type: str
    choices: [P-256, P-384]
    default: P-256
  passphrase:
    description:
      - The passphrase of the private key, of a new one or an existing one.
      - Without one a new key is stored unencrypted, with a warning.
      - An existing key that is stored unencrypted is encrypted with it.
    type: str
  old_passphrase:
    description:
      - The previous passphrase, to change it. A key that this one opens and O(passphrase) does not is encrypted with
        O(passphrase).
      - It may stay set after that, and does nothing then.
    type: str
  decrypt:
    description: Store the key unencrypted. Nothing else removes the encryption.
    type: bool
    default: false
  days:
    description: For how many days the certificate of the authority is valid, new or renewed.
    type: int
    default: 3650
  renew_before:
    description:
      - Renew the certificate of the authority when it expires within this many days, or has expired. Key, subject and
        key identifier stay, so that all it has signed stays valid, the CRL included. The old certificate is kept as
        C(ca-<SERIAL>.crt).
      - With O(parent), that authority signs the new certificate. Where the authority above is elsewhere, nothing can be
        renewed here, and the module warns instead, see O(certificate).
      - With V(0) it is never renewed. The module warns in the last quarter of its validity, at
        most 455 days before it expires.
      - The serial number changes, unless certificates that are still valid name it. OpenSSL would take them for those
        of another authority.
    type: int
    default: 0
  repair:
    description:
      - Reissue the CA certificate if it is self-signed and nginx cannot work with it, with the same key, subject,
        serial number and dates. Clients keep their certificates, and the CRL stays valid. The old certificate is kept
        as C(ca-<SERIAL>.crt).
      - That is a certificate of X.509 version 1, or without C(CA:TRUE), C(keyCertSign) or C(cRLSign), or for other
        purposes than clients. Without this option the module fails and says which.
      - For the backends V(directory) and V(pkcs11).
    type: bool
    default: false
  crl_days:
    description: For how many days the first CRL is valid. Later ones are made by M(mtls.nginx.crl).
    type: int
    default: 30
  certificate:
    description:
      - A file with the certificate of the authority, signed by an external CA, and those above it up to the root, in
        PEM and in any order. The root can be offline.
      - As long as the file is missing, the module creates the private key and C(ca.csr), the request to be signed, and
        returns RV(pending).
      - A later certificate for the same key and subject replaces the earlier one.
    type: path
extends_documentation_fragment:
  - mtls.nginx.authority.backend
  - mtls.nginx.authority.parent
  - mtls.nginx.attributes
  - mtls.nginx.attributes.controller
seealso:
  - module: mtls.nginx.client_cert
  - module: mtls.nginx.crl
author:
  - the mtls.nginx authors (@mtls-nginx)
"""

EXAMPLES = r"""
- name: Create the authority
  mtls.nginx.ca_init:
    path: "{{ inventory_dir }}/pki"
    subject: {C: ES, ST: Valencia, L: Valencia, O: Acme, OU: IT Services, CN: Acme Root CA}
    passphrase: "{{ vault_mtls_ca_passphrase }}"
  delegate_to: localhost
  run_once: true

- name: Create an authority whose key never leaves its token
  mtls.nginx.ca_init:
    path: /root/ca
    subject: {O: Acme, CN: Acme Devices}
    key_type: ecdsa
    backend: pkcs11
    pkcs11:
      module: /usr/lib/softhsm/libsofthsm2.so
      token: mtls
      key: devices
      pin_file: /root/token.pin
  delegate_to: localhost

- name: Create an authority below an offline root; until that has signed, there is only a request
  mtls.nginx.ca_init:
    path: /root/ca
    subject: {O: Acme, CN: Acme Devices}
    certificate: /root/from-the-root/devices.pem
  delegate_to: localhost

- name: Adopt a directory made by hand, whatever its subject
  mtls.nginx.ca_init:
    path: /root/ca
  delegate_to: localhost

- name: Renew the certificate of the authority two years before it expires
  mtls.nginx.ca_init:
    path: "{{ inventory_dir }}/pki"
    passphrase: "{{ vault_mtls_ca_passphrase }}"
    renew_before: 730
  delegate_to: localhost
  run_once: true

- name: Adopt a directory made by a guide, whose CA certificate lacks CA:TRUE
  mtls.nginx.ca_init:
    path: /root/ca
    repair: true
  delegate_to: localhost

- name: Change the passphrase of the key
  mtls.nginx.ca_init:
    path: "{{ inventory_dir }}/pki"
    passphrase: "{{ vault_mtls_ca_passphrase }}"
    old_passphrase: "{{ vault_mtls_ca_old_passphrase }}"
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
ca_path:
  description: The directory of the authority.
  returned: success
  type: str
  sample: /srv/inventory/pki
created:
  description: Whether a new authority was created.
  returned: success
  type: bool
  sample: false
adopted:
  description: Whether an existing directory lacked something that was added.
  returned: success
  type: bool
  sample: true
added:
  description: The files and directories that were added, and a key in a token.
  returned: success
  type: list
  elements: str
  sample: [openssl.cnf, crlnumber, crl.pem]
pending:
  description: What has to be done before there is an authority, when O(certificate) is not there yet; else V(null).
  returned: success
  type: str
  sample: /root/ca/ca.csr waits to be signed as an intermediate CA
updated:
  description: What was done to files that existed, by their names.
  returned: success
  type: dict
  sample: {ca.key: passphrase changed}
ca:
  description: The authority; V(null) when there is none yet, in check mode or while one is pending.
  returned: success
  type: dict
  contains:
    dn:
      description: The subject in nginx's DN format.
      type: str
      sample: CN=Acme Root CA,OU=IT Services,O=Acme,L=Valencia,ST=Valencia,C=ES
    subject:
      description: The subject in the format of C(index.txt).
      type: str
      sample: /C=ES/ST=Valencia/L=Valencia/O=Acme/OU=IT Services/CN=Acme Root CA
    serial:
      description: The serial number, hexadecimal.
      type: str
      sample: 5A3F1D0C4B9E8877665544332211009988776655
    fingerprint:
      description: The SHA-1 fingerprint, as nginx writes fingerprints.
      type: str
      sample: 6f1d2e3c4b5a69788796a5b4c3d2e1f00f1e2d3c
    fingerprint_sha256:
      description: The SHA-256 fingerprint.
      type: str
      sample: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    not_after:
      description: When the certificate expires.
      type: str
      sample: "2036-11-20T14:39:00Z"
    key_type:
      description: The type of the key.
      type: str
      sample: rsa
    key_encrypted:
      description: Whether the private key is stored encrypted, or in a token.
      type: bool
      sample: true
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mtls.nginx.plugins.module_utils.ca.access import Access, ensure_authority
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import keys, numbers, subjects
from ansible_collections.mtls.nginx.plugins.module_utils.ca.options import CREATION_OPTIONS, PARENT_OPTION
from ansible_collections.mtls.nginx.plugins.module_utils.ca.wanted import Ensured, WantedAuthority
from ansible_collections.mtls.nginx.plugins.module_utils.common import entry, times
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError

try:
    from cryptography.hazmat.primitives import hashes
except ImportError:  # reported by entry.require_cryptography
    pass


SPEC = {
    "argument_spec": {
        "path": {"type": "path", "required": True},
        "subject": {"type": "dict"},
        "key_type": {"type": "str", "choices": ["rsa", "ecdsa", "ed25519"], "default": "rsa"},
        "key_size": {"type": "int", "default": 4096, "no_log": False},
        "curve": {"type": "str", "choices": list(keys.CURVES), "default": "P-256"},
        "passphrase": {"type": "str", "no_log": True},
        "old_passphrase": {"type": "str", "no_log": True},
        "decrypt": {"type": "bool", "default": False},
        "days": {"type": "int", "default": 3650},
        "crl_days": {"type": "int", "default": 30},
        "certificate": {"type": "path"},
        "parent": PARENT_OPTION,
        **CREATION_OPTIONS,
        "renew_before": {"type": "int", "default": 0},
        "repair": {"type": "bool", "default": False},
    },
    "mutually_exclusive": [("certificate", "parent")],
    "supports_check_mode": True,
}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(**SPEC)
    entry.run_module(module, lambda: work(module))


def work(call: entry.Call) -> dict[str, Any]:
    """Return the result of the module for the arguments of ``call``.

    :raises MtlsError: what was asked for cannot be done; the text says why.
    """
    entry.require_cryptography()
    options = call.params
    entry.check_at_least_one(options, "days", "crl_days")
    if options["renew_before"] < 0:
        raise MtlsError(f"renew_before: is {options['renew_before']}; use 0 or more")
    outcome = ensure_authority(
        Access.of({"ca_path": options["path"], "ca_passphrase": options["passphrase"], **options}),
        WantedAuthority(
            path=options["path"],
            subject=options["subject"],
            key=keys.KeyKind(options["key_type"], options["key_size"], options["curve"]),
            passphrase=options["passphrase"] or None,
            days=options["days"],
            crl_days=options["crl_days"],
            certificate=options["certificate"],
            old_passphrase=options["old_passphrase"] or None,
            decrypt=options["decrypt"],
            renew_before=options["renew_before"],
            repair=options["repair"],
        ),
        check=call.check_mode,
        parent=Access.of(options["parent"], prefix="") if options["parent"] else None,
    )
    for warning in outcome.warnings:
        call.warn(warning)
    return {
        "changed": bool(outcome.added or outcome.updated),
        "ca_path": options["path"],
        "created": outcome.created and not outcome.pending,
        "adopted": bool(outcome.added) and not outcome.created,
        "added": outcome.added,
        "updated": outcome.updated,
        "pending": outcome.pending,
        "ca": _describe(outcome),
        "diff": {
            "before": "",
            "after": "".join(f"{_place(options['path'], name)}\n" for name in outcome.added)
            + "".join(f"{_place(options['path'], name)}: {what}\n" for name, what in outcome.updated.items()),
        },
    }


def _place(path: str, name: str) -> str:
    return name if name.startswith("pkcs11:") else f"{path}/{name}"


def _describe(outcome: Ensured) -> dict[str, Any] | None:
    certificate = outcome.certificate
    if certificate is None:
        return None
    return {
        "dn": subjects.nginx_dn(certificate.subject),
        "subject": subjects.index_subject(certificate.subject),
        "serial": numbers.hexadecimal(certificate.serial_number),
        "fingerprint": certificate.fingerprint(hashes.SHA1()).hex(),
        "fingerprint_sha256": certificate.fingerprint(hashes.SHA256()).hex(),
        "not_after": times.iso(certificate.not_valid_after_utc),
        "key_type": keys.key_type(certificate.public_key()),
        "key_encrypted": outcome.key_encrypted,
    }


if __name__ == "__main__":
    main()

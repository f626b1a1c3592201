# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module: issue, renew and revoke client certificates."""

from __future__ import annotations

DOCUMENTATION = r"""
module: client_cert
short_description: Issue, renew and revoke client certificates
version_added: "0.1.0"
description:
  - Takes the whole list of clients in one call, and issues, renews or revokes certificates as needed.
  - Keys, certificates and C(.p12) files are put into C(clients/<name>/) of the authority's directory. An existing
    private key is never overwritten, and an unchanged C(.p12) is not rewritten.
  - A client whose certificate expires within O(renew_before) days gets a new one with the same key. The old one stays
    valid until it expires.
  - A client that is revoked and then present again gets a new certificate with a new key. The old key is kept as
    C(<name>-<SERIAL>.key).
  - A client that is on hold (revoked with the reason V(certificateHold)) and then present again has the same
    certificates as before. Any other reason, given later, revokes them permanently.
  - A revocation takes effect on the hosts with a new CRL only, see M(mtls.nginx.crl).
  - A run that issues 100 certificates or more shows its progress every five seconds, if the authority is on the
    controller.
  - A client that is not in the list any more keeps its certificate and is returned in RV(unmanaged).
options:
  clients:
    description: The clients, all of them in one list.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The name, which is the file name and, without a O(clients[].subject), the CN.
        type: str
        required: true
      subject:
        description:
          - The full subject, in this order, with openssl's names. A list as value makes one attribute of each
            element.
          - When it changes, a new certificate is issued, and the old one stays valid until it expires.
          - Left out, the subject of an existing certificate is kept.
        type: dict
      key_type:
        description:
          - The type of a new private key.
          - Left out, an existing key is kept and a new one is of O(key_type).
          - Browsers and phones offer no V(ed25519) certificate; a client that is to have a C(.mobileconfig) is refused.
        type: str
        choices: [rsa, ecdsa, ed25519]
      csr:
        description:
          - The path on the controller of a certificate signing request in PEM, for a key that never leaves its device.
          - Only its public key is used. Subject and extensions are decided here.
        type: path
      days:
        description: For how many days a certificate is issued. Defaults to O(days).
        type: int
      renew_before:
        description: A certificate is renewed when it expires within this many days. Defaults to O(renew_before).
        type: int
      p12:
        description:
          - The encoding of the C(.p12) file. V(compatible) is 3DES with SHA-1, which the devices of the last ten years
            import. V(modern) is AES-256 with SHA-256; a device without support for it says that the password is wrong.
          - A client with a O(clients[].csr) has no C(.p12).
        type: str
        choices: [compatible, modern, none]
        default: compatible
      p12_password:
        description:
          - The password of the C(.p12) file, in ASCII.
          - Left out, one is generated and kept in C(<name>.p12.password) with mode 0600.
        type: str
      mobileconfig:
        description: Whether there is a C(.mobileconfig) file. Defaults to O(mobileconfig).
        type: bool
      formats:
        description:
          - Further files. V(pem) is C(<name>.pem) with certificate and private key, mode 0600, for programs that want
            both in one file. It is rewritten with each renewal, and removed when it is not asked for any more.
          - A client with a O(clients[].csr) cannot have it, nor one whose key is in the C(.p12) only.
        type: list
        elements: str
        choices: [pem]
      used_by:
        description:
          - Programs that must be able to read the client's files. A O(clients[].key_type), a O(clients[].p12) or an
            existing key that one of them cannot read is refused.
          - Without a O(clients[].key_type), the new key is RSA if one of them cannot read O(key_type).
          - V(aws), AWS's SDKs with s2n, and V(browser), Chromium and Firefox, take RSA and ECDSA keys. V(gem), gem and
            bundler of Debian 12, V(gnome), GNOME's certificate viewer, and V(gpgsm) before 2.4, take RSA keys.
          - V(browser) needs a C(.p12). V(gnome) and V(gpgsm) need a V(compatible) one.
        type: list
        elements: str
        choices: [aws, browser, gem, gnome, gpgsm]
      state:
        description: Whether the client has a valid certificate, or all its certificates are revoked.
        type: str
        choices: [present, revoked]
        default: present
      reason:
        description: Why the client is revoked, one of the reasons of RFC 5280.
        type: str
        choices:
          - unspecified
          - keyCompromise
          - CACompromise
          - affiliationChanged
          - superseded
          - cessationOfOperation
          - certificateHold
        default: unspecified
  days:
    description: For how many days certificates are issued. They must expire before the authority's own.
    type: int
    default: 365
  renew_before:
    description: A certificate is renewed when it expires within this many days.
    type: int
    default: 30
  key_type:
    description: The type of new private keys, RSA with 2048 bits, ECDSA on P-256, or Ed25519.
    type: str
    choices: [rsa, ecdsa, ed25519]
    default: rsa
  crl_distribution_point:
    description:
      - The address of the CRL in DER, C(http) or C(https), that new certificates name. Existing ones stay as they are
        until they are renewed.
      - For the backends V(directory) and V(pkcs11); an OpenBao server has a setting of its own for it.
    type: str
  mobileconfig:
    description:
      - Whether each client with a C(.p12) also gets C(<name>.mobileconfig), a configuration profile for Apple devices
        with that C(.p12) in it, and without its password.
      - It is rewritten when the C(.p12), O(profile_ca), O(profile_signer) or O(contact) changes.
    type: bool
    default: false
  profile_ca:
    description: Whether profiles also make the device trust server certificates of this authority.
    type: bool
    default: false
  profile_signer:
    description: Certificate and key to sign profiles with. Without it they are not signed, and devices say so.
    type: dict
    suboptions:
      certificate:
        description: The path of the certificate in PEM, followed by those above it.
        type: path
        required: true
      key:
        description: The path of its private key in PEM.
        type: path
        required: true
      passphrase:
        description: The passphrase of the key, if it has one.
        type: str
  contact:
    description: Whom people may ask, named in profiles.
    type: dict
    suboptions:
      name:
        description: A person or a team.
        type: str
        required: true
      url:
        description: Where to reach them, such as C(mailto:ana@example.com).
        type: str
  keep_keys:
    description:
      - Whether private keys stay in C(<name>.key). With V(false) a key is in the C(.p12) only, as soon as that is on
        disk; a client with O(clients[].p12=none) keeps its file.
      - A certificate is then renewed with the key out of the C(.p12), as long as O(clients[].p12_password) or the file
        C(<name>.p12.password) opens it. Once that file has been removed, the client gets a new key at its next renewal,
        and the former C(.p12) is kept as C(<name>-<SERIAL>.p12).
      - With V(true) again, keys are extracted from each C(.p12) that can be opened.
    type: bool
    default: true
extends_documentation_fragment:
  - mtls.nginx.authority
  - mtls.nginx.authority.backend
  - mtls.nginx.revoked
  - mtls.nginx.attributes
  - mtls.nginx.attributes.controller
seealso:
  - module: mtls.nginx.ca_init
  - module: mtls.nginx.crl
author:
  - the mtls.nginx authors (@mtls-nginx)
"""

EXAMPLES = r"""
- name: Issue, renew and revoke client certificates
  mtls.nginx.client_cert:
    ca_path: "{{ inventory_dir }}/pki"
    ca_passphrase: "{{ vault_mtls_ca_passphrase }}"
    clients:
      - name: iphone-admin
      - name: laptop-work
        days: 90
      - name: lost-phone
        state: revoked
        reason: keyCompromise
      - name: ci-runner
        p12: none
        formats: [pem]
      - name: build-agent
        csr: "{{ inventory_dir }}/files/build-agent.csr"
      - name: pepe
        subject: {C: ES, O: Acme, CN: 'José "Pepe" García, IT'}
        key_type: ecdsa
        p12: modern
        p12_password: "{{ vault_pepe_p12 }}"
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
clients:
  description: One element for each of O(clients), in that order.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The name.
      type: str
      sample: iphone-admin
    state:
      description: The requested state.
      type: str
      sample: present
    action:
      description: What was done, V(issued), V(renewed), V(revoked), V(released), V(updated) or V(unchanged).
      type: str
      sample: renewed
    reason_for_action:
      description: Why it was done; empty when nothing was.
      type: str
      sample: the certificate expires on 2026-12-01T09:00:00Z
    serial:
      description: The serial number, hexadecimal, as in nginx and C(index.txt); V(null) without a certificate.
      type: str
      sample: 5A3F1D0C4B9E8877665544332211009988776655
    dn:
      description: The subject in nginx's DN format.
      type: str
      sample: CN=iphone-admin
    fingerprint:
      description: The SHA-1 fingerprint, as in nginx's C($ssl_client_fingerprint).
      type: str
      sample: 6f1d2e3c4b5a69788796a5b4c3d2e1f00f1e2d3c
    not_after:
      description: When the certificate expires.
      type: str
      sample: "2027-11-23T14:39:00Z"
    certificate:
      description: The path of the certificate on the controller.
      type: str
      sample: /srv/inventory/pki/clients/iphone-admin/iphone-admin.crt
    p12:
      description: The path of the C(.p12) file on the controller, or V(null).
      type: str
      sample: /srv/inventory/pki/clients/iphone-admin/iphone-admin.p12
    mobileconfig:
      description: The path of the C(.mobileconfig) file on the controller, or V(null).
      type: str
      sample: /srv/inventory/pki/clients/iphone-admin/iphone-admin.mobileconfig
    pem:
      description: The path of the file with certificate and private key on the controller, or V(null).
      type: str
      sample: /srv/inventory/pki/clients/ci-runner/ci-runner.pem
revoked:
  description: What was revoked, or would be in check mode, as the option C(revoked) of M(mtls.nginx.crl) takes it.
  returned: success
  type: list
  elements: dict
  contains:
    serial:
      description: The serial number, hexadecimal.
      type: str
      sample: "1003"
    reason:
      description: The reason.
      type: str
      sample: keyCompromise
released:
  description: What was on hold and was released, as the option C(revoked) of M(mtls.nginx.crl) takes it.
  returned: success
  type: list
  elements: dict
  contains:
    serial:
      description: The serial number, hexadecimal.
      type: str
      sample: "1003"
    state:
      description: Always V(released).
      type: str
      sample: released
unmanaged:
  description:
    - Valid certificates of the authority that belong to none of O(clients), and to no server.
    - The oldest 100 of them. RV(unmanaged_count) is their number, and M(mtls.nginx.status) lists all.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The name of the client, or the CN.
      type: str
      sample: old-tablet
    serial:
      description: The serial number, hexadecimal.
      type: str
      sample: "1003"
    dn:
      description: The subject in nginx's DN format.
      type: str
      sample: CN=old-tablet
    not_after:
      description: When the certificate expires.
      type: str
      sample: "2027-02-01T10:00:00Z"
unmanaged_count:
  description: How many certificates are unmanaged, including those that RV(unmanaged) does not list.
  returned: success
  type: int
  sample: 1
"""

import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mtls.nginx.plugins.module_utils.ca.access import (
    Access,
    open_authority,
    require_directory,
)
from ansible_collections.mtls.nginx.plugins.module_utils.ca.authority import REASONS
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import profiles
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders import (
    client_plan,
    clients,
    p12,
    readers,
    revoking,
)
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import PEM, Client
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.mobileconfig import Signer
from ansible_collections.mtls.nginx.plugins.module_utils.ca.options import AUTHORITY_OPTIONS, TRUST
from ansible_collections.mtls.nginx.plugins.module_utils.common import contact, entry, times

_MOST_LISTED = 5


SPEC = {
    "argument_spec": {
        **AUTHORITY_OPTIONS,
        "clients": {
            "type": "list",
            "elements": "dict",
            "required": True,
            "options": {
                "name": {"type": "str", "required": True},
                "subject": {"type": "dict"},
                "key_type": {"type": "str", "choices": ["rsa", "ecdsa", "ed25519"]},
                "csr": {"type": "path"},
                "days": {"type": "int"},
                "renew_before": {"type": "int"},
                "p12": {"type": "str", "choices": [p12.COMPATIBLE, p12.MODERN, p12.NONE], "default": "compatible"},
                "p12_password": {"type": "str", "no_log": True},
                "mobileconfig": {"type": "bool"},
                "formats": {"type": "list", "elements": "str", "choices": [PEM]},
                "used_by": {"type": "list", "elements": "str", "choices": list(readers.READERS)},
                "state": {"type": "str", "choices": ["present", "revoked"], "default": "present"},
                "reason": {"type": "str", "choices": list(REASONS), "default": "unspecified"},
            },
        },
        "days": {"type": "int", "default": 365},
        "renew_before": {"type": "int", "default": 30},
        "key_type": {"type": "str", "choices": ["rsa", "ecdsa", "ed25519"], "default": "rsa"},
        "crl_distribution_point": {"type": "str"},
        "mobileconfig": {"type": "bool", "default": False},
        "profile_ca": {"type": "bool", "default": False},
        "contact": contact.OPTION,
        "profile_signer": {
            "type": "dict",
            "no_log": False,
            "options": {
                "certificate": {"type": "path", "required": True},
                "key": {"type": "path", "required": True, "no_log": False},
                "passphrase": {"type": "str", "no_log": True},
            },
        },
        "keep_keys": {"type": "bool", "default": True, "no_log": False},
        "revoked": revoking.ARGUMENTS,
    },
    "supports_check_mode": True,
}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(**SPEC)
    # Ansible would send back the whole list, which takes longer than to look at all the clients.
    sent_back = {**module.params, "clients": f"{len(module.params['clients'])} clients"}
    entry.run_module(module, lambda: {**work(module), "invocation": {"module_args": sent_back}})


def work(call: entry.Call) -> dict[str, Any]:
    """Return the result of the module for the arguments of ``call``.

    :raises MtlsError: what was asked for cannot be done; the text says why.
    """
    entry.require_cryptography()
    options = call.params
    if options["crl_distribution_point"]:
        require_directory(Access.of(options), "crl_distribution_point")
        profiles.check_crl_point(options["crl_distribution_point"])
    wanted = [_client(raw, options) for raw in options["clients"]]
    signer = Signer.load(**options["profile_signer"]) if options["profile_signer"] else None
    if call.check_mode and not os.path.exists(os.path.join(options["ca_path"], "ca.crt")):
        done = clients.foresee_first_run(wanted, issues=Access.of(options).backend != TRUST)
    else:
        with open_authority(Access.of(options), read_only=call.check_mode) as authority:
            done = clients.reconcile(
                authority,
                wanted,
                new_key_type=options["key_type"],
                check=call.check_mode,
                profile_ca=options["profile_ca"],
                profile_signer=signer,
                contact=contact.Contact.of(options["contact"]),
                revoking=revoking.planned(authority, options["revoked"]),
                crl_point=options["crl_distribution_point"],
            )
            for warning in (*authority.warnings, *done.warnings):
                call.warn(warning)
    if done.unmanaged:
        call.warn(_about_unmanaged(options["ca_path"], done))
    changed = [result for result in done.results if result.action != client_plan.UNCHANGED]
    return {
        "changed": bool(changed),
        "clients": [_describe(result) for result in done.results],
        "unmanaged": [
            {"name": stray.name, "serial": stray.serial, "dn": stray.dn, "not_after": times.iso(stray.not_after)}
            for stray in done.unmanaged
        ],
        "unmanaged_count": done.unmanaged_count,
        "revoked": [
            {"serial": serial, "reason": result.client.reason} for result in changed for serial in result.revoked
        ],
        "released": [
            {"serial": serial, "state": revoking.RELEASED} for result in changed for serial in result.released
        ],
        "diff": {
            "before": "".join(_before(result) for result in changed),
            "after": "".join(f"{result.client.name}: {result.action} ({result.because})\n" for result in changed),
        },
    }


def _client(raw: dict[str, Any], options: dict[str, Any]) -> Client:
    return Client(
        name=raw["name"],
        subject=raw["subject"],
        key_type=raw["key_type"],
        csr=raw["csr"],
        days=options["days"] if raw["days"] is None else raw["days"],
        renew_before=options["renew_before"] if raw["renew_before"] is None else raw["renew_before"],
        p12=raw["p12"],
        p12_password=raw["p12_password"],
        mobileconfig=options["mobileconfig"] if raw["mobileconfig"] is None else raw["mobileconfig"],
        formats=tuple(raw["formats"] or ()),
        used_by=tuple(raw["used_by"] or ()),
        keep_key=options["keep_keys"],
        revoked=raw["state"] == "revoked",
        reason=raw["reason"],
    )


def _describe(result: clients.ClientResult) -> dict[str, Any]:
    held = result.entry
    return {
        "name": result.client.name,
        "state": "revoked" if result.client.revoked else "present",
        "action": result.action,
        "reason_for_action": result.because,
        "serial": (held and held.serial) or None,
        "dn": held and held.dn,
        "fingerprint": (held and held.fingerprint) or None,
        "not_after": (held and held.not_after) or None,
        "certificate": result.certificate,
        "p12": result.p12,
        "mobileconfig": result.mobileconfig,
        "pem": result.pem,
    }


def _about_unmanaged(ca_path: str, done: clients.Reconciled) -> str:
    count = done.unmanaged_count
    listed = ", ".join(f"{stray.name} ({stray.serial})" for stray in done.unmanaged[:_MOST_LISTED])
    more = f" and {count - _MOST_LISTED} more" if count > _MOST_LISTED else ""
    return (
        f"{ca_path}: {count} unmanaged: {listed}{more}. They have valid certificates but are not in the"
        " inventory, and enter every service without an allow list; to change that, list them with state: revoked,"
        " or their serials in mtls_revoked"
    )


def _before(result: clients.ClientResult) -> str:
    held = result.before
    if held is None or not held.serial:
        return f"{result.client.name}: no certificate\n"
    return f"{result.client.name}: certificate {held.serial} until {held.not_after}\n"


if __name__ == "__main__":
    main()

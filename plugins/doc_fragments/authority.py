# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that tell the modules which authority is meant, and who keeps its key."""

from __future__ import annotations


class ModuleDocFragment:
    """Which authority, and what opens its key."""

    DOCUMENTATION = r"""
options:
  ca_path:
    description:
      - The directory of the authority, as M(mtls.nginx.ca_init) creates or adopts it.
    type: path
    required: true
  ca_passphrase:
    description:
      - The passphrase of the authority's private key.
      - Required when the key is encrypted.
    type: str
"""

    BACKEND = r"""
options:
  ca_backend:
    description:
      - Who keeps the authority's key and signs with it.
      - V(directory) is a file in the authority's directory.
      - V(pkcs11) is a token, described by O(ca_pkcs11).
      - V(openbao) is an OpenBao or Vault server, described by O(ca_openbao).
      - V(trust) is an external CA, of which only certificate and CRL are here, see O(ca_trust).
      - In each case record, CRL and the holders' files are in the directory too.
    type: str
    choices: [directory, pkcs11, openbao, trust]
    default: directory
  ca_pkcs11:
    description: The token that keeps the key, for O(ca_backend=pkcs11).
    type: dict
    suboptions:
      module:
        description: The path of the token's PKCS#11 library.
        type: path
        required: true
      token:
        description: The label of the token.
        type: str
        required: true
      key:
        description: The label of the key.
        type: str
        required: true
      pin:
        description: The user PIN.
        type: str
      pin_file:
        description: A file with the user PIN. Without either, the PIN is in the environment as E(MTLS_PKCS11_PIN).
        type: path
  ca_openbao:
    description: The server that keeps the key, for O(ca_backend=openbao).
    type: dict
    suboptions:
      url:
        description: Its address, for example V(https://bao.example.com:8200).
        type: str
        required: true
      mount:
        description: The mount of its PKI engine.
        type: str
        default: pki
      client_role:
        description: The engine's role for client certificates.
        type: str
        default: client
      server_role:
        description: The engine's role for server certificates.
        type: str
        default: server
      lock_mount:
        description: The mount of a KV engine, version 2, for the lock between controllers.
        type: str
        default: secret
      namespace:
        description: The namespace, if the server has any.
        type: str
      ca_file:
        description: The CA of the server's own certificate. Left out, the system's CAs are trusted.
        type: path
      token:
        description: A token.
        type: str
      token_file:
        description: A file with a token. Without any way to log in, it is in E(BAO_TOKEN) or E(VAULT_TOKEN).
        type: path
      role_id:
        description: An AppRole, together with its secret.
        type: str
      secret_id:
        description: The AppRole's secret.
        type: str
  ca_trust:
    description: The external CA, for O(ca_backend=trust).
    type: dict
    suboptions:
      certificates:
        description: The file with its CA certificates in PEM, the issuing one first.
        type: path
        required: true
      crl:
        description: Its CRLs, one of each CA, as files or http addresses, in PEM or DER.
        type: list
        elements: str
        required: true
"""

    PARENT = r"""
options:
  parent:
    description:
      - The authority above this one, in another directory on this machine.
      - M(mtls.nginx.ca_init) has it sign the certificate of a new authority. M(mtls.nginx.crl) renews its CRL, which
        hosts need as well, and takes it over.
    type: dict
    suboptions:
      path:
        description: Its directory.
        type: path
        required: true
      passphrase:
        description: The passphrase of its private key.
        type: str
      backend:
        description: Who keeps its key, in the directory or in a token.
        type: str
        choices: [directory, pkcs11]
        default: directory
      pkcs11:
        description: The token that keeps its key.
        type: dict
        suboptions:
          module:
            description: The path of the token's PKCS#11 library.
            type: path
            required: true
          token:
            description: The label of the token.
            type: str
            required: true
          key:
            description: The label of the key.
            type: str
            required: true
          pin:
            description: The user PIN.
            type: str
          pin_file:
            description: A file with the user PIN.
            type: path
      crl_days:
        description: For how many days its CRL is valid.
        type: int
        default: 30
"""

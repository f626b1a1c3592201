# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The option of the modules that are told of single revoked certificates."""

from __future__ import annotations


class ModuleDocFragment:
    """Which certificates are revoked, whatever the state of their clients."""

    DOCUMENTATION = r"""
options:
  revoked:
    description:
      - Certificates to revoke, or to release from a hold. Each item names them in one of five ways.
      - M(mtls.nginx.crl) revokes and releases them. M(mtls.nginx.client_cert) and M(mtls.nginx.server_cert) only need
        to know which they are, so that clients and services that are present have other certificates by then.
      - What only another authority of the same rollover has issued, in C(next/) or C(former/), is passed over.
      - For a client in the inventory, use O(mtls.nginx.client_cert#module:clients[].state=revoked), because otherwise
        it would get a new certificate.
    type: list
    elements: dict
    default: []
    suboptions:
      serial:
        description: The serial number in hexadecimal, as in C(index.txt), in quotes. Colons and C(0x) are allowed.
        type: str
      certificate:
        description: The path of the certificate, in PEM or DER, on the controller.
        type: path
      name:
        description:
          - The name of a client, for all of its certificates. It need not be in the inventory any more.
          - They are searched in C(clients/<name>/) and its register, and by CN.
        type: str
      fingerprint:
        description:
          - The SHA-1 or SHA-256 fingerprint, with or without colons.
          - All issued certificates are searched for it, two seconds for 100,000. The serial is faster.
        type: str
      anything:
        description: Any of the four. A text that matches two different things is refused.
        type: str
      state:
        description:
          - V(released) makes a certificate on hold valid again.
          - Only the reason V(certificateHold) can be undone.
        type: str
        choices: [revoked, released]
        default: revoked
      reason:
        description:
          - Why it is revoked, one of the reasons of RFC 5280.
          - The reason of an earlier revocation stays, except for V(certificateHold), which another replaces for good.
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
"""

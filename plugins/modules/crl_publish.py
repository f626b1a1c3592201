# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: crl_publish
short_description: Put an authority's CRL where hosts can fetch it
version_added: 0.1.0
author: the mtls.nginx authors (@mtls-nginx)
description:
  - Writes the CRL to a file on the controller, or gives it to a program. Nothing in it is secret.
  - A published CRL is never replaced by an older one, by another one of the same number, or by one that lacks a
    certificate that has not expired.
  - A failure to publish does not fail the task, because hosts that can be reached are to get the CRL all the same.
    RV(problem) and a warning say what went wrong. The role P(mtls.nginx.ca#role) uses it, and the playbooks fail at
    their end.
options:
  ca_path:
    description: The directory of the authority. Run M(mtls.nginx.crl) first.
    type: path
    required: true
  file:
    description: A file on the controller. Its directory is made if it is missing.
    type: path
  command:
    description:
      - A program and its arguments. It gets the CRL in PEM on its standard input, and has two minutes.
      - It runs each time, since it alone knows what is there already, and not in check mode.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: Writes nothing and runs no program.
    support: full
  diff_mode:
    description: There is nothing to show.
    support: none
seealso:
  - module: mtls.nginx.crl
"""

EXAMPLES = r"""
- name: Publish the CRL with a web server on the controller
  mtls.nginx.crl_publish:
    ca_path: "{{ inventory_dir }}/pki"
    file: /srv/www/crl/crl.pem

- name: Publish it in object storage
  mtls.nginx.crl_publish:
    ca_path: "{{ inventory_dir }}/pki"
    command: [aws, s3, cp, --cache-control, no-cache, "-", s3://example-crl/crl.pem]
"""

RETURN = r"""
problem:
  description: Why the CRL was not published, null if it was.
  type: str
  returned: always
  sample: null
"""

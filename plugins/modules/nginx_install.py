# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: nginx_install
short_description: Install nginx with the platform's package manager
version_added: 0.1.0
author: the mtls.nginx authors (@mtls-nginx)
description:
  - Installs nginx, and has systemd start it at boot.
  - Does what M(ansible.builtin.setup), M(ansible.builtin.package) and M(ansible.builtin.service) would, and keeps none
    of the facts that the host reports meanwhile.
  - The role P(mtls.nginx.server#role) uses it.
options:
  package:
    description: Name of the package.
    type: str
    default: nginx
  systemd:
    description: Whether systemd runs the host's services, and should start nginx at boot.
    type: bool
    default: true
attributes:
  check_mode:
    description: Changes nothing with C(--check), and says whether the package would be installed.
    support: full
  diff_mode:
    description: There is nothing to show.
    support: none
seealso:
  - module: mtls.nginx.nginx_site
"""

EXAMPLES = r"""
- name: Install nginx
  mtls.nginx.nginx_install:
  become: true
"""

RETURN = r"""
changed:
  description: Whether nginx was installed, or enabled at boot.
  type: bool
  returned: success
  sample: true
"""

# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: status
short_description: Write down who may enter where, and when everything ends
version_added: 0.1.0
author: the mtls.nginx authors (@mtls-nginx)
description:
  - Compares what the inventory wants with what the authorities recorded, and writes a page for people
    (C(status.html)), a document for programs (C(status.json)) and metrics for Prometheus (C(mtls_status.prom)).
  - Covers B(all) hosts of the inventory, whatever C(--limit) says, and every authority that they name.
  - Reads C(upkeep.json), which the role P(mtls.nginx.upkeep#role) has left in O(path), if it is installed.
  - Needs neither the authority's key nor its passphrase, and changes nothing but its own files.
  - Never fails for what it finds. RV(due) says whether there is something to do; the playbook C(mtls.nginx.status)
    fails then.
  - Works on the controller only.
options:
  path:
    description:
      - The folder of the files. A relative path starts at the inventory's directory.
      - It is made with mode C(0750), new files with C(0640) and C(mtls_status.prom) with C(0644). Existing files keep
        their modes.
    type: path
    default: status
  textfile_dir:
    description: Folder for C(mtls_status.prom), as the node exporter's textfile collector reads it. By default O(path).
    type: path
  warn_days:
    description:
      - What ends within so many days is to be told. The CRL is judged by C(mtls_crl_refresh_before) instead.
      - Left out, it is 21 days, or 70 % of the days before its end at which a certificate is renewed, where that is
        less. So nothing is told as long as C(mtls.nginx.site) runs every week.
    type: int
  answers:
    description:
      - What hosts said when they were asked live. For each host the registered results of
        M(mtls.nginx.nginx_facts) as C(facts) and of M(mtls.nginx.tls_probe) as C(probe).
      - Left out, the hosts are not on the page.
    type: dict
attributes:
  check_mode:
    description: Writes nothing with C(--check), and tells the same.
    support: full
  diff_mode:
    description: Shows how C(status.json) changes, which has all that the page has.
    support: full
  idempotent:
    description: RV(ignore:changed) says whether anything but the time differs. The files are written in any case, so
      that their time tells that they are not old.
    support: full
"""

EXAMPLES = r"""
- name: Write down how things stand
  mtls.nginx.status:
    warn_days: 14
  run_once: true
  register: standing

- name: Stop where there is something to do
  ansible.builtin.assert:
    that: not standing.due
    fail_msg: "{{ standing.summary }}"
  run_once: true
"""

RETURN = r"""
due:
  description: Whether there is something to do, now or soon.
  type: bool
  returned: success
  sample: true
summary:
  description: One line, with what there is to do.
  type: str
  returned: success
  sample: "18 clients, 5 services: Clients whose certificate has expired: ben-phone (2026-11-08)"
page:
  description: Path of the page.
  type: str
  returned: success
  sample: /srv/inventory/status/status.html
document:
  description: Path of the JSON document.
  type: str
  returned: success
  sample: /srv/inventory/status/status.json
metrics:
  description: Path of the metrics.
  type: str
  returned: success
  sample: /srv/inventory/status/mtls_status.prom
"""

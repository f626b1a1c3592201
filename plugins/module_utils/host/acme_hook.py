# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What certbot runs when it has renewed a certificate: nginx is tested and reloaded as by the controller.

After any failure nginx goes on with what it has read.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.mtls.nginx.plugins.module_utils.common import entry
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.host import nginx_process, server_certificates, transaction
from ansible_collections.mtls.nginx.plugins.module_utils.host.request import ChangeRequest, textfile_from
from ansible_collections.mtls.nginx.plugins.module_utils.host.server_certificates import OwnCertificate


def run(settings: Mapping[str, Any], lineage: str, tell: Callable[[str], None]) -> bool:
    """Have nginx serve what was renewed in the folder ``lineage``; return whether all is well.

    ``settings`` has ``binary``, ``conf_path``, ``textfile`` and ``certificates`` (see ``site/acme_program.py``).
    """
    certificates = [OwnCertificate(**each) for each in settings["certificates"]]
    found = {
        own.service: server_certificates.look(own, running=False)
        for own in certificates
        if os.path.dirname(own.path) == os.path.normpath(lineage)
    }
    bad = [f"service {service}: {finding.why}" for service, finding in found.items() if finding.why]
    if bad:
        tell(f"{'; '.join(bad)}; nginx keeps using the certificate that it has loaded")
        return False
    if not any(finding.in_use for finding in found.values()):
        tell(f"{lineage}: no service has this certificate yet; mtls.nginx.site puts it in place")
        return True
    request = ChangeRequest(textfile=textfile_from(settings["textfile"]), reload=True, start=False)
    try:
        nginx = nginx_process.installed(settings["binary"], settings["conf_path"])
        outcome = transaction.run(nginx, request)
    except (MtlsError, OSError) as error:
        said = entry.describe(error) if isinstance(error, OSError) and error.filename else str(error)
        tell(f"services {', '.join(found)}: the renewed certificate is not served yet: {said}")
        return False
    tell("; ".join([f"services {', '.join(found)}: {outcome.message}", *outcome.warnings]))
    return True


def main(settings: Mapping[str, Any]) -> int:
    """Return the exit status of one call; certbot says in RENEWED_LINEAGE which certificate it is about."""
    lineage = os.environ.get("RENEWED_LINEAGE", "")
    if not lineage:
        _say("RENEWED_LINEAGE is not set: certbot runs this program when it has renewed a certificate")
        return 2
    return 0 if run(settings, lineage, _say) else 1


def _say(text: str) -> None:
    sys.stdout.write(f"mtls.nginx: {text}\n")
    sys.stdout.flush()

# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The mistakes that beginners make most, by what they are told: ``docs/troubleshooting.md`` has the same ones.

In a message, ``…`` stands for what differs from site to site.
"""

from __future__ import annotations

import re
import typing as t
from collections.abc import Callable, Mapping

Variables = dict[str, t.Any]


def pattern(message: str) -> re.Pattern[str]:
    """Where a message is in what a run says, whose white space is one space each."""
    return re.compile(".*".join(re.escape(part) for part in message.split("…")), re.DOTALL)


def _service(**changes: object) -> Callable[[Variables], None]:
    return lambda variables: variables["mtls_services"][0].update(changes)


def _client(**options: object) -> Callable[[Variables], None]:
    return lambda variables: variables["mtls_clients"].append(options)


def _set(**changes: object) -> Callable[[Variables], None]:
    return lambda variables: variables.update(changes)


def _serves_files(root: str) -> Callable[[Variables], None]:
    def change(variables: Variables) -> None:
        del variables["mtls_services"][0]["upstream"]
        variables["mtls_services"][0]["root"] = root

    return change


def _serves_nothing(variables: Variables) -> None:
    del variables["mtls_services"][0]["upstream"]


def _another_service(**changes: object) -> Callable[[Variables], None]:
    def change(variables: Variables) -> None:
        variables["mtls_services"].append({**variables["mtls_services"][0], **changes})

    return change


def good() -> Variables:
    """The variables of the host ``nas`` before anybody has made a mistake."""
    return {
        "mtls_ca_passphrase": "correct horse battery",
        "mtls_clients": [{"name": "phone"}, {"name": "laptop"}],
        "mtls_services": [
            {
                "name": "nas",
                "server_names": ["nas.lan"],
                "upstream": "http://127.0.0.1:5000",
                "allow": ["phone"],
            }
        ],
    }


# What is found when the inventory is read, before any host is asked or any file is written.
IN_THE_INVENTORY: Mapping[str, Callable[[Variables], None]] = {
    # Names
    "host nas, service nas: allow names 'phnoe', which is not a client; did you mean 'phone'?": _service(
        allow=["phnoe"]
    ),
    "host nas, service nas: allow names 'gardener', which is not a client; add it to mtls_clients of a host": _service(
        allow=["gardener"]
    ),
    "mtls_services, item 1 (nas): there is no option 'alow'; did you mean allow?": _service(alow=["phone"]),
    "client name 'ana/phone': contains '/', and the name is a file name; replace it": _client(name="ana/phone"),
    "service name 'my nas': use lower-case letters, digits and dashes inside, 32 at most": _service(name="my nas"),
    "client 'phone' is defined by host nas twice, differently (days: not set and 90)": _client(name="phone", days=90),
    "clients 'phone' (host nas) and 'Phone' (host nas) differ only in case": _client(name="Phone"),
    "two services are named 'nas'; give one of them another name": _another_service(server_names=["other.lan"]),
    "services nas and photos both answer to nas.lan on port 443; nginx would ignore one": _another_service(
        name="photos"
    ),
    "client 'phone' (host nas) is present, and mtls_revoked names it; set state: revoked": _set(
        mtls_revoked=[{"name": "phone"}]
    ),
    # YAML
    "mtls_services is not a list; write one item a line, with a dash in front": _set(
        mtls_services={"nas": {"server_names": ["nas.lan"]}}
    ),
    "mtls_clients, item 1 is not a dictionary; write it as name: value": _set(mtls_clients=["phone", "laptop"]),
    "mtls_clients, item 3: missing required arguments: name": _client(days=90),
    "mtls_services, item 1 (nas): allow is not a list; write one item a line": _service(allow={"phone": None}),
    "mtls_services, item 1 (nas): allow has no value; write [] to let in nobody, or remove the line": _service(
        allow=None
    ),
    "mtls_clients, item 3, name: is a list to YAML, and not the text that was written; put it in quotes": _client(
        name=["watch"]
    ),
    "mtls_clients, item 3, name: is true or false to YAML, and not the text that was written; put it in quotes": (
        _client(name=True)
    ),
    "mtls_ca_passphrase: is not text, since without quotes YAML reads it as a number, … put it in quotes": _set(
        mtls_ca_passphrase=20261129
    ),
    "mtls_ca_subject is not a dictionary; write it as name: value": _set(mtls_ca_subject="CN=My CA, O=Home"),
    "service nas: certificate is neither acme nor a dictionary; write certificate: acme, or path and key": _service(
        certificate="/etc/ssl/nas.pem"
    ),
    "service nas: certificate: key is missing; give path and key": _service(certificate={"path": "/etc/ssl/nas.pem"}),
    "service nas: certificate: acme cannot get a certificate for *.nas.lan, since http-01": _service(
        certificate="acme", server_names=["*.nas.lan"]
    ),
    "service nas: certificate: acme needs public host names, and 192.0.2.1 is not one": _service(
        certificate="acme", server_names=["192.0.2.1"]
    ),
    "mtls_clients, item 3 (watch): days is not a whole number": _client(name="watch", days="1 year"),
    "value of state must be one of: present, revoked, got: absent": _client(name="watch", state="absent"),
    # Addresses and paths
    "listen 'https://nas.lan' has no port between 1 and 65535; write 443 or 192.0.2.1:443": _service(
        listen="https://nas.lan"
    ),
    "listen 'nas.lan:443' does not start with an IP address; write 443 or 192.0.2.1:443": _service(
        listen="nas.lan:443"
    ),
    "upstream '127.0.0.1:5000' is not of the form http://host:port": _service(upstream="127.0.0.1:5000"),
    "upstream 'https://nas.lan:5001' is https, and nothing says which CA nginx is to trust there": _service(
        upstream="https://nas.lan:5001"
    ),
    "upstream_tls: 'https://192.0.2.7' has no host name, and nginx compares the names in a certificate only": _service(
        upstream="https://192.0.2.7", upstream_tls={"ca": "files/ca.crt"}
    ),
    "upstream 'grpc://127.0.0.1:50051' does not speak HTTP/1.1": _service(upstream="grpc://127.0.0.1:50051"),
    "both upstream and root are given; keep the one that it serves": _service(root="/srv/www"),
    "neither upstream nor root is given; say what the service protects": _serves_nothing,
    "root 'srv/www' is not an absolute path of letters, digits and . _ - / @ % + ~": _serves_files("srv/www"),
    "server name 'https://nas.lan' is neither a host name, nor *.domain, nor an IP address": _service(
        server_names=["https://nas.lan"]
    ),
    "public path 'health' must start with / and be written plainly": _service(public_paths=["health"]),
    "exempt_networks: 192.168.1.1/24 has host bits set; write 192.168.1.0/24": _service(
        exempt_networks=["192.168.1.1/24"]
    ),
    # Times
    "mtls_crl_refresh_before (10) is not less than mtls_crl_days (5), so every run would write a new CRL": _set(
        mtls_crl_days=5, mtls_crl_refresh_before=10
    ),
    "mtls_client_days is 0; use 1 or more": _set(mtls_client_days=0),
}

# What only a run finds out; tests/integration/test_mistakes.py makes each of them.
IN_A_RUN = (
    # Nothing is addressed
    "no host of the inventory …hosts.yml matches 'mtls_servers', so nothing was done. Its groups with hosts: …",
    "Specified inventory, host pattern and/or --limit leaves us with no hosts to target",
    "the playbook: mtls.nginx.site could not be found",
    "Collection mtls.nginx does not support Ansible version …",
    # Variables
    "there is no variable mtls_clints; did you mean mtls_clients?",
    "mtls_service is for one run (-e mtls_service=...) and does nothing in the inventory",
    "mtls_batch has 'two', which is neither a number of hosts nor a percentage of them",
    "variable mtls_ca_passphrase cannot be read: 'vault_mtls_ca_passphrase' is undefined",
    "Attempting to decrypt but no vault secrets found",
    # The authority
    "ca.key: the passphrase is wrong, or the file is damaged; give the right one",
    "ca.key: the key is encrypted and no passphrase was given; set mtls_ca_passphrase",
    "would lie inside the inventory folder …, and Ansible reads every file there as inventory",
    "pki: everybody on this machine may write to it, and so let in whom they like; run",
    "pki/.lock: permission denied; run as a user who may do this, or change the permissions",
    # Clients
    "client 'watch': days is 0; use 1 or more",
    "client 'watch': the p12_password is not ASCII, which Java reads otherwise; use ASCII only",
    "client 'watch': CSR …watch.csr: there is no such file on the controller; check the path",
    # Hosts
    "connect to host … port …: Connection refused",
    "sudo: a password is required",
    "/usr/bin/python9: not found",
    "port … is held by …",
    "nginx rejects this host's configuration as it is",
    "does not include …conf.d/mtls.conf: put the line",
    "does not belong to this certificate, so a certificate by the authority stands in",
    # What one run is told
    "Say what to revoke, with -e mtls_revoke=NAME",
    "'phon': the authority in … has no client, serial or fingerprint like this, … did you mean 'phone'?",
    "lost: certificate … is revoked already",
    "Say which step, with -e mtls_step=begin, issue, report or finish (it is start)",
    "host nas: say which service, with -e mtls_service=NAME; it has nas",
)

# What certbot or an ACME server refuses, by what it is to be told; tests/unit/…/test_acme_failure.py has what was said.
FROM_AN_ACME_SERVER = (
    "each name needs a DNS record (A or AAAA) that points to this host",
    "it must reach port 80 of each name: see the DNS records, the router and the firewall",
    "another server, or another server block, answers on port 80 there",
    "allow this ACME server in the CAA record of the domain",
    "wait as long as it says, since every attempt counts; to try things out, set directory_url to",
    "set another email in mtls_acme, or none",
    "if that is about certbot's account there, remove …, and run again",
    "this ACME server issues no certificate for such a name; see server_names",
    "see profile; the directory at that address lists the available ones under profiles",
    "register once on the host, with what the ACME server has given you",
    "certbot has several accounts there: remove all but one",
    "see the clock of this host, which says …; if it is right, the ACME server's own certificate is wrong",
    "if directory_url is right, have this host trust the CA of that ACME server",
    "see directory_url, and the name servers of this host",
    "see directory_url, and whether this host may connect to it",
    "no ACME server answers at that address; see directory_url",
    "make room on that disk, and run again",
)

# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The authority's directory: which file is where, and the ``openssl.cnf`` that makes it one of ``openssl ca``."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import NamedTuple

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import numbers
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.index import Index
from ansible_collections.mtls.nginx.plugins.module_utils.common import files
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError

_CONFIG = """\
# For `openssl ca -config openssl.cnf ...` by hand, run in this directory.
[ca]
default_ca = authority

[authority]
dir = .
certificate = $dir/ca.crt
private_key = $dir/ca.key
database = $dir/index.txt
serial = $dir/serial
{rand_serial}new_certs_dir = $dir/newcerts
crlnumber = $dir/crlnumber
crl = $dir/crl.pem
crl_extensions = crl
x509_extensions = client
default_md = sha256
default_days = 365
default_crl_days = {crl_days}
policy = any
preserve = yes
email_in_dn = yes
unique_subject = no
copy_extensions = none
utf8 = yes
string_mask = utf8only
name_opt = RFC2253
cert_opt = ca_default

[any]
countryName = optional
stateOrProvinceName = optional
localityName = optional
organizationName = optional
organizationalUnitName = optional
commonName = supplied
emailAddress = optional
surname = optional
givenName = optional
initials = optional
title = optional
pseudonym = optional
serialNumber = optional
streetAddress = optional
postalCode = optional
dnQualifier = optional
organizationIdentifier = optional
UID = optional
DC = optional

# What mtls.nginx.client_cert issues; also `-extensions client`, the default.
[client]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid

# What mtls.nginx.server_cert issues: `-extensions server`, after the server's names were added here as
# subjectAltName = DNS:nas.example.com
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid

# An authority below this one, as mtls.nginx.ca_init with `parent` makes it: `-extensions intermediate`.
[intermediate]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid

[crl]
authorityKeyIdentifier = keyid

# For `openssl req -config openssl.cnf -new ...` by hand.
[req]
distinguished_name = request
string_mask = utf8only
utf8 = yes

[request]
commonName = Name of the client
"""
ESSENTIAL = ("index.txt", "serial", "crlnumber", "newcerts")  # nothing can be issued or revoked without
_RENEWABLE = "unique_subject = no\n"  # a renewed certificate has the subject of the one it follows


@dataclass(frozen=True)
class Layout:
    """The pinned paths below an authority's directory."""

    path: str

    def file(self, name: str) -> str:
        """Return the path of a file directly in the directory."""
        return os.path.join(self.path, name)

    certificate = property(lambda self: self.file("ca.crt"))
    key = property(lambda self: self.file("ca.key"))
    request = property(lambda self: self.file("ca.csr"))
    index = property(lambda self: self.file("index.txt"))
    attributes = property(lambda self: self.file("index.txt.attr"))
    serial = property(lambda self: self.file("serial"))
    crl_number = property(lambda self: self.file("crlnumber"))
    crl = property(lambda self: self.file("crl.pem"))
    config = property(lambda self: self.file("openssl.cnf"))
    issued = property(lambda self: self.file("newcerts"))
    clients = property(lambda self: self.file("clients"))
    servers = property(lambda self: self.file("servers"))
    lock = property(lambda self: self.file(".lock"))
    settled = property(lambda self: self.file(".settled"))
    trusted = property(lambda self: self.file("trusted.json"))

    def is_trusted(self) -> bool:
        """Tell whether the directory is that of an external CA: trust.py marks it."""
        return os.path.exists(self.trusted)

    def issued_certificate(self, serial: str) -> str:
        """Return the path of an issued certificate."""
        return os.path.join(self.issued, f"{serial}.pem")

    def server(self, host: str, name: str) -> str:
        """Return ``servers/<host>/<name>``: the path of a service's certificate and key, without their endings."""
        return os.path.join(self.servers, host, name)

    def holders(self) -> list[str]:
        """Return the directories in which keys and certificates of clients and servers are, and those above them."""
        found = []
        for directory in (self.clients, self.servers):
            if os.path.isdir(directory):
                with os.scandir(directory) as entries:
                    found += [directory, *(entry.path for entry in entries if entry.is_dir(follow_symlinks=False))]
        return found


def check_path(path: str) -> None:
    """Raise MtlsError for a text that cannot be a path."""
    try:
        possible = path and b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        possible = False
    if not possible:
        raise MtlsError(f"{path!r}: cannot be the authority's directory; correct the path")


def absent(path: str) -> MtlsError:
    """Return what there is to say where no authority is: it may never have been made, or got lost, or be elsewhere."""
    return MtlsError(
        f"{path}: there is no authority (ca.crt is missing); if there was one, restore that directory, or correct "
        "mtls_ca_dir; a new one is made by mtls.nginx.ca_init, as site.yml runs it"
    )


def missing(layout: Layout) -> list[str]:
    """Return the names of what ``complete`` would add or change, in order."""
    names = ["newcerts", "clients", "servers", "openssl.cnf", "serial", "crlnumber", "index.txt"]
    absent = [name for name in names if not os.path.exists(layout.file(name))]
    if not allows_renewals(layout):
        absent.append("index.txt.attr")
    return absent


def complete(layout: Layout, crl_days: int) -> list[str]:
    """Add what an authority's directory lacks and return the names; files that exist stay as they are.

    ``unique_subject = yes`` in index.txt.attr is the exception: with it ``openssl ca`` refuses the whole index
    as soon as one certificate was renewed.

    :raises MtlsError: index.txt is gone from a directory that had one.
    """
    absent = missing(layout)
    check_not_lost(layout)
    for name in ("newcerts", "clients", "servers"):
        files.make_directory(layout.file(name), 0o700)
    if "index.txt" in absent:
        files.write_file(layout.index, b"", 0o600)
    if "serial" in absent:
        numbers.write_number(layout.serial, _next_serial(Index.load(layout.index)))
    if "openssl.cnf" in absent:
        sequential = numbers.is_sequential(numbers.read_number(layout.serial))
        config = _CONFIG.format(rand_serial="" if sequential else "rand_serial = yes\n", crl_days=crl_days)
        files.write_file(layout.config, config.encode(), 0o600)
    if "crlnumber" in absent:
        numbers.write_number(layout.crl_number, 1)
    allow_renewals(layout)
    return absent


def check_not_lost(layout: Layout) -> None:
    """Raise MtlsError when index.txt is missing but other files say that it was there."""
    if os.path.exists(layout.index):
        return
    issued = os.path.isdir(layout.issued) and bool(os.listdir(layout.issued))
    witnesses = [path for path in (layout.crl, layout.attributes, layout.crl_number) if os.path.exists(path)]
    if issued or witnesses:
        witness = layout.issued if issued else witnesses[0]
        raise MtlsError(
            f"{layout.index}: is missing, although {os.path.basename(witness)} shows that there was one; "
            "restore it from a backup, or nobody knows what was revoked"
        )


def allows_renewals(layout: Layout) -> bool:
    """Tell whether index.txt.attr lets two valid certificates share a subject."""
    content = files.read_if_there(layout.attributes) or b""
    return re.search(rb"^\s*unique_subject\s*=\s*no\b", content, re.MULTILINE) is not None


def allow_renewals(layout: Layout) -> None:
    """Make ``allows_renewals`` true."""
    if not allows_renewals(layout):
        files.write_file(layout.attributes, _RENEWABLE.encode(), 0o600)


def _next_serial(index: Index) -> int:
    largest = max((int(serial, 16) for serial in index), default=None)
    if largest is None or not numbers.is_sequential(largest):
        return numbers.random_serial()
    return largest + 1


class ClientFiles(NamedTuple):
    """The paths of a client's files."""

    directory: str
    name: str
    stem: str  # of each path: what is before its ending

    def path(self, ending: str) -> str:
        """Return ``<directory>/<name><ending>``."""
        return self.stem + ending

    @classmethod
    def of(cls, clients_directory: str, name: str) -> ClientFiles:
        """Return the paths of the client ``name``."""
        directory = f"{clients_directory}/{name}"
        return cls(directory, name, f"{directory}/{name}")

    @property
    def certificate(self) -> str:
        """The current certificate."""
        return self.stem + ".crt"

    @property
    def key(self) -> str:
        """The private key, mode 0600."""
        return self.stem + ".key"

    @property
    def csr(self) -> str:
        """A copy of the CSR, for a client whose key never left the device."""
        return self.stem + ".csr"

    @property
    def p12(self) -> str:
        """Key, certificate and chain in one file."""
        return self.stem + ".p12"

    @property
    def password(self) -> str:
        """The generated password of the .p12, mode 0600."""
        return self.stem + ".p12.password"

    @property
    def mobileconfig(self) -> str:
        """The Apple profile with the .p12 in it."""
        return self.stem + ".mobileconfig"

    @property
    def pem(self) -> str:
        """Certificate and private key in one file, mode 0600."""
        return self.stem + ".pem"

    def archived_certificates(self) -> list[str]:
        """Return the files of earlier certificates with other subjects: ``<name>-<SERIAL>.crt``."""
        if not os.path.isdir(self.directory):
            return []
        found = sorted(os.listdir(self.directory))
        return [
            os.path.join(self.directory, name)
            for name in found
            if name.startswith(f"{self.name}-") and name.endswith(".crt")
        ]

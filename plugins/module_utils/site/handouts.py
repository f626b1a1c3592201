# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Handouts: one page a client, which tells its holder how to install the certificate and what it opens.

A page follows from the template, the register and the services, and holds nothing else: no time, no secret. What each
was made of is remembered in ``clients/handouts.json``, so that an unchanged fleet costs a ``stat`` a page.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import typing as t
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

try:
    import jinja2
    import jinja2.sandbox
except ImportError:  # only on targets, where nothing is rendered
    pass

from ansible_collections.mtls.nginx.plugins.module_utils.ca.access import read_authority
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import keys, subjects
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.chains import read_certificates
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.layout import ClientFiles, Layout
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.register import Register
from ansible_collections.mtls.nginx.plugins.module_utils.common import files, times
from ansible_collections.mtls.nginx.plugins.module_utils.common.batch import Batch
from ansible_collections.mtls.nginx.plugins.module_utils.common.contact import Contact
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.common.parallel import spread

_MEMORY = "handouts.json"
_VERSION = 1
_STYLE = "page.css"
_FORESEEN = frozenset({"p12", "mobileconfig", "pem"})  # kinds of files of which client_cert's answer tells
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)


@dataclass(frozen=True)
class PageHolder:
    """A client with a valid certificate; ``not_after`` as in the register, ``files`` the kinds that it has there."""

    name: str
    not_after: str
    files: frozenset[str]


class Opened(t.NamedTuple):
    """A service that a client may enter; ``private_ca``: its server certificate is the authority's."""

    name: str
    links: tuple[str, ...]
    private_ca: bool


@dataclass(frozen=True)
class Page:
    """What one client's page is made of."""

    holder: PageHolder
    services: tuple[Opened, ...]
    renewal: tuple[str, ...] = ()  # addresses at which the next certificate can be fetched

    @property
    def summary(self) -> str:
        """One line for diff mode."""
        opened = ", ".join(service.name for service in self.services) or "nothing"
        return f"{self.holder.name}: page until {self.holder.not_after}, opens {opened}\n"


@dataclass
class PageChanges:
    """The clients whose pages were written or removed, or in check mode would be, and a summary of both sides."""

    written: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    before: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)


class Template:
    """The template of the pages: the collection's, or one of the user's that may include the collection's files.

    The ``contact`` is whom the pages name, None for nobody.

    :raises MtlsError: it cannot be read.
    """

    def __init__(self, own_dir: str, path: str | None, contact: Contact | None = None) -> None:
        self._contact = contact
        self._path = path or os.path.join(own_dir, "handout.html.j2")
        folder, name = os.path.split(self._path)
        environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
            loader=jinja2.FileSystemLoader([folder, own_dir]),
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            autoescape=True,  # names are anybody's text
        )
        try:
            with open(self._path, "rb") as stream, open(os.path.join(own_dir, _STYLE), "rb") as style:
                said = repr(contact).encode() if contact else b""
                self.digest = hashlib.sha256(stream.read() + style.read() + said).hexdigest()
        except OSError as error:
            raise self._unusable(error) from None
        self._environment, self._name = environment, name
        self._template: jinja2.Template  # by ``compile``

    def compile(self) -> None:
        """Make it ready for ``render``, which takes longer than looking at a thousand pages that are good.

        :raises MtlsError: it is not Jinja.
        """
        try:
            self._template = self._environment.get_template(self._name)
        except (OSError, UnicodeDecodeError, jinja2.TemplateError) as error:
            raise self._unusable(error) from None

    def _unusable(self, error: Exception) -> MtlsError:
        return MtlsError(f"{self._path}: cannot be used as template of the handouts: {error}")

    def render(self, page: Page, authority: str, key_type: str | None) -> bytes:
        """Return the page; ``key_type`` as in ``mtls_clients``, None for any other.

        :raises MtlsError: the template asks for what is not there, or breaks otherwise.
        """
        holder, name = page.holder, page.holder.name
        reachable = ((link, service) for service in page.services for link in service.links if "*" not in link)
        link, service = next(reachable, ("https://...", None))
        try:
            return self._template.render(
                name=name,
                authority=authority,
                contact=self._contact,
                until=_day(holder.not_after),
                services=page.services,
                renewal=page.renewal,
                private_ca=any(service.private_ca for service in page.services),
                p12="p12" in holder.files,
                mobileconfig="mobileconfig" in holder.files,
                csr="csr" in holder.files,
                key_type=key_type,
                pem="pem" in holder.files,
                curl_target=f"--cacert ca.crt {link}" if service and service.private_ca else link,
                p12_argument=_argument(f"{name}.p12"),
                pem_argument=_argument(f"{name}.pem"),
                crt_argument=_argument(f"{name}.crt"),
                key_argument=_argument(f"{name}.key"),
                pem_curl=_curl_argument(f"{name}.pem"),
                crt_curl=_curl_argument(f"{name}.crt"),
            ).encode()
        except Exception as error:  # whatever a template of the user's can do
            raise MtlsError(f"{self._path}: cannot be rendered for client {name!r}: {error}") from None


class Handouts:
    """The pages of one authority's clients; ``services`` as ``AuthorityPlan.as_options`` describes them."""

    def __init__(self, path: str, services: Sequence[Mapping[str, t.Any]], template: Template) -> None:
        self._layout = Layout(path)
        self._authority = _title(self._layout) if os.path.exists(self._layout.certificate) else None
        self._template = template
        self._services = _Services(services)
        self._memory_path = os.path.join(self._layout.clients, _MEMORY)
        self._memory = self._load_memory()

    def reconcile(
        self,
        *,
        wanted: bool,
        check: bool,
        foreseen: Sequence[Mapping[str, t.Any]] = (),
        revoked: Container[str] = (),
    ) -> PageChanges:
        """Write the pages that differ and remove those of clients without a valid certificate; all if not ``wanted``.

        ``foreseen`` is what client_cert said in check mode: what the register does not know yet. ``revoked`` are the
        serials of which the record does not know it yet.

        :raises MtlsError: the template, or a client's files, cannot be used.
        """
        register = Register.load(self._layout.path) if self._authority is not None else None
        names = set(register.names()) if register is not None else set()
        holders = self._holders(register, revoked) if wanted and register is not None else {}
        outcome = PageChanges()
        if wanted and check:
            _foresee(holders, foreseen, outcome)
        due = [page for page in self._pages(holders.values()) if not self._is_known(page)]
        if due or not holders:  # else a page was made of each of its parts
            self._template.compile()
        batch = Batch(self._layout.clients, len(due))
        made = spread(lambda page: self._make(page, None if check else batch), due, batch.commit)
        memory = {name: stamp for name, stamp in self._memory.items() if name in holders}
        for page, (changed, existed, stamp) in zip(due, made):
            name = page.holder.name
            if stamp is not None:
                memory[name] = stamp
            if changed:
                outcome.written.append(name)
                outcome.before.append(f"{name}: another page\n" if existed else f"{name}: no page\n")
                outcome.after.append(page.summary)
        for name in sorted(names - set(holders) - set(outcome.written)):
            path = self._page_path(name)
            if os.path.exists(path):
                outcome.removed.append(name)
                outcome.before.append(f"{name}: a page\n")
                outcome.after.append(f"{name}: no page\n")
                if not check:
                    files.remove_file(path)
        if not check and memory != self._memory:
            self._save_memory(memory)
        return outcome

    def _holders(self, register: Register, revoked: Container[str]) -> dict[str, PageHolder]:
        record, now = read_authority(self._layout.path).record, times.iso(times.now())
        holders = {}
        for name in register.names():
            entry = register.remembered(name)
            if entry is None or entry.not_after <= now or entry.serial in revoked:
                continue
            if record.is_valid(entry.serial):
                holders[name] = PageHolder(name, entry.not_after, frozenset(entry.files))
        return holders

    def _pages(self, holders: Iterable[PageHolder]) -> Iterable[Page]:
        for holder in holders:
            yield Page(holder, self._services.open_to(holder.name), self._services.renewal_of(holder.name))

    def _digest(self, page: Page) -> str:
        holder = page.holder
        kinds = sorted(holder.files & {"p12", "mobileconfig", "csr", "pem"})
        services = self._services.digest(page.services)
        said = [self._template.digest, self._authority, holder.name, holder.not_after, kinds, services, page.renewal]
        return _digest(said)

    def _is_known(self, page: Page) -> bool:
        remembered = self._memory.get(page.holder.name)
        return remembered is not None and remembered == self._stamp(page)

    def _stamp(self, page: Page, status: os.stat_result | None = None) -> list[t.Any] | None:
        status = status or files.status(self._page_path(page.holder.name))
        return None if status is None else [self._digest(page), status.st_size, status.st_mtime_ns]

    def _make(self, page: Page, batch: Batch | None) -> tuple[bool, bool, list[t.Any] | None]:
        """Put one page into the ``batch``, if it differs and there is one.

        Return whether it differs, whether there was one, and what to remember.
        """
        path = self._page_path(page.holder.name)
        if not os.path.isdir(os.path.dirname(path)):  # of a client that is not in the inventory any more
            return False, False, None
        key_type = self._key_type(page.holder.name)
        if key_type is None and batch is None:  # the certificate itself would be put back first
            return False, True, None
        content = self._template.render(page, self._authority or "", key_type)
        try:
            with open(path, "rb") as stream:
                before = stream.read()
        except FileNotFoundError:
            before = None
        written = batch.write(path, content, 0o644) if before != content and batch is not None else None
        return before != content, before is not None, self._stamp(page, written)

    def _key_type(self, name: str) -> str | None:
        """Return what kind of key a client has, None where its certificate is missing.

        With another key it has another certificate, and date, and page.
        """
        certificate = ClientFiles.of(self._layout.clients, name).certificate
        if not os.path.exists(certificate):
            return None
        return keys.key_type(read_certificates(certificate)[0].public_key())

    def _page_path(self, name: str) -> str:
        return os.path.join(self._layout.clients, name, f"{name}.html")

    def _load_memory(self) -> dict[str, list[t.Any]]:
        try:
            with open(self._memory_path, encoding="utf-8") as stream:
                content = json.load(stream)
            return dict(content["pages"]) if content["version"] == _VERSION else {}
        except (FileNotFoundError, ValueError, KeyError, TypeError, RecursionError):
            return {}

    def _save_memory(self, memory: dict[str, list[t.Any]]) -> None:
        if not memory:
            files.remove_file(self._memory_path)
            return
        text = json.dumps({"version": _VERSION, "pages": memory}, ensure_ascii=False, separators=(",", ":"))
        files.write_file(self._memory_path, text.encode(), 0o600)


class _Services:
    """Who may enter what, so that asking costs little: many clients may enter the same."""

    def __init__(self, services: Sequence[Mapping[str, t.Any]]) -> None:
        self._all = [Opened(each["name"], tuple(each["urls"]), each["issued_by_authority"]) for each in services]
        self._for_everybody = [number for number, each in enumerate(services) if each["allow"] is None]
        self._listed: dict[str, list[int]] = {}
        for number, each in enumerate(services):
            for name in each["allow"] or ():
                self._listed.setdefault(name, []).append(number)
        self._renewal = [
            (None if each["renewal_allow"] is None else frozenset(each["renewal_allow"]), each["renewal_urls"])
            for each in services
            if each.get("renewal_urls")
        ]
        self._opened: dict[tuple[int, ...], tuple[Opened, ...]] = {}
        self._digests: dict[tuple[Opened, ...], str] = {}

    def open_to(self, name: str) -> tuple[Opened, ...]:
        """Return what a client may enter, in the order of the inventory."""
        numbers = tuple(sorted(self._for_everybody + self._listed.get(name, [])))
        if numbers not in self._opened:
            self._opened[numbers] = tuple(self._all[number] for number in numbers)
        return self._opened[numbers]

    def renewal_of(self, name: str) -> tuple[str, ...]:
        """Return the addresses at which a client can fetch its next certificate."""
        found = [url for allow, urls in self._renewal if allow is None or name in allow for url in urls]
        return tuple(dict.fromkeys(found))

    def digest(self, opened: tuple[Opened, ...]) -> str:
        """Return the digest of what ``open_to`` returned."""
        if opened not in self._digests:
            self._digests[opened] = _digest(opened)
        return self._digests[opened]


def _digest(said: Sequence[t.Any]) -> str:
    return hashlib.blake2b(json.dumps(said).encode(), digest_size=16).hexdigest()


def _foresee(holders: dict[str, PageHolder], foreseen: Sequence[Mapping[str, t.Any]], outcome: PageChanges) -> None:
    """Bring ``holders`` to where they would be; whose certificate would be another is noted in ``outcome`` at once."""
    for client in foreseen:
        name, action = client["name"], client["action"]
        if action == "revoked":
            holders.pop(name, None)
        elif action in ("issued", "renewed"):
            existed = holders.pop(name, None) is not None
            outcome.written.append(name)
            outcome.before.append(f"{name}: another page\n" if existed else f"{name}: no page\n")
            outcome.after.append(f"{name}: page for the new certificate\n")
        elif action == "updated" and name in holders:
            kinds = set(holders[name].files) - _FORESEEN
            kinds.update(kind for kind in _FORESEEN if client[kind])
            holders[name] = PageHolder(name, holders[name].not_after, frozenset(kinds))


def _title(layout: Layout) -> str:
    """Return how people know the authority: the CN of its top, by which devices list it."""
    top = read_certificates(layout.certificate)[-1]
    return subjects.common_name_of_index_subject(subjects.index_subject(top.subject))


def _day(moment: str) -> str:
    end = times.from_iso(moment)
    return f"{end.day} {_MONTHS[end.month - 1]} {end.year}"


def _argument(name: str) -> str:
    """Return a file in the current folder as an argument for a shell, whatever its name."""
    return shlex.quote(name if not name.startswith("-") else f"./{name}")


def _curl_argument(name: str) -> str:
    """Return the same for curl's --cert, where a colon begins a password."""
    return _argument(name.replace("\\", "\\\\").replace(":", "\\:"))

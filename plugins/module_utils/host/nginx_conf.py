# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads nginx's configuration: directives with their position in the text, across all included files.

Whether a configuration is valid is for nginx to say. This reader answers what ``nginx -t`` does not: which file is
included where, what listens, what a directive's value is, and at which characters a path stands.
"""

from __future__ import annotations

import fnmatch
import glob
import itertools
import os.path
import re
import socket
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

MARKER = "# Managed by mtls.nginx"
_MARKER_LINES = 5
_DEEPEST_INCLUDE = 20

# ngx_conf_read_token() in nginx's src/core/ngx_conf_file.c: a bare word ends at white space, `;` or `{`, unless that
# brace belongs to a `${variable}`; a backslash keeps the next character in the word.
_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]+|\#[^\n]*)
      | (?P<quoted>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | (?P<mark>[;{}])
      | (?P<bare>(?!["'])(?:[^ \t\r\n;{\\$]+|\$\{?|\\.)+)""",
    re.DOTALL | re.VERBOSE,
)
_ESCAPE = re.compile(r"""\\(["'\\trn])""")
_ESCAPED = {"t": "\t", "r": "\r", "n": "\n"}
# Braces in Lua count, but not those in its strings and comments.
_LUA = re.compile(r"""--[^\n]*|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|[{}]""")


class ConfSyntaxError(ValueError):
    """The text is not an nginx configuration."""


class Token(NamedTuple):
    """A word: its value with quotes and escapes resolved, and its characters [start, end)."""

    value: str
    start: int
    end: int


class Directive(NamedTuple):
    """One directive. ``block`` has the directives between its braces, and is None if it ends with a semicolon.

    ``start`` is the character at which it begins.
    """

    name: str
    args: tuple[Token, ...]
    block: list[Directive] | None = None
    start: int = 0

    @property
    def values(self) -> list[str]:
        """Return the values of the arguments."""
        return [token.value for token in self.args]


def parse(text: str) -> list[Directive]:
    """Return the directives of one file's text.

    :raises ConfSyntaxError: with the line number.
    """
    top: list[Directive] = []
    blocks = [top]
    words: list[Token] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise ConfSyntaxError(f"unreadable text in line {_line(text, position)}")
        position = match.end()
        kind = match.lastgroup
        if kind == "space":
            continue
        if kind != "mark":
            raw = match.group()[1:-1] if kind == "quoted" else match.group()
            words.append(Token(_unescape(raw), match.start(), match.end()))
            continue
        mark = match.group()
        if mark == "}":
            if words or len(blocks) == 1:
                raise ConfSyntaxError(f"unexpected }} in line {_line(text, match.start())}")
            blocks.pop()
            continue
        if not words:
            raise ConfSyntaxError(f"unexpected {mark} in line {_line(text, match.start())}")
        block: list[Directive] | None = [] if mark == "{" else None
        blocks[-1].append(Directive(words[0].value, tuple(words[1:]), block, words[0].start))
        if block is not None:
            if words[0].value.endswith("_by_lua_block"):
                position = _end_of_lua(text, position)
            else:
                blocks.append(block)
        words = []
    if words or len(blocks) > 1:
        raise ConfSyntaxError("unexpected end of file: a ; or } is missing")
    return top


def is_managed(content: bytes) -> bool:
    """Tell whether a configuration file has our marker in its first lines."""
    head = content.split(b"\n", _MARKER_LINES)[:_MARKER_LINES]
    return any(line.strip().startswith(MARKER.encode()) for line in head)


class ConfFile(NamedTuple):
    """A file of the configuration, under the name by which nginx opens it.

    ``error`` says why it could not be parsed.
    """

    path: str
    text: str
    directives: list[Directive]
    error: str | None = None

    @property
    def managed(self) -> bool:
        """Tell whether the file has our marker."""
        return is_managed(self.text.encode("utf-8", "surrogateescape"))


class Statement(NamedTuple):
    """A directive where it takes effect: in ``context``, for example ("http", "server"), written in ``file``.

    ``server`` is the number of the server block around it, None outside of any.
    """

    directive: Directive
    context: tuple[str, ...]
    file: ConfFile
    server: int | None = None

    @property
    def place(self) -> str:
        """Return file and line, in words."""
        return f"{self.file.path}, line {_line(self.file.text, self.directive.start)}"

    @property
    def managed(self) -> bool:
        """Tell whether we wrote it: it is in a file of ours, or our marker ends its line."""
        if self.file.managed or not self.directive.args:
            return self.file.managed
        rest_of_line = self.file.text[self.directive.args[-1].end :].partition("\n")[0]
        return MARKER in rest_of_line


class Configuration(NamedTuple):
    """A main configuration file with everything it includes.

    ``included`` names for each included file the contexts in which that happens. The folder of the main file is where
    relative includes start (measured: not the folder of the including file).
    """

    conf_path: str
    files: dict[str, ConfFile]
    statements: list[Statement]
    included: dict[str, list[tuple[str, ...]]]

    @property
    def conf_dir(self) -> str:
        """Return the folder of the main file."""
        return os.path.dirname(self.conf_path)

    @property
    def main(self) -> ConfFile:
        """Return the main file."""
        return self.files[self.conf_path]

    def find(self, name: str, context: tuple[str, ...] | None = None) -> Iterator[Statement]:
        """Yield the statements of one directive, anywhere or in one context."""
        for statement in self.statements:
            if statement.directive.name == name and context in (None, statement.context):
                yield statement

    def own_value(self, name: str, context: tuple[str, ...]) -> str | None:
        """Return a directive's arguments as the host's own files set it in a context, not those we wrote; or None."""
        for statement in self.find(name, context):
            if not statement.managed:
                return " ".join(statement.directive.values)
        return None


def load(
    conf_path: str, overlay: Mapping[str, bytes | None] | None = None, *, main_context_only: bool = False
) -> Configuration:
    """Read a configuration as it would be with the files of ``overlay`` in place (None: without that file).

    With ``main_context_only`` nothing inside a block is looked at, and no file that is included there. Included files
    that cannot be read or parsed are kept with their ``error``: nginx will report them.

    :raises OSError: the main file cannot be read.
    """
    return _Loader(conf_path, overlay or {}, main_context_only).load()


def not_included(configuration: Configuration, paths: Iterable[str]) -> list[str]:
    """Return those of these files in ``conf.d`` that the ``http`` block does not include, so that nginx ignores them.

    None where the main file cannot be parsed: nginx itself says that better.
    """
    if configuration.main.error:
        return []
    folder = os.path.join(configuration.conf_dir, "conf.d")
    return [
        path
        for path in paths
        if os.path.dirname(path) == folder
        and path.endswith(".conf")
        and ("http",) not in configuration.included.get(path, ())
    ]


class _Loader:
    def __init__(self, conf_path: str, overlay: Mapping[str, bytes | None], main_context_only: bool) -> None:
        self._configuration = Configuration(conf_path, {}, [], {})
        self._overlay = overlay
        self._main_context_only = main_context_only
        self._servers = itertools.count()

    def load(self) -> Configuration:
        main = self._parse(self._configuration.conf_path, self._read(self._configuration.conf_path))
        self._walk(main, main.directives, (), 0, None)
        return self._configuration

    def _read(self, path: str) -> bytes:
        content = self._overlay.get(path)
        if content is not None:
            return content
        with open(path, "rb") as handle:
            return handle.read()

    def _parse(self, path: str, content: bytes) -> ConfFile:
        text = content.decode("utf-8", "surrogateescape")
        try:
            file = ConfFile(path, text, parse(text))
        except ConfSyntaxError as error:
            file = ConfFile(path, text, [], str(error))
        self._configuration.files[path] = file
        return file

    def _walk(
        self,
        file: ConfFile,
        directives: Iterable[Directive],
        context: tuple[str, ...],
        depth: int,
        server: int | None,
    ) -> None:
        for directive in directives:
            self._configuration.statements.append(Statement(directive, context, file, server))
            if directive.name == "include" and len(directive.args) == 1 and depth < _DEEPEST_INCLUDE:
                for path in self._expand(directive.args[0].value):
                    self._include(path, context, depth + 1, server)
            elif directive.block and not self._main_context_only:
                inside = next(self._servers) if directive.name == "server" and server is None else server
                self._walk(file, directive.block, (*context, directive.name), depth, inside)

    def _include(self, path: str, context: tuple[str, ...], depth: int, server: int | None) -> None:
        file = self._configuration.files.get(path)
        if file is None:
            try:
                file = self._parse(path, self._read(path))
            except OSError:
                return
        self._configuration.included.setdefault(path, []).append(context)
        self._walk(file, file.directives, context, depth, server)

    def _expand(self, pattern: str) -> list[str]:
        """Return the files that ``include`` names, in nginx's order; as in glob(3), ``*`` matches no leading dot."""
        pattern = os.path.join(self._configuration.conf_dir, pattern)
        if not glob.has_magic(pattern):
            return [pattern]
        found = {path for path in glob.glob(pattern) if path not in self._overlay}
        found.update(
            path for path, content in self._overlay.items() if content is not None and _glob_matches(path, pattern)
        )
        return sorted(found)


def _glob_matches(path: str, pattern: str) -> bool:
    names, patterns = path.split("/"), pattern.split("/")
    return len(names) == len(patterns) and all(
        fnmatch.fnmatchcase(name, part) and (not name.startswith(".") or part.startswith("."))
        for name, part in zip(names, patterns)
    )


def edit(text: str, edits: Iterable[tuple[int, int, str]]) -> str:
    """Return the text with the characters [start, end) replaced, for each of the edits (which must not overlap)."""
    pieces, position = [], 0
    for start, end, replacement in sorted(edits):
        pieces += [text[position:start], replacement]
        position = end
    return "".join([*pieces, text[position:]])


class ListenSocket(NamedTuple):
    """A TCP socket that a ``listen`` directive asks for; ``host`` is empty for every address of its family."""

    host: str
    port: int
    ipv6: bool
    ipv6_only: bool
    file: str

    def __str__(self) -> str:
        host = self.host or ("::" if self.ipv6 else "0.0.0.0")
        return f"[{host}]:{self.port}" if self.ipv6 else f"{host}:{self.port}"


def listens(configuration: Configuration) -> list[ListenSocket]:
    """Return the TCP sockets that a configuration opens, except those given by name, port range or unix path."""
    found: dict[str, ListenSocket] = {}
    for statement in configuration.find("listen"):
        listen = listen_socket(statement)
        if listen is None:
            continue
        known = found.setdefault(str(listen), listen)
        if known.ipv6_only and not listen.ipv6_only:  # one block says it for all that share the socket
            found[str(listen)] = listen
    return list(found.values())


def own_ports(configuration: Configuration) -> list[int] | None:
    """Return the TCP ports on which server blocks that we did not write listen, a block with a snippet of ours too.

    None where a ``listen`` says something else than an address and a port, or a file cannot be parsed.
    """
    if any(file.error for file in configuration.files.values()):
        return None
    ports = set()
    for statement in configuration.find("listen", ("http", "server")):
        if statement.managed or {"quic", "udp"} & set(statement.directive.values):
            continue
        listen = listen_socket(statement)
        if listen is not None:
            ports.add(listen.port)
        elif not "".join(statement.directive.values[:1]).startswith("unix:"):
            return None
    return sorted(ports)


def has_overlaps(configuration: Configuration) -> bool:
    """Tell whether something listens on every address of a port, and something on a single one."""
    # Each only once: many services share a few sockets, and this is looked at on each run.
    values = {each.directive.args[0].value for each in configuration.find("listen") if each.directive.args}
    sockets = filter(None, (_listen(value, True, "") for value in values))
    found = {(listen.port, listen.ipv6, bool(listen.host)) for listen in sockets}
    return any((port, ipv6, not narrow) in found for port, ipv6, narrow in found)


def listen_socket(statement: Statement) -> ListenSocket | None:
    """Return the TCP socket of one ``listen`` directive; None for what ``listens`` leaves out."""
    values = statement.directive.values
    if len(statement.context) != 2 or statement.context[1] != "server" or not values:
        return None
    if "quic" in values[1:] or "udp" in values[1:]:
        return None
    return _listen(values[0], "ipv6only=off" not in values[1:], statement.file.path)


def _listen(address: str, ipv6_only: bool, file: str) -> ListenSocket | None:
    match = re.fullmatch(r"\[(?P<six>[0-9A-Fa-f:.]+)\](?::(?P<six_port>\d+))?", address)
    if match:
        try:
            host = socket.inet_ntop(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, match["six"]))
        except OSError:
            return None  # nginx says so
        host = "" if host == "::" else host
        return ListenSocket(host, int(match["six_port"] or 80), True, ipv6_only, file)
    match = re.fullmatch(r"(?:(?P<host>\*|\d+\.\d+\.\d+\.\d+)(?::(?P<port>\d+))?|(?P<alone>\d+))", address)
    if match is None:
        return None
    host = match["host"] if match["host"] not in (None, "*", "0.0.0.0") else ""
    return ListenSocket(host, int(match["port"] or match["alone"] or 80), False, False, file)


def _unescape(raw: str) -> str:
    return _ESCAPE.sub(lambda match: _ESCAPED.get(match[1], match[1]), raw) if "\\" in raw else raw


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def _end_of_lua(text: str, position: int) -> int:
    depth = 1
    for match in _LUA.finditer(text, position):
        depth += {"{": 1, "}": -1}.get(match.group(), 0)
        if depth == 0:
            return match.end()
    raise ConfSyntaxError(f"the Lua block that begins in line {_line(text, position)} does not end")


_BEFORE_ESCAPED = re.compile(r"""\\(?=[\\"'trn]|\Z)""")


def nginx_quote(text: str) -> str:
    """Return ``text`` as a quoted string of nginx's configuration language (nginx fact 1.4).

    Only for places where nginx does not expand variables, such as the keys of a map. A backslash is doubled only where
    nginx would take it for part of an escape, so that programs that know no escapes read regular expressions too.
    """
    escaped = _BEFORE_ESCAPED.sub(r"\\\\", text).replace('"', '\\"')
    return f'"{escaped}"'


def literal_key(text: str) -> str:
    """Return the key of a ``map`` that stands for ``text`` itself, also where that is a word of nginx's (fact 1.4)."""
    return f"\\{text}" if text in ("default", "include") else text

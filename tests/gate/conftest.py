# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the gate suite: which nginx, which TLS version, the authority, a host, an upstream."""

from __future__ import annotations

import itertools
import random

import pytest

from . import nginxes, pki
from .app import App
from .client import VERSIONS
from .host import Host
from .upstream import Upstream


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--nginx",
        default=nginxes.INSTALLED,
        metavar="NAMES",
        help="the nginx builds of tests/gate: 'all', or some of installed, bullseye, bookworm, trixie, sid, mainline,"
        " separated by commas (default: installed)",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "build" in metafunc.fixturenames:
        try:
            names = nginxes.names(metafunc.config.getoption("--nginx"))
        except ValueError as error:
            raise pytest.UsageError(str(error)) from error
        metafunc.parametrize("build", names, indirect=True, scope="session")
    if "tls" in metafunc.fixturenames:
        metafunc.parametrize("tls", list(VERSIONS))


@pytest.fixture(scope="session")
def build(request):
    """The nginx under test."""
    try:
        return nginxes.build(request.param)
    except nginxes.NotAvailable as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def geo(build):
    """For what exempts networks, or has a proxy in front: nginx knows neither without that module."""
    if not build.has_geo:
        pytest.skip(f"{build} is built without geo, and refuses the configuration")


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    """Our authority."""
    return pki.Authority(tmp_path_factory.mktemp("authority") / "pki", "Acme Root CA")


@pytest.fixture(scope="session")
def other_authority(tmp_path_factory):
    """Another department's: good for its own services, for nothing here."""
    return pki.Authority(tmp_path_factory.mktemp("authority") / "pki", "Other Root CA")


@pytest.fixture(scope="session")
def server_certificate(authority):
    return authority.server("nas.test", "files.test", "127.0.0.1")


@pytest.fixture(scope="session")
def upstream():
    made = Upstream()
    yield made
    made.stop()


@pytest.fixture(scope="session")
def running_app():
    made = App()
    yield made
    made.stop()


@pytest.fixture
def app(running_app):
    """The application, with nothing on its mind."""
    running_app.take()
    return running_app


@pytest.fixture
def upstream_heads(upstream):
    """The upstream, with nothing on its mind."""
    upstream.take()
    yield upstream
    upstream.elsewhere = ""


_octets = itertools.count(random.randrange(1 << 20))


@pytest.fixture
def address():
    """A loopback address of its own, since port 80 is one."""
    number = next(_octets)
    return f"127.{64 + number % 128}.{number // 128 % 256}.{1 + number // 32768 % 250}"


def _hosts(build, tmp_path_factory, server_certificate, upstream):
    made = []

    def host(**words: str) -> Host:
        new = Host(build, tmp_path_factory.mktemp("nginx"), UPSTREAM=upstream.url, **words)
        new.serve_as(server_certificate)
        made.append(new)
        return new

    yield host
    for one in made:
        one.stop()


@pytest.fixture(scope="module")
def module_host(build, tmp_path_factory, server_certificate, upstream):
    """Makes hosts that live as long as the tests of one file."""
    yield from _hosts(build, tmp_path_factory, server_certificate, upstream)


@pytest.fixture
def new_host(build, tmp_path_factory, server_certificate, upstream):
    """Makes hosts for one test."""
    yield from _hosts(build, tmp_path_factory, server_certificate, upstream)

# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever a host answers: harmless values of the right types, or one line that names the host."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.mtls.nginx.plugins.module_utils.site import answers
from ansible_collections.mtls.nginx.tests.unit.fuzz.hostile import NUMBERS, TEXTS, VALUES, message_of

SPECS = {
    "nginx_facts": answers.NGINX_FACTS,
    "nginx_glance": answers.NGINX_GLANCE,
    "nginx_config": answers.NGINX_CONFIG,
    "nginx_gate": answers.NGINX_GATE,
    "nginx_acme": answers.NGINX_ACME,
    "nginx_crl_fetch": answers.NGINX_CRL_FETCH,
    "nginx_crls": answers.NGINX_CRLS,
    "access_log": answers.ACCESS_LOG,
    "live": answers.LIVE,
    "setup": answers.PACKAGE_MANAGER,
}
ANYTHING = st.one_of(VALUES, st.floats(), TEXTS, NUMBERS)
FITTING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(0, 2**40),
    st.sampled_from(
        ["1.22.1", "/etc/nginx/nginx.conf", "0" * 64, f"0644 {'f' * 64}", "created", "2026-11-23T14:39:00Z"]
    ),
)


def shaped(spec: answers.Spec) -> st.SearchStrategy:
    """Answers that look like those of the module, with something else here and there."""
    if isinstance(spec, answers.Fields):
        inner = st.fixed_dictionaries({name: shaped(each) for name, each in spec.fields.items()})
    elif isinstance(spec, answers.Maybe):
        inner = st.one_of(st.none(), shaped(spec.spec))
    elif isinstance(spec, answers.Each):
        inner = st.lists(shaped(spec.spec), max_size=3)
    elif isinstance(spec, answers.Table):
        inner = st.dictionaries(st.one_of(FITTING, TEXTS), shaped(spec.spec), max_size=3)
    else:
        inner = FITTING
    return st.one_of(inner, inner, inner, ANYTHING)


def all_text(value: object, name: str = "") -> list[tuple[str, str]]:
    """The texts in a value, each with the name that it goes by."""
    if isinstance(value, dict):
        return [pair for key, item in value.items() for pair in ((name, key), *all_text(item, key))]
    if isinstance(value, list):
        return [pair for item in value for pair in all_text(item, name)]
    return [(name, value)] if isinstance(value, str) else []


def _strange(name: str, text: str) -> bool:
    lines = name in ("before", "after", "msg", "module_stdout", "module_stderr")
    return not (text.replace("\n", "").replace("\t", "") if lines else text).isprintable()


@given(st.data())
def test_an_answer_is_read_or_refused_by_host(data):
    module = data.draw(st.sampled_from(sorted(SPECS)))
    answer = data.draw(shaped(SPECS[module]))
    if isinstance(answer, dict):
        answer |= data.draw(st.dictionaries(st.sampled_from(["failed", "msg", "rc", "ansible_facts"]), ANYTHING))
    found: list[dict] = []
    said = message_of(lambda: found.append(answers.read("nas", module, SPECS[module], answer)))
    if said is not None:
        assert said.startswith(f"host nas: its answer to {module} cannot be trusted: ")
        assert said.isprintable()
        return
    assert not [pair for pair in all_text(found[0]) if _strange(*pair)]
    assert "ansible_facts" not in found[0] or module == "setup"
    assert set(found[0]) <= {*SPECS[module].fields, "failed", "changed", "msg", "rc", "module_stdout", "module_stderr"}
    json.dumps(found[0], allow_nan=False).encode()
    # What was read once is read again the same way.
    if not found[0].get("failed"):
        assert answers.read("nas", module, SPECS[module], found[0]) == found[0]


@given(st.text(st.characters(), max_size=300), st.booleans())
def test_text_for_people_is_harmless_and_reads_the_same_again(text, lines):
    shown = answers.printable(text, lines=lines)
    assert not _strange("msg" if lines else "", shown)
    assert answers.printable(shown, lines=lines) == shown
    shown.encode()

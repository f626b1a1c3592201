# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is asked for again, how often, and what answers of two kinds mean. With a real nginx: test_broken_services.py."""

from __future__ import annotations

import threading
from collections import Counter

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.common import probe
from ansible_collections.mtls.nginx.plugins.module_utils.site import stale_workers
from ansible_collections.mtls.nginx.plugins.module_utils.site.stale_workers import Question

LOST = probe.Attempt("client 'lost', who is revoked,", 400, "/lost.crt", "/lost.key")
GUEST = probe.Attempt("client 'guest', who is not on the allow list,", 403, "/guest.crt", "/guest.key")
OTHERS = [
    probe.Attempt("nobody", 400),
    probe.Attempt("client 'phone'", 204, "/phone.crt", "/phone.key"),
    probe.Attempt("client 'tv', whose certificate is good,", None, "/tv.crt", "/tv.key"),
    probe.Attempt("somebody with the name of 'phone'", 400, "/forged"),
]


def asked(service, *attempts, port=443):
    target = probe.Target("192.0.2.1", port, f"{service}.lan")
    return [
        (Question(service, target, attempt), probe.ProbeOutcome(attempt, attempt.expect or 204)) for attempt in attempts
    ]


@pytest.fixture
def answers(monkeypatch):
    """What is asked, as (server name, who); `said` gives the answer by its number. Real requests are made elsewhere."""

    class Answers:
        said = staticmethod(lambda _number, attempt: attempt.expect)

        def __init__(self):
            self.asked, self._lock = [], threading.Lock()

        def ask(self, target, attempt):
            with self._lock:
                self.asked.append((target.server_name, attempt.who))
                number = len(self.asked)
            return probe.ProbeOutcome(attempt, self.said(number, attempt))

    made = Answers()
    monkeypatch.setattr(probe, "ask", made.ask)
    return made


def test_those_who_must_be_refused_are_asked_for_again_and_nobody_else(answers):
    first = asked("nas", *OTHERS, LOST, GUEST) + asked("tv", *OTHERS, LOST, GUEST, port=8443)
    assert stale_workers.ask_again(first) == []
    counted = Counter(answers.asked)
    assert set(counted) == {("nas.lan", LOST.who), ("nas.lan", GUEST.who), ("tv.lan", GUEST.who)}
    assert sum(counted.values()) == 64
    assert max(counted.values()) - min(counted.values()) <= 1


def test_with_nobody_to_be_refused_nothing_is_asked(answers):
    assert stale_workers.ask_again(asked("nas", *OTHERS)) == []
    assert answers.asked == []


def test_one_wrong_answer_in_many_is_enough(answers):
    answers.said = lambda number, attempt: 204 if number == 50 else attempt.expect
    (found,) = stale_workers.ask_again(asked("nas", LOST))
    assert (found.wrong, found.asked, found.outcome.status) == (1, 65, 204)
    assert found.words.startswith("service nas: client 'lost', who is revoked, got 204 instead of 400 1 of 65 times: ")


def test_the_first_answer_counts_too(answers):
    ((question, _outcome),) = asked("nas", LOST)
    (found,) = stale_workers.ask_again([(question, probe.ProbeOutcome(LOST, 204))])
    assert (found.wrong, found.asked) == (1, 65)
    # Wrong each time: no sign of a second set of workers.
    answers.said = lambda _number, _attempt: 204
    assert stale_workers.ask_again([(question, probe.ProbeOutcome(LOST, 204))]) == []


def test_no_answer_is_no_wrong_answer(answers):
    answers.said = lambda _number, _attempt: None
    assert stale_workers.ask_again(asked("nas", LOST)) == []

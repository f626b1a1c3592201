# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Workers of nginx that a reload has not reached, found by asking often enough that each set of workers answers.

A host looks for them itself (``nginx_process.strangers``), but may not see all processes. One request proves little:
with an idle nginx, dozens of connections one after another go to the same worker (epoll wakes the first that waits).
While workers are busy with handshakes, others accept. Measured with a binary upgrade, nginx 1.22.1 and 2 processors:
of 64 requests, eight at a time, both masters' workers answered some in 12 of 12 trials with 1 to 8 workers each.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle, islice

from ansible_collections.mtls.nginx.plugins.module_utils.common import probe

_REQUESTS = 64  # to a host, whatever the number of its services: they share their workers
_AT_ONCE = 8
_REFUSED = (probe.NO_OR_BAD_CERTIFICATE, probe.NOT_ON_THE_LIST)


@dataclass(frozen=True)
class Question:
    """An attempt at a service."""

    service: str
    target: probe.Target
    attempt: probe.Attempt


@dataclass(frozen=True)
class Stale:
    """A question that some workers, and not others, answer as they must not; ``wrong`` of ``asked`` times."""

    question: Question
    outcome: probe.ProbeOutcome
    wrong: int
    asked: int

    @property
    def words(self) -> str:
        """Return what was seen, and what to do."""
        return (
            f"service {self.question.service}: {self.outcome.attempt.who} got {self.outcome.got} instead of"
            f" {self.outcome.expected} {self.wrong} of {self.asked} times: some of nginx's worker processes still have"
            " an older configuration. Look for a second master process ('ps -ef | grep nginx:', and in containers that"
            " share the port), end it with 'kill -QUIT PID', and run again"
        )


def ask_again(answered: Iterable[tuple[Question, probe.ProbeOutcome]]) -> list[Stale]:
    """Ask again, many times, those who must be refused; return what is answered now one way and now the other.

    ``answered`` are the questions with their first answers. A revocation is asked about at one service, since it counts
    for all. What gets no answer says nothing here.
    """
    suspects = _suspects(answered)
    if not suspects:
        return []
    asked = list(islice(cycle(suspects), max(_REQUESTS, len(suspects))))
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        outcomes = list(pool.map(lambda question: probe.ask(question.target, question.attempt), asked))
    answers: dict[Question, list[probe.ProbeOutcome]] = {question: [first] for question, first in suspects.items()}
    for question, outcome in zip(asked, outcomes, strict=True):
        answers[question].append(outcome)
    found = []
    for question, said in answers.items():
        wrong = [outcome for outcome in said if outcome.status is not None and not outcome.ok]
        if wrong and any(outcome.ok for outcome in said):
            found.append(Stale(question, wrong[0], len(wrong), len(said)))
    return found


def _suspects(answered: Iterable[tuple[Question, probe.ProbeOutcome]]) -> dict[Question, probe.ProbeOutcome]:
    """Return whom an older configuration may let in: holders of certificates of ours who must be refused."""
    found: dict[object, tuple[Question, probe.ProbeOutcome]] = {}
    for question, outcome in answered:
        attempt = question.attempt
        if attempt.key is None or attempt.expect not in _REFUSED:
            continue
        revoked = attempt.expect == probe.NO_OR_BAD_CERTIFICATE
        key = attempt.certificate if revoked else (question.service, attempt.certificate)
        found.setdefault(key, (question, outcome))
    return dict(found.values())

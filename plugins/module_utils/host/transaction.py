# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One host's change as one transaction: compare, stage, check, swap, ``nginx -t``, reload, test request.

If anything fails, the files are what they were, byte for byte, and nginx serves with them.
"""

from __future__ import annotations

import hashlib
import os
import re
import signal
import threading
import time
import types
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.mtls.nginx.plugins.module_utils.common import entry, files
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.host import (
    addresses,
    certbot_lines,
    closing,
    comparison,
    crl_place,
    handover,
    logrotate,
    nginx_conf,
    nginx_stage,
    nginx_unit,
    overlaps,
    ports,
    sessions,
    shutdown,
    survey,
    swap,
)
from ansible_collections.mtls.nginx.plugins.module_utils.host.comparison import FileChange
from ansible_collections.mtls.nginx.plugins.module_utils.host.nginx_process import (
    DyingWorkersError,
    LogTail,
    Nginx,
    Process,
    Verdict,
)
from ansible_collections.mtls.nginx.plugins.module_utils.host.request import (
    ChangeRequest,
    Elsewhere,
    GateProbe,
    SnippetPlaces,
    WantedFile,
)

_SECRET_TEXT = "<private key, not shown>"
_SEALED = (".p12", ".mobileconfig")  # with a key in it, behind a password
_LONGEST_DIFF = 104448  # Ansible's own default, max_file_size_for_diff
_CONFLICT = re.compile(r'conflicting server name "(?P<name>[^"]*)" on (?P<socket>\S+), ignored')
# A package's update ends by itself within seconds.
_UPGRADE_TIMEOUT = 5.0
_HTTP_PORT = 80
_RELOAD, _START = "the reload failed", "nginx could not be started"
_ENDING_SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


@dataclass
class TransactionOutcome:
    """What was done, or would be in check mode. ``accepted`` is None when nginx was not asked.

    ``own_bound`` is the host's own ``worker_shutdown_timeout``, which was left alone. ``elsewhere`` are services for
    which another server block answers at some address. ``handover`` says what more than a reload it takes, None where a
    reload does.
    """

    changes: list[FileChange] = field(default_factory=list)
    changed: bool = False
    reloaded: bool = False
    started: bool = False
    accepted: bool | None = None
    version: str | None = None
    own_bound: shutdown.OwnBound | None = None
    snippets: SnippetPlaces = field(default_factory=SnippetPlaces)
    elsewhere: Sequence[Elsewhere] = ()
    handover: str | None = None
    message: str = "nothing differs, nginx is running"
    warnings: list[str] = field(default_factory=list)

    def as_result(self) -> dict[str, Any]:
        """Return the result of the module ``nginx_config``."""
        return {
            "changed": self.changed,
            "files": [{"path": change.path, "change": change.kind} for change in self.changes],
            "reloaded": self.reloaded,
            "started": self.started,
            "accepted": self.accepted,
            "own_shutdown_timeout": self.own_bound._asdict() if self.own_bound else None,
            "nginx": {"version": self.version},
            **self.snippets.as_answer(),
            "elsewhere": overlaps.places(self.elsewhere),
            "handover": self.handover,
            "message": self.message,
        }


def preview(request: ChangeRequest, conf_path: str, guard: Mapping[str, Any] | None = None) -> TransactionOutcome:
    """Return what a host without nginx would get: a comparison, since there is no nginx to ask."""
    _check_request(request)
    comparison.refuse_strays(request)
    request = sessions.with_sessions(survey.with_textfile(request))
    changes = comparison.compare(comparison.with_restart(request, conf_path))
    _refuse_foreign(changes)
    certbot_lines.refuse(changes)
    _refuse_setback(changes, guard)
    return TransactionOutcome(
        changes, changed=bool(changes), message="nginx is not installed, so it could not be asked"
    )


def run(nginx: Nginx, request: ChangeRequest, guard: Mapping[str, Any] | None = None) -> TransactionOutcome:
    """Carry out a request, or with ``check`` only say what would happen, having asked nginx.

    ``guard`` is the option of that name: what the host must not be set back behind, see setback.py.

    :raises MtlsError: something failed, in nginx's words; everything is as it was, or the message says what is not.
    """
    _check_request(request)
    with swap.exclusive(nginx.conf_dir):
        return _Transaction(nginx, request, guard).run()


class _Transaction:
    def __init__(self, nginx: Nginx, request: ChangeRequest, guard: Mapping[str, Any] | None) -> None:
        self._nginx = nginx
        self._request = request
        self._guard = guard
        self._swap = swap.Swap(nginx.conf_dir)
        self._signals = _Signals()
        self._closed: list[closing.Closed] = []
        self._held: str | None = None  # why nginx cannot read what is put in place
        self._unseen: str | None = None  # why it does not see that
        self._stuck = False
        self._handover: handover.Handover | None = None

    def run(self) -> TransactionOutcome:
        check = self._request.check
        with self._signals:
            if self._swap.unfinished and not check:
                self._swap.undo()
            try:
                outcome, configuration = self._plan()
            except BaseException:
                # The files of an interrupted run were put back, but nginx may serve what was in place in between.
                if self._swap.unfinished and not check:
                    self._signals.ignore()
                    self._serve_what_is_there(was_running=self._nginx.master() is not None)
                raise
            if not check:
                if self._held:
                    self._put_in_place_unread(outcome.changes)
                elif configuration is not None:
                    self._commit(outcome, configuration)
                if not self._held:
                    _write_drop_in(outcome)
                    _write_metrics(outcome)
                    textfile = self._request.textfile
                    crl_place.note_that_the_controller_came(self._nginx.conf_path, textfile.path if textfile else None)
            self._refuse_to_call_it_done(outcome)
            return outcome

    def _plan(self) -> tuple[TransactionOutcome, nginx_conf.Configuration | None]:
        """Return what is to be done, and the configuration as it then is; None when there is nothing to do."""
        comparison.refuse_strays(self._request)
        conf_path = self._nginx.conf_path
        request = sessions.with_sessions(survey.with_textfile(self._request))
        request = comparison.with_restart(request, conf_path)
        request, own_bound = comparison.with_bound(request, conf_path)
        request = _with_renewals(request, self._nginx)
        changes = comparison.compare(request)
        running = self._nginx.master() is not None
        self._judge_view([*(wanted.path for wanted in self._request.wanted), *(change.path for change in changes)])
        warnings = _warnings(self._request)
        if self._request.close_rejected:
            self._closed = closing.in_place(self._nginx.conf_dir)
        _refuse_foreign(changes)
        if running and not any(map(_is_served, changes)) and not self._swap.unfinished and not self._request.reload:
            configuration = nginx_conf.load(self._nginx.conf_path)
            self._refuse_not_included(configuration)  # the next reload would end what is served now
            outcome = TransactionOutcome(
                changes,
                bool(changes),
                own_bound=own_bound,
                snippets=self._snippet_places(),
                elsewhere=self._elsewhere(configuration),
                warnings=warnings,
            )
            if changes:
                outcome.message = f"{changes[0].path}: {changes[0].kind}; nginx is running"
            return outcome, None
        certbot_lines.refuse(changes)
        _refuse_setback(changes, self._guard)
        served = [change for change in changes if _is_served(change)]
        # What waits to be fetched is no configuration: the workers read it when somebody asks.
        overlay = {
            change.path: change.wanted.content if change.wanted else None
            for change in served
            if change.wanted is None or change.wanted.group is None
        }
        configuration = nginx_conf.load(self._nginx.conf_path, overlay)
        self._refuse_not_included(configuration)
        warnings += nginx_unit.copies([change.path for change in served]) if running else []
        places = self._snippet_places(configuration)
        elsewhere = self._elsewhere(configuration)
        # With `close_rejected` nothing of ours comes to listen.
        if not self._request.close_rejected and (running or self._request.start):
            self._refuse_taken_ports(configuration)
        changes = [*changes, *self._ask_about(served, overlay, configuration)]
        self._handover = self._plan_handover(configuration, overlay, _secrets(served))
        outcome = TransactionOutcome(
            changes=changes,
            changed=True,
            reloaded=running,
            started=not running and self._request.start,
            accepted=True,
            version=self._nginx.version(),
            own_bound=own_bound,
            snippets=places,
            elsewhere=elsewhere,
            handover=self._handover.words(check=self._request.check) if self._handover else None,
            message=_message(changes, running, self._request, self._handover),
            warnings=warnings,
        )
        return outcome, configuration

    def _snippet_places(self, configuration: nginx_conf.Configuration | None = None) -> SnippetPlaces:
        # What must get in gets in, wherever a snippet stands.
        judge = not self._request.close_rejected
        return survey.snippet_places(self._nginx.conf_path, self._request.snippets, configuration, judge=judge)

    def _elsewhere(self, configuration: nginx_conf.Configuration) -> Sequence[Elsewhere]:
        # What must get in gets in, whoever else answers.
        return () if self._request.close_rejected else overlaps.elsewhere(configuration)

    def _plan_handover(
        self, configuration: nginx_conf.Configuration, overlay: Mapping[str, bytes | None], secrets: Collection[str]
    ) -> handover.Handover | None:
        master = self._nginx.master()
        # A CRL opens no socket.
        if master is None or self._request.close_rejected:
            return None

        def without(paths: Collection[str]) -> nginx_conf.Configuration | None:
            rest = {**overlay, **dict.fromkeys(paths)}
            verdict = nginx_stage.try_out(self._nginx, rest, secrets, self._request.scratch_parent)
            return nginx_conf.load(self._nginx.conf_path, rest) if verdict.accepted else None

        return handover.plan(configuration, master.pid, without)

    # Refusals: nothing has been touched yet

    def _judge_view(self, paths: Sequence[str]) -> None:
        """Raise MtlsError where nginx does not see what is put in place; a CRL is put there all the same."""
        self._unseen = self._look_as_nginx(dict.fromkeys(paths))
        if self._unseen and not self._request.close_rejected:
            raise MtlsError(f"{self._unseen}. Nothing was changed")

    def _look_as_nginx(self, paths: Iterable[str]) -> str | None:
        master = self._nginx.master()
        return nginx_unit.unseen(master, paths) if master else None

    def _refuse_not_included(self, configuration: nginx_conf.Configuration) -> None:
        for path in nginx_conf.not_included(configuration, [wanted.path for wanted in self._request.wanted]):
            raise MtlsError(
                f"{self._nginx.conf_path} does not include {path}: put the line"
                f" 'include {os.path.dirname(path)}/*.conf;' into its http block"
            )

    def _refuse_taken_ports(self, configuration: nginx_conf.Configuration) -> None:
        handover.refuse_irreconcilable(configuration)
        master = self._nginx.master()
        pids = {master.pid} if master else set()
        for listen in ports.not_here(handover.needed(configuration), pids):
            raise MtlsError(
                f"the host does not have the address {listen.host} now, and {listen.file} should listen on {listen}:"
                " give the host the address; or, where it is to come later (a standby of keepalived), let programs"
                " listen on it before that (sysctl net.ipv4.ip_nonlocal_bind=1, for IPv6 net.ipv6.ip_nonlocal_bind=1)"
            )
        for listen, program in ports.taken(nginx_conf.listens(configuration), pids):
            instead = "give the service another port"
            if listen.port == _HTTP_PORT:
                instead = "do without redirect_http and certificate: acme, which need this port"
            raise MtlsError(
                f"port {listen.port} is held by {program}, and {listen.file} should listen on {listen}:"
                f" stop that program, or {instead}"
            )

    def _ask_about(
        self, changes: Sequence[FileChange], overlay: dict[str, bytes | None], configuration: nginx_conf.Configuration
    ) -> list[FileChange]:
        """Return the changes with which nginx accepts the result.

        :raises MtlsError: nginx rejects it.
        """
        secrets = _secrets(changes)

        def attempt(contents: Mapping[str, bytes | None]) -> Verdict:
            return nginx_stage.try_out(self._nginx, contents, secrets, self._request.scratch_parent)

        verdict = attempt(overlay)
        if verdict.accepted:
            self._refuse_conflicting_names(verdict.problems, configuration)
            return []
        hint = ""
        if os.geteuid() != 0 and any("Permission denied" in problem for problem in verdict.problems):
            hint = " (run as root, usually with become: true)"
        as_it_is = attempt({})
        if as_it_is.accepted:
            raise MtlsError(
                "nginx rejects the new configuration, so nothing was changed"
                f"{hint}. nginx says: {'; '.join(verdict.problems)}"
            )
        ours = closing.files_of_ours(as_it_is.problems, nginx_conf.load(self._nginx.conf_path))
        if not self._request.close_rejected:
            raise MtlsError(
                "nginx rejects this host's configuration as it is, because of "
                f"{', '.join(ours)}, and with the changes of this run too; nothing was changed. refresh_crl.yml"
                f" installs the CRL all the same, and closes what nginx rejects{hint}."
                f" nginx says: {'; '.join(verdict.problems)}"
                if ours
                else "nginx rejects this host's configuration as it is, before any change of ours; fix it first"
                f"{hint}. nginx says: {'; '.join(as_it_is.problems)}"
            )
        found = closing.rejected(configuration, overlay, self._nginx.version(), attempt)
        if found is None:
            whose = f"because of {', '.join(ours)}" if ours else "in files that are not ours"
            self._held = (
                f"nginx rejects this host's configuration as it is, {whose}, and cannot be reloaded{hint}."
                f" nginx says: {closing.in_words(as_it_is.problems)}"
            )
            return []
        self._closed += found
        return comparison.compare(
            ChangeRequest(wanted=[WantedFile(closed.path, content) for closed, content in found.items()])
        )

    def _refuse_conflicting_names(self, problems: Sequence[str], configuration: nginx_conf.Configuration) -> None:
        """Raise MtlsError where a server name is taken on a socket.

        nginx only warns, and ignores the second block: ours, or another one.
        """
        ours = {wanted.path for wanted in self._request.wanted}
        for match in filter(None, map(_CONFLICT.search, problems)):
            files = {
                statement.file.path
                for statement in configuration.find("server_name")
                if match["name"] in (value.lower() for value in statement.directive.values)
            }
            if files & ours:
                others = sorted(files - ours) or sorted(files)
                raise MtlsError(
                    f"server name {match['name']} on {match['socket']} is served already, in {', '.join(others)}: nginx"
                    " would ignore one of the two. Remove it there, or change the service's server_names. Nothing "
                    "was changed."
                )

    # The change itself

    def _put_in_place_unread(self, changes: Sequence[FileChange]) -> None:
        """Put the files in place for the next start of nginx, and for the next run, which reloads it if it can."""
        try:
            if any(map(_is_served, changes)):
                self._swap.apply([_new_file(change) for change in changes if _is_served(change)])
            self._signals.ignore()
            if self._swap.unfinished:
                self._swap.decide_unread()
        except BaseException as error:
            self._signals.ignore()
            state = self._put_back() or "Every file is as it was before."
            if isinstance(error, (MtlsError, OSError)):
                why = f"the files could not be put in place: {_words(error)}. {state}"
                raise MtlsError(f"{why} And {self._held}") from error
            raise

    def _refuse_to_call_it_done(self, outcome: TransactionOutcome) -> None:
        """Raise MtlsError where everything was done, and still not all of it is effective.

        Somebody may get in who must not, or a service is closed.
        """
        check = self._request.check
        reasons = []
        if self._held:
            goes_on = (
                "but the running nginx keeps the one that it has read, and still lets in whoever was revoked since:"
                f" {self._held}. Fix that and run again; to keep everybody out until then, stop nginx"
                if self._nginx.master()
                else f"and nginx is not running: {self._held}. Fix that and run again"
            )
            reasons.append(f"the CRL {'would be put' if check else 'is'} in place, {goes_on}")
        if self._closed:
            reasons.append(closing.message(self._closed, check))
        if self._unseen:
            still = self._look_as_nginx([wanted.path for wanted in self._request.wanted])
            reasons.append(
                f"the running nginx still lets in whoever was revoked since: {still}"
                if still
                else f"nginx has read it, and will not when it starts again: {self._unseen}"
            )
        upgrade = self._nginx.upgrade(0 if check else _UPGRADE_TIMEOUT)
        if upgrade:
            reasons.append(upgrade)
        if reasons:
            done = "" if self._held else f"{outcome.message}, but "
            raise MtlsError(done + "; and ".join(reasons))

    def _commit(self, outcome: TransactionOutcome, configuration: nginx_conf.Configuration) -> None:
        log = LogTail(self._nginx.error_logs(configuration))
        touched = self._swap.unfinished
        # After an interrupted run nobody knows what these have read.
        workers = None if touched else self._workers()
        step = "the files could not be put in place"
        try:
            new_files = [*map(_new_file, filter(_is_served, outcome.changes)), *self._unchanged_to_hide(outcome)]
            if new_files:
                self._swap.apply(new_files)
            logrotate.create_missing(_logs_of_ours(configuration))
            step = "nginx rejects the configuration in place"
            verdict = self._nginx.test()
            if not verdict.accepted:
                raise MtlsError("; ".join(verdict.problems))
            touched = True
            if outcome.reloaded:
                step = _RELOAD
                self._bring_in(self._handover, log)
            elif outcome.started:
                step = _START
                self._nginx.start(log)
            step = "the check of the gate failed"
            for gate in self._request.gates:
                if addresses.is_local(gate.address):
                    _check_gate(gate._replace(address=overlaps.ask_at(configuration, gate)))
                else:
                    outcome.warnings.append(_not_asked(gate))
            step = "the change could not be recorded"
            self._signals.ignore()
            self._swap.decide()
        except BaseException as error:
            self._signals.ignore()
            state = self._roll_back(outcome.reloaded, touched, workers)
            # nginx may do alone what it may not as a unit.
            confinement = nginx_unit.confinement(self._nginx.conf_path) if step in (_RELOAD, _START) else ""
            if self._stuck and self._request.close_rejected and isinstance(error, MtlsError):
                self._held = f"{_RELOAD}: {error}{confinement}, with the old files as well"
                self._put_in_place_unread(outcome.changes)
                return
            if isinstance(error, (MtlsError, OSError)):
                raise MtlsError(f"{step}: {_words(error)}{confinement}. {state}") from error
            raise
        self._swap.finish()

    def _unchanged_to_hide(self, outcome: TransactionOutcome) -> list[swap.NewFile]:
        """Return the files that do not change, and have to be left out for a moment: the journal is to know them."""
        changing = {change.path for change in outcome.changes}
        found = []
        for path in self._handover.files if self._handover else ():
            if path not in changing:
                status = os.stat(path)
                content = comparison.read(path)
                found.append(swap.NewFile(path, content, status.st_mode & 0o7777, (status.st_uid, status.st_gid)))
        return found

    def _bring_in(self, needs: handover.Handover | None, log: LogTail) -> None:
        """Have nginx serve with the configuration that is in place."""
        if needs is None:
            self._nginx.reload(log)
        elif needs.restart or not self._swap.holds(needs.files):
            self._nginx.restart(log)
        else:
            with self._swap.hidden(needs.files):
                # Not watched for long: in this moment nobody can connect.
                self._nginx.reload(log, settle=0.0)
                needs.wait()
            self._nginx.reload(log)

    def _roll_back(self, was_running: bool, touched: bool, workers: set[Process] | None) -> str:
        """Put everything back; return a sentence for the user about the state of the host.

        ``workers`` are those that served before the change, None where their configuration is unknown.
        """
        failure = self._put_back()
        if failure:
            return failure
        if not touched:
            if self._swap.unfinished:
                self._swap.finish()
            return "Every file is as it was before."
        return "Every file is as it was before, " + self._serve_what_is_there(was_running, workers)

    def _put_back(self) -> str | None:
        """Put every file back; return a sentence for the user where that fails."""
        try:
            if self._swap.unfinished:
                self._swap.undo()
        except OSError as error:
            return (
                f"Putting the files back failed as well ({_words(error)}):"
                " the next run tries again before anything else."
            )
        return None

    def _serve_what_is_there(self, was_running: bool, workers: set[Process] | None = None) -> str:
        """Bring nginx back to the files that are in place; return the second half of a sentence about it."""
        try:
            state = self._bring_back(was_running)
        except (MtlsError, OSError) as error:
            if not workers or workers != self._workers():
                return f"but nginx did not go back to them ({error}); the next run tries again."
            # Each reload was refused, so nginx has never left what it had read before.
            self._stuck = True
            state = (
                "and nginx keeps serving as before. It cannot be reloaded with the old configuration either:"
                f" fix that first ({error})."
            )
        try:
            if self._swap.unfinished:
                self._swap.finish()
        except OSError as error:
            return f"{state} What this run left beside them could not be removed ({_words(error)}): the next run does."
        return state

    def _bring_back(self, was_running: bool) -> str:
        if not was_running:
            if self._request.start:
                self._nginx.stop()
            return "and nginx is not running, as before."
        configuration = nginx_conf.load(self._nginx.conf_path)
        log = LogTail(self._nginx.error_logs(configuration))
        if self._nginx.master() is None:
            self._nginx.start(log)
            return "and nginx serves with the old configuration."
        try:
            self._bring_in(self._plan_handover(configuration, {}, ()), log)
        except DyingWorkersError:
            # They may be of the new configuration still: nginx starts again those that die, until the reload is there.
            self._nginx.reload(log)
        return "and nginx serves with the old configuration."

    def _workers(self) -> set[Process]:
        master = self._nginx.master()
        return self._nginx.workers(master) if master is not None else set()


class _Signals:
    """Signals that would end the run become an error, so that it is rolled back."""

    def __init__(self) -> None:
        self._ignored = False
        self._before: dict[int, Callable[[int, types.FrameType | None], None] | int | None] = {}

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._raise) for number in _ENDING_SIGNALS}

    def __exit__(self, *_unused: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def ignore(self) -> None:
        """Ignore signals from here on: the run is putting things back, or has all but finished."""
        self._ignored = True

    def _raise(self, number: int, _frame: types.FrameType | None) -> None:
        if not self._ignored:
            raise MtlsError(f"the run was ended by {signal.Signals(number).name}")


def diff(changes: Sequence[FileChange]) -> list[dict[str, str]]:
    """Return the changes in the form that Ansible's ``--diff`` shows."""
    shown = []
    for change in changes:
        before_header, after_header = _header(change.path, change.before_mode), change.path
        after = ""
        if change.wanted is not None:
            after_header = _header(change.path, change.wanted.mode)
            after = _shown(change.wanted.content, change.wanted.secret, "new")
        secret = change.wanted is not None and change.wanted.secret
        shown.append(
            {
                "before_header": before_header,
                "after_header": after_header,
                "before": _shown(change.before, secret or _looks_secret(change), "old"),
                "after": after,
            }
        )
    return shown


def _header(path: str, mode: int | None) -> str:
    return path if mode is None else f"{path} (mode {mode:04o})"


def _shown(content: bytes | None, secret: bool, age: str) -> str:
    if content is None:
        return ""
    if secret:
        return f"{_SECRET_TEXT} ({age})\n"
    if len(content) > _LONGEST_DIFF:
        return f"<{len(content)} bytes, SHA-256 {hashlib.sha256(content).hexdigest()}>\n"
    return content.decode("utf-8", "replace")


def _looks_secret(change: FileChange) -> bool:
    """Tell whether a file has a private key: one that is removed or replaced was not announced as a secret."""
    return change.path.endswith(_SEALED) or (change.before is not None and b"PRIVATE KEY-----" in change.before)


def _check_request(request: ChangeRequest) -> None:
    if request.shutdown_timeout is not None and request.shutdown_timeout < 0:
        raise MtlsError(f"shutdown_timeout: is {request.shutdown_timeout}; use seconds, or 0 for no limit of ours")
    paths = [wanted.path for wanted in request.wanted] + list(request.absent)
    if request.textfile is not None:
        paths.append(request.textfile.path)
    for path in paths:
        if not os.path.isabs(path) or os.path.normpath(path) != path:
            raise MtlsError(f"{path}: give an absolute path without '.', '..' and doubled slashes")
        if paths.count(path) > 1:
            raise MtlsError(f"{path}: named twice in this call; name each file once")
    for wanted in request.wanted:
        if wanted.path.endswith(".conf") and not nginx_conf.is_managed(wanted.content):
            raise MtlsError(
                f"{wanted.path}: the new content lacks the line '{nginx_conf.MARKER}' in its first lines,"
                " and the next run would refuse to change it; add it to the template"
            )


def _refuse_foreign(changes: Sequence[FileChange]) -> None:
    for change in changes:
        if change.wanted is not None and change.wanted.owner is not None:
            continue
        if change.path.endswith(".conf") and change.before is not None and not nginx_conf.is_managed(change.before):
            raise MtlsError(
                f"{change.path}: this file was not written by mtls.nginx (it lacks the line '{nginx_conf.MARKER}');"
                " move it away, or rename the service"
            )


def _refuse_setback(changes: Sequence[FileChange], guard: Mapping[str, Any] | None) -> None:
    if not changes:
        return
    # Only here: an unchanged host need not load what reads certificates.
    from ansible_collections.mtls.nginx.plugins.module_utils.host import setback

    new = {
        change.path: change.wanted.content
        for change in changes
        if change.wanted is not None and not change.wanted.secret
    }
    setback.refuse(setback.Guard.of(guard) if guard else setback.Guard(), new, time.time(), comparison.read)


def _logs_of_ours(configuration: nginx_conf.Configuration) -> list[str]:
    """Return the paths of the logs of our server blocks."""
    return [
        statement.directive.values[0]
        for name in ("access_log", "error_log")
        for statement in configuration.find(name)
        if statement.managed and statement.directive.args and statement.directive.values[0].startswith("/")
    ]


def _secrets(changes: Sequence[FileChange]) -> set[str]:
    return {change.path for change in changes if change.wanted and change.wanted.secret}


def _is_served(change: FileChange) -> bool:
    """Tell whether nginx reads the file; it reads neither the metrics nor its unit."""
    return change.path != nginx_unit.DROP_IN and (change.wanted is None or not change.wanted.shared_folder)


def _with_renewals(request: ChangeRequest, nginx: Nginx) -> ChangeRequest:
    if request.renewals is None:
        return request
    # Only here: most hosts have none.
    from ansible_collections.mtls.nginx.plugins.module_utils.host import renewals

    return renewals.with_renewals(request, nginx)


def _warnings(request: ChangeRequest) -> list[str]:
    if request.textfile is not None and survey.folder_in_the_way(request.textfile):
        return [f"{request.textfile.path}: the metrics were not written, because there is a folder of that name"]
    return []


def _write_drop_in(outcome: TransactionOutcome) -> None:
    """Write or remove the drop-in of nginx's unit, once nginx serves. A failure is a warning only: it is for later."""
    for change in outcome.changes:
        if change.path == nginx_unit.DROP_IN:
            try:
                nginx_unit.put_in_place(change.wanted.content if change.wanted else None)
            except (MtlsError, OSError) as error:
                outcome.warnings.append(
                    f"systemd does not restart nginx after a failure: {_words(error)}; fix that, or set"
                    " mtls_nginx_restart: false"
                )


def _write_metrics(outcome: TransactionOutcome) -> None:
    """Write the metrics, last of all. A failure is a warning only.

    Else whoever may write in their folder could keep a CRL from being installed.
    """
    for change in outcome.changes:
        if change.wanted is not None and change.wanted.shared_folder:
            try:
                files.make_directory(os.path.dirname(change.path), 0o755)
                files.write_file(change.path, change.wanted.content, change.wanted.mode)
            except OSError as error:
                outcome.warnings.append(f"the metrics were not written: {_words(error)}")


def _new_file(change: FileChange) -> swap.NewFile:
    if change.wanted is None:
        return swap.NewFile(change.path, None, 0)
    owner = change.wanted.owner
    if change.wanted.group is not None:
        owner = (os.geteuid(), change.wanted.group)
    return swap.NewFile(change.path, change.wanted.content, change.wanted.mode, owner)


def _words(error: MtlsError | OSError) -> str:
    return entry.describe(error) if isinstance(error, OSError) and error.filename else str(error)


def _not_asked(gate: GateProbe) -> str:
    return (
        f"the gate of {gate.server_name} at {gate.address}:{gate.port} was not asked, since the host does not have that"
        " address now, and another machine may answer there"
    )


def _check_gate(gate: GateProbe) -> None:
    # Only here: an unchanged host need not load what the probe loads.
    from ansible_collections.mtls.nginx.plugins.module_utils.common import probe

    attempt = probe.Attempt("no certificate", gate.expect)
    outcome = probe.ask(probe.Target(gate.address, gate.port, gate.server_name, gate.proxy_protocol), attempt)
    if outcome.status != gate.expect:
        raise MtlsError(
            f"https://{gate.server_name}:{gate.port} at {gate.address} answered a request without a client certificate"
            f" with {outcome.got}, and must answer {gate.expect}"
        )


def _message(
    changes: Sequence[FileChange], running: bool, request: ChangeRequest, needs: handover.Handover | None
) -> str:
    counts = [
        f"{sum(change.kind == kind for change in changes)} {kind}"
        for kind in ("created", "changed", "removed")
        if any(change.kind == kind for change in changes)
    ]
    files = f"files: {', '.join(counts)}; " if counts else ""
    if not running and not request.start:
        return f"{files}nginx accepts the result, and is not running"
    action = "started" if not running else "restarted" if needs and needs.restart else "reloaded"
    done = f"{files}nginx accepts the result and would be {action}" if request.check else f"{files}nginx {action}"
    return f"{done}; {needs.words(check=request.check)}" if needs else done

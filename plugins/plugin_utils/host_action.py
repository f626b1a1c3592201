# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Actions that ask a host, and take from its answer only what ``site/answers.py`` lets through."""

from __future__ import annotations

import contextlib
import typing as t
from collections.abc import Iterator, Mapping

from ansible.plugins.action import ActionBase

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.site import answers
from ansible_collections.mtls.nginx.plugins.plugin_utils.facts import refuse_facts

# Ansible's own, about the Python that it has found on the host, come after what the answer held.
_OF_THE_CONTROLLER = ("warnings", "deprecations")


class HostAction(ActionBase):
    """Runs modules on the host, and checks their answers."""

    TRANSFERS_FILES = False

    _expected: tuple[str, answers.Fields] | None = None
    _answer: dict[str, t.Any] | None = None
    _connection: t.Any

    def __init__(self, *arguments: t.Any, **options: t.Any) -> None:
        super().__init__(*arguments, **options)
        self._found_python: dict[str, t.Any] = {}

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Return the task's result; an MtlsError becomes its failure."""
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        self._task_vars = task_vars or {}
        try:
            refuse_facts(self._task_vars, [self._host])
            result.update(self._result())
            if self._found_python:  # else Ansible would look for a Python before each task
                result["ansible_facts"] = self._found_python
        except MtlsError as error:
            result.update(failed=True, msg=str(error))  # not raised, so that a task's `failed_when` has a say
        return result

    def _result(self) -> dict[str, t.Any]:
        """Return the result of the task.

        :raises MtlsError: the task fails with this text.
        """
        raise NotImplementedError

    @property
    def _host(self) -> str:
        name: str = self._task_vars["inventory_hostname"]
        return name

    @contextlib.contextmanager
    def _at(self, host: str) -> Iterator[None]:
        """Ask another host of the inventory within this context, instead of the task's own."""
        # Only here: hardly any run needs it.
        from ansible_collections.mtls.nginx.plugins.plugin_utils import another_host

        own = self._connection, self._task.delegate_to, self._task_vars
        variables = another_host.variables_of(host, self._task_vars["hostvars"])
        self._task.delegate_to = host
        self._task_vars = {**self._task_vars, "ansible_delegated_vars": {host: variables}}
        try:
            self._connection = another_host.connect(
                host, variables, task=self._task, own=self._play_context, loader=self._loader
            )
            try:
                yield
            finally:
                self.cleanup()
                self._connection.close()
        finally:
            self._connection, self._task.delegate_to, self._task_vars = own

    @property
    def _asked_host(self) -> str:
        """The host that answers."""
        return str(self._task.delegate_to or self._host)

    def _ask(self, module: str, options: dict[str, t.Any], spec: answers.Fields) -> dict[str, t.Any]:
        """Return the host's answer to ``module``, whose name is short where it is ours.

        :raises MtlsError: it is not an answer that an honest host gives.
        """
        name = module if "." in module else f"mtls.nginx.{module}"
        self._expected, self._answer = (module, spec), None
        try:
            result = self._execute_module(module_name=name, module_args=options, task_vars=self._task_vars)
        finally:
            self._expected = None
        if self._answer is None:
            raise MtlsError(
                f"host {self._asked_host}: this ansible-core does not show the answer to {module} before using it"
            )
        if self._asked_host == self._host:
            self._found_python.update(
                (name, value)
                for name, value in (result.get("ansible_facts") or {}).items()
                if name.startswith("discovered_interpreter_")
            )
        return {**self._answer, **{name: result[name] for name in _OF_THE_CONTROLLER if name in result}}

    def _low_level_execute_command(self, *arguments: t.Any, **options: t.Any) -> dict[str, t.Any]:
        """Escape control characters around a module's answer: Ansible prints them, and a terminal would obey."""
        result: dict[str, t.Any] = super()._low_level_execute_command(*arguments, **options)
        for stream in ("stdout", "stderr"):
            text = result.get(stream) or ""
            if len(text) > answers.LARGEST:
                what = self._expected[0] if self._expected else "a command"
                raise answers.refusal(self._asked_host, what, f"it has {len(text)} characters")
            result[stream] = answers.printable(text, lines=True, most=answers.LARGEST)
        return result

    def _parse_returned_data(self, *arguments: t.Any) -> t.Any:
        """Return the values named in the expected answer only, before Ansible itself uses any other.

        From ansible-core 2.21 on they are an object.
        """
        if self._expected is None:  # who runs a module in another way than `_ask` gets nothing of it
            raise RuntimeError("there is no telling what an honest host would answer")
        module, spec = self._expected
        try:
            parsed = super()._parse_returned_data(*arguments)
            as_dict = isinstance(parsed, Mapping)
            data = dict(parsed if as_dict else parsed.as_result_dict(for_round_trip=True))
        except Exception as error:  # whatever an answer can do to a decoder: nested too deeply, for one
            raise answers.refusal(self._asked_host, module, f"it cannot be read ({type(error).__name__})") from error
        if isinstance(data.get("warnings"), list):
            data["warnings"] = [_words(warning) for warning in data["warnings"]]
        self._answer = answers.read(self._asked_host, module, spec, data)
        if not self._answer.get("warnings", True):
            del self._answer["warnings"]  # Ansible wants a list, if anything
        if as_dict:
            return {**self._answer, "_ansible_parsed": data.get("_ansible_parsed", False)}
        believed = type(parsed).from_module_result_dict(dict(self._answer))
        believed.ansible_parsed = parsed.ansible_parsed
        return believed


def _words(warning: t.Any) -> t.Any:
    """Return a module's warning as text: from ansible-core 2.19 on it is an object, of details or of an event."""
    if details := getattr(warning, "details", None):
        return " ".join(detail.msg for detail in details)
    return getattr(getattr(warning, "event", None), "msg", warning)

# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""examples/ci/comment.py: the plan is on the request once, whatever others have written there."""

from __future__ import annotations

import http.server
import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml

from ansible_collections.mtls.nginx.plugins.module_utils.site.access_plan import MARKER

CI = Path(__file__).resolve().parents[2] / "examples" / "ci"
OURS, OTHERS = 7, 8


class Forge(http.server.ThreadingHTTPServer):
    """The comments of one request, as the APIs of GitHub (REST, version 2022-11-28) and GitLab (v4) show them."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.comments: list[dict] = []
        self.merged: list[dict] = [{"number": 5, "iid": 5}]
        self.tokens: set[str] = set()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def add(self, author: int, body: str) -> None:
        user = {"login": "github-actions[bot]" if author == OURS else "somebody"}
        self.comments.append({"id": len(self.comments) + 1, "body": body, "user": user, "author": {"id": author}})


class Handler(http.server.BaseHTTPRequestHandler):
    server: Forge

    def do_GET(self) -> None:
        path, _question, query = self.path.partition("?")
        if path.endswith("/user"):
            return self._send({"id": OURS})
        if path.endswith(("/pulls", "/merge_requests")):
            return self._send(self.server.merged)
        size, page = (int(re.search(rf"\b{name}=(\d+)", query)[1]) for name in ("per_page", "page"))
        return self._send(self.server.comments[(page - 1) * size : page * size])

    def do_POST(self) -> None:
        assert re.search(r"/issues/5/comments$|/merge_requests/5/notes$", self.path), self.path
        self.server.add(OURS, self._body())
        self._send({})

    def do_PATCH(self) -> None:
        number = int(self.path.rpartition("/")[2])
        self.server.comments[number - 1]["body"] = self._body()
        self._send({})

    do_PUT = do_PATCH

    def _body(self) -> str:
        return json.loads(self.rfile.read(int(self.headers["Content-Length"])))["body"]

    def _send(self, answer: object) -> None:
        self.server.tokens.add(self.headers.get("PRIVATE-TOKEN") or self.headers["Authorization"])
        content = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def forge():
    made = Forge()
    yield made
    made.shutdown()
    made.server_close()


def comment(forge: Forge, kind: str, plan: Path, number: str = "5") -> subprocess.CompletedProcess[str]:
    github = {
        "GITHUB_ACTIONS": "true",
        "GITHUB_API_URL": forge.url,
        "GITHUB_REPOSITORY": "acme/inventory",
        "GITHUB_SHA": "0" * 40,
        "GITHUB_TOKEN": "may comment",
        "PULL_REQUEST": number,
    }
    gitlab = {
        "CI_API_V4_URL": f"{forge.url}/api/v4",
        "CI_PROJECT_ID": "3",
        "CI_COMMIT_SHA": "0" * 40,
        "CI_MERGE_REQUEST_IID": number,
        "MTLS_PLAN_TOKEN": "may comment",
    }
    return subprocess.run(
        [sys.executable, CI / "comment.py", plan],
        env={"PATH": os.environ["PATH"], **(github if kind == "github" else gitlab)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("kind", ["github", "gitlab"])
def test_the_plan_is_there_once_and_the_newest(forge, kind, tmp_path):
    plan = tmp_path / "plan.md"
    for number in range(150):  # more than one page
        forge.add(OTHERS, f"comment {number}")
    forge.add(OTHERS, f"{MARKER}\nI am somebody else")
    for text in ("first", "second"):
        plan.write_text(f"{MARKER}\n{text}\n")
        done = comment(forge, kind, plan)
        assert done.returncode == 0, done.stderr
    assert len(forge.comments) == 152
    assert forge.comments[-2]["body"].endswith("somebody else")
    assert forge.comments[-1]["body"] == f"{MARKER}\nsecond\n"
    assert forge.tokens == {"Bearer may comment" if kind == "github" else "may comment"}


@pytest.mark.parametrize("kind", ["github", "gitlab"])
def test_on_main_it_is_the_request_that_the_commit_came_with(forge, kind, tmp_path):
    plan = tmp_path / "plan.md"
    plan.write_text(f"{MARKER}\nof the hosts\n")
    done = comment(forge, kind, plan, number="")
    assert done.returncode == 0, done.stderr
    assert [each["body"] for each in forge.comments] == [f"{MARKER}\nof the hosts\n"]
    forge.merged = []
    done = comment(forge, kind, plan, number="")
    assert (done.returncode, done.stdout) == (0, "There is no pull or merge request for it.\n")


def test_what_is_too_long_is_cut_between_lines_and_says_so(forge, tmp_path):
    plan = tmp_path / "plan.md"
    plan.write_text(MARKER + "\n" + "- a line\n" * 20_000)
    assert comment(forge, "github", plan).returncode == 0
    (only,) = forge.comments
    assert len(only["body"]) < 65_536
    assert only["body"].endswith("- a line\n\nThis is not all: the job's output has the whole plan.\n")


def test_nothing_else_is_put_there(forge, tmp_path):
    plan = tmp_path / "vault.yml"
    plan.write_text("vault_mtls_ca_passphrase: secret\n")
    done = comment(forge, "github", plan)
    assert done.returncode != 0
    assert "is no access plan" in done.stderr
    assert forge.comments == []


def test_the_jobs_that_a_branch_decides_about_have_no_secret():
    """GitHub's token of the job that comments is no secret of the project, and can do that only."""
    github = yaml.safe_load((CI / "github" / "mtls.yml").read_text())
    for name in ("plan", "comment"):
        assert "secrets." not in json.dumps(github["jobs"][name])
    assert "permissions" not in github["jobs"]["plan"]
    assert github["permissions"] == {"contents": "read"}
    assert github["jobs"]["comment"]["permissions"] == {"contents": "read", "pull-requests": "write"}
    gitlab = yaml.safe_load(re.sub(r"!\w+", "", (CI / "gitlab" / ".gitlab-ci.yml").read_text()))
    for name in ("plan", "comment"):
        said = json.dumps(gitlab[name])
        assert not re.search("VAULT|PRIVATE_KEY|MTLS_AUTHORITY|tags", said)
    assert "MTLS_PLAN_TOKEN" not in json.dumps(gitlab["plan"])

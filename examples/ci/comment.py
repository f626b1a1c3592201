#!/usr/bin/env python3
# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""comment.py PLAN.md: puts the access plan on the pull or merge request, in place of the plan that is there.

It takes all else from the variables that GitHub Actions and GitLab CI set, and a token that may comment:

GitHub: GITHUB_TOKEN, and PULL_REQUEST with the number.
GitLab: MTLS_PLAN_TOKEN, of a project access token with the scope api and the role Reporter.

On the branch that things are merged into, it is the request that the commit came with. Without one it does nothing.
"""

from __future__ import annotations

import json
import os
import pathlib
import sys
import urllib.request

MARKER = "<!-- mtls-access-plan -->"
LONGEST = 60_000  # characters; GitHub takes 65,536
PAGE = 100


class Forge:
    """What both have in common: comments of a request, found again by the marker and by their author."""

    def __init__(self, base: str, headers: dict[str, str]) -> None:
        self._base = base
        self._headers = headers

    def call(self, method: str, path: str, body: object = None) -> object:
        """Return the answer of the API; a failure ends the program."""
        request = urllib.request.Request(
            f"{self._base}/{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={**self._headers, "Content-Type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def own_comment(self, comments: str, is_ours: object) -> int | None:
        """Return the number of the comment that this program has written, None before the first one."""
        page = 1
        while True:
            found = self.call("GET", f"{comments}?per_page={PAGE}&page={page}")
            for comment in found:
                if is_ours(comment) and comment["body"].startswith(MARKER):
                    return comment["id"]
            if len(found) < PAGE:
                return None
            page += 1


def on_github(text: str) -> str | None:
    """Put ``text`` on the pull request; return which one it is, None where there is none."""
    forge = Forge(
        f"{os.environ['GITHUB_API_URL']}/repos/{os.environ['GITHUB_REPOSITORY']}",
        {"Authorization": f"Bearer {os.environ['GITHUB_TOKEN']}", "Accept": "application/vnd.github+json"},
    )
    number = os.environ.get("PULL_REQUEST")
    if not number:
        merged = forge.call("GET", f"commits/{os.environ['GITHUB_SHA']}/pulls")
        if not merged:
            return None
        number = merged[0]["number"]
    comments = f"issues/{number}/comments"
    ours = forge.own_comment(comments, lambda comment: comment["user"]["login"] == "github-actions[bot]")
    if ours:
        forge.call("PATCH", f"issues/comments/{ours}", {"body": text})
    else:
        forge.call("POST", comments, {"body": text})
    return f"pull request {number}"


def on_gitlab(text: str) -> str | None:
    """Put ``text`` on the merge request; return which one it is, None where there is none."""
    forge = Forge(os.environ["CI_API_V4_URL"], {"PRIVATE-TOKEN": os.environ["MTLS_PLAN_TOKEN"]})
    project = f"projects/{os.environ['CI_PROJECT_ID']}"
    number = os.environ.get("CI_MERGE_REQUEST_IID")
    if not number:
        merged = forge.call("GET", f"{project}/repository/commits/{os.environ['CI_COMMIT_SHA']}/merge_requests")
        if not merged:
            return None
        number = merged[0]["iid"]
    notes = f"{project}/merge_requests/{number}/notes"
    me = forge.call("GET", "user")["id"]
    ours = forge.own_comment(notes, lambda note: note["author"]["id"] == me)
    if ours:
        forge.call("PUT", f"{notes}/{ours}", {"body": text})
    else:
        forge.call("POST", notes, {"body": text})
    return f"merge request {number}"


def shortened(text: str) -> str:
    """Return the plan, or its first lines where a comment cannot hold it."""
    if len(text) <= LONGEST:
        return text
    kept = text[:LONGEST].rpartition("\n")[0]
    return f"{kept}\n\nThis is not all: the job's output has the whole plan.\n"


def main() -> None:
    """Run the program."""
    text = pathlib.Path(sys.argv[1]).read_text(encoding="utf-8")
    if not text.startswith(MARKER):
        sys.exit(f"{sys.argv[1]}: is no access plan; it does not begin with {MARKER}")
    put = on_github if os.environ.get("GITHUB_ACTIONS") else on_gitlab
    where = put(shortened(text))
    sys.stdout.write(f"The access plan is on {where}.\n" if where else "There is no pull or merge request for it.\n")


if __name__ == "__main__":
    main()

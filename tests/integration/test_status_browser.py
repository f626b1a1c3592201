# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The status page in a real browser: its policy lets its own style and script work, which sort and filter."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re

from ansible_collections.mtls.nginx.tests.pages.screenshots import PAGES, chromium

# Runs after the page's own script, and leaves what it saw in the title.
VISITOR = """
const [matrix] = document.querySelectorAll(".matrix"), [names, services] = document.querySelectorAll("input");
const shown = items => [...items].filter(item => item.getClientRects().length);
const rows = () => shown(matrix.tBodies[0].rows).map(row => row.cells[0].textContent);
const columns = () => shown(matrix.tHead.rows[0].cells).length;
const head = i => matrix.tHead.rows[0].cells[i];
const seen = {styled: getComputedStyle(matrix).tableLayout, rows: rows(), columns: columns()};
head(1).click();
seen.byEnd = rows();
head(1).dispatchEvent(new KeyboardEvent("keydown", {key: "Enter"}));
seen.byEndBackwards = rows();
head(5).click();
seen.byHome = rows().slice(0, 4).sort();
head(0).click();
names.value = "EVA";
names.oninput();
seen.eva = rows();
services.value = "web";
services.oninput();
seen.web = columns();
seen.said = document.querySelector("output").textContent;
names.value = services.value = "";
names.oninput();
seen.again = [rows().length, columns()];
document.title = JSON.stringify(seen);
"""


def allowed(policy: str, script: str) -> str:
    """The page's own policy, with one more script in it."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy.count("script-src ") == 1
    return policy.replace("script-src ", f"script-src 'sha256-{digest}' ")


def test_the_page_sorts_and_filters(tmp_path):
    (page,) = (page for page in PAGES if page.name == "status-mixed")
    content = page.write(tmp_path).decode()
    changed = allowed(content, VISITOR).replace("</html>", f"<script>{VISITOR}</script></html>")
    file = tmp_path / "page.html"
    file.write_text(changed, encoding="utf-8")
    dumped = chromium(tmp_path / "profile", "--dump-dom", file.as_uri())
    title = re.search("<title>(.*?)</title>", dumped)[1]
    assert title.startswith("{"), title
    seen = json.loads(html.unescape(title))
    assert seen["styled"] == "fixed"
    assert len(seen["rows"]) == 18
    assert seen["columns"] == 7
    assert seen["rows"] == sorted(seen["rows"])
    assert seen["byEnd"][:4] == ["farid-laptop", "farid-tablet", "farid-phone", "eva-tablet"]
    assert seen["byEnd"][-1] == seen["byEndBackwards"][0] == "anna-phone"
    assert seen["byHome"] == ["anna-laptop", "anna-phone", "anna-tablet", "ben-phone"]
    assert seen["eva"] == ["eva-laptop", "eva-phone", "eva-tablet"]
    assert seen["web"] == 4
    assert seen["said"] == "3 of 18 clients, 2 of 5 services"
    assert seen["again"] == [18, 7]

// Copyright (c) 2026, the mtls.nginx authors
// GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
"use strict";
const RANK = {"✓": 0, "○": 1};
for (const table of document.querySelectorAll(".matrix")) {
  const body = table.tBodies[0], rows = [...body.rows], heads = [...table.tHead.rows[0].cells];
  const names = rows.map(row => row.cells[0].textContent.toLowerCase());
  heads.forEach((head, i) => {
    head.tabIndex = 0;
    head.setAttribute("aria-sort", i ? "none" : "ascending");
    const sort = () => {
      const order = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      heads.forEach(other => other.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", order > 0 ? "ascending" : "descending");
      const keys = rows.map((row, n) => i === 0 ? names[n] : i === 1 ? row.cells[1].dataset.k : RANK[row.cells[i].textContent.trim()] ?? 2);
      const sorted = [...rows.keys()].sort((a, b) => order * (keys[a] < keys[b] ? -1 : keys[a] > keys[b]) || a - b);
      body.append(...sorted.map(n => rows[n]));
    };
    head.onclick = sort;
    head.onkeydown = event => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      sort();
    };
  });
}
for (const tools of document.querySelectorAll(".tools")) {
  const [byName, byService] = tools.querySelectorAll("input"), output = tools.querySelector("output");
  const table = document.getElementById(byName.dataset.rows);
  const rows = [...table.tBodies[0].rows], heads = [...table.tHead.rows[0].cells];
  const names = rows.map(row => row.cells[0].textContent.toLowerCase());
  const services = heads.map(head => (head.textContent + " " + head.title).toLowerCase());
  const widths = [...table.querySelectorAll("col")].map(column => Number(column.width));
  const sheet = document.styleSheets[0];
  let rule = -1;
  const filter = () => {
    const name = byName.value.trim().toLowerCase(), service = byService.value.trim().toLowerCase();
    let shown = 0;
    rows.forEach((row, i) => { row.hidden = !names[i].includes(name); shown += !row.hidden; });
    if (rule >= 0) sheet.deleteRule(rule);
    const away = [...heads.keys()].filter(i => i > 1 && !services[i].includes(service));
    const cells = away.map(i => `#${table.id} tr>:nth-child(${i + 1})`).join();
    rule = cells ? sheet.insertRule(`${cells}{display:none}`, sheet.cssRules.length) : -1;
    const all = heads.length - 2, left = all - away.length;
    table.width = widths[0] + widths[1] + widths[2] * left;
    output.textContent = name || service ? `${shown} of ${rows.length} clients, ${left} of ${all} services` : "";
  };
  byName.oninput = byService.oninput = filter;
  tools.hidden = false;
}
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach(details => { details.open = true; }));

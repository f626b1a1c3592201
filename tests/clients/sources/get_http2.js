// Copyright (c) 2026, the mtls.nginx authors
// GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
// One GET by Node's http2: get_http2.js NAME URL CA [CERTIFICATE KEY]. With a NAME, another one of that name on its connection.

const fs = require("fs");
const http2 = require("http2");

const [name, url, ca, certificate, key] = process.argv.slice(2);
const options = { ca: fs.readFileSync(ca) };
if (certificate) {
  Object.assign(options, { cert: fs.readFileSync(certificate), key: fs.readFileSync(key) });
}
const session = http2.connect(new URL(url).origin, options);
const path = new URL(url).pathname;

function ask(headers, then) {
  const stream = session.request(headers);
  stream.setEncoding("utf8");
  let text = "";
  stream.on("response", (answer) => (text += `${answer[":status"]}\n`));
  stream.on("data", (more) => (text += more));
  stream.on("end", () => then(text));
}

function last(text) {
  console.log(text);
  session.close();
}

session.on("error", (error) => {
  console.error(String(error));
  process.exitCode = 1;
});
ask({ ":path": path }, name ? () => ask({ ":authority": name, ":path": `${path}/second` }, last) : last);

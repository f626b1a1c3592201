// Copyright (c) 2026, the mtls.nginx authors
// GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
// One GET by Node's https: get.js URL CA [CERTIFICATE KEY | P12 PASSWORD]

const fs = require("fs");
const https = require("https");

const [url, ca, first, second] = process.argv.slice(2);
const options = { ca: fs.readFileSync(ca), timeout: 20000 };
if (first && first.endsWith(".p12")) {
  Object.assign(options, { pfx: fs.readFileSync(first), passphrase: second });
} else if (first) {
  Object.assign(options, { cert: fs.readFileSync(first), key: fs.readFileSync(second) });
}
https
  .get(url, options, (answer) => {
    console.log(answer.statusCode);
    answer.pipe(process.stdout);
  })
  .on("error", (error) => {
    console.error(String(error));
    process.exitCode = 1;
  });

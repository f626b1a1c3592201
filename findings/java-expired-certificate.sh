#!/usr/bin/env bash
# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# One would expect: of two certificates of one subject and issuer in a keystore, Java's default key manager sends the one
#   that is valid.
# What happens: SunX509 (the default of Java 17) looks at no dates. The choice hangs on the aliases; with some names it is
#   the expired one. NewSunX509 (the security property ssl.KeyManagerFactory.algorithm) chooses the valid one under
#   both names.
# Seen 2026-11-29: OpenJDK 17.0.15 (Debian 12); Java 26 and later choose the valid one with SunX509 too:
#   SunX509: expired=new valid=old: sends the expired one
#   NewSunX509: expired=new valid=old: sends the valid one
set -euo pipefail
unset PYTHONPATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
command -v javac >/dev/null || timeout 600 apt-get install -y -q --no-install-recommends default-jdk-headless
java -version 2>&1 | sed -n 1p
python3 -m venv venv
timeout 300 venv/bin/pip install -q cryptography==50.0.2
cat >pki.py <<'PY'
from datetime import datetime, timedelta, timezone

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12
from cryptography.x509.oid import NameOID

now = datetime.now(timezone.utc)
ca_key = ec.generate_private_key(ec.SECP256R1())
issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ca")])
subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "alice")])
for serial, state, until in ((1, "expired", now - timedelta(days=1)), (2, "valid", now + timedelta(days=30))):
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateBuilder(issuer, subject, key.public_key(), serial, now - timedelta(days=60), until)
    certificate = builder.sign(ca_key, hashes.SHA256())
    for alias in ("old", "new"):
        encryption = BestAvailableEncryption(b"secret")
        with open(f"{state}-{alias}.p12", "wb") as file:
            file.write(pkcs12.serialize_key_and_certificates(alias.encode(), key, certificate, None, encryption))
PY
venv/bin/python pki.py
cat >Choose.java <<'JAVA'
import java.io.FileInputStream;
import java.io.InputStream;
import java.security.KeyStore;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.X509ExtendedKeyManager;

public class Choose {
    public static void main(String[] arguments) throws Exception {
        char[] password = "secret".toCharArray();
        KeyStore store = KeyStore.getInstance("PKCS12");
        try (InputStream input = new FileInputStream(arguments[1])) {
            store.load(input, password);
        }
        KeyManagerFactory factory = KeyManagerFactory.getInstance(arguments[0]);
        factory.init(store, password);
        X509ExtendedKeyManager manager = (X509ExtendedKeyManager) factory.getKeyManagers()[0];
        String alias = manager.chooseClientAlias(new String[] {"EC"}, null, null);
        System.out.println(manager.getCertificateChain(alias)[0].getSerialNumber().intValue() == 1 ? "expired" : "valid");
    }
}
JAVA
# Which one this key manager sends where the expired one has the first alias and the valid one the second.
sends() {
  rm -f store.p12
  for file in "expired-$2" "valid-$3"; do
    timeout 60 keytool -importkeystore -noprompt -srckeystore "$file.p12" -srcstorepass secret -destkeystore store.p12 -deststoretype PKCS12 \
      -deststorepass secret 2>keytool.log
  done
  timeout 60 java Choose.java "$1" store.p12
}
seen=
for manager in SunX509 NewSunX509; do
  for aliases in "old new" "new old"; do
    read -r expired valid <<<"$aliases"
    sent=$(sends "$manager" "$expired" "$valid")
    echo "$manager: expired=$expired valid=$valid: sends the $sent one"
    seen+="$sent "
  done
done
[[ $seen == "valid expired valid valid " ]] || { echo "CHANGED: one expired was expected, by SunX509" >&2; exit 1; }

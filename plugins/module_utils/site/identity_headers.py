# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Headers by which applications hear of a client's certificate, or of another path, from a proxy that they trust.

Ours are X-SSL-Client-Verify, -DN, -Serial and -Fingerprint. Nobody may send the others: nginx cannot remove headers by
pattern, so each is named. Names with underscores, as Apache's and Tomcat's, are dropped with all that are invalid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# RFC 9440: the certificate in DER, as a byte sequence (RFC 8941, 3.3.5).
CLIENT_CERT = "Client-Cert"
RFC9440 = "rfc9440"


def _named(stem: str, *ends: str) -> tuple[str, ...]:
    return tuple(f"{stem}{end}" for end in ends)


# By where they come from.
SOURCES: Mapping[str, Sequence[str]] = {
    "RFC 9440": (CLIENT_CERT, "Client-Cert-Chain"),
    "nginx and HAProxy as tutorials have them": (
        "X-SSL",
        "X-SSL-Cert",
        "X-SSL-Issuer",
        "X-SSL-Subject",
        *_named("X-SSL-Client-", "Cert", "Cert-Chain", "Chain", "Escaped-Cert", "Raw-Cert", "Has-Cert", "Used"),
        *_named("X-SSL-Client-", "CN", "S-DN", "S-DN-CN", "Subject", "Subject-DN", "Subject-CN"),
        *_named("X-SSL-Client-", "I-DN", "I-DN-CN", "Issuer", "Issuer-DN", "Issuer-CN"),
        *_named("X-SSL-Client-", "SHA1", "SHA256", "M-Serial", "Session-ID", "Email", "SAN", "SAN-DNS", "SAN-Email"),
        *_named("X-SSL-Client-", "Not-Before", "Not-After", "NotBefore", "NotAfter", "V-Start", "V-End", "V-Remain"),
    ),
    "ingress-nginx: https://kubernetes.github.io/ingress-nginx/user-guide/nginx-configuration/annotations/"
    "#client-certificate-authentication": _named("SSL-Client-", "Cert", "Verify", "Subject-DN", "Issuer-DN"),
    "mod_ssl (https://httpd.apache.org/docs/2.4/mod/mod_ssl.html#envvars) and Tomcat's SSLValve, with dashes": (
        *_named("SSL-Client-", "S-DN", "S-DN-CN", "S-DN-Email", "I-DN", "I-DN-CN", "M-Serial", "M-Version", "Serial"),
        *_named("SSL-Client-", "V-Start", "V-End", "V-Remain", "A-Key", "A-Sig", "Escaped-Cert", "Fingerprint", "DN"),
        *_named("SSL-Client-", "Cert-Chain", "Cert-Chain-0", "Cert-Chain-1", "Cert-Chain-2", "Cert-RFC4523-CEA"),
        *_named("SSL-Client-", "SAN-Email-0", "SAN-DNS-0", "SAN-OTHER-msUPN-0"),
        "SSL-Session-ID",
        "Cert-Chain",  # and Keycloak: https://www.keycloak.org/server/reverseproxy
    ),
    "Puppet Server, external TLS termination": _named("X-Client-", "Cert", "DN", "Verify"),
    "others of that form": _named("X-Client-", "Certificate", "CN", "S-DN", "I-DN", "Serial", "Fingerprint"),
    "Envoy, Istio: https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_conn_man/headers": (
        "X-Forwarded-Client-Cert",
    ),
    "Traefik: https://doc.traefik.io/traefik/middlewares/http/passtlsclientcert/": _named(
        "X-Forwarded-Tls-Client-Cert", "", "-Info"
    ),
    "AWS: https://docs.aws.amazon.com/elasticloadbalancing/latest/application/mutual-authentication.html": _named(
        "X-Amzn-Mtls-Clientcert", "", "-Serial-Number", "-Issuer", "-Subject", "-Validity", "-Leaf"
    ),
    "AWS, CloudFront: https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/viewer-mtls-headers.html": (
        _named("CloudFront-Viewer-Cert-", "Serial-Number", "Issuer", "Subject", "Present", "Sha256", "Validity", "Pem")
    ),
    "Azure: https://learn.microsoft.com/azure/app-service/app-service-web-configure-tls-mutual-auth": (
        "X-ARR-ClientCert",
    ),
    "Google Cloud: https://cloud.google.com/load-balancing/docs/custom-headers": (
        *_named("X-Client-Cert-", "Present", "Chain-Verified", "Error", "Hash", "Serial-Number", "Leaf", "Chain"),
        *_named("X-Client-Cert-", "SPIFFE", "SPIFFE-ID", "URI-SANs", "DNSName-SANs", "Issuer-DN", "Subject-DN"),
        *_named("X-Client-Cert-", "Valid-Not-Before", "Valid-Not-After"),
    ),
    "Cloudflare: https://developers.cloudflare.com/rules/transform/managed-transforms/reference/": (
        *_named("Cf-Cert-", "Revoked", "Verified", "Presented", "Serial", "Issuer-Serial", "Ski", "Issuer-Ski"),
        *_named("Cf-Cert-Issuer-Dn", "", "-Rfc2253", "-Legacy"),
        *_named("Cf-Cert-Subject-Dn", "", "-Rfc2253", "-Legacy"),
        *_named("Cf-Cert-", "Fingerprint-Sha1", "Fingerprint-Sha256", "Not-Before", "Not-After"),
        *_named("Cf-Client-Cert-", "Der-Base64", "Sha256"),
    ),
    "Akamai: https://techdocs.akamai.com/property-mgr/reference/ga-client-certificate-auth": ("Client-To-Edge",),
    "Oracle WebLogic's plug-ins": ("WL-Proxy-Client-Cert", "Proxy-Client-Cert"),
    # Frameworks that take the path from one of these: a public path would lead to any other.
    "IIS rewriting, Zend, Symfony; forward authentication": (
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-Original-URI",
        "X-Forwarded-Uri",
    ),
}
FORGEABLE: tuple[str, ...] = tuple(dict.fromkeys(name for names in SOURCES.values() for name in names))

_PEM_LINES = 96  # of 48 bytes, as OpenSSL writes them: 4.5 KiB of certificate


@dataclass(frozen=True)
class Pem:
    """A certificate in PEM as a map's regular expression, and its lines in a row as what the map yields."""

    expression: str
    base64: str


def pem() -> Pem:
    """Return how a map makes one line of a certificate, for which nginx has no variable.

    A certificate with more lines does not match. Each line is optional inside the one before, so that there is one way
    to match only.
    """
    names = [f"mtls_pem_{number}" for number in range(1, _PEM_LINES + 1)]
    lines = ""
    for name in reversed(names):
        lines = rf"(?:(?<{name}>[^-\x0A]+)\x0A{lines})?"
    return Pem(
        rf"-----BEGIN CERTIFICATE-----\x0A{lines}-----END CERTIFICATE-----", "".join(f"${{{name}}}" for name in names)
    )

/*
 * Copyright (c) 2026, the mtls.nginx authors
 * GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * One GET by wolfSSL: get_wolfssl HOST PORT CA [CERTIFICATE KEY]
 */

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>

static void check(int good, const char *what, WOLFSSL *ssl, int result)
{
    char reason[WOLFSSL_MAX_ERROR_SZ] = "";

    if (good)
        return;
    wolfSSL_ERR_error_string(ssl ? wolfSSL_get_error(ssl, result) : result, reason);
    fprintf(stderr, "error: %s: %s\n", what, reason);
    exit(1);
}

static int connected(const char *host, const char *port)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found, *one;

    if (getaddrinfo(host, port, &hints, &found) == 0) {
        for (one = found; one; one = one->ai_next) {
            int descriptor = socket(one->ai_family, one->ai_socktype, one->ai_protocol);

            if (connect(descriptor, one->ai_addr, one->ai_addrlen) == 0)
                return descriptor;
            close(descriptor);
        }
    }
    fprintf(stderr, "error: no connection to %s\n", host);
    exit(1);
}

int main(int count, char **given)
{
    char text[4096];
    int result;
    WOLFSSL_CTX *context;
    WOLFSSL *ssl;

    if (count < 4)
        return 2;
    wolfSSL_Init();
    context = wolfSSL_CTX_new(wolfTLS_client_method());
    /* Debian's wolfSSL does not verify anybody by default. */
    wolfSSL_CTX_set_verify(context, WOLFSSL_VERIFY_PEER, NULL);
    result = wolfSSL_CTX_load_verify_locations(context, given[3], NULL);
    check(result == WOLFSSL_SUCCESS, "the CA", NULL, result);
    if (count == 6) {
        result = wolfSSL_CTX_use_certificate_chain_file(context, given[4]);
        check(result == WOLFSSL_SUCCESS, "the certificate", NULL, result);
        result = wolfSSL_CTX_use_PrivateKey_file(context, given[5], WOLFSSL_FILETYPE_PEM);
        check(result == WOLFSSL_SUCCESS, "the key", NULL, result);
    }
    ssl = wolfSSL_new(context);
    wolfSSL_UseSNI(ssl, WOLFSSL_SNI_HOST_NAME, given[1], strlen(given[1]));
    wolfSSL_check_domain_name(ssl, given[1]);
    wolfSSL_set_fd(ssl, connected(given[1], given[2]));
    result = wolfSSL_connect(ssl);
    check(result == WOLFSSL_SUCCESS, "connecting", ssl, result);
    snprintf(text, sizeof text, "GET /inside HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", given[1]);
    result = wolfSSL_write(ssl, text, strlen(text));
    check(result > 0, "asking", ssl, result);
    while ((result = wolfSSL_read(ssl, text, sizeof text)) > 0)
        fwrite(text, 1, result, stdout);
    return 0;
}

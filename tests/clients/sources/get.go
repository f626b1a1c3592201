// Copyright (c) 2026, the mtls.nginx authors
// GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// One GET by Go's net/http: get WAY NAME URL CA [CERTIFICATE KEY]. WAY is how the certificate is given to crypto/tls.
// With a NAME, another one of that name on its connection.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	way, name, url, ca, identity := os.Args[1], os.Args[2], os.Args[3], os.Args[4], os.Args[5:]
	pem, err := os.ReadFile(ca)
	check(err)
	config := &tls.Config{RootCAs: x509.NewCertPool()}
	config.RootCAs.AppendCertsFromPEM(pem)
	if len(identity) == 2 {
		pair, err := tls.LoadX509KeyPair(identity[0], identity[1])
		check(err)
		if way == "Certificates" {
			config.Certificates = []tls.Certificate{pair}
		} else {
			config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				return &pair, nil
			}
		}
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}}
	answer, err := client.Get(url)
	check(err)
	if name != "" {
		_, err = io.Copy(io.Discard, answer.Body)
		check(err)
		check(answer.Body.Close())
		request, err := http.NewRequest("GET", url+"/second", nil)
		check(err)
		request.Host = name
		answer, err = client.Do(request)
		check(err)
	}
	fmt.Println(answer.Status)
	_, err = io.Copy(os.Stdout, answer.Body)
	check(err)
}

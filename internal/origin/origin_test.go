package origin

import (
	"net/url"
	"testing"
)

func TestAnOriginIsSchemeHostAndPort(t *testing.T) {
	for address, want := range map[string]string{
		"https://graph.microsoft.com":             "https://graph.microsoft.com:443",
		"https://Graph.Microsoft.com:443/v1.0/me": "https://graph.microsoft.com:443",
		"https://graph.microsoft.com:8443":        "https://graph.microsoft.com:8443",
		"http://localhost/":                       "http://localhost:80",
		"http://[::1]:80":                         "http://[::1]:80",
		"https://user@graph.microsoft.com":        "https://graph.microsoft.com:443",
		"ftp://graph.microsoft.com":               "ftp://graph.microsoft.com:",
	} {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		if got := Of(u); got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
	}
}

func TestLoopbackIsThisMachineOnly(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "LocalHost": true, "login.localhost": false, "127.0.0.1": true, "127.9.9.9": true, "::1": true,
		"": false, "localhost.example": false, "notlocalhost": false, "127.0.0.1.example": false, "0.0.0.0": false, "::": false, "10.0.0.1": false, "localhost.": false,
	} {
		if got := IsLoopback(host); got != want {
			t.Errorf("%q: %v", host, got)
		}
	}
}

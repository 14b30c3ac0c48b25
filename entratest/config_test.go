package entratest

import "testing"

func TestAnOriginHasNoPortThatGoesWithoutSaying(t *testing.T) {
	if got := publicHost("127.0.0.1:443", "127.0.0.1:443"); got != "localhost" {
		t.Errorf("on port 443 the emulator calls itself %s", got)
	}
	if got := publicHost("127.0.0.1:0", "127.0.0.1:8443"); got != "localhost:8443" {
		t.Errorf("on port 8443 the emulator calls itself %s", got)
	}
	for sent, want := range map[string]string{"https://Entra:443/": "https://entra", "https://entra:8443": "https://entra:8443", "https://[::1]:443": "https://[::1]"} {
		if got, err := origin(sent); got != want {
			t.Errorf("%s is %s, %v", sent, got, err)
		}
	}
}

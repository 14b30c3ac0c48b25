package graph

import (
	"bytes"
	"encoding/base64"
	"testing"
)

func TestTheHashIsTheOneOfDrives(t *testing.T) {
	// Contents of 0, 1, 3, 16, 20, 64 and 222 bytes and their hashes, as the real
	// service gives them.
	for content, want := range map[string]string{
		"": "AAAAAAAAAAAAAAAAAAAAAAAAAAA=", "Sg==": "SgAAAAAAAAAAAAAAAQAAAAAAAAA=", "0pZP": "0rDEEwAAAAAAAAAAAwAAAAAAAAA=",
		"2fuxhBJXtpWFe8dOfdGeHw==": "O9tHLAghgSvYohKFyMMxnNCHaHg=", "T6LYJIfDh81JrAK309H2JMJTXis=": "zBTHrspn3mEcohlJdIUAbjGNaNg=",
		"Mb7EGva2rEE5fENDL85P+BsapHEEjv2/siVhKjvAQe02feExVOQSkfmuYzU/kTF1MaKjPmKF/w+cbvwfdWL8aQ==": "n1anP5NfvD4XDYWIeRPW3ZkPv1Y=",
		"PfxMcUd0vIW6VbHG/uj/Y0W6qEoKmyBD0nYebEKazKaKG+UaDqBEcmQjbfQeVnVLuodMoPp7P7TR1htX5n2VnkHh22xDyoJ8C/ZQKiSNqQfXvh83judf4RVr9exJCud8Uvgip6aVZTaPrJHVjQhMCp/d" +
			"EnGvqg0oN5OVkM2qqAXvA0teKUDhgNM71sDBVBCGXxNOR2bpbD1iM4dnuT0ey4L+loXEHTL0fqMeUcEi2asgImnlNakwenDzz0x57aBwyq3AspCFGB1ncX4yYCr/OaCcS5OKi/00WH+wNQU3": "QX/YEpG0gDsmhEpCdWhsxDzsfVE=",
	} {
		raw, err := base64.StdEncoding.DecodeString(content)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := quickXor(bytes.NewReader(raw)); err != nil || got != want {
			t.Errorf("%d bytes have the hash %s, %v; want %s", len(raw), got, err, want)
		}
	}
}

func TestTheHashOfALongFileIsTheSameInOneGoAndBitByBit(t *testing.T) {
	content := randomBytes(3*160<<10 + 77)
	var bits [160]bool
	for i, b := range content {
		for k := range 8 {
			at := (11*i + k) % len(bits)
			bits[at] = bits[at] != (b>>k&1 == 1)
		}
	}
	for k := range 64 {
		bits[96+k] = bits[96+k] != (len(content)>>k&1 == 1)
	}
	var want [20]byte
	for i, set := range bits {
		if set {
			want[i/8] |= 1 << (i % 8)
		}
	}
	if got, err := quickXor(bytes.NewReader(content)); err != nil || got != base64.StdEncoding.EncodeToString(want[:]) {
		t.Errorf("%s, %v", got, err)
	}
}

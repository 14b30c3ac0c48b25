package pfx

import (
	"crypto/aes"
	"crypto/cipher"
	stdpbkdf2 "crypto/pbkdf2"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"
)

var pair = sync.OnceValues(func() (*rsa.PrivateKey, *x509.Certificate) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "fob test"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return key, cert
})

func encode(t *testing.T, e *pkcs12.Encoder, password string) []byte {
	t.Helper()
	key, cert := pair()
	data, err := e.Encode(key, cert, nil, password)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// marker is a number of rounds that no other number of a file is equal to.
const marker = 1789

// setRounds puts another number where the marker stands for the nth time, and
// reports whether it does.
func setRounds(t *testing.T, der []byte, nth *int, to int64) (changed []byte, found bool) {
	t.Helper()
	for len(der) > 0 {
		var v asn1.RawValue
		rest, err := asn1.Unmarshal(der, &v)
		if err != nil {
			t.Fatal(err)
		}
		part := der[:len(der)-len(rest)]
		var n int64
		switch _, err := asn1.Unmarshal(part, &n); {
		case err == nil && n == marker:
			if *nth--; *nth == -1 {
				if part, err = asn1.Marshal(to); err != nil {
					t.Fatal(err)
				}
				found = true
			}
		case v.IsCompound, v.Tag == asn1.TagOctetString && len(v.Bytes) > 100 && v.Bytes[0] == 0x30 && v.Bytes[1] == 0x82:
			inner, ok := setRounds(t, v.Bytes, nth, to)
			found = found || ok
			if part, err = asn1.Marshal(asn1.RawValue{Class: v.Class, Tag: v.Tag, IsCompound: v.IsCompound, Bytes: inner}); err != nil {
				t.Fatal(err)
			}
		}
		changed, der = append(changed, part...), rest
	}
	return changed, found
}

func TestAFileThatAsksForEndlessRoundsIsRefusedAtOnce(t *testing.T) {
	for name, encoder := range map[string]*pkcs12.Encoder{
		"RC2": pkcs12.LegacyRC2, "3DES": pkcs12.LegacyDES, "PBES2": pkcs12.Modern2023, "PBMAC1": pkcs12.Modern2026,
	} {
		data := encode(t, encoder.WithIterations(marker), "secret")
		if _, _, err := Decode(data, "secret"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		// The certificates, the key and the integrity of the whole.
		for place := range 3 {
			nth := place
			hostile, found := setRounds(t, data, &nth, 2_000_000_000)
			if !found {
				t.Fatalf("%s: there are %d numbers of rounds only", name, place)
			}
			_, _, err := Decode(hostile, "not the password")
			if want := fmt.Sprintf("asks for %d rounds of key derivation, and fob does 10000000 at most", 2_000_000_000+2*marker); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s, place %d: got %v, want %q", name, place, err, want)
			}
		}
	}
}

func TestRoundsAreCountedTogether(t *testing.T) {
	data := encode(t, pkcs12.Modern2023.WithIterations(marker), "")
	for range 2 {
		data, _ = setRounds(t, data, new(int), MaxRounds*2/3)
	}
	if _, _, err := Decode(data, ""); err == nil || !strings.Contains(err.Error(), "asks for 13335") {
		t.Errorf("got %v", err)
	}
	data, _ = setRounds(t, data, new(int), 1<<62)
	if rounds, err := countRounds(data); err != nil || rounds < 1<<62 {
		t.Errorf("got %d rounds, %v", rounds, err)
	}
}

func TestAKeyThatHidesItsRoundsIsGivenUp(t *testing.T) {
	marshal := func(v any) []byte {
		der, err := asn1.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	explicit := func(der []byte) asn1.RawValue {
		return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: der}
	}
	data := func(content []byte) contentInfo { return contentInfo{oidData, explicit(marshal(content))} }
	// The part with the key, of a usual file …
	usual := encode(t, pkcs12.Modern2023.WithIterations(500_000), "")
	var f file
	var safe asn1.RawValue
	var parts []contentInfo
	var key []byte
	for _, step := range []struct {
		from func() []byte
		to   any
	}{
		{func() []byte { return usual }, &f}, {func() []byte { return f.AuthSafe.Content.Bytes }, &safe},
		{func() []byte { return safe.Bytes }, &parts}, {func() []byte { return parts[1].Content.Bytes }, &key},
	} {
		if err := unmarshal(step.from(), step.to); err != nil {
			t.Fatal(err)
		}
	}
	// … is encrypted once more.
	salt, iv := []byte("saltsalt"), make([]byte, aes.BlockSize)
	outer, err := stdpbkdf2.Key(sha256.New, "", salt, 1, 32)
	if err != nil {
		t.Fatal(err)
	}
	block, err := aes.NewCipher(outer)
	if err != nil {
		t.Fatal(err)
	}
	padding := aes.BlockSize - len(key)%aes.BlockSize
	key = append(key, strings.Repeat(string(rune(padding)), padding)...)
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(key, key)
	algorithm := pkix.AlgorithmIdentifier{Algorithm: oidPBES2, Parameters: asn1.RawValue{FullBytes: marshal(derivation{
		KDF: pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}, Parameters: asn1.RawValue{FullBytes: marshal(struct {
			Salt   []byte
			Rounds int
			PRF    pkix.AlgorithmIdentifier
		}{salt, 1, pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 9}}})}},
		Then: pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 42}, Parameters: asn1.RawValue{FullBytes: marshal(iv)}},
	})}}
	var encrypted encryptedData
	encrypted.Content.Type, encrypted.Content.Algorithm, encrypted.Content.Data = oidData, algorithm, key
	hostile := marshal(struct {
		Version  int
		AuthSafe contentInfo
	}{3, data(marshal([]contentInfo{{oidEncryptedData, explicit(marshal(encrypted))}}))})

	if rounds, err := countRounds(hostile); err != nil || rounds != 1 {
		t.Fatalf("%d rounds are to be seen, %v", rounds, err)
	}
	if _, _, err := decode(hostile, "", 10*time.Millisecond); err == nil || !strings.Contains(err.Error(), "takes more than 10ms to open: the key in its encrypted part") {
		t.Errorf("got %v", err)
	}
	// For whoever has the time it lacks nothing but a certificate.
	if _, _, err := Decode(hostile, ""); err == nil || !strings.Contains(err.Error(), "certificate missing") {
		t.Errorf("got %v", err)
	}
}

// Package pfx reads PFX (PKCS #12) files within bounds. Such a file says
// itself how often its password is to be hashed, and the decoder obeys: a file
// of a few bytes can ask for more rounds than a machine does in its life.
package pfx

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math"
	"time"

	"software.sslmate.com/src/go-pkcs12"
)

// MaxRounds is how many rounds of key derivation a file may ask for, for its
// integrity and all of its parts together. Windows and OpenSSL write some 2,000
// for each, careful tools up to 600,000; these here take seconds.
const MaxRounds = 10_000_000

// patience is for what cannot be counted before: see [Decode].
const patience = time.Minute

// Decode returns the private key and the certificates of a file, in its order.
// The errors say what to do.
//
// What the file asks for is added up before anything is derived. One number
// cannot be read so early: that of a key which is encrypted by itself and once
// more with the part that it is in. No usual tool writes this, and in a file
// with a password only somebody who knows the password can. Decode gives such
// a file up after a minute; what was begun cannot be stopped, and goes on in
// the background until its rounds are done.
func Decode(data []byte, password string) (crypto.Signer, []*x509.Certificate, error) {
	return decode(data, password, patience)
}

func decode(data []byte, password string, patience time.Duration) (crypto.Signer, []*x509.Certificate, error) {
	switch _, err := x509.ParseCertificate(data); {
	case err == nil:
		return nil, nil, errors.New("the file is a certificate without its private key; export both together, as PFX or PEM")
	case bytes.Contains(data, []byte("-----BEGIN ")):
		return nil, nil, errors.New("the PEM file is cut or damaged: it has no block with its -----END line")
	case len(data) == 0 || data[0] != 0x30:
		return nil, nil, errors.New("the file is neither PEM (-----BEGIN …) nor PFX")
	}
	switch rounds, err := countRounds(data); {
	case err != nil:
		return nil, nil, unreadable(err)
	case rounds > MaxRounds:
		return nil, nil, tooSlow(fmt.Sprintf("asks for %d rounds of key derivation, and fob does %d at most", rounds, MaxRounds))
	}

	var private any
	var certs []*x509.Certificate
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		var leaf *x509.Certificate
		private, leaf, certs, err = pkcs12.DecodeChain(data, password)
		certs = append([]*x509.Certificate{leaf}, certs...)
	}()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		return nil, nil, tooSlow(fmt.Sprintf("takes more than %v to open: the key in its encrypted part asks for too many rounds of key derivation", patience))
	}

	switch {
	case errors.Is(err, pkcs12.ErrIncorrectPassword) && password == "":
		return nil, nil, errors.New("the PFX file wants a password (--certificate-password-file, AZURE_CLIENT_CERTIFICATE_PASSWORD)")
	case errors.Is(err, pkcs12.ErrIncorrectPassword):
		return nil, nil, errors.New("the PFX file does not open with this password")
	case err != nil:
		return nil, nil, unreadable(err)
	}
	key, ok := private.(crypto.Signer)
	if !ok {
		return nil, nil, fmt.Errorf("a key of type %T cannot sign", private)
	}
	return key, certs, nil
}

func unreadable(err error) error {
	return fmt.Errorf("the PFX file is cut, damaged or of a kind that fob does not read: %w", err)
}

func tooSlow(what string) error {
	return errors.New("the PFX file " + what + "; it is damaged, or made to keep a machine busy: export certificate and key anew (openssl pkcs12 -export)")
}

// The parts of a file that lead to the numbers of rounds, RFC 7292 section 4
// and RFC 8018 appendix A. They have the forms that the decoder reads, so that
// none is found by one and missed by the other.
type (
	file struct {
		Version  int
		AuthSafe contentInfo
		MAC      struct {
			Digest struct {
				Algorithm pkix.AlgorithmIdentifier
				Digest    []byte
			}
			Salt   []byte
			Rounds int `asn1:"optional,default:1"`
		} `asn1:"optional"`
	}
	contentInfo struct {
		Type    asn1.ObjectIdentifier
		Content asn1.RawValue `asn1:"tag:0,explicit,optional"`
	}
	encryptedData struct {
		Version int
		Content struct {
			Type      asn1.ObjectIdentifier
			Algorithm pkix.AlgorithmIdentifier
			Data      []byte `asn1:"tag:0,optional"`
		}
	}
	safeBag struct {
		ID         asn1.ObjectIdentifier
		Value      asn1.RawValue   `asn1:"tag:0,explicit"`
		Attributes []asn1.RawValue `asn1:"set,optional"`
	}
	encryptedKey struct {
		Algorithm pkix.AlgorithmIdentifier
		Data      []byte
	}
	// derivation is how PBES2 and PBMAC1 make a key; what follows does not matter.
	derivation struct {
		KDF  pkix.AlgorithmIdentifier
		Then pkix.AlgorithmIdentifier
	}
	pbkdf2 struct {
		Salt      asn1.RawValue
		Rounds    int
		KeyLength int                      `asn1:"optional"`
		PRF       pkix.AlgorithmIdentifier `asn1:"optional"`
	}
	// pbe are the parameters of pbeWithSHAAnd3-KeyTripleDES-CBC and its like.
	pbe struct {
		Salt   []byte
		Rounds int
	}
)

var (
	oidData          = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	oidEncryptedData = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 6}
	oidEncryptedKey  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 2}
	oidPBES2         = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}
	oidPBMAC1        = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 14}
)

// countRounds adds up the rounds that a file asks for, as far as they can be
// read without its password.
func countRounds(data []byte) (int64, error) {
	var f file
	if err := unmarshal(data, &f); err != nil {
		return 0, err
	}
	var sum counter
	switch mac := f.MAC.Digest.Algorithm; {
	case !mac.Algorithm.Equal(oidPBMAC1):
		sum.add(f.MAC.Rounds)
	default:
		if err := sum.algorithm(mac); err != nil {
			return 0, err
		}
	}
	var safe asn1.RawValue
	var parts []contentInfo
	if err := unmarshal(f.AuthSafe.Content.Bytes, &safe); err != nil {
		return 0, err
	}
	if err := unmarshal(safe.Bytes, &parts); err != nil {
		return 0, err
	}
	for _, part := range parts {
		if err := sum.part(part); err != nil {
			return 0, err
		}
	}
	return int64(sum), nil
}

type counter int64

func (c *counter) add(rounds int) {
	*c += min(counter(max(rounds, 0)), math.MaxInt64-*c)
}

func (c *counter) part(p contentInfo) error {
	switch {
	case p.Type.Equal(oidEncryptedData):
		var encrypted encryptedData
		if err := unmarshal(p.Content.Bytes, &encrypted); err != nil {
			return err
		}
		return c.algorithm(encrypted.Content.Algorithm)
	case p.Type.Equal(oidData):
		var data []byte
		var bags []safeBag
		if err := unmarshal(p.Content.Bytes, &data); err != nil {
			return err
		}
		if err := unmarshal(data, &bags); err != nil {
			return err
		}
		for _, bag := range bags {
			if !bag.ID.Equal(oidEncryptedKey) {
				continue
			}
			var key encryptedKey
			if err := unmarshal(bag.Value.Bytes, &key); err != nil {
				return err
			}
			if err := c.algorithm(key.Algorithm); err != nil {
				return err
			}
		}
	}
	return nil // of a kind that the decoder refuses
}

func (c *counter) algorithm(a pkix.AlgorithmIdentifier) error {
	if !a.Algorithm.Equal(oidPBES2) && !a.Algorithm.Equal(oidPBMAC1) {
		var p pbe
		err := unmarshal(a.Parameters.FullBytes, &p)
		c.add(p.Rounds)
		return err
	}
	var d derivation
	if err := unmarshal(a.Parameters.FullBytes, &d); err != nil {
		return err
	}
	var p pbkdf2
	err := unmarshal(d.KDF.Parameters.FullBytes, &p)
	c.add(p.Rounds)
	return err
}

// unmarshal reads in as a whole.
func unmarshal(in []byte, out any) error {
	rest, err := asn1.Unmarshal(in, out)
	if err == nil && len(rest) > 0 {
		err = errors.New("there is more behind the end of a part")
	}
	return err
}

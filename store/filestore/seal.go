package filestore

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
)

// A sealed record is magic, one byte of format version, the nonce and what GCM
// makes of the record, with magic, version and the record's key as additional
// data.
const (
	magic         = "fobseal"
	formatVersion = 1
	headerSize    = len(magic) + 1
	nonceSize     = 12
	tagSize       = 16
	sealOverhead  = int64(headerSize + nonceSize + tagSize)
	keySize       = 32
)

// errSeal says no more, for GCM tells no more.
const errSeal = defect("it was changed, or sealed with another key")

// sealer seals and opens records with one key. Nonces are random, which is good
// for 2^32 records (NIST SP 800-38D section 8.3): one a second for 136 years.
type sealer struct {
	key  []byte
	aead cipher.AEAD
}

func newSealer(key []byte) *sealer {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // the size of the key was checked
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // it takes any AES
	}
	return &sealer{key, aead}
}

func (k *sealer) seal(name string, record []byte) []byte {
	sealed := make([]byte, 0, len(record)+int(sealOverhead))
	sealed = append(append(sealed, magic...), formatVersion)
	return k.aead.Seal(sealed, nil, record, additionalData(name))
}

func (k *sealer) open(name string, sealed []byte) ([]byte, error) {
	rest, ok := bytes.CutPrefix(sealed, []byte(magic))
	switch {
	case !ok || len(sealed) < int(sealOverhead):
		return nil, defect("it is not a sealed record, or not all of one")
	case rest[0] != formatVersion:
		return nil, defect(fmt.Sprintf("its format is version %d, this fob reads version %d", rest[0], formatVersion))
	}
	record, err := k.aead.Open(nil, nil, rest[1:], additionalData(name))
	if err != nil {
		return nil, errSeal
	}
	return record, nil
}

func additionalData(name string) []byte {
	return append([]byte(magic), append([]byte{formatVersion}, name...)...)
}

// currentKey reads the key, and creates it if there is none.
func (s *Store) currentKey(ctx context.Context) (*sealer, error) {
	k, err := s.readKey()
	if !errors.Is(err, fs.ErrNotExist) {
		return k, err
	}
	unlock, err := s.lock(ctx, keyName)
	if err != nil {
		return nil, fmt.Errorf("creating the key file %s: %w", s.path(keyName), err)
	}
	defer unlock()
	k, err = s.readKey()
	if !errors.Is(err, fs.ErrNotExist) {
		return k, err // somebody was faster
	}
	key := make([]byte, keySize)
	rand.Read(key)
	// A rename under a lock and not link(2), which would need no lock: Android
	// and FAT have no hard links.
	if err := s.write(keyName, key); err != nil {
		return nil, err
	}
	return s.readKey()
}

// readKey reads the key file and remembers the key. It returns the same sealer
// as long as the key is the same.
func (s *Store) readKey() (*sealer, error) {
	key, info, err := s.readFile(keyName, keySize)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err == nil && len(key) != keySize {
		err = defect(fmt.Sprintf("it has %d bytes, a key has %d", len(key), keySize))
	}
	if err == nil {
		err = checkKey(info)
	}
	if reason, ok := errors.AsType[defect](err); ok {
		return nil, fmt.Errorf("the key file %s cannot be used (%w): clear the store with fob cache clear, then sign in again", s.path(keyName), reason)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the key file %s: %w", s.path(keyName), bare(err))
	}
	last := s.key.Load()
	if last != nil && bytes.Equal(last.key, key) {
		return last, nil
	}
	k := newSealer(key)
	s.key.Store(k)
	return k, nil
}

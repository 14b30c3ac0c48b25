package graph

import (
	"crypto/subtle"
	"encoding/base64"
	"io"
)

// quickXor is the hash that OneDrive and SharePoint give of every file:
// quickXorHash, as it is in a driveItem. Each byte is xored into a ring of 160
// bits, 11 bits further on than the byte before it, and the length into the
// last 64 of them.
//
// https://learn.microsoft.com/onedrive/developer/code-snippets/quickxorhash
func quickXor(r io.Reader) (string, error) {
	// Bytes that are 160 apart go to the same place, so all blocks of that size
	// are xored with each other first.
	const block = 160
	var sum [block]byte
	var length uint64
	buffer := make([]byte, block<<10)
	for {
		n, err := io.ReadFull(r, buffer)
		length += uint64(n)
		for part := buffer[:n]; len(part) > 0; part = part[min(block, len(part)):] {
			subtle.XORBytes(sum[:], sum[:], part[:min(block, len(part))])
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			break
		}
		if err != nil {
			return "", err
		}
	}
	var ring [20]byte
	for i, b := range sum {
		at, shift := 11*i%160/8, 11*i%8
		ring[at] ^= b << shift
		ring[(at+1)%len(ring)] ^= byte(uint16(b) << shift >> 8)
	}
	for i := range 8 {
		ring[12+i] ^= byte(length >> (8 * i))
	}
	return base64.StdEncoding.EncodeToString(ring[:]), nil
}

package fob_test

import (
	"testing"

	"github.com/fobauth/fob"
	"github.com/fobauth/fob/store/storetest"
)

func TestTheMemoryStoreKeepsTheContract(t *testing.T) {
	storetest.Test(t, func(*testing.T) fob.Store { return fob.MemoryStore() })
}

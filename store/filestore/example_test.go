package filestore_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/fobauth/fob"
	"github.com/fobauth/fob/entratest"
	"github.com/fobauth/fob/store/filestore"
)

// Two runs of a program, or two programs at once: the token of the first is
// there for the second. In a program of yours the directory is one below
// os.UserCacheDir, and Host and HTTP are left out.
func ExampleOpen() {
	emulator, err := entratest.Start(entratest.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer emulator.Close()
	dir, err := os.MkdirTemp("", "fob")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	for range 2 {
		store, err := filestore.Open(dir)
		if err != nil {
			log.Fatal(err)
		}
		client := &fob.Client{
			Authority:  fob.Authority{Host: emulator.URL(), Tenant: entratest.TenantID},
			ID:         entratest.DaemonClientID,
			Credential: fob.ClientSecret{Secret: fob.NewSecret(entratest.DaemonSecret)},
			Store:      store,
			HTTP:       emulator.Client(),
		}
		token, err := client.Token(context.Background(), fob.Request{Scopes: []string{"https://graph.microsoft.com/.default"}})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("from", token.Origin)
		store.Close()
	}
	// Output:
	// from flow
	// from cache
}

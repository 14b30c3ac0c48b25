module github.com/fobauth/fob

go 1.26.0

require (
	github.com/BurntSushi/toml v1.6.0 // world files of the emulator
	github.com/aymanbagabas/go-osc52/v2 v2.0.1 // the clipboard of the terminal, also over SSH
	github.com/cli/browser v1.3.0 // opens the sign-in page
	github.com/go-jose/go-jose/v4 v4.1.8 // reads key sets; tests: makes odd tokens
	github.com/go-json-experiment/json v0.0.0-20260820222146-c27c302e5fc3 // strict JSON: members twice and bad UTF-8 are errors; streams pages
	github.com/gofrs/flock v0.13.1 // locks between processes
	github.com/google/go-cmp v0.7.0 // tests: says where two values differ
	github.com/google/uuid v1.6.0 // request ids, and the jti of assertions
	github.com/itchyny/gojq v0.12.20 // the filters of --jq
	github.com/rogpeppe/go-internal v1.16.0 // tests: the scripts that specify the command line
	github.com/spf13/cobra v1.10.2 // commands, help, completion for four shells
	github.com/spf13/pflag v1.0.9 // flags; comes with cobra
	go.uber.org/goleak v1.3.0 // tests: no goroutine outlives its owner
	golang.org/x/net v0.62.0 // tests: reads the sign-in pages as a browser does
	golang.org/x/oauth2 v0.37.0 // benchmarks: the token source that people compare with
	golang.org/x/sys v0.49.0 // terminals and processes of Windows
	golang.org/x/term v0.47.0 // the width of a terminal, and whether there is one
	pgregory.net/rapid v1.3.0 // tests: properties instead of examples
	rsc.io/qr v0.2.0 // the device code as a picture
	software.sslmate.com/src/go-pkcs12 v0.7.4 // PFX files
)

require (
	github.com/inconshreveable/mousetrap v1.1.0 // indirect
	github.com/itchyny/timefmt-go v0.1.9 // indirect
	golang.org/x/crypto v0.58.0 // indirect
	golang.org/x/tools v0.26.0 // indirect
)

module github.com/fobauth/fob/interop

go 1.26.0

replace github.com/fobauth/fob => ../

require (
	github.com/Azure/azure-sdk-for-go/sdk/azcore v1.24.0 // the pipeline of azidentity's users, claims challenges included
	github.com/Azure/azure-sdk-for-go/sdk/azidentity v1.15.0 // Microsoft's credentials for Go, judged against the emulator
	github.com/AzureAD/microsoft-authentication-library-for-go v1.10.1 // MSAL for Go, judged against the emulator
	github.com/coreos/go-oidc/v3 v3.21.0 // a strict reader of discovery, keys and ID tokens
	github.com/fobauth/fob v0.0.0-00010101000000-000000000000 // the emulator
	github.com/golang-jwt/jwt/v5 v5.3.1 // checks access tokens as an API would, and signs those of another issuer
	github.com/hashicorp/go-azure-sdk/sdk v0.20250131.1134653 // how Terraform signs in
	github.com/microsoft/kiota-abstractions-go v1.9.4 // what the Graph SDK is made of
	github.com/microsoft/kiota-http-go v1.5.6 // the Graph SDK's middleware
	github.com/microsoft/kiota-serialization-json-go v1.1.2 // the Graph SDK's JSON
	github.com/microsoftgraph/msgraph-sdk-go-core v1.4.1 // the core of Microsoft's Graph SDK for Go, judged against the emulator
	golang.org/x/net v0.62.0 // reads the sign-in pages
	golang.org/x/oauth2 v0.37.0 // the OAuth client of most Go programs
	software.sslmate.com/src/go-pkcs12 v0.7.4 // PFX files, which it wants
)

require (
	github.com/Azure/azure-sdk-for-go/sdk/internal v1.13.0 // indirect
	github.com/BurntSushi/toml v1.6.0 // indirect
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/go-jose/go-jose/v4 v4.1.8 // indirect
	github.com/go-json-experiment/json v0.0.0-20260820222146-c27c302e5fc3 // indirect
	github.com/go-logr/logr v1.4.3 // indirect
	github.com/go-logr/stdr v1.2.2 // indirect
	github.com/gofrs/flock v0.13.1 // indirect
	github.com/google/uuid v1.6.0 // indirect
	github.com/hashicorp/go-azure-helpers v0.66.2 // indirect
	github.com/hashicorp/go-cleanhttp v0.5.2 // indirect
	github.com/hashicorp/go-retryablehttp v0.7.7 // indirect
	github.com/hashicorp/go-uuid v1.0.3 // indirect
	github.com/hashicorp/go-version v1.6.0 // indirect
	github.com/kylelemons/godebug v1.1.0 // indirect
	github.com/microsoft/kiota-authentication-azure-go v1.3.1 // indirect
	github.com/pkg/browser v0.0.0-20240102092130-5ac0b6a4141c // indirect
	github.com/std-uritemplate/std-uritemplate/go/v2 v2.0.3 // indirect
	go.opentelemetry.io/auto/sdk v1.2.1 // indirect
	go.opentelemetry.io/otel v1.43.0 // indirect
	go.opentelemetry.io/otel/metric v1.43.0 // indirect
	go.opentelemetry.io/otel/trace v1.43.0 // indirect
	golang.org/x/crypto v0.58.0 // indirect
	golang.org/x/sync v0.24.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/text v0.43.0 // indirect
)

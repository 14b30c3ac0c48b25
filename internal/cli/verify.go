package cli

import (
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/fobauth/fob"
	"github.com/fobauth/fob/internal/insight"
)

func (inv *invocation) verifyCommand() *cobra.Command {
	var opt insight.VerifyOptions
	var keys string
	cmd := &cobra.Command{
		Use: "verify [TOKEN|FILE|-] [flags]", Short: "Check a token, and say which check failed",
		Long: "Checks a token as an API should: algorithm, key, signature, issuer, tenant,\n" +
			"audience, times, nonce; and says of each what was expected and what was found.\n" +
			"The keys are fetched from the authority that issued it, if that is one of\n" +
			"Microsoft's, from --authority-host, or read from --keys.\n\n" +
			"The exit status is 0 if the signature and every check that was asked for is\n" +
			"good, else 1. Tokens for Microsoft Graph cannot be verified by anybody else.",
		Example: "fob token -r api://my-api | fob verify --audience api://my-api --tenant TENANT\n" +
			"fob verify token.txt --keys keys.json --issuer https://issuer.example\n" +
			"fob emulator run -- sh -c 'fob token -r api://fob-api | fob verify --emulator'",
		Args: atMostOne("a token"),
	}
	fs := cmd.Flags()
	fs.StringArrayVar(&opt.Audience, "audience", nil, "`aud` to accept: the API's application id or URI; repeat for several")
	fs.StringVarP(&inv.flags.tenant, "tenant", "t", "", "tenant `id` to expect (AZURE_TENANT_ID)")
	fs.StringVar(&opt.Issuer, "issuer", "", "`iss` to expect (default: the one that the keys are published for)")
	fs.StringVar(&opt.Nonce, "nonce", "", "`nonce` of the sign-in request that an ID token answers")
	fs.StringSliceVar(&opt.Algorithms, "algorithm", nil, "signature `algorithms` to accept (default RS256, the only one of Entra's)")
	fs.StringVar(&keys, "keys", "", "`file` with the keys to trust, a JSON web key set; nothing is fetched then")
	inv.outputFlag(fs, "text", "json")
	inv.sharedFlags(fs, whereFlags|storeFlags)
	return inv.define(cmd, func(cmd *cobra.Command, args []string) error {
		s, err := inv.resolve(whereFlags)
		if err != nil {
			return err
		}
		if keys != "" {
			data, err := readBounded(keys, maxCertificateFile)
			if err != nil {
				return &problem{status: StatusUsage, text: "reading --keys", err: err}
			}
			if opt.Keys, err = insight.ParseKeys(data); err != nil {
				return &problem{status: StatusUsage, text: "--keys " + keys, err: err, fix: "give a JSON web key set, as the authority's jwks_uri shows it"}
			}
		}
		token, err := inv.tokenInput(args, false)
		if err != nil {
			return err
		}
		// A domain names the authority's tenant but is in no token.
		if isGUID(s.tenant.text) || s.tenant.from == "--tenant" {
			opt.Tenant = s.tenant.text
		}
		if s.authorityFrom != "default" {
			s.defaultsOfEmulator()
			opt.Authority = s.authority
			if opt.Authority.Tenant == "" { // whose keys are for every tenant
				opt.Authority = opt.Authority.WithTenant("common")
			}
		}
		ctx, cancel, err := inv.withTimeout(cmd.Context())
		if err != nil {
			return err
		}
		defer cancel()
		opt.HTTP, opt.Now = &http.Client{Transport: inv.roundTripper(s)}, time.Now()
		v := insight.Verify(ctx, token, opt)
		if err := cmd.Context().Err(); err != nil {
			return err
		}
		if v.Verdict != insight.Verified {
			inv.status = StatusFailed
		}
		inv.tell("keys: %s", verifyKeysFrom(keys, opt.Authority))
		return inv.show(v)
	})
}

func verifyKeysFrom(file string, authority fob.Authority) string {
	switch {
	case file != "":
		return file
	case authority != (fob.Authority{}):
		return authority.MetadataEndpoint()
	}
	return "the authority that the token names"
}

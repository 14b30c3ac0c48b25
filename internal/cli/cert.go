package cli

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fobauth/fob"
	"github.com/fobauth/fob/internal/insight"
)

func (inv *invocation) certCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "cert COMMAND", Aliases: []string{"certificate"}, Short: "Make a certificate to register, or look at one",
		Long: "Makes a certificate that an app registration signs in with, and shows any\n" +
			"certificate as Entra looks at it: thumbprints, key, expiry.",
		Example: "fob cert new --subject reporting --out reporting\n" +
			"fob cert show reporting.pem",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(cmd, args[0])
			}
			return nil
		},
	}
	cmd.AddCommand(inv.certNewCommand(), inv.certShowCommand())
	return inv.define(cmd, func(cmd *cobra.Command, _ []string) error { return cmd.Help() })
}

func (inv *invocation) certNewCommand() *cobra.Command {
	var subject, out string
	var bits, days int
	cmd := &cobra.Command{
		Use: "new [flags]", Short: "Make a key and a self-signed certificate to register",
		Long: "Makes an RSA key and a self-signed certificate for it: OUT.pem has both, what\n" +
			"--certificate takes and nobody else may see; OUT.cer has the certificate alone,\n" +
			"to be uploaded. With --certificate-password-file there is OUT.pfx, too. Prints\n" +
			"the thumbprints, the steps to register it, and the call to Microsoft Graph that\n" +
			"does. A file that is there already is never replaced.",
		Example: "fob cert new\n" +
			"fob cert new --subject reporting --days 180 --out reporting -c CLIENT_ID\n" +
			"fob cert new --out build-7 --certificate-password-file password.txt -o json",
	}
	cmd.Flags().StringVar(&subject, "subject", "fob", "common `name` of the certificate; it is shown in the portal")
	cmd.Flags().IntVar(&bits, "bits", 2048, "`size` of the RSA key: 2048, 3072 or 4096")
	cmd.Flags().IntVar(&days, "days", 365, "`number` of days that it is good for")
	cmd.Flags().StringVar(&out, "out", "", "`name` of the files, without their ending (default: the subject)")
	cmd.Flags().StringVarP(&inv.flags.clientID, "client-id", "c", "", "application (client) `id` to print the registration for (AZURE_CLIENT_ID)")
	inv.certificatePasswordFlag(cmd.Flags(), "`file` with a password: make a PFX file, too; - is stdin")
	inv.outputFlag(cmd.Flags(), "text", "json")
	return inv.define(cmd, func(cmd *cobra.Command, _ []string) error {
		if out == "" {
			out = fileName(subject)
		}
		app := or(inv.flags.clientID, inv.getenv("AZURE_CLIENT_ID"))
		if app != "" && !isGUID(app) {
			return &problem{status: StatusUsage, text: "the client id " + quoted(app) + " is no GUID", fix: "copy Application (client) ID from the app's overview page, or leave it out"}
		}
		var password fob.Secret
		if inv.flags.certificatePassword != "" {
			var err error
			if password, err = inv.secretFile(&settings{}, "--certificate-password-file", inv.flags.certificatePassword); err != nil {
				return err
			}
		}
		made, err := makeCertificate(subject, bits, days, out, password)
		if err != nil {
			return err
		}
		registration, err := insight.Register(made.pair.Certificate, app, time.Now())
		if err != nil {
			return err
		}
		if inv.flags.output == "json" {
			return inv.printJSON(struct {
				Files []string `json:"files"`
				*insight.Registration
			}{made.files, registration})
		}
		registration.Certificate.Summary = "Made " + strings.Join(made.files, ", ")
		registration.Certificate.HasKey = true
		if err := inv.show(registration); err != nil {
			return err
		}
		t := inv.terminal(inv.Stdout)
		return inv.print("\nOnce it is registered:\n\n  " + t.paint(styleName, "fob token --certificate "+inv.quote(made.files[0])+" --tenant TENANT --client-id CLIENT_ID") + "\n")
	})
}

// fileName makes a file's name of a subject.
func fileName(subject string) string {
	name := strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '_' || r == '.' {
			return r
		}
		return '-'
	}, strings.TrimPrefix(subject, "CN="))
	return or(strings.Trim(name, "-."), "fob")
}

// madeCertificate is a new certificate and the files it was written to.
type madeCertificate struct {
	pair  *insight.KeyPair
	files []string
}

func (m *madeCertificate) remove() {
	for _, name := range m.files {
		os.Remove(name)
	}
}

// makeCertificate makes a certificate and writes its files: all of them, or
// none.
func makeCertificate(subject string, bits, days int, out string, password fob.Secret) (_ *madeCertificate, err error) {
	wanted := []string{out + ".pem", out + ".cer"}
	if !password.IsZero() {
		wanted = append(wanted, out+".pfx")
	}
	for _, name := range wanted { // a key takes seconds: look first
		switch _, err := os.Lstat(name); {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return nil, err
		default:
			return nil, &problem{status: StatusUsage, text: name + " is there already; it may hold the only copy of a key, so it is not replaced",
				fix: "choose another name with --out, or move it away", try: "fob cert new --out " + fileName(subject) + "-" + time.Now().Format("2006-01")}
		}
	}
	m := &madeCertificate{}
	if m.pair, err = insight.NewCertificate(subject, bits, days, time.Now()); err != nil {
		return nil, &problem{status: StatusUsage, err: err}
	}
	defer func() {
		if err != nil {
			m.remove()
		}
	}()
	write := func(name string, content fob.Secret, err error) error {
		if err != nil {
			return err
		}
		if err = insight.WriteSecret(name, content); err == nil {
			m.files = append(m.files, name)
		}
		return err
	}
	text, err := m.pair.PEM()
	if err = write(wanted[0], text, err); err != nil {
		return nil, err
	}
	if err = insight.WritePublic(wanted[1], m.pair.CertificatePEM()); err != nil {
		return nil, err
	}
	m.files = append(m.files, wanted[1])
	if !password.IsZero() {
		pfx, pfxErr := m.pair.PFX(password)
		if err = write(wanted[2], pfx, pfxErr); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (inv *invocation) certificatePasswordFlag(fs *pflag.FlagSet, usage string) {
	fs.StringVar(&inv.flags.certificatePassword, "certificate-password-file", "", usage)
}

func (inv *invocation) certShowCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show FILE [flags]", Short: "Show a certificate as Entra looks at it",
		Long: "Shows a certificate of a PEM, PFX or DER file (- is stdin): the thumbprints in\n" +
			"every form that Entra, scripts and the portal use, key, expiry, usage, and what\n" +
			"would keep it from signing in. No private key is shown.",
		Example: "fob cert show app.pem\n" +
			"fob cert show app.pfx --certificate-password-file password.txt\n" +
			"fob cert show - -o json < app.cer",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return &problem{status: StatusUsage, text: "name one certificate file: PEM, PFX or DER", try: "fob cert show app.pem"}
			}
			return nil
		},
	}
	inv.certificatePasswordFlag(cmd.Flags(), "`file` with the PFX file's password (AZURE_CLIENT_CERTIFICATE_PASSWORD)")
	inv.outputFlag(cmd.Flags(), "text", "json")
	return inv.define(cmd, func(cmd *cobra.Command, args []string) error {
		shown, err := inv.lookAtCertificate(args[0])
		if err != nil {
			return err
		}
		return inv.show(shown)
	})
}

// lookAtCertificate describes a certificate file.
func (inv *invocation) lookAtCertificate(path string) (*insight.Certificate, error) {
	var data []byte
	var err error
	if path == "-" {
		data, err = readAtMost(inv.Stdin, "stdin", maxCertificateFile)
	} else {
		data, err = readBounded(path, maxCertificateFile)
	}
	if err != nil {
		return nil, &problem{status: StatusUsage, text: "reading the certificate", err: err}
	}
	password := fob.NewSecret(inv.getenv("AZURE_CLIENT_CERTIFICATE_PASSWORD"))
	if inv.flags.certificatePassword != "" {
		if password, err = inv.secretFile(&settings{}, "--certificate-password-file", inv.flags.certificatePassword); err != nil {
			return nil, err
		}
	}
	shown, err := insight.ReadCertificate(data, password, time.Now())
	if err != nil {
		return nil, &problem{status: StatusFailed, text: path, err: err}
	}
	return shown, nil
}

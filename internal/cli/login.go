package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"github.com/aymanbagabas/go-osc52/v2"
	"github.com/cli/browser"
	"github.com/spf13/cobra"
	"rsc.io/qr/coding"

	"github.com/fobauth/fob"
)

func (inv *invocation) loginCommand() *cobra.Command {
	var useBrowser, copyCode, open bool
	var prompt string
	cmd := &cobra.Command{
		Use: "login [flags]", Short: "Sign a user in",
		Long: "Signs a user in and keeps the refresh token, so that later commands need nobody.\n" +
			"A browser opens if there is one; over SSH and without a desktop, or with\n" +
			"--device-code, a code is shown to be entered on another screen. An app\n" +
			"registration of your own is needed; the emulator brings one.",
		Example: "fob login --tenant contoso.onmicrosoft.com --client-id CLIENT_ID\n" +
			"fob login --emulator --device-code --open\n" +
			"fob login --emulator --refresh-token-file token.txt",
	}
	cmd.Flags().BoolVar(&useBrowser, "browser", false, "open a browser even if there seems to be none")
	cmd.Flags().BoolVar(&copyCode, "copy", false, "with a device code: copy it to the clipboard")
	cmd.Flags().BoolVar(&open, "open", false, "with a device code: open the page")
	cmd.Flags().Var(&choice{&prompt, []string{"select_account", "login", "consent"}, true}, "prompt", "with a browser, what is `asked` again: select_account, login or consent")
	inv.outputFlag(cmd.Flags(), "text", "json")
	inv.sharedFlags(cmd.Flags(), loginFlags)
	return inv.define(cmd, func(cmd *cobra.Command, _ []string) error {
		ctx := cmd.Context()
		if useBrowser && inv.flags.deviceCode {
			return &problem{status: StatusUsage, text: "--browser and --device-code contradict each other", fix: "give one of them"}
		}
		s, err := inv.resolve(loginFlags)
		if err != nil {
			return err
		}
		if s.emulator != nil && strings.EqualFold(s.clientID.text, s.emulator.DaemonClientID) && s.clientID.from != "--client-id" {
			// What "fob emulator env" sets is an app that signs in as itself.
			s.clientID = value{}
		}
		s.defaultsOfEmulator()
		if s.clientID.text == "" {
			return noClientID()
		}
		store, err := inv.openStore(s)
		if err != nil {
			return err
		}
		inv.tellSettings(s)
		c := &fob.Client{Authority: s.authority, ID: s.clientID.text, Store: store, HTTP: &http.Client{Transport: inv.roundTripper(s)}, Warn: inv.warn}
		req := inv.request(s)
		switch {
		case !s.refreshToken.IsZero():
			c.Flow = fob.RefreshToken{Token: s.refreshToken}
			var cancel context.CancelFunc
			if ctx, cancel, err = inv.withTimeout(ctx); err != nil {
				return err
			}
			defer cancel()
		case inv.flags.deviceCode || !useBrowser && !inv.hasBrowser():
			c.Flow = fob.DeviceCode{Prompt: inv.devicePrompt(devicePromptOptions{copy: copyCode, open: open, qr: true})}
		default:
			c.Flow = fob.AuthorizationCode{Open: inv.showSignInPage, LoginHint: hint(inv.flags.account), Prompt: prompt}
			// Nobody may come back from the browser, and nothing says so.
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, max(inv.flags.timeout, 15*time.Minute))
			defer cancel()
		}
		inv.watch()
		inv.warnAbout(s) // before somebody takes the trouble
		token, err := c.SignIn(ctx, req)
		if err != nil {
			return err
		}
		return inv.signedInAs(token, s)
	})
}

// hint is the account as a login hint, which ids are not.
func hint(account string) string {
	if strings.Contains(account, "@") {
		return account
	}
	return ""
}

func (inv *invocation) signedInAs(token *fob.Token, s *settings) error {
	who := or(token.Account.Username, token.Account.ID)
	if inv.flags.output == "json" {
		return inv.printJSON(struct {
			Username  string `json:"username"`
			Name      string `json:"name"`
			ID        string `json:"id"`
			Tenant    string `json:"tenant"`
			ClientID  string `json:"clientId"`
			Authority string `json:"authority"`
			Scope     string `json:"scope"`
			Kept      bool   `json:"refreshTokenKept"`
		}{token.Account.Username, token.Account.Name, token.Account.ID, token.Account.Tenant, s.clientID.text, s.authority.Host,
			strings.Join(token.Scopes, " "), !token.Refresh.IsZero()})
	}
	line := "signed in as " + who
	if token.Account.Name != "" {
		line += " (" + token.Account.Name + ")"
	}
	if token.Refresh.IsZero() {
		inv.note("no refresh token came along, so the sign-in ends with its access token at %s", token.Expires.Local().Format(time.TimeOnly))
	}
	return inv.print(oneLine(line) + "\n")
}

// hasBrowser reports whether a browser can probably open for this user.
func (inv *invocation) hasBrowser() bool {
	switch {
	case inv.Open != nil || inv.getenv("BROWSER") != "":
		return true
	case inv.getenv("SSH_CONNECTION") != "" || inv.getenv("SSH_TTY") != "":
		return false // it would open at the other end
	case runtime.GOOS == "windows" || runtime.GOOS == "darwin":
		return true
	}
	return inv.getenv("DISPLAY") != "" || inv.getenv("WAYLAND_DISPLAY") != "" || inv.getenv("WSL_DISTRO_NAME") != ""
}

// showSignInPage opens the browser, and shows the address for those for whom
// that does not work.
func (inv *invocation) showSignInPage(ctx context.Context, page string) error {
	fmt.Fprintf(inv.Stderr, "Sign in in the browser that opens now. If none does, open this page on this machine\n(or use: fob login --device-code):\n\n%s\n\n", oneLine(page))
	if err := inv.openPage(ctx, page); err != nil {
		inv.warn(fmt.Errorf("opening the browser: %w", err))
	}
	return nil
}

// openPage opens a page in the user's browser, without waiting for it to end.
func (inv *invocation) openPage(ctx context.Context, page string) error {
	if inv.Open != nil {
		return inv.Open(ctx, page)
	}
	if program := inv.getenv("BROWSER"); program != "" {
		// Programs are separated by colons, as xdg-open reads it; the first does.
		program, _, _ = strings.Cut(program, string(os.PathListSeparator))
		words := strings.Fields(program)
		if len(words) == 0 {
			return fmt.Errorf("BROWSER is %s", quoted(program))
		}
		command := exec.Command(words[0], append(words[1:], page)...)
		command.Env = inv.Environ
		if err := command.Start(); err != nil {
			return err
		}
		return command.Process.Release()
	}
	browser.Stdout, browser.Stderr = io.Discard, io.Discard
	return browser.OpenURL(page)
}

// devicePromptOptions say what else to do with a device code than show it.
type devicePromptOptions struct{ copy, open, qr bool }

// devicePrompt shows a device code on stderr.
func (inv *invocation) devicePrompt(options devicePromptOptions) func(context.Context, fob.DeviceCodePrompt) error {
	return func(ctx context.Context, p fob.DeviceCodePrompt) error {
		t := inv.terminal(inv.Stderr)
		var b strings.Builder
		b.WriteString("\nTo sign in, open this page on any screen:\n\n")
		b.WriteString("    " + t.paint(styleHead, p.VerificationURI) + "\n\n")
		b.WriteString("and enter the code\n\n")
		b.WriteString("    " + t.paint("1;7", " "+p.UserCode+" ") + "\n\n")
		fmt.Fprintf(&b, "It is good until %s. Ctrl-C gives up.\n", p.Expires.Local().Format(time.TimeOnly))
		if options.qr && t.is {
			if picture, width := qrPicture(p.VerificationURI); width > 0 && width+4 <= t.width {
				for line := range strings.Lines(picture) {
					b.WriteString("    " + line)
				}
			}
		}
		if options.copy {
			b.WriteString(inv.copyText(p.UserCode) + "\n")
		}
		b.WriteByte('\n')
		if _, err := io.WriteString(inv.Stderr, b.String()); err != nil {
			return err
		}
		if options.open {
			if err := inv.openPage(ctx, p.VerificationURI); err != nil {
				inv.warn(fmt.Errorf("opening the page: %w", err))
			}
		}
		return nil
	}
}

// copyText puts text on the clipboard, and says whether it did. Over SSH and
// where no program for it is installed, the terminal is asked to (OSC 52).
func (inv *invocation) copyText(text string) string {
	var programs [][]string
	remote := inv.getenv("SSH_CONNECTION") != "" || inv.getenv("SSH_TTY") != ""
	switch {
	case remote:
	case runtime.GOOS == "darwin":
		programs = [][]string{{"pbcopy"}}
	case runtime.GOOS == "windows" || inv.getenv("WSL_DISTRO_NAME") != "":
		programs = [][]string{{"clip.exe"}}
	case inv.getenv("WAYLAND_DISPLAY") != "":
		programs = [][]string{{"wl-copy"}}
	case inv.getenv("DISPLAY") != "":
		programs = [][]string{{"xclip", "-selection", "clipboard"}, {"xsel", "--input", "--clipboard"}}
	}
	for _, program := range programs {
		command := exec.Command(program[0], program[1:]...)
		command.Env, command.Stdin = inv.Environ, strings.NewReader(text)
		if command.Run() == nil {
			return "The code is on the clipboard."
		}
	}
	if !inv.terminal(inv.Stderr).is {
		return "The code was not copied: there is no clipboard here."
	}
	sequence := osc52.New(text)
	switch {
	case inv.getenv("TMUX") != "":
		sequence = sequence.Tmux()
	case strings.HasPrefix(inv.getenv("TERM"), "screen"):
		sequence = sequence.Screen()
	}
	if _, err := sequence.WriteTo(inv.Stderr); err != nil {
		return ""
	}
	return "The terminal was asked to put the code on the clipboard."
}

// qrPicture draws a QR code with half blocks, two rows of dots a line, light
// on dark: most terminals are dark, and cameras read both.
func qrPicture(text string) (picture string, width int) {
	// The package above this one links package image, whose initialisation every
	// command would pay for.
	words, version := coding.String(text), coding.Version(coding.MinVersion)
	for words.Bits(version) > version.DataBytes(coding.L)*8 {
		if version++; version > coding.MaxVersion {
			return "", 0
		}
	}
	plan, err := coding.NewPlan(version, coding.L, 0)
	if err != nil {
		return "", 0
	}
	code, err := plan.Encode(words)
	if err != nil {
		return "", 0
	}
	const quiet = 2 // dots around it, or cameras do not find it
	light := func(x, y int) bool { return !code.Black(x, y) }
	var b strings.Builder
	for y := -quiet; y < code.Size+quiet; y += 2 {
		for x := -quiet; x < code.Size+quiet; x++ {
			switch top, bottom := light(x, y), light(x, y+1) && y+1 < code.Size+quiet; {
			case top && bottom:
				b.WriteRune('█')
			case top:
				b.WriteRune('▀')
			case bottom:
				b.WriteRune('▄')
			default:
				b.WriteByte(' ')
			}
		}
		b.WriteByte('\n')
	}
	return b.String(), code.Size + 2*quiet
}

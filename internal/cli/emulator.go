package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fobauth/fob/entratest"
)

// defaultListen is where the emulator listens, if it can: at the same address
// after a restart, so that what was signed in still is.
const defaultListen = "127.0.0.1:8443"

func (inv *invocation) emulatorCommand() *cobra.Command {
	var cfg entratest.Config
	cmd := &cobra.Command{
		Use: "emulator [flags]", Aliases: []string{"emu"}, Short: "Run Entra ID and Microsoft Graph on this machine",
		Long: "Runs an emulator of Entra ID and Microsoft Graph on loopback, until Ctrl-C: real\n" +
			"HTTPS with a certificate authority of its own (which is never installed), a\n" +
			"tenant with users, groups and apps, every flow. No account, no network. It is\n" +
			"for tests and for learning: all its passwords and secrets are public.",
		Example: "fob emulator                     # then, in another terminal: fob login --emulator\n" +
			"fob emulator run -- fob token    # a command with an emulator of its own\n" +
			"eval \"$(fob emulator env)\"       # let other programs in this shell use it",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(cmd, args[0])
			}
			return nil
		},
	}
	inv.outputFlag(cmd.Flags(), "text", "json")
	cmd.Flags().StringVar(&cfg.Listen, "listen", "", "`address` to listen on (default "+defaultListen+", or a free port if that is taken)")
	inv.emulatorFlags(cmd.Flags(), &cfg)
	cmd.AddCommand(inv.emulatorEnvCommand(), inv.emulatorRunCommand())
	return inv.define(cmd, func(cmd *cobra.Command, _ []string) error {
		return inv.serveEmulator(cmd.Context(), cfg)
	})
}

func (inv *invocation) emulatorFlags(fs *pflag.FlagSet, cfg *entratest.Config) {
	fs.StringVar(&cfg.ControlListen, "control", "127.0.0.1:0", "`address` of the control server, plain HTTP on loopback; \"\" for none")
	fs.StringVar(&cfg.WorldFile, "world", "", "TOML `file` that extends or replaces the world")
	fs.StringVar(&cfg.TLSCert, "tls-cert", "", "PEM `file` with a certificate to use in place of its own")
	fs.StringVar(&cfg.TLSKey, "tls-key", "", "PEM `file` with the key of --tls-cert")
	fs.StringVar(&cfg.AuthorityURL, "authority-url", "", "`URL` that clients reach sign-in by")
	fs.StringVar(&cfg.GraphURL, "graph-url", "", "`URL` that clients reach Graph by")
	fs.DurationVar(&cfg.DeviceInterval, "device-interval", 0, "`time` between two polls of a device code (default 5s)")
	fs.IntVar(&cfg.GeneratedUsers, "users", 0, "add this `number` of generated users, a million if need be; they cost no memory")
	fs.Var((*throttleFlag)(&cfg.Throttle), "throttle", "let Graph answer 429: `limits` such as units=100,writes=20,retry-after=decimal, or \"real\" for the service's own")
	fs.StringSliceVar(&cfg.Impersonate, "impersonate", nil, "host `names` of Microsoft that point at the emulator; \"all\" for the public cloud's")
	fs.BoolVar(&cfg.InsecureListenOnAnyAddress, "insecure-let-every-machine-get-every-token", false, "allow --listen on an address that other machines reach")
	fs.StringVar(&inv.flags.cacheDir, "cache-dir", "", "`directory` for its certificate authority and its address (FOB_CACHE_DIR)")
	fs.BoolVarP(&inv.flags.verbose, "verbose", "v", false, "print connections that fail, for example for lack of trust")
}

// throttleFlag is the value of --throttle.
type throttleFlag entratest.Throttle

var errNoLimit = errors.New("not a limit")

// Set reads "real", or limits by their names.
func (t *throttleFlag) Set(text string) error {
	*t = throttleFlag{}
	if text == "real" {
		*t = throttleFlag{Units: -1, Writes: 3000}
		return nil
	}
	for limit := range strings.SplitSeq(text, ",") {
		name, value, _ := strings.Cut(limit, "=")
		n, err := strconv.Atoi(value)
		switch {
		case name == "retry-after" && slices.Contains([]string{"decimal", "date", "none"}, value):
			t.RetryAfter = value
		case name == "units" && err == nil && n > 0:
			t.Units = n
		case name == "writes" && err == nil && n > 0:
			t.Writes = n
		default:
			return errNoLimit
		}
	}
	if t.Units == 0 && t.Writes == 0 {
		return errNoLimit
	}
	return nil
}

// String is empty: nothing is the default.
func (t *throttleFlag) String() string { return "" }

// Type is the kind of value.
func (t *throttleFlag) Type() string { return "throttle" }

// startEmulator starts what cfg describes.
func (inv *invocation) startEmulator(cfg entratest.Config) (*entratest.Emulator, error) {
	if len(cfg.Impersonate) == 1 && cfg.Impersonate[0] == "all" {
		cfg.Impersonate = entratest.MicrosoftHosts()
	}
	if inv.flags.verbose {
		cfg.ErrorLog = log.New(inv.Stderr, "fob: ", 0)
	}
	preferred := cfg.Listen == ""
	if preferred {
		cfg.Listen = defaultListen
	}
	inv.watch()
	e, err := entratest.Start(cfg)
	if preferred && errors.Is(err, syscall.EADDRINUSE) {
		inv.note("%s is taken; the emulator listens on a free port instead", defaultListen)
		cfg.Listen = "127.0.0.1:0"
		e, err = entratest.Start(cfg)
	}
	var listening *net.OpError
	var file *fs.PathError
	switch {
	case err == nil:
		return e, nil
	case errors.As(err, &listening):
		return nil, &problem{status: StatusFailed, err: err, fix: "choose another address, or a free port with --listen 127.0.0.1:0"}
	case adviseSystem(err) != "", errors.As(err, &file) && cfg.StateDir != "" && strings.HasPrefix(file.Path, filepath.Dir(cfg.StateDir)):
		return nil, &problem{status: StatusFailed, err: err, fix: or(adviseSystem(err), "name another directory with --cache-dir or FOB_CACHE_DIR")}
	}
	return nil, &problem{status: StatusUsage, err: err, try: inv.command + " --help"}
}

// serveEmulator runs the emulator in the foreground. To be stopped is how it
// ends, so that is status 0.
func (inv *invocation) serveEmulator(ctx context.Context, cfg entratest.Config) error {
	s := &settings{}
	if err := inv.resolveCacheDir(s); err != nil {
		return err
	}
	if err := s.hasPlace(); err != nil {
		return err
	}
	cfg.StateDir = filepath.Join(s.cacheDir.text, "emulator")
	e, err := inv.startEmulator(cfg)
	if err != nil {
		return err
	}
	defer e.Close()
	withdraw, err := Announce(s.cacheDir.text, e)
	if err != nil {
		return err
	}
	defer withdraw()
	if err := inv.printEmulator(e); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

func (inv *invocation) printEmulator(e *entratest.Emulator) error {
	a, err := announcement(e)
	if err != nil {
		return err
	}
	if inv.flags.output == "json" {
		return inv.printJSON(a)
	}
	t := inv.terminal(inv.Stdout)
	shell, err := inv.shell("")
	if err != nil {
		return err
	}
	var b strings.Builder
	b.WriteString(t.paint(styleGood, "The emulator is ready.") + " Ctrl-C ends it.\n\n")
	row := func(label, text string) {
		if text != "" {
			fmt.Fprintf(&b, "  %s %s\n", t.paint(styleLabel, fmt.Sprintf("%-9s", label)), text)
		}
	}
	row("sign-in", a.URL+"/"+a.TenantID)
	row("graph", a.Graph+"/v1.0")
	row("control", a.Control)
	row("trust", a.CAFile)
	if a.TenantID == entratest.TenantID {
		row("tenant", a.TenantID+"  ("+entratest.TenantDomain+")")
		row("users", entratest.AdaUPN+" "+entratest.AdaPassword)
		row("", entratest.BenUPN+" "+entratest.BenPassword)
		row("", entratest.CleoUPN+" "+entratest.CleoPassword)
		row("apps", entratest.CLIClientID+"  public: device code, browser")
		row("", entratest.DaemonClientID+"  confidential, with the secret")
		row("", entratest.DaemonSecret)
	}
	b.WriteString("\nIn another terminal:\n\n")
	b.WriteString("  fob login --emulator\n  fob get /me --emulator\n")
	b.WriteString("\nOther programs use it with these lines, which \"fob emulator env\" prints again:\n\n")
	for _, line := range a.Environ {
		name, value, _ := strings.Cut(line, "=")
		set, err := assignment(shell, name, value)
		if err != nil {
			return err
		}
		b.WriteString("  " + set + "\n")
	}
	return inv.print(b.String())
}

func (inv *invocation) emulatorEnvCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "env [flags]", Short: "Print the environment that makes programs use the running emulator",
		Long: "Prints the lines that make other programs in this shell use the running emulator:\n" +
			"its address, its tenant, an app with a secret, and whom to trust.",
		Example: "eval \"$(fob emulator env)\"\n" +
			"fob emulator env --shell powershell | Out-String | Invoke-Expression\n" +
			"fob emulator env --shell fish | source",
	}
	cmd.Flags().StringVar(&inv.flags.shell, "shell", "", "quote for this `shell`: bash, fish, powershell or cmd (default: the one in use)")
	inv.outputFlag(cmd.Flags(), "text", "json")
	cmd.Flags().StringVar(&inv.flags.cacheDir, "cache-dir", "", "`directory` where the emulator was started with it (FOB_CACHE_DIR)")
	return inv.define(cmd, func(cmd *cobra.Command, _ []string) error {
		s := &settings{}
		if err := inv.resolveCacheDir(s); err != nil {
			return err
		}
		shell, err := inv.shell(inv.flags.shell)
		if err != nil {
			return err
		}
		a, err := inv.findEmulator(s.cacheDir.text, inv.getenv("FOB_EMULATOR"))
		if err == nil && len(a.Environ) == 0 { // this shell still has the address of one that has ended
			a, err = inv.findEmulator(s.cacheDir.text, "")
		}
		if err != nil {
			return err
		}
		if inv.flags.output == "json" {
			variables := map[string]string{}
			for _, line := range a.Environ {
				name, value, _ := strings.Cut(line, "=")
				variables[name] = value
			}
			return inv.printJSON(variables)
		}
		var b strings.Builder
		for _, line := range a.Environ {
			name, value, _ := strings.Cut(line, "=")
			set, err := assignment(shell, name, value)
			if err != nil {
				return err
			}
			b.WriteString(set + "\n")
		}
		return inv.print(b.String())
	})
}

func (inv *invocation) emulatorRunCommand() *cobra.Command {
	var cfg entratest.Config
	cmd := &cobra.Command{
		Use: "run [flags] -- COMMAND [ARGUMENT…]", Short: "Run a command with an emulator of its own",
		Long: "Runs a command with an emulator that lives as long as the command does, and with\n" +
			"the environment that makes programs use it: an app with a secret, as \"fob\n" +
			"emulator env\" prints it. The exit status is the command's.",
		Example: "fob emulator run -- fob get /users\n" +
			"fob emulator run -- go test ./...\n" +
			"fob emulator run --world world.toml -- python3 job.py",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return &problem{status: StatusUsage, text: "name the command to run", try: "fob emulator run -- fob token"}
			}
			return nil
		},
	}
	cmd.Flags().SetInterspersed(false) // what follows the command belongs to it
	cmd.Flags().StringVar(&cfg.Listen, "listen", "127.0.0.1:0", "`address` to listen on")
	inv.emulatorFlags(cmd.Flags(), &cfg)
	return inv.define(cmd, func(cmd *cobra.Command, args []string) error {
		e, err := inv.startEmulator(cfg)
		if err != nil {
			return err
		}
		defer e.Close()
		// Its sign-ins and tokens are good for nothing afterwards, so they are
		// kept apart from the user's.
		dir, err := os.MkdirTemp("", "fob-emulator-")
		if err != nil {
			return &problem{text: "making a directory for the emulator's tokens", err: err, fix: "name with TMPDIR a directory that can be written"}
		}
		defer os.RemoveAll(dir)
		withdraw, err := Announce(dir, e)
		if err != nil {
			return err
		}
		defer withdraw()
		environ, err := e.Env()
		if err != nil {
			return err
		}
		return inv.runWith(cmd.Context(), args, append(environ, "FOB_CACHE_DIR="+dir))
	})
}

// runWith runs a program with more variables, and takes over its exit status.
func (inv *invocation) runWith(ctx context.Context, args, more []string) error {
	name := args[0]
	if name == "fob" { // this very program, wherever it lies
		if own, err := os.Executable(); err == nil {
			name = own
		}
	}
	child := exec.CommandContext(ctx, name, args[1:]...)
	child.Env = append(withoutVariables(inv.Environ, more), more...)
	child.Stdin, child.Stdout, child.Stderr = inv.Stdin, inv.Stdout, inv.Stderr
	// A Ctrl-C at the terminal reaches the child by itself; a signal to us
	// alone is passed on. Who ignores it is ended later.
	child.Cancel = func() error { return child.Process.Signal(os.Interrupt) }
	child.WaitDelay = 5 * time.Second
	err := child.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &exit) && exit.ExitCode() >= 0:
		inv.status = exit.ExitCode()
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, os.ErrNotExist):
		return &problem{status: StatusUsage, text: "there is no program " + quoted(args[0])}
	}
	return fmt.Errorf("running %s: %w", args[0], err)
}

// withoutVariables leaves out of environ what more sets, and the variables of
// other credentials, which would contradict.
func withoutVariables(environ, more []string) []string {
	drop := map[string]bool{
		"AZURE_CLIENT_CERTIFICATE_PATH": true, "AZURE_FEDERATED_TOKEN_FILE": true, "AZURE_CLIENT_CERTIFICATE_PASSWORD": true,
		"AZURE_USERNAME": true, "AZURE_PASSWORD": true,
	}
	for _, line := range more {
		name, _, _ := strings.Cut(line, "=")
		drop[name] = true
	}
	var kept []string
	for _, line := range environ {
		if name, _, _ := strings.Cut(line, "="); !drop[name] && !strings.HasPrefix(name, "ARM_") {
			kept = append(kept, line)
		}
	}
	return kept
}

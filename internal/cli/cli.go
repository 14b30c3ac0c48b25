// Package cli is the command line of fob as a function: [Run] gets arguments,
// environment and streams, and returns the exit status. cmd/fob calls it with
// those of the process.
//
// One file holds one command. What commands share lies in settings.go (where
// values come from), client.go (what is built of them), report.go (how errors
// become words, and nowhere else) and help.go.
package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fobauth/fob/internal/spelling"
	"github.com/fobauth/fob/internal/trace"
	"github.com/fobauth/fob/store/filestore"
)

// Env is everything that a command gets from outside. Stdin, Stdout and Stderr
// must be set.
type Env struct {
	// Args are the arguments without the name of the program.
	Args []string
	// Environ is the environment, as os.Environ returns it.
	Environ []string
	Stdin   io.Reader
	Stdout  io.Writer
	Stderr  io.Writer
	// Watch is called before the first thing that takes time, so that Ctrl-C
	// cancels the context that Run was given. Nil means that nobody watches:
	// Ctrl-C then ends the process in the system's way.
	Watch func()
	// Open shows a page in the user's browser. Nil means the system's way.
	Open func(ctx context.Context, page string) error
}

// The exit status of every command.
const (
	StatusDone        = 0
	StatusFailed      = 1
	StatusUsage       = 2   // wrong usage
	StatusInteraction = 3   // a person must sign in
	StatusRefused     = 4   // credential, consent, permission, policy
	StatusUnavailable = 5   // not reachable or throttled; a retry makes sense
	StatusInterrupted = 130 // by Ctrl-C
)

// invocation is one run of the program.
type invocation struct {
	Env
	flags flags
	// argvSecret is the flag that was given a secret as its value.
	argvSecret string
	// command is the path of the command that runs, "fob token".
	command string
	// versionFlag is fob --version.
	versionFlag bool
	// settings are what the command resolved, for the report.
	settings *settings
	// tracer records the exchanges of a command with --trace, once there are any.
	tracer     *trace.Recorder
	startTrace sync.Once
	hidden     []string // addresses that no trace shows
	// opened is the store, once a command has opened it.
	opened   *filestore.Store
	warnings sync.Map // those that were told
	// status is the exit status of a command that ran another program.
	status int
}

// Run runs one command and returns its exit status. It reads nothing but env
// and the files that it names.
func Run(ctx context.Context, env Env) int {
	inv := &invocation{Env: env}
	root := inv.root()
	root.SetArgs(slices.Clone(env.Args))
	root.SetIn(env.Stdin)
	root.SetOut(env.Stdout)
	root.SetErr(env.Stderr)
	command, err := root.ExecuteContextC(ctx)
	if inv.opened != nil {
		defer inv.opened.Close()
	}
	if inv.command == "" && command != nil {
		inv.command = command.CommandPath()
	}
	if inv.argvSecret != "" {
		// Before any other complaint: the others may be about its value.
		err = secretOnCommandLine(inv.argvSecret)
	}
	switch {
	case err == nil:
		return inv.status
	case errors.Is(err, syscall.EPIPE):
		return StatusFailed // whoever read the output has gone; nobody to tell
	case ctx.Err() != nil && errors.Is(err, context.Canceled), errors.Is(err, errInterrupted):
		return StatusInterrupted
	}
	r := inv.describe(err)
	r.write(inv)
	inv.rememberFailure(r)
	return r.status
}

// root builds the command tree.
func (inv *invocation) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "fob",
		Short: "Get, keep, renew and use Microsoft Entra ID tokens",
		Long: "fob gets, keeps, renews, explains and uses Microsoft Entra ID tokens.\n" +
			"It brings an emulator of Entra ID and Microsoft Graph, so that everything\n" +
			"can be tried with no tenant and no network.",
		Example: "fob tour                        # every flow, shown and explained\n" +
			"fob emulator run -- fob token   # a token from the emulator\n" +
			"fob explain AADSTS700016        # what an error means",
		SilenceErrors: true, SilenceUsage: true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return unknownCommand(cmd, args[0])
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if inv.versionFlag {
				return inv.printVersion()
			}
			return cmd.Help()
		},
	}
	root.AddCommand(inv.commands()...)
	if len(inv.Args) > 0 && (inv.Args[0] == cobra.ShellCompRequestCmd || inv.Args[0] == cobra.ShellCompNoDescRequestCmd) {
		completeValues(root) // only for the shell that asks: it takes time
	}
	root.Flags().BoolVar(&inv.versionFlag, "version", false, "print the version, as fob version does")
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetHelpCommand(&cobra.Command{Use: "help [COMMAND]", Short: "Show the help of a command", RunE: func(cmd *cobra.Command, args []string) error {
		about, rest, err := root.Find(args)
		if err != nil || len(rest) > 0 {
			return unknownCommand(root, strings.Join(args, " "))
		}
		return about.Help()
	}, ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) (names []string, _ cobra.ShellCompDirective) {
		if about, _, err := root.Find(args); err == nil {
			for _, c := range about.Commands() {
				if c.IsAvailableCommand() {
					names = append(names, c.Name())
				}
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}})
	root.SetHelpFunc(inv.help)
	root.SetUsageFunc(func(cmd *cobra.Command) error { inv.help(cmd, nil); return nil })
	root.SetFlagErrorFunc(inv.flagError)
	root.SetGlobalNormalizationFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		switch name { // the words that people bring from other tools
		case "tenant-id":
			name = "tenant"
		case "app-id":
			name = "client-id"
		}
		return pflag.NormalizedName(name)
	})
	return root
}

// commands builds the command that the arguments name, or all of them where
// they name none: a stored token is printed in less time than it takes to
// define every flag.
func (inv *invocation) commands() []*cobra.Command {
	table := []struct {
		names string // as Use and Aliases have them
		build func() *cobra.Command
	}{
		{"tour", inv.tourCommand}, {"login", inv.loginCommand}, {"logout", inv.logoutCommand},
		{"accounts whoami status", inv.accountsCommand},
		{"token get-access-token print-access-token", inv.tokenCommand}, {"header", inv.headerCommand}, {"get", inv.getCommand},
		{"post", inv.postCommand}, {"patch", inv.patchCommand}, {"put", inv.putCommand}, {"delete", inv.deleteCommand}, {"api rest", inv.apiCommand},
		{"batch", inv.batchCommand}, {"export", inv.exportCommand},
		{"decode", inv.decodeCommand}, {"verify", inv.verifyCommand}, {"diff", inv.diffCommand},
		{"explain", inv.explainCommand}, {"doctor", inv.doctorCommand}, {"cert certificate", inv.certCommand},
		{"cache", inv.cacheCommand}, {"emulator emu", inv.emulatorCommand},
		{"version", inv.versionCommand}, {"completion", inv.completionCommand},
	}
	if len(inv.Args) > 0 && inv.Args[0] != "completion" {
		for _, c := range table {
			if slices.Contains(strings.Fields(c.names), inv.Args[0]) {
				return []*cobra.Command{c.build()}
			}
		}
	}
	var all []*cobra.Command
	for _, c := range table {
		all = append(all, c.build())
	}
	return all
}

// running is called by every command first.
func (inv *invocation) running(cmd *cobra.Command) {
	inv.command = cmd.CommandPath()
}

// define fills in what all commands have in common.
func (inv *invocation) define(cmd *cobra.Command, run func(cmd *cobra.Command, args []string) error) *cobra.Command {
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.DisableFlagsInUseLine = true
	if cmd.Args == nil {
		cmd.Args = noArguments
	}
	cmd.Args = inv.noTraceFileApart(cmd.Args)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		inv.running(cmd)
		if inv.argvSecret != "" {
			return secretOnCommandLine(inv.argvSecret)
		}
		// The flags of all commands write to the same place.
		inv.flags.set = cmd.Flags().Changed
		if output := cmd.Flags().Lookup("output"); output != nil && !output.Changed {
			inv.flags.output = output.DefValue
		}
		if err := inv.checkTrace(); err != nil {
			return err
		}
		defer inv.finishTrace()
		return run(cmd, args)
	}
	inv.refuseSecretFlags(cmd.Flags())
	return cmd
}

// noArguments refuses arguments without repeating them: one may be a secret
// that went astray.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return &problem{status: StatusUsage, text: "\"" + cmd.CommandPath() + "\" takes flags only, but got an argument",
		try: cmd.CommandPath() + " --help"}
}

// otherWord is the command that does what people call by name elsewhere.
func otherWord(name string) string {
	switch strings.ToLower(name) {
	case "signin", "sign-in", "auth", "authenticate", "connect", "device", "device-code":
		return "login"
	case "signout", "sign-out", "disconnect":
		return "logout"
	case "list", "account":
		return "accounts"
	case "get-token", "access-token", "acquire", "refresh", "client-credentials", "secret":
		return "token"
	case "curl", "call", "request", "invoke":
		return "api"
	case "graph", "download":
		return "get"
	case "upload":
		return "put"
	case "inspect", "jwt":
		return "decode"
	case "validate":
		return "verify"
	case "error":
		return "explain"
	case "check", "diagnose":
		return "doctor"
	case "thumbprint":
		return "cert show"
	case "mock":
		return "emulator"
	}
	return ""
}

func unknownCommand(parent *cobra.Command, name string) error {
	p := &problem{status: StatusUsage, text: "there is no command " + quoted(name), try: parent.CommandPath() + " --help"}
	if meant := otherWord(name); meant != "" && !parent.HasParent() {
		p.fix, p.try = "fob "+meant+" does that", "fob "+meant+" --help"
		return p
	}
	best, distance := "", 3
	for _, c := range parent.Commands() {
		for _, known := range append(c.Aliases, c.Name()) {
			if d := spelling.Distance(known, name); d < distance && c.IsAvailableCommand() {
				best, distance = known, d
			}
		}
	}
	if best != "" {
		p.fix = "perhaps " + best + " was meant"
		p.try = parent.CommandPath() + " " + best
	}
	return p
}

// flagError words what pflag says, without the values in it.
func (inv *invocation) flagError(cmd *cobra.Command, err error) error {
	if errors.Is(err, pflag.ErrHelp) {
		return err
	}
	inv.running(cmd)
	p := &problem{status: StatusUsage, text: err.Error(), try: cmd.CommandPath() + " --help"}
	var unknown *pflag.NotExistError
	var invalid *pflag.InvalidValueError
	switch {
	case errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() != "":
		p.text = "there is no flag -" + unknown.GetSpecifiedName()
	case errors.As(err, &unknown):
		p.text = "there is no flag --" + unknown.GetSpecifiedName()
		switch near := nearFlag(cmd, unknown.GetSpecifiedName()); {
		case near != "":
			p.fix = "perhaps --" + near + " was meant"
		case unknown.GetSpecifiedName() == "query" && cmd.Name() == "token": // as az account get-access-token has it
			p.fix, p.try = "leave it out: the bare token is what is printed", "fob token"
		}
	case errors.As(err, &invalid):
		p.text = "--" + invalid.GetFlag().Name + " wants " + wantedValue(invalid.GetFlag()) + ", not " + quoted(invalid.GetValue())
	}
	return p
}

func wantedValue(f *pflag.Flag) string {
	if c, ok := f.Value.(*choice); ok {
		return "one of " + strings.Join(c.among, ", ")
	}
	switch f.Value.Type() {
	case "duration":
		return "a span like 90s, 5m or 1h"
	case "throttle":
		return "real, or limits like units=100,writes=20,retry-after=decimal"
	case "int":
		return "a number"
	case "bool":
		return "true or false"
	}
	return f.Value.Type()
}

// nearFlag finds the flag that was probably meant.
func nearFlag(cmd *cobra.Command, name string) string {
	best, distance := "", 3
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if d := spelling.Distance(f.Name, name); !f.Hidden && d < distance {
			best, distance = f.Name, d
		}
	})
	return best
}

// getenv returns a variable of the environment; the last definition counts.
func (inv *invocation) getenv(name string) string {
	for i := len(inv.Environ) - 1; i >= 0; i-- {
		if value, ok := strings.CutPrefix(inv.Environ[i], name+"="); ok {
			return value
		}
	}
	return ""
}

// watch makes Ctrl-C cancel what is under way.
func (inv *invocation) watch() {
	if inv.Watch != nil {
		inv.Watch()
	}
}

// FromProcess returns the environment of this process.
func FromProcess() Env {
	return Env{Args: os.Args[1:], Environ: os.Environ(), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}
}

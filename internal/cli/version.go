package cli

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"
)

func (inv *invocation) versionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "version [-o json]", Short: "Print the version",
		Long:    "Prints the version of fob, the commit it was built from, and the platform.",
		Example: "fob version\nfob version -o json",
	}
	inv.outputFlag(cmd.Flags(), "text", "json")
	return inv.define(cmd, func(cmd *cobra.Command, _ []string) error {
		if inv.flags.output == "json" {
			return inv.printJSON(buildVersion())
		}
		return inv.printVersion()
	})
}

func (inv *invocation) printVersion() error {
	v := buildVersion()
	line := "fob " + v.Version
	if v.Commit != "" {
		line += " (" + v.Commit + ")"
	}
	return inv.print(fmt.Sprintf("%s %s %s/%s\n", line, v.Go, v.OS, v.Arch))
}

type version struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

// buildVersion reads what the go command wrote into the binary.
func buildVersion() version {
	v := version{Version: "devel", Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if info.Main.Version != "" && info.Main.Version != "(devel)" {
		v.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision" && len(s.Value) >= 12:
			v.Commit = s.Value[:12]
		case s.Key == "vcs.modified" && s.Value == "true" && v.Commit != "":
			v.Commit += ", changed"
		}
	}
	return v
}

// printJSON writes v as one line of JSON to stdout.
func (inv *invocation) printJSON(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return inv.print(string(text) + "\n")
}

// print writes an answer to stdout in one piece, so that whoever reads along
// never sees half a line.
func (inv *invocation) print(s string) error {
	_, err := io.WriteString(inv.Stdout, s)
	return err
}

package cli

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fobauth/fob/aadsts"
	"github.com/fobauth/fob/internal/insight"
)

func (inv *invocation) explainCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "explain [CODE|TEXT|FILE|-]… [flags]", Short: "Explain an error, offline",
		Long: "Explains an error: what it means, why it usually comes, whose job it is, what\n" +
			"helps, and a command that proves it. Give AADSTS codes, the whole answer of a\n" +
			"server (as curl -i shows it, too), a WWW-Authenticate header, an error of\n" +
			"Microsoft Graph, what a program printed when it failed, the address of a\n" +
			"redirect, a topic such as \"invalid scope\" or words to search; a file or stdin\n" +
			"(-) may hold it. Without any of these the last command that a server refused is\n" +
			"explained. Nothing is sent anywhere, and no token is printed.",
		Example: "fob explain AADSTS700016 7000215\n" +
			"fob token || fob explain\n" +
			"fob explain - < answer.json\n" +
			"fob explain invalid scope",
		Args: cobra.ArbitraryArgs,
	}
	inv.outputFlag(cmd.Flags(), "text", "json")
	cmd.Flags().StringVar(&inv.flags.cacheDir, "cache-dir", "", "`directory` of the command that failed (FOB_CACHE_DIR)")
	return inv.define(cmd, func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			explanation, err := inv.explainLast()
			if err != nil {
				return err
			}
			return inv.show(explanation)
		}
		text, err := inv.errorText(args)
		if err != nil {
			return err
		}
		explanation := explainText(text)
		if !understood(explanation) {
			inv.status = StatusFailed
		}
		return inv.show(explanation)
	})
}

// errorText is what is to be explained: stdin, a file, or the words themselves.
func (inv *invocation) errorText(args []string) (string, error) {
	var data []byte
	var err error
	switch info, missing := os.Stat(args[0]); {
	case len(args) == 1 && args[0] == "-":
		data, err = readAtMost(inv.Stdin, "stdin", maxLook)
	case len(args) == 1 && missing == nil && !info.IsDir():
		data, err = readBounded(args[0], maxLook)
	case len(args) == 1 && slices.Contains([]string{".json", ".txt", ".log", ".xml", ".html"}, filepath.Ext(args[0])) && !strings.ContainsAny(args[0], " {?\n"):
		return "", &problem{status: StatusUsage, text: "there is no file " + quoted(args[0]), fix: "give the error itself, a file that holds it, or - for stdin"}
	default:
		return strings.Join(args, " "), nil
	}
	text := plainText(data)
	if err == nil && strings.TrimSpace(text) == "" {
		return "", &problem{status: StatusUsage, text: "there is nothing to explain in " + quoted(args[0]), try: "fob explain AADSTS700016"}
	}
	return text, err
}

// explainText explains a text. Several codes and nothing else are explained one
// after the other, as they were given.
func explainText(text string) *insight.Explanation {
	var codes []string
	for word := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == ' ' || r == ',' || r == ';' || r == '\n' || r == '\r' || r == '\t' }) {
		number := aadsts.Parse(word)
		if len(number) != 1 || len(word) > len("AADSTS")+9 {
			return insight.Explain(text)
		}
		if !slices.Contains(codes, word) {
			codes = append(codes, word)
		}
	}
	if len(codes) < 2 {
		return insight.Explain(text)
	}
	all := insight.Explain(codes[0])
	for _, code := range codes[1:] {
		next := insight.Explain(code)
		all.Causes, all.Near = append(all.Causes, next.Causes...), append(all.Near, next.Near...)
	}
	return all
}

// understood reports whether an explanation says more than that there is none.
func understood(e *insight.Explanation) bool {
	for _, cause := range e.Causes {
		if numbers := aadsts.Parse(cause.Name); len(numbers) == 1 && strings.HasPrefix(cause.Name, "AADSTS") {
			if _, ok := aadsts.Lookup(numbers[0]); !ok {
				return false
			}
		}
	}
	switch e.Source {
	case "text", "error word":
		return len(e.Causes) > 0 && e.Source == "error word"
	}
	return len(e.Causes) > 0 || len(e.Near) > 0 && e.Source == "words"
}

package cli

import (
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
)

// shells are the shells that fob can quote for.
var shells = []string{"bash", "fish", "powershell", "cmd"}

// shell is the shell in use: the one of --shell, else a guess.
func (inv *invocation) shell(flag string) (string, error) {
	switch flag {
	case "bash", "fish", "powershell", "cmd":
		return flag, nil
	case "sh", "zsh", "dash", "ksh":
		return "bash", nil // they quote alike
	case "pwsh":
		return "powershell", nil
	case "":
	default:
		return "", &problem{status: StatusUsage, text: "--shell " + quoted(flag) + " is none of " + strings.Join(shells, ", ")}
	}
	// PowerShell sets PSModulePath; on Windows everybody inherits it, so that
	// cmd can only be named.
	switch {
	case runtime.GOOS == "windows":
		return "powershell", nil
	case strings.TrimSuffix(filepath.Base(inv.getenv("SHELL")), ".exe") == "fish":
		return "fish", nil
	case strings.HasPrefix(filepath.Base(inv.getenv("SHELL")), "pwsh"):
		return "powershell", nil
	}
	return "bash", nil
}

// assignment is the line that sets a variable in shell.
func assignment(shell, name, value string) (string, error) {
	switch shell {
	case "fish":
		return "set -gx " + name + " " + quoteFish(value), nil
	case "powershell":
		return "$env:" + name + " = " + quotePowerShell(value), nil
	case "cmd":
		// cmd has no quoting that keeps every character; what it would act on
		// is refused rather than run.
		if i := strings.IndexAny(value, "\r\n\"%!^&|<>"); i >= 0 {
			return "", fmt.Errorf("the value of %s has the character %q, which cmd cannot keep; use --shell powershell", name, value[i])
		}
		return `set "` + name + "=" + value + `"`, nil
	default:
		return "export " + name + "=" + quotePOSIX(value), nil
	}
}

// quote makes s one word of a command line to be copied.
func (inv *invocation) quote(s string) string {
	if s != "" && strings.IndexFunc(s, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-_./:@+,=", r))
	}) < 0 {
		return s
	}
	if runtime.GOOS == "windows" {
		return quotePowerShell(s)
	}
	return quotePOSIX(s)
}

func quotePOSIX(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func quoteFish(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}

// quotePowerShell doubles every character that PowerShell takes for a single
// quote, also the typographic ones.
func quotePowerShell(s string) string {
	return "'" + strings.NewReplacer("'", "''", "‘", "‘‘", "’", "’’", "‚", "‚‚", "‛", "‛‛").Replace(s) + "'"
}

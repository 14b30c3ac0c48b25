package cli

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/term"

	"github.com/fobauth/fob"
	"github.com/fobauth/fob/internal/insight"
)

// What the commands that look into tokens, errors and set-ups have in common:
// where the text comes from, and how a report is printed.

// maxLook is more than any token or error that somebody wants to look at.
const maxLook = 16 << 20

// show prints a report: words for people, one JSON value for machines.
func (inv *invocation) show(r insight.Report) error {
	if inv.flags.output == "json" {
		return inv.printJSON(r)
	}
	var b strings.Builder
	if err := r.Render(&b, inv.reportStyle()); err != nil {
		return err
	}
	return inv.print(b.String())
}

// reportStyle is how reports look on stdout: as wide as the terminal, or as
// COLUMNS says where there is none. Elsewhere lines are not broken, so that
// grep finds whole ones.
func (inv *invocation) reportStyle() insight.Style {
	t := inv.terminal(inv.Stdout)
	width := t.width
	if !t.is {
		width = 1 << 16
		if n, err := strconv.Atoi(inv.getenv("COLUMNS")); err == nil && n > 0 {
			width = n
		}
	}
	return insight.Style{Width: width, Paint: func(tone insight.Tone, text string) string { return t.paint(toneStyles[tone], text) }}
}

var toneStyles = [...]string{
	insight.ToneTitle: styleHead, insight.ToneLabel: styleLabel, insight.ToneGood: styleGood, insight.ToneWarn: "33",
	insight.ToneBad: styleBad, insight.ToneFaint: styleDim, insight.ToneTry: styleName,
}

// tokenInput reads the token that a command is about: its argument, the
// clipboard or stdin.
func (inv *invocation) tokenInput(args []string, clipboard bool) (fob.Secret, error) {
	switch {
	case clipboard && len(args) > 0:
		return fob.Secret{}, &problem{status: StatusUsage, text: "--clipboard and an argument contradict each other", fix: "give one of them"}
	case clipboard:
		text, err := inv.pasteText()
		return tokenIn(text), err
	case len(args) == 0 && inv.personAtStdin():
		return fob.Secret{}, &problem{status: StatusUsage, text: "there is no token to look at",
			fix: "send one to stdin, copy one and use --clipboard, or paste one after " + inv.command + " -", try: "fob token | " + inv.command}
	case len(args) == 0:
		return inv.tokenFrom("-")
	}
	return inv.tokenFrom(args[0])
}

// tokenFrom reads a token from stdin ("-") or a file. A token itself works as
// well, and costs a remark: command lines are kept.
func (inv *invocation) tokenFrom(name string) (fob.Secret, error) {
	switch name {
	case "":
		return fob.Secret{}, &problem{status: StatusUsage, text: "the token is empty", cause: "a variable that is not set, most likely"}
	case "-":
		if inv.personAtStdin() {
			data, err := inv.readStdinSecret(inv.command)
			return tokenIn(string(data)), err
		}
		data, err := readAtMost(inv.Stdin, "stdin", maxLook)
		return tokenIn(plainText(data)), err
	}
	if info, err := os.Stat(name); err == nil && !info.IsDir() {
		data, err := readBounded(name, maxLook)
		return tokenIn(plainText(data)), err
	}
	if _, err := insight.DecodeToken(tokenIn(name), time.Time{}); err != nil && len(name) < 100 { // even half a token is longer
		return fob.Secret{}, inv.noToken(fmt.Errorf("%w: there is no file of that name, and it is none itself", insight.ErrNoToken))
	}
	inv.note("a token on the command line is in the shell's history now, and good until it expires; %s reads stdin, too", inv.command)
	return tokenIn(name), nil
}

// isUTF16 reports whether a text begins with the byte order mark of UTF-16.
func isUTF16(data []byte) bool {
	return bytes.HasPrefix(data, []byte{0xff, 0xfe}) || bytes.HasPrefix(data, []byte{0xfe, 0xff})
}

// isMarked reports whether a text begins with a byte order mark.
func isMarked(data []byte) bool { return isUTF16(data) || bytes.HasPrefix(data, []byte("\ufeff")) }

// plainText is what a file says that begins with a byte order mark: Windows
// PowerShell writes UTF-16 when it redirects, and editors write UTF-8 with one.
func plainText(data []byte) string {
	var order binary.ByteOrder
	switch {
	case bytes.HasPrefix(data, []byte{0xff, 0xfe}):
		order = binary.LittleEndian
	case bytes.HasPrefix(data, []byte{0xfe, 0xff}):
		order = binary.BigEndian
	default:
		return strings.TrimPrefix(string(data), "\ufeff")
	}
	units := make([]uint16, len(data)/2-1)
	for i := range units {
		units[i] = order.Uint16(data[2*i+2:])
	}
	return string(utf16.Decode(units))
}

// tokenIn finds the token in the JSON answer that holds it, as "fob token -o
// json" and token endpoints print it. Other text is the token.
func tokenIn(text string) fob.Secret {
	if !strings.HasPrefix(strings.TrimSpace(text), "{") {
		return fob.NewSecret(text)
	}
	var answer map[string]jsontext.Value
	if json.Unmarshal([]byte(text), &answer, jsontext.AllowDuplicateNames(true)) == nil {
		for _, name := range []string{"accessToken", "access_token", "id_token", "token"} {
			var token string
			if raw, ok := answer[name]; ok && json.Unmarshal(raw, &token) == nil {
				return fob.NewSecret(token)
			}
		}
	}
	return fob.NewSecret(text)
}

// noToken turns an error about a text that is no token into one that says what
// to give instead. Others it leaves alone.
func (inv *invocation) noToken(err error) error {
	if !errors.Is(err, insight.ErrNoToken) {
		return err
	}
	return &problem{status: StatusFailed, err: err, fix: "give a token, a file that holds one, or - for stdin", try: "fob token | fob decode"}
}

func (inv *invocation) personAtStdin() bool {
	f, ok := inv.Stdin.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// pasteText reads the clipboard.
func (inv *invocation) pasteText() (string, error) {
	var programs [][]string
	switch {
	case runtime.GOOS == "darwin":
		programs = [][]string{{"pbpaste"}}
	case runtime.GOOS == "windows" || inv.getenv("WSL_DISTRO_NAME") != "":
		programs = [][]string{{"powershell.exe", "-NoProfile", "-Command", "Get-Clipboard -Raw"}}
	case inv.getenv("WAYLAND_DISPLAY") != "":
		programs = [][]string{{"wl-paste", "--no-newline"}}
	case inv.getenv("DISPLAY") != "":
		programs = [][]string{{"xclip", "-selection", "clipboard", "-out"}, {"xsel", "--clipboard", "--output"}}
	}
	for _, program := range programs {
		command := exec.Command(program[0], program[1:]...)
		command.Env = inv.Environ
		if text, err := command.Output(); err == nil {
			return string(text), nil
		}
	}
	p := &problem{status: StatusFailed, text: "the clipboard cannot be read here", fix: "send the token to stdin instead", try: "fob token | " + inv.command}
	if len(programs) > 0 {
		p.cause = "no program for it works here: " + programs[0][0]
	}
	return "", p
}

package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"
)

func (inv *invocation) postCommand() *cobra.Command {
	return inv.requestCommand(http.MethodPost, &cobra.Command{
		Use: "post URL|PATH [flags]", Short: "Create something with an API, or run an action of it",
		Long: "Calls an API with POST and a token for it, and prints the answer. What to send\n" +
			"is JSON on the command line, in a file (@FILE) or on stdin (-).\n\n" +
			"A request that was throttled is sent again. One whose answer got lost is not,\n" +
			"because it may have been carried out: fob says so.",
		Example: "fob post /groups --body @group.json\n" +
			"fob post /me/sendMail --body @mail.json --dry-run\n" +
			"fob post /users/ada@contoso.com/revokeSignInSessions",
	})
}

func (inv *invocation) patchCommand() *cobra.Command {
	return inv.requestCommand(http.MethodPatch, &cobra.Command{
		Use: "patch URL|PATH [flags]", Short: "Change something with an API",
		Long: "Calls an API with PATCH and a token for it, and prints the answer, if there is\n" +
			"one. Only the members that are in the body change.",
		Example: "fob patch /users/ada@contoso.com --body '{\"jobTitle\":\"Engineer\"}'\n" +
			"fob patch /groups/11111111-2222-4333-8444-555555555555 --body @change.json --header 'If-Match:*'",
	})
}

func (inv *invocation) putCommand() *cobra.Command {
	return inv.requestCommand(http.MethodPut, &cobra.Command{
		Use: "put URL|PATH [flags]", Short: "Replace something with an API, or upload a file",
		Long: "Calls an API with PUT and a token for it, and prints the answer.\n\n" +
			"A large file for a drive goes up in pieces, through an upload session: a\n" +
			"connection that breaks costs one of them. Interrupted in any way, also by\n" +
			"kill -9, the same command sends what is missing, if the file is still the same.\n" +
			"The session's address is kept in the store, sealed like a token. What comes on\n" +
			"stdin is put into a temporary file first, because a drive asks for its size.",
		Example: "fob put '/me/drive/root:/report.pdf:/content' --body @report.pdf\n" +
			"pg_dump app | fob put '/me/drive/root:/backup/app.sql:/content' --body -\n" +
			"fob put '/me/photo/$value' --body @me.jpg",
	})
}

func (inv *invocation) deleteCommand() *cobra.Command {
	return inv.requestCommand(http.MethodDelete, &cobra.Command{
		Use: "delete URL|PATH [flags]", Short: "Delete something with an API",
		Long: "Calls an API with DELETE and a token for it, and prints the answer, if there is\n" +
			"one. It does not ask whether that is meant; --dry-run shows the request.",
		Example: "fob delete /groups/11111111-2222-4333-8444-555555555555\n" +
			"fob delete /groups/11111111-2222-4333-8444-555555555555 --dry-run",
	})
}

func (inv *invocation) apiCommand() *cobra.Command {
	return inv.requestCommand("", &cobra.Command{
		Use: "api URL|PATH [flags]", Aliases: []string{"rest"}, Short: "Call an API with any method",
		Long: "Does what get, post, patch, put and delete do, for those who are used to one\n" +
			"word for all of them. See: fob get --help, fob post --help",
		Example: "fob api /me\n" +
			"fob api -X PATCH /users/ada@contoso.com --body '{\"jobTitle\":\"Engineer\"}'\n" +
			"fob rest /subscriptions --query api-version=2022-12-01",
	})
}

// content is what a request sends.
type content struct {
	name string // for messages: "the body", or the file's
	text []byte // all of it, if it is no file
	file *os.File
	info fs.FileInfo // of a file that the user has named
	size int64
	kind string // media type
}

// maxStdinBody bounds what is read from stdin, because it is kept to be sent
// again.
const maxStdinBody = 64 << 20

// content opens what --body names; nil if there is none.
func (c *call) content() (*content, error) {
	if !c.hasBody {
		return nil, nil
	}
	b := &content{name: "--body"}
	switch path, isFile := strings.CutPrefix(c.body, "@"); {
	case c.body == "-" || isFile && path == "-":
		s := c.inv.settings
		if s.usedStdin != "" {
			return nil, &problem{status: StatusUsage, text: s.usedStdin + " and --body cannot both read stdin", fix: "put one of them into a file"}
		}
		s.usedStdin = "--body"
		limit := maxStdinBody
		if c.isForDrive() {
			limit = largeContent
		}
		data, err := io.ReadAll(io.LimitReader(c.inv.Stdin, int64(limit)+1))
		switch {
		case err == nil && len(data) > limit && c.isForDrive():
			b.kind = kindOf("", data)
			if b.file, b.size, err = spool(io.MultiReader(bytes.NewReader(data), c.inv.Stdin)); err != nil {
				return nil, &problem{text: "keeping what is on stdin until it is sent", err: err, fix: "name with TMPDIR a directory that has room for it, or put it into a file and give --body @FILE"}
			}
			return b, nil
		case err != nil:
			return nil, fmt.Errorf("reading stdin: %w", err)
		case len(data) > maxStdinBody:
			return nil, &problem{status: StatusUsage, text: fmt.Sprintf("there are more than %d MiB on stdin", maxStdinBody>>20), fix: "put them into a file and give --body @FILE"}
		}
		b.text = c.unmarked("stdin", data)
		b.kind = kindOf("", b.text)
	case isFile:
		file, err := os.Open(path)
		if err != nil {
			return nil, &problem{status: StatusUsage, text: "reading --body", err: err}
		}
		info, err := file.Stat()
		if err == nil && !info.Mode().IsRegular() {
			err = fmt.Errorf("%s is no file", path)
		}
		if err != nil {
			file.Close()
			return nil, &problem{status: StatusUsage, text: "reading --body", err: err}
		}
		start := make([]byte, 512)
		n, _ := file.ReadAt(start, 0)
		if info.Size() <= maxStdinBody && isMarked(start[:n]) {
			data, err := io.ReadAll(file)
			if err != nil {
				file.Close()
				return nil, &problem{status: StatusUsage, text: "reading --body", err: err}
			}
			if text := c.unmarked(quoted(path), data); !isMarked(text) {
				file.Close()
				return &content{name: path, text: text, size: int64(len(text)), kind: "application/json"}, nil
			}
		}
		b.name, b.file, b.info, b.size, b.kind = path, file, info, info.Size(), kindOf(path, start[:n])
		return b, nil
	default:
		b.text, b.kind = []byte(c.body), "application/json"
		if v := jsontext.Value(b.text); !v.IsValid(jsontext.AllowDuplicateNames(true)) && c.header.Get("Content-Type") == "" {
			return nil, notJSON(c.body)
		}
	}
	b.size = int64(len(b.text))
	return b, nil
}

// unmarked returns JSON that begins with a byte order mark as the APIs want it:
// in UTF-8 and without. What else is sent, and above all what is put somewhere
// to be kept, stays as it is.
func (c *call) unmarked(name string, data []byte) []byte {
	kind := strings.ToLower(c.header.Get("Content-Type"))
	if !isMarked(data) || kind != "" && !strings.Contains(kind, "json") || c.method == http.MethodPut && !isARM(c.target.RequestURI(), nil) {
		return data
	}
	text := jsontext.Value(plainText(data))
	if !text.IsValid(jsontext.AllowDuplicateNames(true)) {
		return data
	}
	if isUTF16(data) {
		c.inv.note("%s is written in UTF-16, as Windows PowerShell's > does; it is sent in UTF-8", name)
	}
	return text
}

// notJSON says what is wrong with a --body that is no JSON.
func notJSON(body string) error {
	p := &problem{status: StatusUsage, text: "--body is not JSON",
		fix: "quote it for the shell, or put it into a file and give --body @FILE; for another format name it with --header 'Content-Type: …'"}
	if _, err := os.Stat(body); err == nil || strings.HasSuffix(body, ".json") {
		p.fix = "to send the file " + quoted(clip(body, 80)) + " put an @ in front of its name"
		return p
	}
	var wrong *jsontext.SyntacticError
	d := jsontext.NewDecoder(strings.NewReader(body), jsontext.AllowDuplicateNames(true))
	for wrong == nil {
		if _, err := d.ReadToken(); err != nil && !errors.As(err, &wrong) {
			break // it ends too early, or goes on behind its end
		}
	}
	if wrong == nil {
		return p
	}
	at := min(int(wrong.ByteOffset), len(body))
	before, after := strings.TrimRight(body[:at], " \r\n\t"), strings.TrimLeft(body[at:], " \r\n\t")
	_, length := utf8.DecodeRuneInString(after) // more of it may be a password
	p.text = fmt.Sprintf("--body is not JSON from byte %d on, where it has %s", at, quoted(after[:length]))
	switch next := strings.TrimLeft(strings.TrimPrefix(after, ","), " \r\n\t"); {
	case after == "":
		p.text = "--body is not JSON: it ends too early"
	case after[0] == ',' && (strings.HasPrefix(next, "}") || strings.HasPrefix(next, "]")):
		p.cause, p.fix = "there is a comma before the closing bracket", "remove it"
	case strings.HasPrefix(after, "“"), strings.HasPrefix(after, "”"), strings.HasPrefix(after, "‘"):
		p.cause, p.fix = "web pages and word processors make curly quotes of plain ones", "type the quotes by hand"
	case strings.HasPrefix(after, "'"):
		p.cause, p.fix = "JSON has double quotes only", "write \" for ', and single quotes around the whole for the shell"
	case strings.HasPrefix(before, "{") && !strings.Contains(body, "\""):
		p.cause, p.fix = "the shell took the double quotes; Windows PowerShell does, even within single quotes", "put it into a file and give --body @FILE, or --body - and write it to stdin"
	}
	return p
}

// kindOf guesses the media type of a body by the name of its file and what it
// begins with.
func kindOf(name string, start []byte) string {
	if trimmed := bytes.TrimLeft(start, " \t\r\n\ufeff"); name == "" && len(trimmed) > 0 && (trimmed[0] == '{' || trimmed[0] == '[') {
		return "application/json"
	}
	switch ext := strings.ToLower(filepath.Ext(name)); ext {
	case ".json":
		return "application/json"
	case ".jpg", ".jpeg", ".png", ".gif", ".txt", ".xml", ".html", ".csv", ".pdf":
		return map[string]string{".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".gif": "image/gif", ".txt": "text/plain",
			".xml": "application/xml", ".html": "text/html", ".csv": "text/csv", ".pdf": "application/pdf"}[ext]
	}
	return "application/octet-stream"
}

// attach makes r send it.
func (b *content) attach(r *http.Request) error {
	if b == nil {
		return nil
	}
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.text)), nil }
	if b.file != nil {
		// A reader of its own for every attempt.
		open = func() (io.ReadCloser, error) { return io.NopCloser(io.NewSectionReader(b.file, 0, b.size)), nil }
	}
	if b.size == 0 {
		open = func() (io.ReadCloser, error) { return http.NoBody, nil }
	}
	body, err := open()
	if err != nil {
		return err
	}
	r.Body, r.GetBody, r.ContentLength = body, open, b.size
	if r.Header.Get("Content-Type") == "" {
		r.Header.Set("Content-Type", b.kind)
	}
	return nil
}

func (b *content) close() {
	switch {
	case b == nil || b.file == nil:
	case b.info == nil:
		unspool(b.file)
	default:
		b.file.Close()
	}
}

// show prints the request for --dry-run. The token is not even asked for.
func (c *call) show(content *content) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s\n", c.method, oneLine(c.target.String()))
	h := c.header.Clone()
	if h.Get("Accept") == "" {
		h.Set("Accept", "application/json, */*;q=0.1")
	}
	if content != nil && h.Get("Content-Type") == "" {
		h.Set("Content-Type", content.kind)
	}
	h.Set("Authorization", "Bearer [redacted]")
	names := make([]string, 0, len(h))
	for name := range h {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		for _, value := range h[name] {
			fmt.Fprintf(&b, "%s: %s\n", name, oneLine(value))
		}
	}
	switch {
	case content == nil:
	case content.file != nil:
		fmt.Fprintf(&b, "\n[%d bytes of %s]\n", content.size, oneLine(content.name))
	default:
		b.WriteString("\n" + strings.TrimRight(string(content.text), "\n") + "\n")
	}
	c.inv.note("nothing was sent; the token would be for %s", strings.Join(c.scopes, " "))
	if c.isLargeUpload(content) {
		c.inv.note("the file is large: it would go up in pieces, through the createUploadSession action of the same item")
	}
	return c.inv.print(b.String())
}

// unescaped is a part of a query as it was meant.
func unescaped(s string) string {
	if plain, err := url.QueryUnescape(s); err == nil {
		return plain
	}
	return s
}

package graphsim

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/http"
	"net/mail"
	"net/textproto"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/fobauth/fob/entratest/internal/directory"
)

// Messages come in and go out as MIME, too: RFC 5322 and 2045 to 2049. What
// comes is taken apart into the properties that JSON has; what goes is made of
// those, so that the two differ in what JSON has no word for.

// maxMIMEDepth is how deep parts and attached messages are nested.
const maxMIMEDepth = 30

// isMIME says whether the body is the base64 of a message in MIME.
func (c *call) isMIME() bool {
	kind, _, _ := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	return kind == "text/plain"
}

// readMIME makes a draft of the MIME that the body is the base64 of, or answers
// 400.
func (c *call) readMIME(u *directory.User) (message, bool) {
	raw, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(string(c.body)), ""))
	if err != nil || len(raw) == 0 {
		c.refuse(http.StatusBadRequest, "ErrorMimeContentInvalidBase64String", "Invalid base64 string for MIME content.")
		return message{}, false
	}
	draft := c.emptyDraft(u)
	err = c.addMIME(&draft, raw, 0)
	unknown := unknownCharset("")
	switch {
	case errors.As(err, &unknown):
		c.refuse(http.StatusNotImplemented, "NotImplemented", unknown.Error())
		return message{}, false
	case err != nil:
		c.refuse(http.StatusBadRequest, "ErrorMimeContentInvalid", "The MIME content is not valid: "+err.Error()+".")
		return message{}, false
	}
	return draft, c.write(&draft, nil)
}

// addMIME writes a message in MIME into a draft.
func (c *call) addMIME(m *message, raw []byte, depth int) error {
	parsed, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return err
	}
	h := textproto.MIMEHeader(parsed.Header)
	v := m.values
	if v["subject"], err = wordDecoder().DecodeHeader(h.Get("Subject")); err != nil {
		return err
	}
	for header, property := range map[string]string{"To": "toRecipients", "Cc": "ccRecipients", "Bcc": "bccRecipients", "Reply-To": "replyTo", "From": "from", "Sender": "sender"} {
		if h.Get(header) == "" {
			continue
		}
		addresses, err := (&mail.AddressParser{WordDecoder: wordDecoder()}).ParseList(strings.Join(h[header], ", "))
		if err != nil {
			return fmt.Errorf("%s: %w", header, err)
		}
		list := []any{}
		for _, a := range addresses {
			list = append(list, map[string]any{"emailAddress": map[string]any{"name": cmp.Or(a.Name, a.Address), "address": a.Address}})
		}
		if v[property] = list; property == "from" || property == "sender" {
			v[property] = list[0]
		}
	}
	if h.Get("From") != "" && h.Get("Sender") == "" {
		v["sender"] = v["from"]
	}
	switch importance := strings.ToLower(h.Get("Importance")); importance {
	case "high", "low":
		v["importance"] = importance
	}
	if id := h.Get("Message-Id"); id != "" {
		v["internetMessageId"] = id
	}
	return c.addPart(m, h, parsed.Body, false, depth)
}

// addPart adds a part of a message in MIME: the first text is the body, of
// alternatives the best one, and everything else is attached.
func (c *call) addPart(m *message, h textproto.MIMEHeader, body io.Reader, related bool, depth int) error {
	if depth > maxMIMEDepth {
		return fmt.Errorf("parts are nested deeper than %d", maxMIMEDepth)
	}
	kind, parameters, err := mime.ParseMediaType(cmp.Or(h.Get("Content-Type"), "text/plain"))
	if err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) {
		return err
	}
	if strings.HasPrefix(kind, "multipart/") {
		return c.addParts(m, kind, parameters["boundary"], body, depth)
	}
	content, err := io.ReadAll(decodedBody(h, body))
	if err != nil {
		return err
	}
	disposition, given, _ := mime.ParseMediaType(h.Get("Content-Disposition"))
	name, err := wordDecoder().DecodeHeader(cmp.Or(given["filename"], parameters["name"]))
	if err != nil {
		return err
	}
	if strings.HasPrefix(kind, "text/") && disposition != "attachment" && name == "" && inside(m.values["body"], "content") == "" {
		text, err := decodedText(content, parameters["charset"])
		if err != nil {
			return err
		}
		form := "text"
		if kind == "text/html" {
			form = "html"
		}
		m.values["body"] = map[string]any{"contentType": form, "content": text}
		return nil
	}
	a := c.newAttachment()
	a.name, a.kind, a.contentID, a.location, a.content = name, kind, strings.Trim(h.Get("Content-Id"), "<>"), h.Get("Content-Location"), content
	a.inline = disposition == "inline" || related && a.contentID != "" && disposition == ""
	if kind == "message/rfc822" {
		item := message{values: map[string]any{"subject": "", "body": map[string]any{"contentType": "text", "content": ""}}}
		if err := c.addMIME(&item, content, depth+1); err != nil {
			return err
		}
		complete(item.values)
		a.item, a.kind, a.name = &item, "", cmp.Or(name, str(item.values["subject"]))
	}
	a.name = cmp.Or(a.name, "attachment")
	m.attachments = append(m.attachments, a)
	return nil
}

// addParts adds the parts of a part.
func (c *call) addParts(m *message, kind, boundary string, body io.Reader, depth int) error {
	if boundary == "" {
		return errors.New("a part of several has no boundary")
	}
	type part struct {
		header  textproto.MIMEHeader
		content []byte
	}
	var parts []part
	for reader := multipart.NewReader(body, boundary); ; {
		p, err := reader.NextRawPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		content, err := io.ReadAll(p)
		if err != nil {
			return err
		}
		parts = append(parts, part{p.Header, content})
	}
	if kind == "multipart/alternative" && len(parts) > 0 { // the last is the best
		parts = parts[len(parts)-1:]
	}
	for _, p := range parts {
		if err := c.addPart(m, p.header, bytes.NewReader(p.content), kind == "multipart/related", depth+1); err != nil {
			return err
		}
	}
	return nil
}

// decodedBody undoes the transfer encoding of a part.
func decodedBody(h textproto.MIMEHeader, body io.Reader) io.Reader {
	switch strings.ToLower(strings.TrimSpace(h.Get("Content-Transfer-Encoding"))) {
	case "base64":
		return base64.NewDecoder(base64.StdEncoding, body)
	case "quoted-printable":
		return quotedprintable.NewReader(body)
	}
	return body
}

func wordDecoder() *mime.WordDecoder {
	return &mime.WordDecoder{CharsetReader: func(charset string, _ io.Reader) (io.Reader, error) { return nil, unknownCharset(charset) }}
}

// unknownCharset is a character set that the emulator does not read.
type unknownCharset string

func (u unknownCharset) Error() string {
	return "The emulator's mail is in utf-8, us-ascii or iso-8859-1, not in '" + string(u) + "'."
}

func decodedText(content []byte, charset string) (string, error) {
	switch strings.ToLower(charset) {
	case "", "utf-8", "us-ascii":
		return strings.ToValidUTF8(string(content), string(utf8.RuneError)), nil
	case "iso-8859-1":
		runes := make([]rune, len(content))
		for i, b := range content {
			runes[i] = rune(b)
		}
		return string(runes), nil
	}
	return "", unknownCharset(charset)
}

// messageMIME answers with a message as it travels.
func (c *call) messageMIME() {
	if !c.noOptions() {
		return
	}
	c.onMessage(func(_ *directory.User, m *message) {
		c.w.Header().Set("Content-Type", "text/plain")
		_, _ = c.w.Write(m.mime(m.id))
	})
}

// oneLine is what can stand in a header without ending it.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' {
			return -1
		}
		return r
	}, s)
}

// mime is a message as it travels. seed makes the line between its parts.
func (m *message) mime(seed string) []byte {
	var b bytes.Buffer
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%s: %s\r\n", name, value)
		}
	}
	addresses := func(recipients ...any) string {
		var all []string
		for _, r := range recipients {
			if address := addressOf(r); address != "" {
				name := nameOf(r)
				if name == address {
					name = ""
				}
				all = append(all, (&mail.Address{Name: name, Address: address}).String())
			}
		}
		return strings.Join(all, ",\r\n\t")
	}
	v := m.values
	line("From", addresses(v["from"]))
	line("To", addresses(list(v["toRecipients"])...))
	line("Cc", addresses(list(v["ccRecipients"])...))
	line("Bcc", addresses(list(v["bccRecipients"])...))
	line("Reply-To", addresses(list(v["replyTo"])...))
	line("Subject", mime.QEncoding.Encode("utf-8", str(v["subject"])))
	if at, err := parseDate(str(cmp.Or(v["sentDateTime"], v["createdDateTime"]))); err == nil {
		line("Date", at.UTC().Format(time.RFC1123Z))
	}
	line("Message-ID", oneLine(str(v["internetMessageId"])))
	if importance := str(v["importance"]); importance == "high" || importance == "low" {
		line("Importance", importance)
	}
	line("MIME-Version", "1.0")
	body := textproto.MIMEHeader{"Content-Type": {"text/plain; charset=utf-8"}, "Content-Transfer-Encoding": {"quoted-printable"}}
	if str(inside(v["body"], "contentType")) == "html" {
		body.Set("Content-Type", "text/html; charset=utf-8")
	}
	content := func(w io.Writer) { // a buffer takes everything
		q := quotedprintable.NewWriter(w)
		_, _ = io.WriteString(q, str(inside(v["body"], "content")))
		_ = q.Close()
	}
	attached := slices.DeleteFunc(slices.Clone(m.attachments), func(a *attachment) bool { return a.link != nil }) // links do not travel
	if len(attached) == 0 {
		line("Content-Type", body.Get("Content-Type"))
		line("Content-Transfer-Encoding", body.Get("Content-Transfer-Encoding"))
		b.WriteString("\r\n")
		content(&b)
		return b.Bytes()
	}
	parts := multipart.NewWriter(&b)
	_ = parts.SetBoundary(derivedToken("boundary", seed)) // it has the form of one
	fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=\"%s\"\r\n\r\n", parts.Boundary())
	part, _ := parts.CreatePart(body)
	content(part)
	for _, a := range attached {
		part, _ := parts.CreatePart(a.header())
		if a.item != nil {
			_, _ = part.Write(a.item.mime(seed + "/" + a.id))
			continue
		}
		text := base64.StdEncoding.EncodeToString(a.content)
		for len(text) > 76 {
			fmt.Fprintf(part, "%s\r\n", text[:76])
			text = text[76:]
		}
		_, _ = io.WriteString(part, text)
	}
	_ = parts.Close()
	return b.Bytes()
}

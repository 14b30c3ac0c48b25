package entratest

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Browse is a person at a browser: it opens page, signs in as user (a sign-in
// name, or the object id), accepts whatever is asked, and delivers the answer
// to the redirect URI if that is on loopback. Where an interactive flow takes
// a function that opens the browser, this is the function for tests:
//
//	flow := fob.AuthorizationCode{Open: func(ctx context.Context, page string) error {
//		return emu.Browse(ctx, page, entratest.AdaUPN)
//	}}
//
// It ends with an error when the pages refuse, with the text that a person
// would have read, and when the redirect URI answers with another status than
// 2xx or a redirect.
func (e *Emulator) Browse(ctx context.Context, page, user string) error {
	who, ok := e.findUser(user)
	if !ok {
		return fmt.Errorf("browsing as %q: the emulator's world has no such user", user)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	b := &browser{emulator: e, user: who, pages: &http.Client{
		Transport: e.transport, Jar: jar, Timeout: time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	if err := b.walk(ctx, http.MethodGet, page, nil); err != nil {
		return fmt.Errorf("browsing as %s: %w", who, err)
	}
	return nil
}

func (e *Emulator) findUser(name string) (upn string, ok bool) {
	for _, tenant := range e.world.Tenants() {
		if u, ok := e.world.User(tenant.ID, name); ok {
			return u.UPN, true
		}
	}
	return "", false
}

// maxPages is more than any sign-in has.
const maxPages = 12

type browser struct {
	emulator *Emulator
	user     string
	pages    *http.Client
}

// walk goes from page to page until one leads away from the emulator or has
// nothing more to press.
func (b *browser) walk(ctx context.Context, method, address string, form url.Values) error {
	for range maxPages {
		at, err := url.Parse(address)
		if err != nil {
			return err
		}
		if !b.ours(at) {
			return b.deliver(ctx, method, at, form)
		}
		status, location, content, err := send(ctx, b.pages, method, address, form)
		if err != nil {
			return err
		}
		if location != "" {
			next, err := at.Parse(location)
			if err != nil {
				return err
			}
			method, address, form = http.MethodGet, next.String(), nil
			continue
		}
		page, err := readPage(content)
		if err != nil {
			return err
		}
		press := page.press(b.user)
		if press == nil {
			if status/100 != 2 || page.refused {
				return fmt.Errorf("the page says: %s", page.text)
			}
			return nil
		}
		next, err := at.Parse(press.action)
		if err != nil {
			return err
		}
		method, address, form = press.method, next.String(), press.fields
		if method == http.MethodGet {
			next.RawQuery, address, form = form.Encode(), "", nil
			address = next.String()
		}
	}
	return errors.New("the pages go on and on")
}

func (b *browser) ours(u *url.URL) bool {
	own, err := url.Parse(b.emulator.URL())
	return err == nil && strings.EqualFold(u.Host, own.Host) && u.Scheme == own.Scheme || slices.ContainsFunc(b.emulator.cfg.Impersonate, func(name string) bool {
		return u.Scheme == "https" && strings.EqualFold(u.Hostname(), name)
	})
}

// deliver brings the answer to the app. Only loopback is tried: everything the
// emulator does stays on this machine.
func (b *browser) deliver(ctx context.Context, method string, to *url.URL, form url.Values) error {
	host := to.Hostname()
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("the answer goes to %s, which is not on this machine", to.Redacted())
	}
	status, _, content, err := send(ctx, &http.Client{Timeout: time.Minute, CheckRedirect: b.pages.CheckRedirect,
		Transport: &http.Transport{DisableKeepAlives: true}}, method, to.String(), form)
	switch {
	case err != nil:
		return fmt.Errorf("bringing the answer to the redirect URI: %w", err)
	case status/100 > 3:
		page, _ := readPage(content)
		return fmt.Errorf("the redirect URI answered with %d: %s", status, page.text)
	}
	return nil
}

func send(ctx context.Context, client *http.Client, method, address string, form url.Values) (status int, location, content string, err error) {
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		return 0, "", "", err
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := client.Do(r)
	if err != nil {
		return 0, "", "", err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if resp.StatusCode/100 == 3 {
		location = resp.Header.Get("Location")
	}
	return resp.StatusCode, location, string(data), err
}

// webPage is what a person sees of a page, and can press.
type webPage struct {
	text    string
	refused bool // it shows an error
	forms   []webForm
}

type webForm struct {
	method, action string
	fields         url.Values
	buttons        []webButton
}

type webButton struct {
	name, value string
	main        bool
}

// readPage reads a page of the emulator's own. They are plain enough for the
// lenient mode of encoding/xml; a real HTML parser would cost every start of a
// program that links this package.
func readPage(content string) (webPage, error) {
	var page webPage
	var text []string
	var form *webForm
	hidden := 0 // depth inside elements that nobody reads
	d := xml.NewDecoder(strings.NewReader(content))
	d.Strict, d.AutoClose, d.Entity = false, []string{"meta", "link", "input", "br", "hr", "img"}, map[string]string{"nbsp": " "}
	for {
		token, err := d.Token()
		switch token := token.(type) {
		case xml.CharData:
			if hidden == 0 {
				text = append(text, strings.Fields(string(token))...)
			}
		case xml.EndElement:
			switch token.Name.Local {
			case "head", "style", "script":
				hidden--
			case "form":
				if form != nil {
					page.forms = append(page.forms, *form)
				}
				form = nil
			}
		case xml.StartElement:
			attr := map[string]string{}
			for _, a := range token.Attr {
				attr[a.Name.Local] = a.Value
			}
			if attr["role"] == "alert" {
				page.refused = true
			}
			switch name := token.Name.Local; {
			case name == "head" || name == "style" || name == "script":
				hidden++
			case name == "form":
				form = &webForm{method: strings.ToUpper(attr["method"]), action: attr["action"], fields: url.Values{}}
				if form.method == "" {
					form.method = http.MethodGet
				}
			case name == "input" && form != nil && attr["name"] != "" && attr["type"] != "checkbox":
				form.fields.Set(attr["name"], attr["value"])
			case name == "button" && form != nil:
				form.buttons = append(form.buttons, webButton{attr["name"], attr["value"], slices.Contains(strings.Fields(attr["class"]), "main")})
			}
		}
		if err != nil {
			page.text = strings.Join(text, " ")
			if err == io.EOF {
				err = nil
			}
			return page, err
		}
	}
}

// press chooses what user would: the button with the own name on it, else the
// main button, else the only one. It returns nil where there is nothing to go
// on with.
func (p webPage) press(user string) *webForm {
	if p.refused {
		return nil
	}
	for _, choose := range []func(webButton) bool{
		func(b webButton) bool { return b.name == "as" && strings.EqualFold(b.value, user) },
		func(b webButton) bool { return b.main },
	} {
		for _, form := range p.forms {
			for _, b := range form.buttons {
				if choose(b) {
					if b.name != "" {
						form.fields.Set(b.name, b.value)
					}
					return &form
				}
			}
		}
	}
	return nil
}

package interop

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"

	"golang.org/x/net/html"
)

// person is somebody with a browser that keeps cookies and runs no script, who
// types a user name and a password and, as a rule, agrees to everything.
type person struct {
	browser       *http.Client
	upn, password string
	declines      bool     // to consent
	pages         []string // titles of the pages seen
	answer        string   // how the app's own server answered at the end
}

// newPerson makes a person whose browser reaches the emulator as client does.
func newPerson(client *http.Client, upn, password string) *person {
	jar, _ := cookiejar.New(nil) // never fails without options
	return &person{upn: upn, password: password, browser: &http.Client{Transport: client.Transport, Jar: jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// visit goes where an app sends its user, and on from there until the app has
// its answer.
func (p *person) visit(address string) error {
	start, err := url.Parse(address)
	if err != nil {
		return err
	}
	method, to, form := http.MethodGet, start, url.Values(nil)
	for range 20 {
		req, err := http.NewRequest(method, to.String(), strings.NewReader(form.Encode()))
		if err != nil {
			return err
		}
		if form != nil {
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		res, err := p.browser.Do(req)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		switch {
		case err != nil:
			return err
		case to.Host != start.Host: // back at the app
			p.answer = string(body)
			if res.StatusCode >= http.StatusBadRequest {
				return fmt.Errorf("the app answered %s: %s", res.Status, body)
			}
			return nil
		case res.StatusCode/100 == 3:
			if to, err = to.Parse(res.Header.Get("Location")); err != nil {
				return err
			}
			method, form = http.MethodGet, nil
			continue
		}
		page, err := readPage(string(body))
		if err != nil {
			return err
		}
		p.pages = append(p.pages, page.title)
		filled, err := p.answerTo(page)
		if err != nil {
			return fmt.Errorf("%s %s, page %q: %w", res.Status, to.Path, page.title, err)
		}
		if to, err = to.Parse(filled.action); err != nil {
			return err
		}
		method, form = http.MethodPost, filled.fields
		if !strings.EqualFold(filled.method, method) {
			method, form, to.RawQuery = http.MethodGet, nil, filled.fields.Encode()
		}
	}
	return errors.New("the sign-in pages lead in circles")
}

// answerTo fills in the form of a page that the person sends.
func (p *person) answerTo(page page) (webForm, error) {
	for _, f := range page.forms {
		switch {
		case f.fields.Has("passwd"):
			f.fields.Set("loginfmt", p.upn)
			f.fields.Set("passwd", p.password)
			f.fields.Set("action", "signin")
			if page.invalid["passwd"] {
				return webForm{}, errors.New("the sign-in came back: " + page.text)
			}
			return f, nil
		case f.buttons["as="+p.upn]: // signed in before
			f.fields.Set("as", p.upn)
			return f, nil
		case f.buttons["action=accept"] && p.declines:
			f.fields.Set("action", "cancel")
			return f, nil
		case f.buttons["action=accept"]:
			f.fields.Set("action", "accept")
			return f, nil
		case f.fields.Has("state"): // an answer that goes to the app by form_post
			return f, nil
		}
	}
	return webForm{}, errors.New("a page that leads nowhere: " + page.text)
}

type page struct {
	title, text string
	forms       []webForm
	invalid     map[string]bool // fields that the page finds wrong
}

type webForm struct {
	action, method string
	fields         url.Values
	buttons        map[string]bool // "name=value"
}

func readPage(body string) (page, error) {
	root, err := html.Parse(strings.NewReader(body))
	if err != nil {
		return page{}, err
	}
	p := page{invalid: map[string]bool{}}
	var words []string
	for n := range root.Descendants() {
		at := map[string]string{}
		for _, a := range n.Attr {
			at[a.Key] = a.Val
		}
		last := len(p.forms) - 1
		switch {
		case n.Type == html.TextNode && n.Parent.Data == "title":
			p.title = n.Data
		case n.Type == html.TextNode && n.Parent.Data != "style" && n.Parent.Data != "script" && strings.TrimSpace(n.Data) != "":
			words = append(words, strings.TrimSpace(n.Data))
		case n.Type != html.ElementNode:
		case n.Data == "form":
			p.forms = append(p.forms, webForm{action: at["action"], method: at["method"], fields: url.Values{}, buttons: map[string]bool{}})
		case last < 0:
		case n.Data == "input" && at["type"] != "checkbox" && at["type"] != "submit":
			p.forms[last].fields.Add(at["name"], at["value"])
			p.invalid[at["name"]] = at["aria-invalid"] == "true"
		case n.Data == "button":
			p.forms[last].buttons[at["name"]+"="+at["value"]] = true
		}
	}
	p.text = strings.Join(words, " ")
	return p, nil
}

package sts

import (
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode"
)

// The pages that a person sees. They are plain HTML that works without script:
// a test can drive them with any form-reading client, and the one script there
// is (it submits a form_post answer) only saves a click.

// markup is HTML that is safe to send as it stands. Only tag, text and the
// constants of this file make it; everything else that reaches a page is a
// string, and a string is escaped on its way in.
type markup string

// text is s as character data.
func text(s string) markup { return markup(html.EscapeString(s)) }

// attr is an attribute: its name, which is ours, and its value, which may be anybody's.
type attr struct{ name, value string }

// attrs are the attributes of an element in their order.
type attrs []attr

var voidElements = []string{"input", "meta", "br"}

// tag is an element. Names of elements and attributes are always constants.
func tag(name string, as attrs, content ...markup) markup {
	var b strings.Builder
	b.WriteString("<" + name)
	for _, a := range as {
		b.WriteString(" " + a.name + `="` + html.EscapeString(a.value) + `"`)
	}
	b.WriteString(">")
	for _, c := range content {
		b.WriteString(string(c))
	}
	if !slices.Contains(voidElements, name) {
		b.WriteString("</" + name + ">")
	}
	return markup(b.String())
}

func class(names string) attrs { return attrs{{"class", names}} }

func p(content ...markup) markup   { return tag("p", nil, content...) }
func dim(content ...markup) markup { return tag("p", class("dim"), content...) }
func h1(s string) markup           { return tag("h1", nil, text(s)) }
func h2(s string) markup           { return tag("h2", nil, text(s)) }

// called is a name that somebody chose: isolated, so that its writing direction
// cannot rearrange the sentence around it.
func called(s string) markup { return tag("b", nil, tag("bdi", nil, text(s))) }

func hidden(field, value string) markup {
	return tag("input", attrs{{"type", "hidden"}, {"name", field}, {"value", value}})
}

// submit is a button of a form that sends field=value.
func submit(classes, field, value string, content ...markup) markup {
	as := attrs{{"type", "submit"}, {"name", field}, {"value", value}}
	if classes != "" {
		as = append(as, attr{"class", classes})
	}
	return tag("button", as, content...)
}

// form posts to action with the token that proves that it came from one of our pages.
func form(action, canary string, content ...markup) markup {
	return tag("form", attrs{{"method", "post"}, {"action", action}, {"accept-charset", "utf-8"}},
		append([]markup{hidden(canaryField, canary)}, content...)...)
}

func actions(buttons ...markup) markup { return tag("div", class("actions"), buttons...) }

const (
	brandMark markup = `<svg viewBox="5 1 14 22" fill="none" stroke="currentColor" stroke-width="1.9" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true"><circle cx="12" cy="4.2" r="2.2"/><path d="M12 6.4v2.1"/><rect x="6.5" y="8.5" width="11" height="13" rx="4.6"/><path d="M12 12.4v.1M10 16.6h4"/></svg>`
	tickMark  markup = `<svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2.4" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true"><path d="M5 12.5l4.6 4.6L19 7.5"/></svg>`
)

//go:embed pages.css
var stylesheet string

// autoSubmit sends the only form of a form_post page.
const autoSubmit = `document.forms[0].submit()`

// cspHash allows content in a Content-Security-Policy.
func cspHash(content string) string {
	sum := sha256.Sum256([]byte(content))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// page is a whole answer for a browser.
type page struct {
	status int // 0 is 200
	title  string
	org    string // whose sign-in page it is; "" says nothing
	wide   bool
	body   []markup
	// leadsTo is where the forms of the page may end up beside this server. A
	// browser holds form-action against the redirects that follow a form as
	// well, so it is needed wherever the last step answers the app.
	leadsTo string
	script  bool // the page submits its form by itself
	// frames are addresses of apps that the page calls without showing them.
	frames []string
	next   string // where the page goes by itself after a moment
}

// send writes the page with headers that let it do nothing but show itself and submit its forms.
func (pg page) send(w http.ResponseWriter) {
	policy := "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; style-src " + cspHash(stylesheet) + "; form-action 'self'"
	if to := formTarget(pg.leadsTo); to != "" {
		policy += " " + to
	}
	var framed []string
	for _, address := range pg.frames {
		framed = append(framed, formTarget(address))
	}
	if len(framed) > 0 {
		policy += "; frame-src " + strings.Join(framed, " ")
	}
	var away markup
	if pg.next != "" {
		away = tag("meta", attrs{{"http-equiv", "refresh"}, {"content", "1;url=" + pg.next}})
	}
	var script markup
	if pg.script {
		policy += "; script-src " + cspHash(autoSubmit)
		script = "<script>" + autoSubmit + "</script>"
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store, no-cache")
	h.Set("Pragma", "no-cache")
	w.WriteHeader(cmp.Or(pg.status, http.StatusOK))

	mainClass := attrs{}
	if pg.wide {
		mainClass = class("wide")
	}
	brand := "fob emulator"
	if pg.org != "" {
		brand = pg.org
	}
	io.WriteString(w, "<!doctype html>\n"+string(tag("html", attrs{{"lang", "en"}},
		tag("head", nil,
			tag("meta", attrs{{"charset", "utf-8"}}),
			tag("meta", attrs{{"name", "viewport"}, {"content", "width=device-width, initial-scale=1"}}),
			tag("meta", attrs{{"name", "robots"}, {"content", "noindex"}}), away,
			tag("title", nil, text(pg.title+" - fob emulator")),
			"<style>"+markup(stylesheet)+"</style>"),
		tag("body", nil,
			tag("p", attrs{{"class", "banner"}, {"role", "note"}}, text("fob emulator - not Microsoft; for tests only")),
			tag("main", mainClass, tag("div", class("card"),
				append([]markup{tag("div", class("brand"), brandMark, tag("bdi", nil, text(brand)))}, pg.body...)...)),
			tag("footer", nil, text("People, passwords and tokens on this page are invented.")),
			script)))+"\n")
}

var hostSource = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9.-]+(:[0-9]+)?$`) })

// formTarget is the source expression of a Content-Security-Policy for a
// redirect URI: its origin, or its scheme alone where it has no host that the
// policy could name.
func formTarget(redirect string) string {
	u, err := url.Parse(redirect)
	switch {
	case redirect == "" || err != nil || u.Scheme == "":
		return ""
	case (u.Scheme == "http" || u.Scheme == "https") && hostSource().MatchString(u.Host):
		return u.Scheme + "://" + u.Host
	}
	return u.Scheme + ":" // url.Parse let nothing into it but letters, digits and +-.
}

// problem is what a form says is wrong with what was typed.
type problem struct{ field, text string }

func (pr problem) alert() markup {
	if pr.text == "" {
		return ""
	}
	return tag("p", attrs{{"class", "alert"}, {"role", "alert"}, {"id", "problem"}}, text(pr.text))
}

// input is a labelled field; the problem is tied to it when it is this field's.
func input(label, field, kind, value string, pr problem, more ...attr) markup {
	as := attrs{{"type", kind}, {"id", field}, {"name", field}, {"value", value}, {"required", ""}}
	if pr.field == field && pr.text != "" {
		as = append(as, attr{"aria-invalid", "true"}, attr{"aria-describedby", "problem"})
	}
	return tag("label", attrs{{"for", field}}, text(label)) + tag("input", append(as, more...))
}

// person is one account to choose.
type person struct {
	upn, name string
	signedIn  bool
}

func (who person) tile(button attrs, note string) markup {
	initials := ""
	for _, word := range strings.Fields(who.name) {
		if r := []rune(word)[0]; unicode.IsLetter(r) && len([]rune(initials)) < 2 {
			initials += string(unicode.ToUpper(r))
		}
	}
	colour := 0
	for _, r := range who.upn {
		colour += int(r)
	}
	inner := []markup{
		tag("span", attrs{{"class", fmt.Sprintf("face c%d", colour%6)}, {"aria-hidden", "true"}}, text(initials)),
		tag("span", nil, text(note), tag("small", nil, tag("bdi", nil, text(who.upn)))),
	}
	if button == nil {
		return tag("p", class("person"), inner...)
	}
	return tag("button", append(button, attr{"class", "person"}), inner...)
}

// signInPage asks who is there. field names are those of Entra's own page, which
// scripted browsers know.
type signInPage struct {
	action, canary, leadsTo string
	org, app                string
	hint                    string // the user name to begin with
	problem                 problem
	people                  []person // offered for a click
	cancel                  bool     // there is somebody to tell that the person gave up
}

func (s signInPage) page() page {
	intro := dim(text("to continue to "), called(s.app))
	if s.app == "" {
		intro = dim(text("to continue"))
	}
	user := []attr{{"autocomplete", "username"}, {"autocapitalize", "none"}, {"spellcheck", "false"}, {"maxlength", "320"}}
	password := []attr{{"autocomplete", "current-password"}, {"maxlength", "256"}}
	if s.hint == "" {
		user = append(user, attr{"autofocus", ""})
	} else {
		password = append(password, attr{"autofocus", ""})
	}
	buttons := []markup{submit("main", actionField, "signin", text("Sign in"))}
	if s.cancel {
		buttons = append(buttons, tag("button", attrs{{"type", "submit"}, {"name", actionField}, {"value", "cancel"}, {"formnovalidate", ""}}, text("Cancel")))
	}
	body := []markup{
		h1("Sign in"), intro, s.problem.alert(),
		form(s.action, s.canary,
			input("User name", "loginfmt", "text", s.hint, s.problem, user...),
			input("Password", "passwd", "password", "", s.problem, password...),
			actions(buttons...)),
	}
	if len(s.people) > 0 {
		tiles := make([]markup, 0, len(s.people))
		for _, who := range s.people {
			tiles = append(tiles, who.tile(attrs{{"type", "submit"}, {"name", "as"}, {"value", who.upn}}, "Sign in as "+who.name))
		}
		body = append(body, h2("This is an emulator: no password needed"), form(s.action, s.canary, tag("div", class("people"), tiles...)))
	}
	return page{title: "Sign in", org: s.org, body: body, leadsTo: s.leadsTo}
}

// pickPage asks which account to go on with (prompt=select_account).
type pickPage struct {
	action, canary, leadsTo string
	org, app                string
	people                  []person
}

func (s pickPage) page() page {
	var tiles []markup
	for i, who := range s.people {
		note := "Sign in as " + who.name
		button := attrs{{"type", "submit"}, {"name", "as"}, {"value", who.upn}}
		if who.signedIn {
			note = who.name + " (signed in)"
		}
		if i == 0 {
			button = append(button, attr{"autofocus", ""})
		}
		tiles = append(tiles, who.tile(button, note))
	}
	return page{title: "Pick an account", org: s.org, leadsTo: s.leadsTo, body: []markup{
		h1("Pick an account"), dim(text("to continue to "), called(s.app)),
		form(s.action, s.canary, tag("div", class("people"), tiles...),
			actions(submit("", actionField, "other", text("Use another account")),
				submit("", actionField, "cancel", text("Cancel")))),
	}}
}

// permission is one thing that an app asks for: in words, and as the scope's value.
type permission struct{ words, value, resource string }

func permissionList(ps []permission) markup {
	items := make([]markup, 0, len(ps))
	for _, one := range ps {
		detail := one.resource
		if one.words != one.value {
			detail = one.value + " - " + one.resource
		}
		items = append(items, tag("li", nil, tag("bdi", nil, text(one.words)), tag("small", nil, tag("bdi", nil, text(detail)))))
	}
	return tag("ul", class("scopes"), items...)
}

// consentPage asks the person whether the app may have what it asks for.
type consentPage struct {
	action, canary, leadsTo string
	org, app                string
	who                     person
	permissions             []permission
	admin                   bool // may answer for everybody
}

func (s consentPage) page() page {
	var everybody markup
	if s.admin {
		everybody = tag("label", class("check"),
			tag("input", attrs{{"type", "checkbox"}, {"name", "everybody"}, {"value", "yes"}}),
			tag("span", nil, text("Consent on behalf of your organization")))
	}
	return page{title: "Permissions requested", org: s.org, leadsTo: s.leadsTo, body: []markup{
		h1("Permissions requested"), s.who.tile(nil, s.who.name),
		p(called(s.app), text(" would like to:")),
		permissionList(s.permissions),
		form(s.action, s.canary, everybody,
			actions(submit("main", actionField, "accept", text("Accept")),
				submit("", actionField, "cancel", text("Cancel")))),
	}}
}

// approvalPage says that only an administrator can allow what the app asks for.
type approvalPage struct {
	action, canary, leadsTo string
	org, app                string
	who                     person
	permissions             []permission
	details                 refusalDetails
}

func (s approvalPage) page() page {
	return page{title: "Need admin approval", org: s.org, leadsTo: s.leadsTo, status: s.details.status, body: []markup{
		h1("Need admin approval"), s.who.tile(nil, s.who.name),
		p(called(s.app), text(" needs permission to access resources in your organization that only an admin can grant. Ask an admin to grant permission to this app before you can use it.")),
		permissionList(s.permissions),
		form(s.action, s.canary, actions(
			submit("main", actionField, "switch", text("Use another account")),
			submit("", actionField, "cancel", text("Return without consent")))),
		tag("p", class("small dim after"), text(s.details.description)), s.details.list(),
	}}
}

// refusalDetails is what a page says about a request that was refused.
type refusalDetails struct {
	status                        int
	description                   string // AADSTS1234: text, without the trailer
	trace, correlation, timestamp string
	cause, fix                    string
}

func (d refusalDetails) list() markup {
	row := func(term, value string) markup {
		if value == "" {
			return ""
		}
		return tag("dt", nil, text(term)) + tag("dd", nil, text(value))
	}
	return tag("dl", nil,
		row("Likely cause", d.cause),
		row("What to do", d.fix),
		row("Request Id", d.trace),
		row("Correlation Id", d.correlation),
		row("Timestamp", d.timestamp))
}

func (d refusalDetails) page() page {
	return page{title: "Sign-in error", wide: true, status: d.status, body: []markup{
		h1("Sorry, but we're having trouble signing you in."),
		p(text(d.description)), d.list(),
	}}
}

// answerPage carries an answer to the app in a form (response_mode=form_post).
func answerPage(redirect string, fields []attr) page {
	inputs := make([]markup, 0, len(fields)+1)
	for _, f := range fields {
		inputs = append(inputs, hidden(f.name, f.value))
	}
	inputs = append(inputs, dim(text("Going back to the app. If nothing happens, press the button.")),
		actions(tag("button", attrs{{"type", "submit"}, {"class", "main"}}, text("Continue"))))
	return page{title: "Working", leadsTo: redirect, script: true, body: []markup{
		h1("Working..."),
		tag("form", attrs{{"method", "post"}, {"action", redirect}}, inputs...),
	}}
}

// codePage asks for the code that a device shows.
type codePage struct {
	action, canary, code string
	problem              problem
}

func (s codePage) page() page {
	return page{title: "Enter code", body: []markup{
		h1("Enter code"),
		dim(text("Enter the code that is shown by your app or device.")),
		s.problem.alert(),
		form(s.action, s.canary,
			input("Code", "otc", "text", s.code, s.problem, attr{"class", "code"}, attr{"autocomplete", "off"}, attr{"autocapitalize", "characters"}, attr{"spellcheck", "false"}, attr{"maxlength", "32"}, attr{"autofocus", ""}),
			actions(submit("main", actionField, "next", text("Next")))),
	}}
}

// confirmPage asks whether the person means to sign in to this app: a code can
// have come from somebody who would like to use their account.
type confirmPage struct {
	action, canary string
	org, app       string
	who            person
}

func (s confirmPage) page() page {
	return page{title: "Confirm sign-in", org: s.org, body: []markup{
		h1("Are you trying to sign in to " + s.app + "?"),
		s.who.tile(nil, s.who.name),
		p(text("Only continue if you started this sign-in yourself, on a device that is yours, from an app that you trust.")),
		form(s.action, s.canary,
			actions(submit("main", actionField, "continue", text("Continue")),
				submit("", actionField, "decline", text("Cancel")))),
	}}
}

// donePage is the end of something that went well.
func donePage(title, org string, lines ...markup) page {
	return page{title: title, org: org, body: append([]markup{tag("div", class("done"), tickMark), h1(title)}, lines...)}
}

// adminConsentPage asks an administrator to allow an app for the whole organisation.
type adminConsentPage struct {
	action, canary, leadsTo string
	org, app                string
	who                     person
	delegated, application  []permission
}

func (s adminConsentPage) page() page {
	body := []markup{
		h1("Permissions requested"), dim(text("Review for your organization")), s.who.tile(nil, s.who.name),
		p(called(s.app), text(" would like to:")),
	}
	if len(s.delegated) > 0 {
		body = append(body, h2("As the person who is signed in"), permissionList(s.delegated))
	}
	if len(s.application) > 0 {
		body = append(body, h2("By itself, without a person"), permissionList(s.application))
	}
	body = append(body,
		tag("p", class("small dim"), text("If you accept, this app gets access to these resources for everybody in your organization. Nobody else will be asked.")),
		form(s.action, s.canary,
			actions(submit("main", actionField, "accept", text("Accept")),
				submit("", actionField, "cancel", text("Cancel")))))
	return page{title: "Permissions requested", org: s.org, leadsTo: s.leadsTo, body: body}
}

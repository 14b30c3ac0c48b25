package trace

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"html"
	"io"
	"strings"
)

// style is the page's style sheet. The page's policy names its digest, so that
// nothing else can style, load or run.
const style = `
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #ffffff; --faint: #5d6772; --line: #c9d1d9; --box: #f4f6f8; --good: #116329; --bad: #b3261e; --arrow: #0b57d0 }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --paper: #14171a; --faint: #9aa4af; --line: #3a424a; --box: #1e2328; --good: #6cc98a; --bad: #ff8a80; --arrow: #8ab4f8 } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 70rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.1rem; margin: 0 } h3 { font-size: 1rem; margin: 1rem 0 .3rem }
p.note { color: var(--faint) }
figure { margin: 1.5rem 0; overflow-x: auto; border: 1px solid var(--line); border-radius: 8px }
svg { display: block; max-width: none }
svg text { font: 13px system-ui, sans-serif; fill: var(--ink) }
svg .host { font-weight: 600 } svg .lane { stroke: var(--line) } svg .box { fill: var(--box); stroke: var(--line) }
svg .out { stroke: var(--arrow); stroke-width: 2 } svg .back { stroke: var(--good); stroke-width: 2; stroke-dasharray: 5 3 }
svg .fail { stroke: var(--bad); stroke-width: 2; stroke-dasharray: 5 3 } svg .outhead { fill: var(--arrow) } svg .backhead { fill: var(--good) } svg .failhead { fill: var(--bad) }
svg .failtext { fill: var(--bad) }
details { border: 1px solid var(--line); border-radius: 8px; margin: .8rem 0; padding: .6rem 1rem }
summary { cursor: pointer } summary h2 { display: inline }
summary .good { color: var(--good) } summary .bad { color: var(--bad) }
code { font: 14px/1.5 ui-monospace, monospace; overflow-wrap: anywhere }
table { border-collapse: collapse; width: 100% } th, td { text-align: left; vertical-align: top; padding: .15rem .6rem .15rem 0; border-top: 1px solid var(--line) }
th { font-weight: 400; color: var(--faint); width: 16rem; overflow-wrap: anywhere } td { overflow-wrap: anywhere }
@media print { details { break-inside: avoid } }
`

// WriteHTML writes all exchanges as one page that needs nothing else: no
// script, no font, no picture is loaded, and its policy forbids it.
func (r *Recorder) WriteHTML(w io.Writer) error {
	all, dropped := r.Exchanges()
	digest := sha256.Sum256([]byte(style))
	var b strings.Builder
	b.WriteString("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n")
	fmt.Fprintf(&b, "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-%s'; base-uri 'none'; form-action 'none'\">\n",
		base64.StdEncoding.EncodeToString(digest[:]))
	b.WriteString("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"referrer\" content=\"no-referrer\">\n")
	b.WriteString("<title>What went over the wire</title>\n<style>" + style + "</style>\n</head>\n<body>\n<h1>What went over the wire</h1>\n")
	fmt.Fprintf(&b, "<p class=\"note\">%d exchanges. Secrets were removed when this was recorded; tokens are decoded, not verified.", len(all))
	if dropped > 0 {
		fmt.Fprintf(&b, " %d more exchanges were not kept.", dropped)
	}
	b.WriteString("</p>\n")
	diagram(&b, all)
	for i, e := range all {
		tone := "good"
		if e.Status == 0 || e.Status >= 400 {
			tone = "bad"
		}
		fmt.Fprintf(&b, "<details open id=\"x%d\">\n<summary><h2>%d. %s</h2> <span class=\"%s\">%s</span> <span>%s</span></summary>\n",
			i+1, i+1, html.EscapeString(capital(e.Title())), tone, html.EscapeString(e.Outcome()), e.elapsed())
		fmt.Fprintf(&b, "<p><code>%s %s</code></p>\n", html.EscapeString(e.Method), html.EscapeString(e.URL))
		message(&b, "Request", e.Request)
		message(&b, "Answer", e.Answer)
		for _, t := range e.Tokens {
			fmt.Fprintf(&b, "<h3>Decoded: %s</h3>\n", html.EscapeString(t.Where))
			var claims []Pair
			for _, c := range t.Claims {
				claims = append(claims, Pair{c.Name, claimText(c)})
			}
			table(&b, claims)
		}
		b.WriteString("</details>\n")
	}
	b.WriteString("</body>\n</html>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func message(b *strings.Builder, title string, m Message) {
	if len(m.Fields) == 0 && len(m.Headers) == 0 && m.Note == "" {
		return
	}
	fmt.Fprintf(b, "<h3>%s</h3>\n", title)
	table(b, append(append([]Pair{}, m.Fields...), m.Headers...))
	if m.Note != "" {
		fmt.Fprintf(b, "<p class=\"note\">%s</p>\n", html.EscapeString(capital(m.Note)+"."))
	}
}

func table(b *strings.Builder, all []Pair) {
	if len(all) == 0 {
		return
	}
	b.WriteString("<table>\n")
	for _, p := range all {
		fmt.Fprintf(b, "<tr><th scope=\"row\"><code>%s</code></th><td><code>%s</code></td></tr>\n", html.EscapeString(p.Name), html.EscapeString(p.Value))
	}
	b.WriteString("</table>\n")
}

// diagram draws who asked whom, top to bottom.
func diagram(b *strings.Builder, all []Exchange) {
	if len(all) == 0 {
		return
	}
	const (
		left, gap    = 120, 400 // of the first lane, and between two
		top, row     = 60, 74
		boxes, limit = 34, 52 // height of a host's box, letters of a label
		boxWidth     = 216
	)
	names := hosts(all)
	width := left*2 + gap*len(names)
	height := top + row*len(all) + 30
	x := func(lane int) int { return left + gap*lane }
	fmt.Fprintf(b, "<figure>\n<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" role=\"img\" aria-labelledby=\"diagram\">\n", width, height, width, height)
	fmt.Fprintf(b, "<title id=\"diagram\">Sequence diagram of %d exchanges with %d hosts</title>\n", len(all), len(names))
	for i, name := range append([]string{"this program"}, names...) {
		label := shorten(name, 30)
		fmt.Fprintf(b, "<line class=\"lane\" x1=\"%d\" y1=\"%d\" x2=\"%d\" y2=\"%d\"/>\n", x(i), boxes+8, x(i), height-8)
		fmt.Fprintf(b, "<rect class=\"box\" x=\"%d\" y=\"8\" width=\"%d\" height=\"%d\" rx=\"6\"/>\n", x(i)-boxWidth/2, boxWidth, boxes)
		fmt.Fprintf(b, "<text class=\"host\" x=\"%d\" y=\"30\" text-anchor=\"middle\">%s</text>\n", x(i), html.EscapeString(label))
	}
	for i, e := range all {
		lane := 1
		for j, name := range names {
			if name == e.Host {
				lane = j + 1
			}
		}
		y := top + row*i + 20
		fmt.Fprintf(b, "<a href=\"#x%d\"><text x=\"%d\" y=\"%d\">%s</text></a>\n", i+1, x(0)+10, y-5, html.EscapeString(shorten(fmt.Sprintf("%d. %s", i+1, e.Title()), limit)))
		fmt.Fprintf(b, "<line class=\"out\" x1=\"%d\" y1=\"%d\" x2=\"%d\" y2=\"%d\"/>\n", x(0), y, x(lane)-9, y)
		fmt.Fprintf(b, "<path class=\"outhead\" d=\"M%d %dl-10 -5v10z\"/>\n", x(lane), y)
		class, text := "back", ""
		if e.Status == 0 || e.Status >= 400 {
			class, text = "fail", " class=\"failtext\""
		}
		y += 34
		fmt.Fprintf(b, "<text%s x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text>\n", text, x(lane)-12, y-5, html.EscapeString(shorten(e.Outcome(), limit)))
		fmt.Fprintf(b, "<line class=\"%s\" x1=\"%d\" y1=\"%d\" x2=\"%d\" y2=\"%d\"/>\n", class, x(lane), y, x(0)+9, y)
		fmt.Fprintf(b, "<path class=\"%shead\" d=\"M%d %dl10 -5v10z\"/>\n", class, x(0), y)
	}
	b.WriteString("</svg>\n</figure>\n")
}

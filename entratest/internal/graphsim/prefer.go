package graphsim

import (
	"html"
	"net/http"
	"regexp"
	"strings"
	"sync"
)

// preference is the value of one of the request's Prefer headers, empty if the
// client has no such wish.
func (c *call) preference(name string) string {
	for _, header := range c.r.Header.Values("Prefer") {
		for wish := range strings.SplitSeq(header, ",") {
			if n, value, _ := strings.Cut(wish, "="); strings.EqualFold(strings.TrimSpace(n), name) {
				return strings.Trim(strings.TrimSpace(value), `"`)
			}
		}
	}
	return ""
}

// prefers says whether the request has a wish, of those without a value.
func (c *call) prefers(name string) bool {
	for _, header := range c.r.Header.Values("Prefer") {
		for wish := range strings.SplitSeq(header, ",") {
			if strings.EqualFold(strings.TrimSpace(wish), name) {
				return true
			}
		}
	}
	return false
}

// applied says which wish came true.
func (c *call) applied(wish string) {
	const name = "Preference-Applied"
	if before := c.w.Header().Get(name); before != "" {
		wish = before + ", " + wish
	}
	c.w.Header().Set(name, wish)
}

// withoutRepresentation says whether it has answered a write of mail 204 to a
// client that has no use for what was written. Outlook does so; the directory
// and files answer as they always do.
func (c *call) withoutRepresentation() bool {
	if c.at == nil || c.at.face != mailWork || c.r.Method == http.MethodGet {
		return false
	}
	switch wish := strings.ToLower(c.preference("return")); wish {
	case "minimal":
		c.applied("return=minimal")
		if at := c.w.Header().Get("Location"); at != "" { // as OData wants it
			c.w.Header().Set("OData-EntityId", at)
		}
		c.noContent()
		return true
	case "representation":
		c.applied("return=representation")
	}
	return false
}

// bodyType is how the client wants to see the bodies of messages, "text" or
// "html"; empty: as they are.
func (c *call) bodyType() string {
	switch kind := strings.ToLower(c.preference("outlook.body-content-type")); kind {
	case "text", "html":
		return kind
	}
	return ""
}

func (c *call) preferBody() {
	if kind := c.bodyType(); kind != "" {
		c.applied(`outlook.body-content-type="` + kind + `"`)
	}
}

// asBody turns the body of a message into text or HTML.
func asBody(body any, kind string) any {
	was, content := str(inside(body, "contentType")), str(inside(body, "content"))
	switch {
	case was == kind:
	case kind == "html":
		content = "<html><body>" + strings.ReplaceAll(html.EscapeString(content), "\n", "<br>\n") + "</body></html>"
	default:
		content = htmlNotShown().ReplaceAllString(content, "")
		content = htmlLineEnd().ReplaceAllString(content, "\r\n")
		content = strings.TrimSpace(html.UnescapeString(htmlTag().ReplaceAllString(content, "")))
	}
	return map[string]any{"contentType": kind, "content": content}
}

var (
	htmlNotShown = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`(?is)<(head|style|script)\b.*?</(head|style|script)\s*>|<!--.*?-->`)
	})
	htmlLineEnd = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?i)<br\b[^>]*>|</(p|div|tr|li|h[1-6])\s*>`) })
	htmlTag     = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?s)<[^>]*>`) })
)

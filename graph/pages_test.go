package graph

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/fobauth/fob"
)

// book serves pages at /v1.0/users?page=n; NEXT in a page is the link to the next.
func book(pages ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		n := 0
		fmt.Sscan(r.URL.Query().Get("page"), &n)
		if n >= len(pages) {
			http.NotFound(w, r)
			return
		}
		next := fmt.Sprintf("http://%s/v1.0/users?page=%d", r.Host, n+1)
		says(200, strings.ReplaceAll(pages[n], "NEXT", next))(w, r)
	}
}

func TestPagesYieldsEveryItemOnce(t *testing.T) {
	w := serve(t, book(
		`{"@odata.context":"x","@odata.nextLink":"NEXT","value":[{"id":"1"},{"id":"2"}]}`,
		`{"value":[{"id":"3"}],"@odata.nextLink":"NEXT"}`,
		`{"value":[],"nextLink":"NEXT"}`,
		`{"@odata.nextLink":"NEXT","value":[null,{"id":"4"},null]}`,
		` { "value" : [ {"id" : "5\u007d]"} ] , "nextLink" : null } `))
	got, err := collect(t, w, "/users")
	if want := []string{`{"id":"1"}`, `{"id":"2"}`, `{"id":"3"}`, `{"id":"4"}`, `{"id" : "5\u007d]"}`}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestTheNextLinkIsSentAsItCame(t *testing.T) {
	const odd = "/v1.0/users('a%40b')/x?%24skiptoken=RFNw%2baQ~_-'()*!&$filter=a%20eq%20%27b%27&x=%E2%82%ac"
	var got string
	w := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1.0/users" {
			says(200, `{"value":[],"@odata.nextLink":`+asJSON("http://"+r.Host+odd)+`}`)(w, r)
			return
		}
		got = r.RequestURI
		says(200, `{"value":[]}`)(w, r)
	})
	if _, err := collect(t, w, "/users"); err != nil || got != odd {
		t.Errorf("asked for %s, %v", got, err)
	}
}

func TestHeadersGoAlongWithEveryPage(t *testing.T) {
	pages := 0
	inner := book(`{"value":[],"@odata.nextLink":"NEXT"}`, `{"value":[],"@odata.nextLink":"NEXT"}`, `{"value":[]}`)
	w := serve(t, func(w http.ResponseWriter, r *http.Request) {
		pages++
		if r.Header.Get("ConsistencyLevel") != "eventual" || r.Header.Get("Prefer") != "odata.maxpagesize=5" || r.Header.Get("Accept") != "application/json" {
			t.Errorf("page %d came with %v", pages, r.Header)
		}
		inner(w, r)
	})
	header := http.Header{"Consistencylevel": {"eventual"}, "Prefer": {"odata.maxpagesize=5"}}
	for _, err := range w.Pages(t.Context(), "/users", header) {
		t.Fatal(err)
	}
	if pages != 3 {
		t.Errorf("%d pages", pages)
	}
}

// hostileLinks are what a broken or hostile service may send instead of a
// link to its next page. HOST is the service itself, OTHER a stranger.
var hostileLinks = map[string]string{
	"another host":         "http://OTHER/v1.0/users",
	"another port":         "http://127.0.0.1:1/v1.0/users",
	"user before the host": "http://HOST@OTHER/v1.0/users",
	"user at home":         "http://user:pass@HOST/v1.0/users",
	"another scheme":       "https://HOST/v1.0/users",
	"host as a prefix":     "https://graph.microsoft.com.evil.example/v1.0/users",
	"backslash":            `http://HOST\@OTHER/v1.0/users`,
	"tab":                  "http://OTHER\t/v1.0/users",
	"line break":           "http://HOST/v1.0/users\r\nX-Injected: 1",
	"loopback by IPv6":     "http://[::1]:80/v1.0/users",
	"protocol-relative":    "//OTHER/v1.0/users",
	"trailing dot":         "https://graph.microsoft.com./v1.0/users",
	"lookalike":            "https://gr\u0430ph.microsoft.com/v1.0/users",
	"punycode lookalike":   "https://xn--grph-43d.microsoft.com/v1.0/users",
	"address as a number":  "http://2130706433/v1.0/users",
	"encoded host":         "http://127.0.0.1%2eevil.example/v1.0/users",
	"no link":              "javascript:alert(1)",
	"local file":           "file:///etc/passwd",
}

func TestAHostileNextLinkIsNotFollowed(t *testing.T) {
	for name, trick := range hostileLinks {
		t.Run(name, func(t *testing.T) {
			other := stranger(t, func(http.ResponseWriter, *http.Request) { t.Error("the stranger was called") })
			requests := 0
			w := serve(t, func(w http.ResponseWriter, r *http.Request) {
				requests++
				link := strings.NewReplacer("HOST", r.Host, "OTHER", strings.TrimPrefix(other.URL, "http://")).Replace(trick)
				says(200, `{"@odata.nextLink":`+asJSON(link)+`,"value":[{"id":"1"}]}`)(w, r)
			})
			for _, call := range []func() error{
				func() error { _, err := collect(t, w, "/users"); return err },
				func() error { _, err := w.Export(t.Context(), discard{}, "/users", ExportOptions{}); return err },
				func() error {
					for _, err := range w.Delta("/users/delta", nil).Items(t.Context()) {
						if err != nil {
							return err
						}
					}
					return nil
				},
			} {
				requests = 0
				wantError(t, call(), "not followed")
				if requests != 1 {
					t.Errorf("%d requests", requests)
				}
			}
		})
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

func TestTheSameOriginMayBeSpelledDifferently(t *testing.T) {
	base := serve(t, says(200, "")).server.URL
	home, err := parseAddress(base + "/v1.0/users")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range []string{strings.ToUpper(base[:4]) + base[4:] + "/x", base + "/v1.0/users#top"} {
		if _, err := NextLink(home, link); err != nil {
			t.Error(err)
		}
	}
	public, _ := parseAddress("https://graph.microsoft.com/v1.0/users")
	for _, link := range []string{"https://GRAPH.Microsoft.com/v1.0/users?x", "https://graph.microsoft.com:443/v1.0/users"} {
		if _, err := NextLink(public, link); err != nil {
			t.Error(err)
		}
	}
}

func TestALinkMayBeRelativeToItsPage(t *testing.T) {
	w := serve(t, answers(says(200, `{"value":[1],"@odata.nextLink":"?page=2"}`), says(200, `{"value":[2],"@odata.nextLink":"/v1.0/users?page=3"}`),
		func(w http.ResponseWriter, r *http.Request) {
			if r.URL.String() != "/v1.0/users?page=3" {
				t.Errorf("asked for %s", r.URL)
			}
			says(200, `{"value":[3]}`)(w, r)
		}))
	if got, err := collect(t, w, "/users"); err != nil || strings.Join(got, " ") != "1 2 3" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestTextsThatWereCutWithinACharacterAreRead(t *testing.T) {
	for body, want := range map[string]string{
		"\ufeff" + `{"value":["a"]}`:                   `"a"`,
		`{"value":["x\ud83d"]}`:                        `"x\ufffd"`,
		`{"value":["\udc00\ud83d\ude00\ud83dy"]}`:      `"\ufffd\ud83d\ude00\ufffdy"`,
		`{"value":["\\ud83d","\"\ud83d\n"]}`:           `"\\ud83d" "\"\ufffd\n"`,
		"{\"value\":[\"x\xf0\x9f\"]}":                  "\"x\ufffd\"",
		"\ufeff{\"value\":[\"\xff\\ud83d\xff\\u00\"]}": "",
	} {
		w := serve(t, says(200, body))
		got, err := collect(t, w, "/users")
		if text := strings.Join(got, " "); text != want || (err == nil) != (want != "") {
			t.Errorf("%q: %s, %v", body, text, err)
		}
		if mended := MendJSON([]byte(want)); string(mended) != want {
			t.Errorf("%q became %q", want, mended)
		}
	}
}

func TestALoopOfPagesEnds(t *testing.T) {
	for _, length := range []int{1, 3} {
		requests := 0
		w := serve(t, func(w http.ResponseWriter, r *http.Request) {
			requests++
			says(200, fmt.Sprintf(`{"value":[],"@odata.nextLink":"http://%s/v1.0/users?page=%d"}`, r.Host, requests%length))(w, r)
		})
		_, err := collect(t, w, "/users?page=0")
		if wantError(t, err, "was read before"); requests > length {
			t.Errorf("a loop of %d ended after %d requests", length, requests)
		}
	}
}

func TestEndlessEmptyPagesEnd(t *testing.T) {
	walk := &walk{seen: map[string]bool{}}
	walk.home, _ = parseAddress("https://graph.microsoft.com/v1.0/users")
	var err error
	for range maxEmpty + 1 {
		if err = walk.check(&page{}, walk.home); err != nil {
			break
		}
	}
	wantError(t, err, "without an item")
}

func TestAnExpiredPageLinkSaysToStartAgain(t *testing.T) {
	for _, body := range []string{
		`{"error":{"code":"Directory_ExpiredPageToken","message":"The specified page token value has expired and can no longer be included in your request."}}`,
		`{"error":{"code":"","message":"Token not found: token is either invalid or expired"}}`,
		`{"error":{"code":"Request_BadRequest","message":"Skip token provided is not valid."}}`,
	} {
		inner := book(`{"value":[{"id":"1"}],"@odata.nextLink":"NEXT"}`)
		w := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.RawQuery != "" {
				says(400, body)(w, r)
				return
			}
			inner(w, r)
		})
		got, err := collect(t, w, "/users")
		wantError(t, err, "start it again")
		if !errors.Is(err, ErrExpired) || len(got) != 1 {
			t.Errorf("%q, %v", got, err)
		}
	}
}

func TestAPageThatBreaksOffIsReadAgainAndNoItemComesTwice(t *testing.T) {
	whole := `{"value":[{"id":"1"},{"id":"2"}]}`
	cut := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(whole)))
		w.Write([]byte(whole[:22]))
	}
	short := says(200, whole[:22]) // complete for HTTP, not for JSON
	w := serve(t, answers(cut, short, cut, says(200, whole)))
	got, err := collect(t, w, "/users")
	if err != nil || strings.Join(got, "") != `{"id":"1"}{"id":"2"}` {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestAnAnswerThatIsNoCollectionIsAnError(t *testing.T) {
	for body, want := range map[string]string{
		`{"id":"1"}`:                       "no collection",
		`[1,2]`:                            "no collection",
		`{"value":"text"}`:                 "no collection",
		`{"value":[1],"value":[2]}`:        "two",
		`{"value":[],"@odata.nextLink":7}`: "no text",
		`{"nextLink":"a","@odata.nextLink":"b","value":[]}`: "two links",
		`{"value":[1,]}`:           "broken JSON",
		`{"value":[{"a":01}]}`:     "broken JSON",
		"{\"value\":[\xff]}":       "broken JSON",
		`{"value":[]} trailing`:    "behind",
		`{"value":[]}{"value":[]}`: "more behind",
		`<html>sign in</html>`:     "HTML page",
		``:                         "broke before",
		`{"value":[` + strings.Repeat("[", 20000): "broken JSON",
	} {
		w := serve(t, says(200, body))
		_, err := collect(t, w, "/users")
		wantError(t, err, want)
	}
}

func TestAPageThatIsTooLargeIsNotRead(t *testing.T) {
	w := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte(`{"value":["`))
		chunk := []byte(strings.Repeat("x", 64<<10))
		for r.Context().Err() == nil {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	})
	w.MaxPage = 1 << 20
	_, err := collect(t, w, "/users")
	wantError(t, err, "more than 1 MiB", "$top")
}

func TestWhatNoServiceSendsIsNotKept(t *testing.T) {
	for body, want := range map[string]string{
		`{"value":[1],"@odata.nextLink":"https://x/` + strings.Repeat("x", MaxLink) + `"}`:  "a link to the next page of more than 64 KiB",
		`{"value":[1],"@odata.deltaLink":"https://x/` + strings.Repeat("x", MaxLink) + `"}`: "a link to the next page of more than 64 KiB",
		`{"value":[0` + strings.Repeat(",0", 2*maxItems) + `]}`:                             "a page of more than 1048576 items; ask for fewer with $top",
	} {
		w := serve(t, says(200, body))
		_, err := collect(t, w, "/users")
		wantError(t, err, want)
	}
}

func TestAPageThatIsAnnouncedTooLargeIsNotRead(t *testing.T) {
	w := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "2000000")
		io.WriteString(w, "{") // and no more, for as long as somebody waits
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	w.MaxPage = 1 << 20
	_, err := collect(t, w, "/users")
	wantError(t, err, "more than 1 MiB", "$top")
}

func TestALoopThatIsLeftAsksForNothingMore(t *testing.T) {
	requests := 0
	inner := book(`{"value":[1,2],"@odata.nextLink":"NEXT"}`, `{"value":[3]}`)
	w := serve(t, func(w http.ResponseWriter, r *http.Request) { requests++; inner(w, r) })
	for range w.Pages(t.Context(), "/users", nil) {
		break
	}
	if requests != 1 {
		t.Errorf("%d requests", requests)
	}
}

func TestPagesEndWithTheContext(t *testing.T) {
	w := serve(t, book(`{"value":[1],"@odata.nextLink":"NEXT"}`, `{"value":[2]}`))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var last error
	for _, err := range w.Pages(ctx, "/users", nil) {
		last = err
		cancel()
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("ended with %v", last)
	}
}

func TestCountAsksForTheNumberAlone(t *testing.T) {
	w := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1.0/users/$count" || r.URL.RawQuery != "$filter=a%20eq%201" || r.Header.Get("ConsistencyLevel") != "eventual" {
			t.Errorf("got %s with %v", r.URL, r.Header)
		}
		says(200, "\ufeff893")(w, r)
	})
	if n, err := w.Count(t.Context(), "/users?$top=5&$filter=a eq 1&$select=id"); n != 893 || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
}

func TestDeltaEndsWithTheLinkToTheNextChanges(t *testing.T) {
	w := serve(t, book(`{"value":[{"id":"1"}],"@odata.nextLink":"NEXT"}`,
		`{"value":[{"id":"1","@removed":{"reason":"deleted"}}],"@odata.deltaLink":"NEXT"}`))
	d := w.Delta("/users/delta", nil)
	n := 0
	for _, err := range d.Items(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 2 || d.Link() != w.server.URL+"/v1.0/users?page=2" || d.Resync() {
		t.Errorf("%d items, %q, %v", n, d.Link(), d.Resync())
	}
}

func TestADeltaLinkThatTheServiceForgotLeadsToAFullQuery(t *testing.T) {
	w := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("token") == "old" {
			says(410, `{"error":{"code":"resyncRequired","message":"Resync required."}}`, "Location", "http://"+r.Host+"/v1.0/users/delta?token=")(w, r)
			return
		}
		says(200, `{"value":[{"id":"1"}],"@odata.deltaLink":"http://`+r.Host+`/v1.0/users/delta?token=new"}`)(w, r)
	})
	d := w.Delta("/users/delta?token=old", nil)
	n := 0
	for _, err := range d.Items(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 1 || !d.Resync() || !strings.HasSuffix(d.Link(), "token=new") {
		t.Errorf("%d items, %v, %q", n, d.Resync(), d.Link())
	}
}

func TestADeltaLinkThatLeadsNowhereIsExpired(t *testing.T) {
	other := stranger(t, func(http.ResponseWriter, *http.Request) { t.Error("the stranger was called") })
	for _, location := range []string{"", other.URL + "/v1.0/users/delta"} {
		requests := 0
		w := serve(t, func(w http.ResponseWriter, r *http.Request) {
			requests++
			says(410, `{"error":{"code":"syncStateNotFound","message":"gone"}}`, "Location", location)(w, r)
		})
		d := w.Delta("/users/delta?token=old", nil)
		var last error
		for _, err := range d.Items(t.Context()) {
			last = err
		}
		if !errors.Is(last, ErrExpired) || d.Link() != "" || requests != 1 {
			t.Errorf("%v, %q after %d requests", last, d.Link(), requests)
		}
	}
}

func TestAServiceThatOffersAFullQueryForeverIsLeft(t *testing.T) {
	requests := 0
	w := serve(t, func(w http.ResponseWriter, r *http.Request) {
		requests++
		says(410, "", "Location", "http://"+r.Host+"/v1.0/users/delta?token=")(w, r)
	})
	var last error
	for _, err := range w.Delta("/users/delta", nil).Items(t.Context()) {
		last = err
	}
	if !errors.Is(last, ErrExpired) || requests != 2 {
		t.Errorf("%v after %d requests", last, requests)
	}
}

func TestChangesThatNeverEndAreGivenUp(t *testing.T) {
	for name, test := range map[string]struct {
		items func(n int) string
		link  func(n int) int
		want  string
		most  int
	}{
		"a link that leads back":    {func(n int) string { return fmt.Sprintf(`{"id":"%d"}`, n) }, func(n int) int { return n % 5 }, "read before", 10},
		"nothing, again and again":  {func(int) string { return "" }, func(n int) int { return n }, "1001 pages without an item", 1100},
		"the same, again and again": {func(int) string { return `{"id":"1"}` }, func(n int) int { return n }, "1001 pages in a row with changes that it had sent before", 1100},
		"the same few, and nothing": {func(n int) string { return []string{"", `{"id":"1"}`, `{"id":"2","@removed":{}}`}[n%3] }, func(n int) int { return n }, "sent before", 1700},
	} {
		requests := 0
		w := serve(t, func(rw http.ResponseWriter, r *http.Request) {
			requests++
			fmt.Fprintf(rw, `{"@odata.nextLink":"http://%s/v1.0/users/delta?$skiptoken=%d","value":[%s]}`, r.Host, test.link(requests), test.items(requests))
		})
		changes := w.Delta("/users/delta", nil)
		var failure error
		for _, err := range changes.Items(t.Context()) {
			failure = err
		}
		if wantError(t, failure, test.want); requests > test.most || changes.Link() != "" {
			t.Errorf("%s: %d requests, and goes on at %q", name, requests, changes.Link())
		}
	}
}

func TestChangesThatComeTwiceAreNoLoop(t *testing.T) {
	n := 0
	w := serve(t, func(rw http.ResponseWriter, r *http.Request) {
		link := "nextLink"
		if n++; n == 2000 {
			link = "deltaLink"
		}
		fmt.Fprintf(rw, `{"@odata.%s":"http://%s/v1.0/users/delta?$skiptoken=%d","value":[{"id":"%d"}]}`, link, r.Host, n, n%1000)
	})
	changes := w.Delta("/users/delta", nil)
	for _, err := range changes.Items(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
	}
	if changes.Link() == "" {
		t.Error("there is no link to the next changes")
	}
}

func TestAListThatIsNoDeltaQueryIsRecognized(t *testing.T) {
	w := serve(t, book(`{"value":[]}`))
	var last error
	for _, err := range w.Delta("/users", nil).Items(t.Context()) {
		last = err
	}
	wantError(t, last, "is /v1.0/users a delta query?")
}

func TestAFailingTokenSourceEndsEveryCallAtOnce(t *testing.T) {
	w := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("a request was sent") })
	w.Source = failing{}
	_, err := collect(t, w, "/users")
	if !errors.Is(err, fob.ErrInteraction) || len(w.clock.waited()) != 0 {
		t.Errorf("%v after waiting %v", err, w.clock.waited())
	}
}

type failing struct{}

func (failing) Token(context.Context, fob.Request) (*fob.Token, error) {
	return nil, fmt.Errorf("nobody is signed in: %w", fob.ErrInteraction)
}

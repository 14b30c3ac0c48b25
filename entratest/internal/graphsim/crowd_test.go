package graphsim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/fobauth/fob/entratest/internal/directory"
)

func startCrowd(t *testing.T, n int) *face {
	t.Helper()
	f := start(t)
	if err := f.World.Generate(directory.TenantID, n); err != nil {
		t.Fatal(err)
	}
	return f
}

// every follows nextLinks to the end and returns the values of a property.
func (f *face) every(path, token, property string, header ...string) []string {
	f.t.Helper()
	var out []string
	for pages := 0; path != ""; pages++ {
		if pages > 1000 {
			f.t.Fatal("the pages do not end")
		}
		a := f.get(path, token, header...)
		if a.status != 200 {
			f.t.Fatalf("%s: %d %s", path, a.status, a.text)
		}
		for _, v := range a.body["value"].([]any) {
			s, _ := v.(map[string]any)[property].(string)
			out = append(out, s)
		}
		path, _ = a.body["@odata.nextLink"].(string)
	}
	return out
}

func enc(s string) string { return url.QueryEscape(s) }

func TestPagesOfACrowdHaveEveryoneOnce(t *testing.T) {
	f := startCrowd(t, 2500)
	for _, top := range []int{100, 998, 999} {
		ids := f.every(fmt.Sprintf("/v1.0/users?$top=%d&$select=id", top), app("User.Read.All"), "id")
		slices.Sort(ids)
		if len(ids) != 2503 || len(slices.Compact(ids)) != 2503 {
			t.Errorf("pages of %d have %d users", top, len(ids))
		}
	}
}

func TestACrowdIsWrittenAsIfItWereKept(t *testing.T) {
	f := startCrowd(t, 50)
	names := strings.Join(slices.DeleteFunc(userType.names(), func(n string) bool { return slices.Contains(singleOnly, n) }), ",")
	for _, selected := range []string{"", "?$select=" + names, "?$select=displayName,city"} {
		c := f.World.People(directory.TenantID).Crowd
		page := f.get("/v1.0/users"+selected, app("User.Read.All"))
		for i := range c.Len() {
			one := f.get("/v1.0/users/"+c.User(i).ID+selected, app("User.Read.All"))
			delete(one.body, "@odata.context")
			want, _ := json.Marshal(one.body)
			got, _ := json.Marshal(page.body["value"].([]any)[3+i])
			if string(got) != string(want) {
				t.Fatalf("in the page\n%s\nalone\n%s", got, want)
			}
		}
	}
}

func TestFiltersOnACrowdAgreeWithWhatTheySay(t *testing.T) {
	f := startCrowd(t, 3000)
	changed := f.World.People(directory.TenantID).Crowd.User(40)
	if err := f.World.UpdateUser(directory.TenantID, changed.ID, func(u *directory.User) error { u.UPN, u.Department = "zz@fob.example", "Legal"; return nil }); err != nil {
		t.Fatal(err)
	}
	f.World.DeleteUser(directory.TenantID, f.World.People(directory.TenantID).Crowd.User(41).ID)
	all := everybody(f.World.People(directory.TenantID))
	for _, filter := range []string{
		"startswith(userPrincipalName,'a')", "startsWith(userPrincipalName,'AD')", "startswith(userPrincipalName,'z')", "startswith(userPrincipalName,'~')",
		"not startswith(userPrincipalName,'a') and not startswith(userPrincipalName,'b')", "not(startswith(userPrincipalName,'a') or startswith(mail,'b'))",
		"(department eq 'Finance') and startswith(userPrincipalName,'5')", "department eq 'Legal'", "department ne 'Finance'",
		"userPrincipalName ge 'm' and userPrincipalName le 'n'", "userPrincipalName gt 'ada@fob.example' and userPrincipalName lt 'ben@fob.example'",
		"createdDateTime ge 2025-01-01T00:10:00Z and createdDateTime lt 2025-01-01T00:20:00Z", "createdDateTime gt 2025-01-01T00:10:00Z and createdDateTime le 2025-01-01T00:20:00Z",
		"userPrincipalName eq '" + changed.UPN + "' or userPrincipalName eq 'zz@fob.example' or userPrincipalName eq 'ben@fob.example'",
		"id in ('" + changed.ID + "','" + directory.AdaID + "')", "endswith(mail,'001@fob.example')",
		"accountEnabled eq true and userPrincipalName in ('ben@fob.example','nobody@fob.example')",
	} {
		cond, err := parseFilter(filter, userType)
		if err != nil {
			t.Fatal(filter, err)
		}
		var want []string
		for _, u := range all {
			if cond.matches(u, userType, nil) {
				want = append(want, u.(*directory.User).ID)
			}
		}
		path := "/v1.0/users?$count=true&$top=70&$select=id&$filter=" + enc(filter)
		got := f.every(path, app("User.Read.All"), "id", "ConsistencyLevel", "eventual")
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %d users, want %d", filter, len(got), len(want))
		}
		if a := f.get(path, app("User.Read.All"), "ConsistencyLevel", "eventual"); a.body["@odata.count"] != float64(len(want)) {
			t.Errorf("%s: counted %v, want %d", filter, a.body["@odata.count"], len(want))
		}
		if a := f.get("/v1.0/users/$count?$filter="+enc(filter), app("User.Read.All"), "ConsistencyLevel", "eventual"); a.text != fmt.Sprint(len(want)) {
			t.Errorf("%s: /$count is %s, want %d", filter, a.text, len(want))
		}
	}
}

func TestACrowdIsOrderedTogetherWithTheOthers(t *testing.T) {
	f := startCrowd(t, 300)
	for _, order := range []string{"displayName", "displayName desc", "userPrincipalName asc", "userPrincipalName DESC"} {
		property, _, _ := strings.Cut(order, " ")
		got := f.every("/v1.0/users?$top=37&$orderby="+enc(order), app("User.Read.All"), property)
		for i := range got {
			got[i] = strings.ToLower(got[i])
		}
		want := slices.Sorted(slices.Values(got))
		if strings.HasSuffix(strings.ToLower(order), "desc") {
			slices.Reverse(want)
		}
		if len(got) != 303 || !slices.Equal(got, want) {
			t.Errorf("by %s: %d users, the first %v", order, len(got), got[:3])
		}
	}
	if a := f.get("/v1.0/users?$orderby="+enc("createdDateTime desc")+"&$top=1&$count=true", app("User.Read.All"), "ConsistencyLevel", "eventual"); names(a) != "Cleo Marsh" {
		t.Errorf("the youngest is %s", a.text)
	}
}

func TestSearchFindsWordsInACrowd(t *testing.T) {
	f := startCrowd(t, 5000)
	got := f.every("/v1.0/users?$search="+enc(`"displayName:zoe"`), app("User.Read.All"), "displayName", "ConsistencyLevel", "eventual")
	for _, name := range got {
		if !strings.HasPrefix(name, "Zoe ") {
			t.Errorf("found %s", name)
		}
	}
	if len(got) < 10 {
		t.Errorf("found %d", len(got))
	}
}

func TestWhatIsChangedDuringAScanIsNeitherLostNorThereTwice(t *testing.T) {
	f := startCrowd(t, 400)
	tok := app("User.Read.All")
	a := f.get("/v1.0/users?$top=50&$select=id", tok)
	seen := []string{}
	crowd := f.World.People(directory.TenantID).Crowd
	for step := 0; ; step++ {
		for _, v := range a.body["value"].([]any) {
			seen = append(seen, v.(map[string]any)["id"].(string))
		}
		for _, i := range []int{step * 30, 399 - step*20} {
			_ = f.World.UpdateUser(directory.TenantID, crowd.User(i).ID, func(u *directory.User) error { u.UPN = fmt.Sprintf("moved%d@fob.example", i); return nil })
		}
		if step == 1 {
			f.World.DeleteUser(directory.TenantID, directory.AdaID) // behind us
		}
		next, _ := a.body["@odata.nextLink"].(string)
		if next == "" {
			break
		}
		a = f.get(next, tok)
	}
	slices.Sort(seen)
	if len(seen) != 403 || len(slices.Compact(seen)) != 403 {
		t.Errorf("%d seen", len(seen))
	}
}

func TestAPageMayEndBeforeAChangedUser(t *testing.T) {
	f := startCrowd(t, 20)
	crowd := f.World.People(directory.TenantID).Crowd
	for _, i := range []int{4, 5, 9, 19} {
		_ = f.World.UpdateUser(directory.TenantID, crowd.User(i).ID, func(u *directory.User) error { u.Department = "Legal"; return nil })
	}
	for top := 1; top < 25; top++ {
		ids := f.every(fmt.Sprintf("/v1.0/users?$select=id&$top=%d", top), app("User.Read.All"), "id")
		if len(ids) != 23 || len(slices.Compact(slices.Sorted(slices.Values(ids)))) != 23 {
			t.Errorf("pages of %d have %d users", top, len(ids))
		}
	}
}

func TestAMillionUsersTakeNoMemory(t *testing.T) {
	f := startCrowd(t, 1_000_000)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	a := f.get("/v1.0/users/$count", app("User.Read.All"), "ConsistencyLevel", "eventual")
	b := f.get("/v1.0/users?$filter="+enc("startswith(userPrincipalName,'m')")+"&$top=999", app("User.Read.All"))
	runtime.GC()
	runtime.ReadMemStats(&after)
	if a.text != "1000003" || b.status != 200 || len(b.body["value"].([]any)) != 999 {
		t.Errorf("counted %s, page %d", a.text, b.status)
	}
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 8<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
}

// nowhere is where the answers of a benchmark go.
type nowhere struct {
	header http.Header
	n      int
}

func (w *nowhere) Header() http.Header         { return w.header }
func (w *nowhere) WriteHeader(int)             {}
func (w *nowhere) Write(b []byte) (int, error) { w.n += len(b); return len(b), nil }

// BenchmarkGeneratedPages serves a page of 999 generated users an iteration:
// what the server itself takes for it, what it takes over HTTPS, and as the
// floor the same bytes made before and copied.
func BenchmarkGeneratedPages(b *testing.B) {
	world := directory.Default()
	if err := world.Generate(directory.TenantID, 1_000_000); err != nil {
		b.Fatal(err)
	}
	claims := map[string]any{"aud": directory.GraphAppID, "tid": directory.TenantID, "oid": "sp", "roles": []any{"User.Read.All"}}
	s := &Server{World: world, Verify: func(string) (map[string]any, Verdict) { return claims, Good }, AuthorityURL: func(*http.Request) string { return "" }}
	ask := func(path string) *http.Request {
		r := httptest.NewRequest("GET", "https://localhost"+path, nil)
		r.Header.Set("Authorization", "Bearer x")
		return r
	}
	first := httptest.NewRecorder()
	s.ServeHTTP(first, ask("/v1.0/users?$top=999"))
	page := first.Body.Bytes()
	perUser := func(b *testing.B) {
		b.ReportMetric(float64(b.N)*999/b.Elapsed().Seconds()/1e6, "Musers/s")
		b.SetBytes(int64(len(page)))
	}
	for _, c := range []struct{ name, query, encoding string }{{"all", "$top=999", ""}, {"ids", "$top=999&$select=id", ""},
		{"shard", "$top=999&$filter=" + enc("startswith(userPrincipalName,'m')"), ""}, {"compressed", "$top=999", "gzip"}} {
		b.Run("server/"+c.name, func(b *testing.B) {
			r := ask("/v1.0/users?" + c.query)
			r.Header.Set("Accept-Encoding", c.encoding)
			b.ReportAllocs()
			for b.Loop() {
				s.ServeHTTP(&nowhere{header: http.Header{}}, r)
			}
			perUser(b)
		})
	}
	b.Run("floor", func(b *testing.B) {
		for b.Loop() {
			w := &nowhere{header: http.Header{}}
			w.Write(bytes.Clone(page))
		}
		perUser(b)
	})
	for _, c := range []struct {
		name, encoding string
		handler        http.Handler
	}{{"https", "identity", s}, {"https-compressed", "gzip", s},
		{"https-floor", "identity", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(page) })}} {
		b.Run(c.name, func(b *testing.B) {
			srv := httptest.NewTLSServer(c.handler)
			defer srv.Close()
			for b.Loop() {
				r, _ := http.NewRequest("GET", srv.URL+"/v1.0/users?$top=999", nil)
				r.Header.Set("Authorization", "Bearer x")
				r.Header.Set("Accept-Encoding", c.encoding)
				res, err := srv.Client().Do(r)
				if err != nil {
					b.Fatal(err)
				}
				io.Copy(io.Discard, res.Body)
				res.Body.Close()
			}
			perUser(b)
		})
	}
}

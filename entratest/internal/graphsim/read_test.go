package graphsim

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fobauth/fob/entratest/internal/directory"
)

func TestFiltersFindWhatTheySay(t *testing.T) {
	f := start(t)
	_ = f.World.UpdateUser(directory.TenantID, directory.CleoID, func(u *directory.User) error {
		u.DisplayName, u.Disabled = "Cleo O'Marsh", true
		u.Licenses = []directory.License{{SKU: directory.SKUs()[0].ID}}
		u.More = map[string]any{"city": "Bern"}
		return nil
	})
	const ada, ben, cleo = "Ada Quill", "Ben Ostrow", "Cleo O'Marsh"
	for filter, want := range map[string][]string{
		"displayName eq 'ada quill'":                                   {ada},
		"displayName eq 'Cleo O''Marsh'":                               {cleo},
		"DisplayName ge 'b'":                                           {ben, cleo},
		"startswith(displayName,'A') or startsWith(surname, 'O')":      {ada, ben},
		"startswith(displayName,'A') eq true":                          {ada},
		"department eq 'Platform' and not (givenName eq 'Ada')":        {ben},
		"NOT(department eq 'Platform')":                                {cleo},
		"department ne 'Platform'":                                     {cleo},
		"city eq null":                                                 {ada, ben},
		"city ne null":                                                 {cleo},
		"accountEnabled eq false":                                      {cleo},
		"accountEnabled":                                               {ada, ben},
		"id in ('" + directory.AdaID + "', '" + directory.BenID + "')": {ada, ben},
		"endswith(mail,'@fob.example')":                                {ada, ben, cleo},
		"createdDateTime gt 2026-01-05T09:30:00Z and createdDateTime le 2026-01-05T10:00:00Z":                                    {ben},
		"proxyAddresses/any(p:p eq 'smtp:ben@fob.example')":                                                                      {ben},
		"proxyAddresses/any(p:startswith(p,'smtp:c'))":                                                                           {cleo},
		"assignedLicenses/any(l:l/skuId eq 6fd2c87f-b296-42f0-b197-1e91e994b900)":                                                {cleo},
		"assignedLicenses/$count eq 0":                                                                                           {ada, ben},
		"assignedPlans/any(a:a/servicePlanId eq 57ff2da0-773e-42df-b2af-ffb7a2317929 and a/capabilityStatus eq 'Enabled')":       {cleo},
		"(((displayName eq 'Ada Quill')))":                                                                                       {ada},
		"not proxyAddresses/any(p:startswith(p,'smtp:c'))":                                                                       {ada, ben},
		"not(proxyAddresses/any(p:p eq 'smtp:ben@fob.example') or accountEnabled eq false)":                                      {ada},
		"not(endswith(mail,'ben@fob.example')) and not(startswith(displayName,'A'))":                                             {cleo},
		"not(userType in ('Guest'))":                                                                                             {ada, ben, cleo},
		"NOT(NOT(department eq 'Platform'))":                                                                                     {ada, ben},
		"assignedLicenses/any(x:x/skuId eq 6fd2c87f-b296-42f0-b197-1e91e994b900) and city ne null or displayName eq 'Ada Quill'": {ada, cleo},
		"not(assignedLicenses/$count eq 0)":                                                                                      {cleo},
		"businessPhones/any(p:startswith(p,'+41') and not(p eq '+41 44 555 01 02'))":                                             {ada},
	} {
		a := f.get("/v1.0/users?$count=true&$filter="+enc(filter), app("User.Read.All"), "ConsistencyLevel", "eventual")
		if got := names(a); a.status != 200 || got != strings.Join(want, ", ") {
			t.Errorf("%s: got %d %q, want %q %s", filter, a.status, got, want, a.message())
		}
	}
}

func TestTheDirectoryRefusesWhatItHasNoIndexFor(t *testing.T) {
	f := start(t)
	const unsupported, unindexed = "Unsupported Query.", "The request uses a filter property that is not indexed"
	for _, c := range []struct{ filter, plain, advanced string }{ // messages, empty where it is answered
		{"displayName eq 'x'", "", ""},
		{"displayName ne 'x'", unsupported, ""},
		{"not(displayName eq 'x')", unsupported, ""},
		{"endswith(mail,'x')", unsupported, ""},
		{"endswith(displayName,'x')", unindexed, unindexed},
		{"contains(displayName,'x')", unindexed, unindexed},
		{"id ge 'x'", unindexed, unindexed},
		{"startswith(id,'x')", unindexed, unindexed},
		{"startswith(mobilePhone,'x')", unsupported, ""},
		{"companyName eq 'x'", unsupported, ""},
		{"city eq null", unsupported, ""},
		{"accountEnabled ge true", unindexed, unindexed},
		{"aboutMe eq 'x'", unindexed, unindexed},
		{"assignedLicenses/$count eq 0", unsupported, ""},
		{"userPrincipalName eq null", unindexed, unindexed},
		{"proxyAddresses/any(p:p eq 'x')", "", ""},
		{"proxyAddresses/any(p:endswith(p,'x'))", unsupported, ""},
		{"businessPhones/any(p:p eq 'x')", unsupported, ""},
		{"not(proxyAddresses/any(p:p eq 'x'))", unsupported, ""},
		{"proxyAddresses/any(p:p ne 'x')", unindexed, unindexed},
		{"proxyAddresses/all(p:p eq 'x')", unsupported, unsupported},
		{"proxyAddresses/any(p:displayName eq 'x')", unsupported, unsupported},
		{"assignedLicenses/any(x:x/disabledPlans/$count eq 0)", unindexed, unindexed},
		{"assignedLicenses/$count gt 0", unsupported, unsupported},
		{"assignedLicenses/$count eq 1", unsupported, unsupported},
		{"memberOf/$count eq 0", unindexed, unindexed},
		{"memberOf/any(m:m/id eq 'x')", unsupported, unsupported},
	} {
		for _, q := range []struct{ header, count, want string }{{"", "", c.plain}, {"eventual", "", c.plain}, {"eventual", "&$count=true", c.advanced}} {
			a := f.get("/v1.0/users?$filter="+enc(c.filter)+q.count, app("User.Read.All"), "ConsistencyLevel", q.header)
			if q.want == "" {
				a.want(t, c.filter, 200, "")
			} else if a.want(t, c.filter, 400, "Request_UnsupportedQuery").message() != q.want {
				t.Errorf("%s (%v): %s, want %s", c.filter, q, a.message(), q.want)
			}
		}
	}
	f.get("/v1.0/users?$filter="+enc("displayName eq 'x'")+"&$orderby=displayName", app("User.Read.All")).want(t, "filter and order", 400, "Request_UnsupportedQuery")
	const ids = "id in ('%s')"
	many := fmt.Sprintf(ids, strings.Repeat("x','", 15)+"x")
	if a := f.get("/v1.0/users?$filter="+enc(many), app("User.Read.All")).want(t, "16 alternatives", 400, "Request_UnsupportedQuery"); a.message() !=
		"Too many child clauses specified in search filter expression containing 'OR' operators: 16. Max allowed: 15." {
		t.Errorf("16 alternatives: %s", a.message())
	}
	f.get("/v1.0/users?$filter="+enc("(displayName eq 'x' and id eq 'y' or mail eq 'z') or "+fmt.Sprintf(ids, strings.Repeat("x','", 12)+"x")), app("User.Read.All")).want(t, "15 alternatives", 200, "")
	f.get("/v1.0/users?$count=true&$filter="+enc(many), app("User.Read.All"), "ConsistencyLevel", "eventual").want(t, "an advanced query of 16", 200, "")
	f.get("/v1.0/groups?$orderby=createdDateTime", app("Group.Read.All")).want(t, "an advanced order", 400, "Request_UnsupportedQuery")
	f.get("/v1.0/groups?$filter="+enc("groupTypes/any(c:c eq 'Unified')"), app("Group.Read.All")).want(t, "kinds of groups", 200, "")
	f.get("/v1.0/users?$expand=manager&$count=true", app("User.Read.All"), "ConsistencyLevel", "eventual").want(t, "expand, advanced", 400, "Request_UnsupportedQuery")
}

func TestAFilterThatIsWrongSaysWhere(t *testing.T) {
	f := start(t)
	for filter, want := range map[string]string{
		"displayName eq 'x":          "There is an unterminated string literal at position 15 in 'displayName eq 'x'.",
		"displayName eq":             "Syntax error at position 14 in 'displayName eq'.",
		"displayName":                "Syntax error at position 11 in 'displayName'.",
		"(displayName eq 'x'":        "Syntax error at position 19 in '(displayName eq 'x''.",
		"displayName eq 'x' garbage": "Syntax error at position 19 in 'displayName eq 'x' garbage'.",
		"displayName & 'x'":          "Syntax error: character '&' is not valid at position 12 in 'displayName & 'x''.",
		"shoeSize eq 43":             "Could not find a property named 'shoeSize' on type 'microsoft.graph.user'.",
		"displayName eq 43":          "A binary operator with incompatible types was detected. Found operand types 'Edm.String' and 'Edm.Int32' for operator kind 'Equal'.",
		"accountEnabled eq 'true'":   "A binary operator with incompatible types was detected. Found operand types 'Edm.Boolean' and 'Edm.String' for operator kind 'Equal'.",
		"proxyAddresses eq 'x'":      "The property 'proxyAddresses' is a collection: write 'proxyAddresses/any(x:x …)'.",
		"proxyAddresses/any(x:assignedLicenses/any(y:y/skuId eq null))": "A 'any' inside of another is not supported.",
		"proxyAddresses/any(x:x eq 'y'":                                 "Syntax error at position 29 in 'proxyAddresses/any(x:x eq 'y''.",
		"displayName/any(x:x eq 'y')":                                   "'any' can only be used with collections, which 'displayName' is not.",
		"displayName/first eq 'x'":                                      "The parent value for a property access of a property 'first' is not a single value of a type that has properties.",
		"startswith(accountEnabled,'x')":                                "No function signature for the function with name 'startswith' matches the specified arguments. The function signatures considered are: startswith(Edm.String Nullable=true, Edm.String Nullable=true).",
		"id in ()":                                                      "Syntax error at position 7 in 'id in ()'.",
		"":                                                              "The filter is empty.",
		strings.Repeat("(", 200):                                        "The filter clause nests deeper than 100 levels.",
	} {
		a := f.get("/v1.0/users?$filter="+enc(filter), app("User.Read.All")).want(t, filter, 400, "BadRequest")
		if got := strings.TrimPrefix(a.message(), "Invalid filter clause: "); got != want {
			t.Errorf("%s\n got %s\nwant %s", filter, got, want)
		}
	}
}

func TestSearchLooksForWords(t *testing.T) {
	f := start(t)
	for query, want := range map[string]string{
		`"displayName:quill"`:                        "Ada Quill",
		`"displayName:qui"`:                          "Ada Quill",
		`"displayName:uill"`:                         "",
		`"displayName:ada" OR "mail:ben@"`:           "Ada Quill, Ben Ostrow",
		`"displayName:ada" AND "displayName:quill"`:  "Ada Quill",
		`"displayName:ada" AND "displayName:ostrow"`: "",
	} {
		a := f.get("/v1.0/users?$search="+enc(query), app("User.Read.All"), "ConsistencyLevel", "eventual")
		if a.status != 200 || names(a) != want {
			t.Errorf("%s: %s", query, a.text)
		}
	}
	for _, query := range []string{`displayName:ada`, `"ada"`, `"city:x"`, `"displayName:a" AND`, `"displayName:a" "mail:b"`} {
		f.get("/v1.0/users?$search="+enc(query), app("User.Read.All"), "ConsistencyLevel", "eventual").want(t, query, 400, "Request_UnsupportedQuery")
	}
}

func TestAnythingThrownAtTheFilterIsAnswered(t *testing.T) {
	for _, seed := range []string{"displayName eq 'x'", "a/any(x:x/y eq 1)", "not(not(id in ('a','b')))", "startswith(a,'b') eq true"} {
		for cut := range len(seed) {
			for _, junk := range []string{"", "(", ")", "'", "/", ":", ",", "eq", "null", " and ", "$count", "any("} {
				if c, err := parseFilter(seed[:cut]+junk+seed[cut:], userType); err == nil {
					c.matches(&directory.User{}, userType, nil)
					c.demands(userType, operand{}, false)
				}
			}
		}
	}
}

func TestDeltaTellsWhatChanged(t *testing.T) {
	f := start(t)
	tok := app("User.Read.All", "Directory.Read.All")
	a := f.get("/v1.0/users/delta()?$select=displayName,manager", tok).want(t, "everything", 200, "")
	if names(a) != "Ada Quill, Ben Ostrow, Cleo Marsh" || !strings.Contains(a.text, `"manager@delta":[{"@odata.type":"#microsoft.graph.user","id":"`+directory.AdaID+`"}]`) {
		t.Fatalf("everything: %s", a.text)
	}
	link := a.str("@odata.deltaLink")
	if a = f.get(link, tok); names(a) != "" || a.str("@odata.deltaLink") == "" {
		t.Fatalf("nothing: %s", a.text)
	}
	_ = f.World.UpdateUser(directory.TenantID, directory.BenID, func(u *directory.User) error { u.DisplayName, u.Manager = "Benjamin", ""; return nil })
	f.World.DeleteUser(directory.TenantID, directory.CleoID)
	f.World.PutUser(&directory.User{ID: "f0b00000-1001-4000-8000-0000000000aa", Tenant: directory.TenantID, UPN: "new@fob.example", DisplayName: "New"})
	a = f.get(link, tok)
	got, _ := json.Marshal(a.body["value"])
	want := `[{"displayName":"Benjamin","id":"` + directory.BenID + `","manager@delta":[{"@odata.type":"#microsoft.graph.user","@removed":{"reason":"deleted"},"id":"` + directory.AdaID + `"}]},` +
		`{"@removed":{"reason":"changed"},"id":"` + directory.CleoID + `"},{"displayName":"New","id":"f0b00000-1001-4000-8000-0000000000aa"}]`
	if string(got) != want {
		t.Errorf("changes\n got %s\nwant %s", got, want)
	}
	f.World.Purge(directory.TenantID, directory.CleoID)
	a = f.get(a.str("@odata.deltaLink"), tok)
	if got, _ := json.Marshal(a.body["value"]); string(got) != `[{"@removed":{"reason":"deleted"},"id":"`+directory.CleoID+`"}]` {
		t.Errorf("deleted for good: %s", got)
	}
}

func TestDeltaOfGroupsTellsOfMembers(t *testing.T) {
	f := start(t)
	tok := app("Group.Read.All", "Directory.Read.All")
	a := f.get("/v1.0/groups/microsoft.graph.delta()?$deltaToken=latest", tok)
	if len(a.body["value"].([]any)) != 0 {
		t.Fatalf("latest: %s", a.text)
	}
	_ = f.World.UpdateGroup(directory.TenantID, directory.ReadersGroupID, func(g *directory.Group) error { g.Members = []string{directory.CleoID, directory.AdaID}; return nil })
	a = f.get(a.str("@odata.deltaLink"), tok, "Prefer", "return=minimal")
	got, _ := json.Marshal(a.body["value"])
	if want := `[{"id":"` + directory.ReadersGroupID + `","members@delta":[{"@odata.type":"#microsoft.graph.user","id":"` + directory.AdaID + `"},` +
		`{"@odata.type":"#microsoft.graph.user","@removed":{"reason":"deleted"},"id":"` + directory.BenID + `"}]}]`; string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestDeltaComesInPages(t *testing.T) {
	f := startCrowd(t, 450)
	tok := app("User.Read.All")
	var ids []string
	link := f.url + "/v1.0/users/delta?$select=id"
	for pages := 1; link != ""; pages++ {
		a := f.get(link, tok).want(t, "page", 200, "")
		ids = append(ids, a.values("id")...)
		if link = a.str("@odata.nextLink"); link == "" && (a.str("@odata.deltaLink") == "" || pages != 3) {
			t.Errorf("the last of %d pages: %v", pages, a.str("@odata.deltaLink"))
		}
	}
	if slices.Sort(ids); len(ids) != 453 || len(slices.Compact(ids)) != 453 {
		t.Errorf("%d users", len(ids))
	}
}

func TestDeltaRefusesWhatItCannotDo(t *testing.T) {
	f := start(t)
	tok := app("User.Read.All")
	f.get("/v1.0/users/delta?$top=5", tok).want(t, "$top", 400, "Request_UnsupportedQuery")
	f.get("/v1.0/users/delta?$orderby=displayName", tok).want(t, "$orderby", 400, "Request_UnsupportedQuery")
	f.get("/v1.0/users/delta?$filter="+enc("displayName eq 'x'"), tok).want(t, "another filter", 400, "Request_UnsupportedQuery")
	f.get("/v1.0/users/delta?$deltatoken=rubbish", tok).want(t, "a token that is none", 400, "syncStateInvalid")
	if a := f.get("/v1.0/users/delta?$filter="+enc("id eq '"+directory.BenID+"' or id eq '"+directory.AdaID+"'"), tok); names(a) != "Ada Quill, Ben Ostrow" {
		t.Errorf("by ids: %s", a.text)
	}
	link := f.get("/v1.0/users/delta", tok).str("@odata.deltaLink")
	f.get("/v1.0/groups/delta"+link[strings.Index(link, "?"):], app("Group.Read.All")).want(t, "a token of users for groups", 400, "syncStateInvalid")
	f.get(link+"&$select=id", tok).want(t, "options beside a token", 400, "BadRequest")
	f.World.Advance(8 * 24 * time.Hour)
	a := f.get(link, tok).want(t, "an old token", 410, "resyncRequired")
	if again := f.get(a.header.Get("Location"), tok).want(t, "from the beginning", 200, ""); len(again.values("id")) != 3 {
		t.Errorf("from the beginning: %s", again.text)
	}
}

// batch sends a $batch and returns the items of the answer by id.
func (f *face) batch(token, requests string) map[string]map[string]any {
	f.t.Helper()
	a := f.write("POST", "/v1.0/$batch", token, `{"requests":[`+requests+`]}`).want(f.t, "batch", 200, "")
	items := map[string]map[string]any{}
	for _, v := range a.body["responses"].([]any) {
		item := v.(map[string]any)
		items[item["id"].(string)] = item
	}
	return items
}

func TestABatchAnswersEachOfItsRequests(t *testing.T) {
	f := start(t)
	items := f.batch(user("User.Read User.ReadBasic.All User.ReadWrite.All"), `
		{"id":"1","method":"GET","url":"/users?%24select=displayName&%24top=1","headers":{"accept":"application/json"},"body":null,"dependsOn":[]},
		{"id":"two","method":"GET","url":"/v1.0/me?$select=id"},
		{"id":"3","method":"GET","url":"groups"},
		{"id":"4","method":"PATCH","url":"/users/ben@fob.example","headers":{"Content-Type":"application/json"},"body":{"city":"Bern"}},
		{"id":"5","method":"GET","url":"/users/$count","headers":{"ConsistencyLevel":"eventual"}},
		{"id":"6","method":"GET","url":"/me/photo/$value"},
		{"id":"7","method":"PATCH","url":"/users/ben@fob.example","body":{"city":"Bern"}}`)
	for id, want := range map[string]float64{"1": 200, "two": 200, "3": 403, "4": 204, "5": 200, "6": 200, "7": 400} {
		if items[id]["status"] != want {
			t.Errorf("request %s: %v", id, items[id])
		}
	}
	if next := fmt.Sprint(items["1"]["body"].(map[string]any)["@odata.nextLink"]); !strings.HasPrefix(next, f.url+"/v1.0/users?%24select=displayName&%24top=1&$skiptoken=") {
		t.Errorf("nextLink %s", next)
	}
	if items["3"]["body"].(map[string]any)["error"].(map[string]any)["code"] != "Authorization_RequestDenied" {
		t.Errorf("refused: %v", items["3"])
	}
	if _, ok := items["4"]["body"]; ok {
		t.Errorf("no content, but a body: %v", items["4"])
	}
	for name, v := range items["1"]["headers"].(map[string]any) {
		if _, ok := v.(string); !ok {
			t.Errorf("header %s is a %T", name, v)
		}
	}
	if items["5"]["body"] != "3" {
		t.Errorf("count: %v", items["5"])
	}
	if raw, err := base64.StdEncoding.DecodeString(fmt.Sprint(items["6"]["body"])); err != nil || len(raw) < 100 || raw[0] != 0xff || raw[1] != 0xd8 {
		t.Errorf("photo: %v %x", err, raw[:min(4, len(raw))])
	}
}

func TestARequestOfABatchWaitsForAnother(t *testing.T) {
	f := start(t)
	items := f.batch(writer, `
		{"id":"c","method":"GET","url":"/users/mira@fob.example","dependsOn":["A"]},
		{"id":"a","method":"POST","url":"/users","headers":{"Content-Type":"application/json"},"body":`+mira+`},
		{"id":"x","method":"GET","url":"/users/nobody@fob.example"},
		{"id":"y","method":"GET","url":"/users/ada@fob.example","dependsOn":["x"]},
		{"id":"z","method":"GET","url":"/users/ada@fob.example","dependsOn":["y"]}`)
	for id, want := range map[string]float64{"a": 201, "c": 200, "x": 404, "y": 424, "z": 424} {
		if items[id]["status"] != want {
			t.Errorf("request %s: %v", id, items[id])
		}
	}
}

func TestABatchThatIsWrongIsRefusedAsAWhole(t *testing.T) {
	f := start(t)
	get := func(id, more string) string { return `{"id":"` + id + `","method":"GET","url":"/users"` + more + `}` }
	many := []string{}
	for i := range 21 {
		many = append(many, get(fmt.Sprint(i), ""))
	}
	for what, requests := range map[string]string{
		"none":                        "",
		"21 of them":                  strings.Join(many, ","),
		"an id twice":                 get("a", "") + "," + get("A", ""),
		"no id":                       get("", ""),
		"no url":                      `{"id":"1","method":"GET"}`,
		"a fragment":                  `{"id":"1","method":"GET","url":"/users/guest_partner.example#EXT#@fob.example"}`,
		"an absolute url":             `{"id":"1","method":"GET","url":"https://graph.microsoft.com/v1.0/users"}`,
		"a dependency that is no one": get("1", `,"dependsOn":["2"]`),
		"a circle":                    get("1", `,"dependsOn":["2"]`) + "," + get("2", `,"dependsOn":["1"]`),
		"two dependencies":            get("1", "") + "," + get("2", "") + "," + get("3", `,"dependsOn":["1","2"]`),
	} {
		a := f.write("POST", "/v1.0/$batch", writer, `{"requests":[`+requests+`]}`).want(t, what, 400, "BadRequest")
		if what == "21 of them" && (a.message() != "Number of batch request steps exceeds the maximum value of 20." || !strings.Contains(a.text, `"innerError":{"code":"MaximumValueExceeded"`)) {
			t.Errorf("21: %s", a.text)
		}
	}
	if items := f.batch(writer, `{"id":"1","method":"POST","url":"/$batch","headers":{"Content-Type":"application/json"},"body":{"requests":[]}}`); items["1"]["status"] != 400.0 {
		t.Errorf("a batch in a batch: %v", items)
	}
}

func TestWhoAsksTooMuchIsThrottled(t *testing.T) {
	f := start(t)
	tok := token("good", map[string]any{"aud": directory.GraphAppID, "tid": directory.TenantID, "oid": "sp", "appid": "one", "roles": []string{"User.Read.All", "User.ReadWrite.All"}})
	other := token("good", map[string]any{"aud": directory.GraphAppID, "tid": directory.TenantID, "oid": "sp", "appid": "two", "roles": []string{"User.Read.All"}})
	if a := f.get("/v1.0/users", tok); a.header.Get("x-ms-resource-unit") != "2" {
		t.Errorf("cost %q", a.header.Get("x-ms-resource-unit"))
	}
	if a := f.get("/v1.0/users?$select=id&$top=5", tok); a.header.Get("x-ms-resource-unit") != "1" {
		t.Errorf("cost of little %q", a.header.Get("x-ms-resource-unit"))
	}
	f.Throttle(Throttle{Units: 4})
	f.get("/v1.0/users", tok).want(t, "2 of 4", 200, "")
	if a := f.get("/v1.0/users", tok).want(t, "4 of 4", 200, ""); a.header.Get("x-ms-throttle-limit-percentage") != "1.00" {
		t.Errorf("used: %v", a.header)
	}
	a := f.get("/v1.0/users", tok).want(t, "6 of 4", 429, "TooManyRequests")
	if a.header.Get("Retry-After") == "" || a.header.Get("x-ms-throttle-scope") != "Tenant_Application/Read/one/"+directory.TenantID || a.header.Get("x-ms-throttle-information") != "ResourceUnitLimitExceeded" {
		t.Errorf("throttled: %v", a.header)
	}
	if inner := a.body["error"].(map[string]any)["innerError"].(map[string]any); inner["code"] != "429" || inner["request-id"] == "" {
		t.Errorf("body: %s", a.text)
	}
	f.get("/v1.0/users", other).want(t, "another app", 200, "")
	wait, err := time.ParseDuration(a.header.Get("Retry-After") + "s")
	if err != nil {
		t.Fatal(err)
	}
	f.World.Advance(wait + 5*time.Second)
	f.get("/v1.0/users?$select=id", tok).want(t, "later", 200, "")
	items := f.batch(tok, `{"id":"1","method":"GET","url":"/users"},{"id":"2","method":"GET","url":"/users"},{"id":"3","method":"GET","url":"/users"}`)
	if items["3"]["status"] != 429.0 || items["3"]["headers"].(map[string]any)["Retry-After"] == nil {
		t.Errorf("in a batch: %v", items["3"])
	}
	for form, ok := range map[string]func(string) bool{
		"none":    func(s string) bool { return s == "" },
		"decimal": func(s string) bool { return strings.Contains(s, ".") },
		"date":    func(s string) bool { return strings.HasSuffix(s, "GMT") },
	} {
		f.Throttle(Throttle{Writes: 1, RetryAfter: form})
		f.write("PATCH", "/v1.0/users/ben@fob.example", tok, `{"city":"Bern"}`).want(t, "a write", 204, "")
		a := f.write("PATCH", "/v1.0/users/ben@fob.example", tok, `{"city":"Bern"}`).want(t, "another write", 429, "TooManyRequests")
		if !ok(a.header.Get("Retry-After")) || a.header.Get("x-ms-throttle-information") != "WriteLimitExceeded" {
			t.Errorf("%s: %v", form, a.header)
		}
	}
	f.Throttle(Throttle{})
	f.get("/v1.0/users", tok).want(t, "no limits", 200, "")
}

func TestABatchHasFourLanesForAMailbox(t *testing.T) {
	f := start(t)
	var requests []string
	for i := range 6 {
		requests = append(requests, fmt.Sprintf(`{"id":"%d","method":"GET","url":"/me/messages"}`, i))
	}
	throttledIn := func() (ids []string) {
		for id, item := range f.batch(user("Mail.Read"), strings.Join(requests, ",")) {
			if item["status"] == 429.0 {
				ids = append(ids, id)
			}
		}
		slices.Sort(ids)
		return ids
	}
	if got := throttledIn(); got != nil {
		t.Errorf("without limits: %v", got)
	}
	f.Throttle(Throttle{Units: -1})
	if got := throttledIn(); !slices.Equal(got, []string{"4", "5"}) {
		t.Errorf("with limits: %v", got)
	}
}

func TestObjectsAreNamedByTheirOtherKeys(t *testing.T) {
	f := start(t)
	tok := app("User.Read.All", "Group.Read.All", "Directory.Read.All", "Application.Read.All")
	_ = f.World.UpdateGroup(directory.TenantID, directory.ReadersGroupID, func(g *directory.Group) error {
		g.More = map[string]any{"uniqueName": "it's readers"}
		return nil
	})
	for path, want := range map[string]string{
		"/users(userPrincipalName='BEN@fob.example')":                             directory.BenID,
		"/users('ben@fob.example')":                                               directory.BenID,
		"/groups(uniqueName='it''s%20readers')":                                   directory.ReadersGroupID,
		"/applications(appId='" + directory.DaemonAppID + "')":                    must(f.World.Registration(directory.DaemonAppID)).ObjectID,
		"/applications(appid=%27" + directory.DaemonAppID + "%27)":                must(f.World.Registration(directory.DaemonAppID)).ObjectID,
		"/servicePrincipals(appId='" + directory.DaemonAppID + "')":               must(f.World.Registration(directory.DaemonAppID)).PrincipalID,
		"/directoryRoles(roleTemplateId='" + directory.GlobalAdministrator + "')": directoryRole{directory.TenantID, directory.GlobalAdministrator}.id(),
	} {
		if a := f.get("/v1.0"+path+"?$select=id", tok).want(t, path, 200, ""); a.str("id") != want {
			t.Errorf("%s: got %s, want %s", path, a.str("id"), want)
		}
	}
	if a := f.get("/v1.0/users(userPrincipalName='ben@fob.example')/memberOf?$select=displayName", tok); fmt.Sprint(a.values("displayName")) != "[Platform Readers]" {
		t.Errorf("what follows the key: %s", a.text)
	}
	f.get("/v1.0/applications(appId='"+directory.DaemonAppID+"')/federatedIdentityCredentials(name='main')", tok).want(t, "a key below a key", 200, "")
	for path, status := range map[string]int{
		"/users(userPrincipalName='" + directory.BenID + "')": 404, // an id is no name
		"/users(mail='ben@fob.example')":                      400,
		"/groups(displayName='Readers')":                      400,
		"/applications(displayName='fob daemon')":             400,
		"/applications(uniqueName='none')":                    404,
		"/applications(uniqueName='')":                        404,
		"/servicePrincipals(appId='ben')":                     404,
	} {
		code := map[int]string{400: "BadRequest", 404: "Request_ResourceNotFound"}[status]
		f.get("/v1.0"+path, tok).want(t, path, status, code)
	}
	if a := f.get("/v1.0/users(mail='x')", tok); a.message() != "The key 'mail' of the request is not one of 'microsoft.graph.user', which has: id, userPrincipalName." {
		t.Errorf("message: %s", a.message())
	}
}

func must[T any](v T, ok bool) T {
	if !ok {
		panic("not there")
	}
	return v
}

func TestFiltersCountOwners(t *testing.T) {
	f := start(t)
	_ = f.World.UpdateGroup(directory.TenantID, directory.ReadersGroupID, func(g *directory.Group) error { g.Owners = []string{directory.AdaID}; return nil })
	for filter, want := range map[string]string{"owners/$count eq 0": "Platform", "owners/$count eq 1": "Readers", "owners/$count ne 0": "Readers", "owners/$count eq 0 or owners/$count eq 1": "Platform, Readers"} {
		a := f.get("/v1.0/groups?$count=true&$filter="+enc(filter), app("Group.Read.All"), "ConsistencyLevel", "eventual")
		if names(a) != want || a.status != 200 {
			t.Errorf("%s: %s", filter, a.text)
		}
	}
	f.get("/v1.0/groups?$filter="+enc("owners/$count eq 0"), app("Group.Read.All")).want(t, "as a default query", 400, "Request_UnsupportedQuery")
	f.get("/v1.0/groups?$count=true&$filter="+enc("owners/$count eq 2"), app("Group.Read.All"), "ConsistencyLevel", "eventual").want(t, "two owners", 400, "Request_UnsupportedQuery")
}

// Clients that come from Azure AD Graph name the tenant after the version.
func TestThePathMayNameTheTenant(t *testing.T) {
	f := start(t)
	for _, tenant := range []string{directory.TenantID, "fob.example", "myorganization"} {
		if a := f.get("/v1.0/"+tenant+"/users?$filter=startswith(displayName,'Ada')", writer); names(a) != "Ada Quill" {
			t.Errorf("%s: %s", tenant, a.text)
		}
	}
	for _, tenant := range []string{directory.OtherTenantID, "nowhere.example"} {
		f.get("/v1.0/"+tenant+"/users", writer).want(t, "another tenant", 400, "BadRequest")
	}
}

func TestCollectionsAreCounted(t *testing.T) {
	f := start(t)
	tok := app("User.Read.All", "Group.Read.All", "Application.Read.All", "Device.Read.All", "Directory.Read.All", "Mail.Read")
	_ = f.World.UpdateGroup(directory.TenantID, directory.ReadersGroupID, func(g *directory.Group) error { g.Owners = []string{directory.AdaID}; return nil })
	daemon := must(f.World.Registration(directory.DaemonAppID)).ObjectID
	for path, want := range map[string]string{
		"/users/$count": "3",
		"/users/$count?$filter=" + enc("startswith(displayName,'B')"): "1",
		"/groups/$count":  "2",
		"/devices/$count": "2",
		"/groups/" + directory.ReadersGroupID + "/members/$count":                       "2",
		"/groups/" + directory.ReadersGroupID + "/members/microsoft.graph.user/$count":  "2",
		"/groups/" + directory.ReadersGroupID + "/members/microsoft.graph.group/$count": "0",
		"/groups/" + directory.ReadersGroupID + "/owners/$count":                        "1",
		"/groups/" + directory.ReadersGroupID + "/transitiveMemberOf/$count":            "0",
		"/users/ada@fob.example/directReports/$count":                                   "2",
		"/users/ben@fob.example/memberOf/microsoft.graph.group/$count":                  "2",
		"/devices/" + directory.AdaDeviceID + "/registeredOwners/$count":                "1",
		"/applications/" + daemon + "/owners/$count":                                    "0",
	} {
		if a := f.get("/v1.0"+path, tok, "ConsistencyLevel", "eventual"); a.status != 200 || a.text != want || !strings.HasPrefix(a.header.Get("Content-Type"), "text/plain") {
			t.Errorf("%s: %d %s, want %s", path, a.status, a.text, want)
		}
		if a := f.get("/v1.0"+path, tok).want(t, path+" without its header", 400, a400(path)); a.text == want {
			t.Errorf("%s was counted without its header", path)
		}
	}
	if a := f.get("/v1.0/users/ada@fob.example/mailFolders/$count", tok); a.text != "7" {
		t.Errorf("folders: %s", a.text)
	}
	f.get("/v1.0/users/$count?$top=1", tok, "ConsistencyLevel", "eventual").want(t, "with $top", 400, "BadRequest")
	f.get("/v1.0/organization/$count", tok, "ConsistencyLevel", "eventual").want(t, "what is not counted", 501, "NotImplemented")
}

// a400 is the code of a count without its header: a cast is checked before.
func a400(path string) string {
	if strings.Contains(path, "microsoft.graph.") {
		return "Request_UnsupportedQuery"
	}
	return "Request_BadRequest"
}

func TestReferencesAreListedAddedAndRemoved(t *testing.T) {
	f := start(t)
	tok := app("User.Read.All", "Group.ReadWrite.All", "Application.Read.All", "Application.ReadWrite.All", "Directory.Read.All", "User.ReadWrite.All", "RoleManagement.ReadWrite.Directory")
	address := func(id string) string { return f.url + "/v1.0/directoryObjects/" + id }
	ref := func(id string) string { return `{"@odata.id":"` + address(id) + `"}` }
	if a := f.get("/v1.0/groups/"+directory.PlatformGroupID+"/members/$ref", tok); fmt.Sprint(a.values("@odata.id")) != "["+address(directory.AdaID)+" "+address(directory.BenID)+"]" ||
		a.str("@odata.context") != f.url+"/v1.0/$metadata#Collection($ref)" {
		t.Errorf("members: %s", a.text)
	}
	if a := f.get("/v1.0/users/ben@fob.example/memberOf/$ref?$top=1", tok); len(a.values("@odata.id")) != 1 || a.str("@odata.nextLink") == "" {
		t.Errorf("a page of memberOf: %s", a.text)
	}
	if a := f.get("/v1.0/users/ben@fob.example/manager/$ref", tok); a.str("@odata.id") != address(directory.AdaID) || a.str("@odata.context") != f.url+"/v1.0/$metadata#$ref" {
		t.Errorf("manager: %s", a.text)
	}
	f.get("/v1.0/groups/"+directory.PlatformGroupID+"/members/$ref?$select=id", tok).want(t, "columns of references", 400, "BadRequest")

	owners := "/v1.0/applications/" + must(f.World.Registration(directory.DaemonAppID)).ObjectID + "/owners"
	f.write("POST", owners+"/$ref", tok, ref(directory.BenID)).want(t, "add an owner", 204, "")
	f.write("POST", owners+"/$ref", tok, ref(directory.BenID)).want(t, "add the owner again", 400, "Request_BadRequest")
	f.write("POST", owners+"/$ref", tok, ref(directory.ReadersGroupID)).want(t, "a group as an owner", 400, "Request_BadRequest")
	if a := f.get(owners+"/microsoft.graph.user?$count=true", tok, "ConsistencyLevel", "eventual"); names(a) != "Ben Ostrow" {
		t.Errorf("owners: %s", a.text)
	}
	f.write("POST", "/v1.0/applications(appId='"+directory.DaemonAppID+"')/addPassword", user("Application.ReadWrite.All", "oid", directory.BenID), `{}`).want(t, "what an owner may", 200, "")
	f.do("DELETE", owners+"/"+directory.BenID+"/$ref", tok).want(t, "remove the owner", 204, "")
	f.do("DELETE", owners+"/"+directory.BenID+"/$ref", tok).want(t, "remove again", 404, "Request_ResourceNotFound")

	members := "/v1.0/groups/" + directory.ReadersGroupID + "/members/$ref"
	for what, body := range map[string]string{
		"no address":         `{}`,
		"another member":     `{"@odata.id":"` + address(directory.AdaID) + `","displayName":"x"}`,
		"an address of none": `{"@odata.id":"https://graph.microsoft.com/v1.0/applications/x/owners"}`,
	} {
		f.write("POST", members, tok, body).want(t, what, 400, "Request_BadRequest")
	}
	f.write("POST", members, tok, ref("f0b00000-9999-4000-8000-000000000001")).want(t, "nobody", 404, "Request_ResourceNotFound")
	f.write("POST", members+"?$top=1", tok, ref(directory.AdaID)).want(t, "a query option", 400, "BadRequest")
	f.write("PUT", "/v1.0/users/cleo@fob.example/manager/$ref", tok, ref(directory.ReadersGroupID)).want(t, "a group as a manager", 400, "Request_BadRequest")
	role := directoryRole{directory.TenantID, directory.GlobalAdministrator}.id()
	f.write("POST", "/v1.0/directoryRoles/"+role+"/members/$ref", tok, ref(directory.ReadersGroupID)).want(t, "a role for a group", 501, "NotImplemented")
}

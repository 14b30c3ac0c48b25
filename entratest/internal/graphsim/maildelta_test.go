package graphsim

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/fobauth/fob/entratest/internal/directory"
)

// round follows a delta to its end and returns what it told, by the subject or
// the name of each thing, and the deltaLink. What is gone comes as its id.
func (f *face) round(link, token string, header ...string) (there, gone []string, next string) {
	f.t.Helper()
	for link != "" {
		a := f.get(link, token, header...).want(f.t, link, 200, "")
		for _, v := range a.body["value"].([]any) {
			item := v.(map[string]any)
			switch subject, named := item["subject"].(string); {
			case item["@removed"] != nil:
				if reason, _ := json.Marshal(item["@removed"]); string(reason) != `{"reason":"deleted"}` {
					f.t.Errorf("removed: %s", reason)
				}
				gone = append(gone, item["id"].(string))
			case named:
				there = append(there, subject)
			default:
				there = append(there, item["displayName"].(string))
			}
		}
		if link, next = a.str("@odata.nextLink"), a.str("@odata.deltaLink"); (link == "") == (next == "") {
			f.t.Fatalf("%s", a.text)
		}
	}
	return there, gone, next
}

// draftOf makes a message in a folder of ada's and returns its id.
func (f *face) draftOf(folder, subject string) string {
	f.t.Helper()
	return f.write("POST", "/v1.0/me/mailFolders/"+folder+"/messages", user(mailScopes), `{"subject":"`+subject+`"}`).want(f.t, "a draft", 201, "").str("id")
}

func TestTheDeltaOfAFolderTellsWhatChangedInIt(t *testing.T) {
	f := start(t)
	ada := user(mailScopes)
	ids := map[string]string{}
	for _, subject := range []string{"1", "2", "3", "4", "5"} {
		ids[subject] = f.draftOf("archive", subject)
	}
	f.draftOf("inbox", "elsewhere")
	first := f.url + "/v1.0/me/mailFolders/archive/messages/delta?$select=subject"
	a := f.get(first, ada, "Prefer", "odata.maxpagesize=2").want(t, "the first page", 200, "")
	if a.header.Get("Preference-Applied") != "odata.maxpagesize=2" || !strings.HasSuffix(a.str("@odata.context"), "/$metadata#Collection(message)") || !strings.Contains(a.str("@odata.nextLink"), "delta?$skiptoken=") {
		t.Errorf("the first page: %v %s", a.header, a.text)
	}
	if item := a.body["value"].([]any)[0].(map[string]any); item["@odata.type"] != "#microsoft.graph.message" || item["@odata.etag"] == "" || item["id"] != ids["5"] || len(item) != 4 {
		t.Errorf("a message: %v", item)
	}
	// What happens while pages are read is told in the next round.
	f.write("PATCH", "/v1.0/me/messages/"+ids["1"], ada, `{"isRead":false}`)
	there, gone, link := f.round(a.str("@odata.nextLink"), ada, "Prefer", "odata.maxpagesize=2")
	if fmt.Sprint(there, gone) != "[3 2 1] []" {
		t.Errorf("the other pages: %v %v", there, gone)
	}
	if there, gone, link = f.round(link, ada); fmt.Sprint(there, gone) != "[1] []" {
		t.Errorf("the second round: %v %v", there, gone)
	}
	if there, gone, _ = f.round(link, ada); fmt.Sprint(there, gone) != "[] []" {
		t.Errorf("nothing: %v %v", there, gone)
	}

	f.do("DELETE", "/v1.0/me/messages/"+ids["2"], ada)
	f.write("PATCH", "/v1.0/me/messages/"+ids["3"], ada, `{"isRead":false}`)
	f.write("PATCH", "/v1.0/me/messages/"+ids["3"], ada, `{"importance":"high"}`)
	f.write("POST", "/v1.0/me/messages/"+ids["4"]+"/move", ada, `{"destinationId":"inbox"}`)
	ids["6"] = f.draftOf("archive", "6")
	f.do("DELETE", "/v1.0/me/messages/"+f.draftOf("archive", "7"), ada) // nobody has seen it
	there, gone, next := f.round(link, ada, "Prefer", "odata.maxpagesize=1")
	if fmt.Sprint(there) != "[3 6]" || fmt.Sprint(gone) != fmt.Sprint([]string{ids["2"], ids["4"]}) {
		t.Errorf("the third round: %v %v", there, gone)
	}
	if there, gone, _ = f.round(link, ada); fmt.Sprint(there) != "[3 6]" || len(gone) != 2 { // a link may be followed twice
		t.Errorf("the third round, again: %v %v", there, gone)
	}
	if there, gone, _ = f.round(next, ada); fmt.Sprint(there, gone) != "[] []" {
		t.Errorf("then: %v %v", there, gone)
	}
}

func TestADeltaOfMessagesIsNarrowedByItsFirstRequest(t *testing.T) {
	f := start(t)
	ada := user(mailScopes)
	old := f.draftOf("archive", "old")
	f.World.Advance(1e9 * 60)
	since := f.World.Now().UTC().Format("2006-01-02T15:04:05Z")
	recent := f.draftOf("archive", "recent")
	path := f.url + "/v1.0/me/mailFolders/archive/messages/delta?"
	rounds := map[string]string{}
	for _, kind := range []string{"created", "updated", "deleted"} {
		there, _, link := f.round(path+"changeType="+kind+"&$top=1", ada)
		if fmt.Sprint(there) != "[recent old]" {
			t.Errorf("%s: the first round tells %v", kind, there)
		}
		rounds[kind] = link
	}
	there, _, filtered := f.round(path+"$filter="+enc("receivedDateTime ge "+since)+"&$orderby="+enc("receivedDateTime desc"), ada)
	if fmt.Sprint(there) != "[recent]" {
		t.Errorf("filtered: %v", there)
	}
	f.write("PATCH", "/v1.0/me/messages/"+old, ada, `{"subject":"older"}`)
	f.do("DELETE", "/v1.0/me/messages/"+recent, ada)
	f.draftOf("archive", "new")
	for kind, want := range map[string]string{"created": "[new] []", "updated": "[older] []", "deleted": "[] [" + recent + "]"} {
		if there, gone, _ := f.round(rounds[kind], ada); fmt.Sprint(there, gone) != want {
			t.Errorf("%s: %v %v", kind, there, gone)
		}
	}
	if there, gone, _ := f.round(filtered, ada); fmt.Sprint(there, gone) != "[new] ["+recent+"]" {
		t.Errorf("filtered: %v %v", there, gone)
	}
}

func TestTheDeltaOfMailFoldersTellsOfFoldersAndTheirCounts(t *testing.T) {
	f := start(t)
	ada := user(mailScopes)
	there, _, link := f.round(f.url+"/v1.0/me/mailFolders/delta?$select=displayName", ada, "Prefer", "odata.maxpagesize=3")
	if len(there) != len(wellKnown) || slices.Contains(there, "Top of Information Store") {
		t.Errorf("at first: %v", there)
	}
	made := f.write("POST", "/v1.0/me/mailFolders/inbox/childFolders", ada, `{"displayName":"Made"}`).str("id")
	f.draftOf("archive", "counts")
	if there, _, link = f.round(link, ada, "Prefer", "odata.maxpagesize=1"); fmt.Sprint(there) != "[Made Inbox Archive]" {
		t.Errorf("a folder was made: %v", there)
	}
	f.write("PATCH", "/v1.0/me/mailFolders/"+made, ada, `{"displayName":"Renamed"}`)
	if there, _, link = f.round(link, ada); fmt.Sprint(there) != "[Renamed]" {
		t.Errorf("it was renamed: %v", there)
	}
	f.do("DELETE", "/v1.0/me/mailFolders/"+made, ada)
	if there, _, link = f.round(link, ada); !slices.Contains(there, "Renamed") || !slices.Contains(there, "Deleted Items") || !slices.Contains(there, "Inbox") {
		t.Errorf("it is with the deleted items: %v", there)
	}
	f.do("DELETE", "/v1.0/me/mailFolders/"+made, ada)
	if there, gone, _ := f.round(link, ada); fmt.Sprint(gone) != "["+made+"]" || fmt.Sprint(there) != "[Deleted Items]" {
		t.Errorf("it is gone: %v %v", there, gone)
	}
	f.mail.mu.Lock()
	defer f.mail.mu.Unlock()
	if _, kept := f.mail.box(directory.AdaID).touched[made]; kept {
		t.Error("what is gone is kept in mind for ever")
	}
}

func TestADeltaOfMailRefusesWhatItCannotDo(t *testing.T) {
	f := start(t)
	ada := user(mailScopes)
	path := "/v1.0/me/mailFolders/inbox/messages/delta"
	for query, code := range map[string]string{
		"?$search=x": "BadRequest", "?$orderby=subject": "BadRequest", "?$orderby=receivedDateTime": "BadRequest", "?$filter=" + enc("isRead eq true"): "BadRequest",
		"?$filter=" + enc("receivedDateTime le 2026-01-01T00:00:00Z"): "BadRequest", "?changeType=moved": "BadRequest", "?$count=true": "BadRequest", "?$skip=1": "Request_BadRequest",
		"?$deltatoken=rubbish": "syncStateInvalid", "?$deltatoken=latest": "syncStateInvalid", "?$select=nothing": "BadRequest",
	} {
		f.get(path+query, ada).want(t, query, 400, code)
	}
	f.get("/v1.0/me/messages/delta", ada).want(t, "without a folder", 400, "BadRequest")
	f.get("/v1.0/me/mailFolders/delta?$filter="+enc("displayName eq 'x'"), ada).want(t, "folders filtered", 400, "BadRequest")
	f.get("/v1.0/me/mailFolders/nowhere/messages/delta", ada).want(t, "no such folder", 404, "ErrorItemNotFound")
	f.get(path, user("Mail.Send")).want(t, "without permission", 403, "ErrorAccessDenied")
	f.get(path, ada, "Prefer", "odata.maxpagesize=x").want(t, "no size", 400, "BadRequest")

	_, _, link := f.round(f.url+path, ada)
	f.get(link+"&$select=id", ada).want(t, "a token with options", 400, "BadRequest")
	f.get(strings.Replace(link, "$deltatoken", "$skiptoken", 1), ada).want(t, "a token in the place of another", 400, "syncStateInvalid")
	f.get(strings.Replace(link, "inbox", "archive", 1), ada).want(t, "a token of another folder", 400, "syncStateInvalid")
	ben := user(mailScopes, "oid", directory.BenID)
	f.get(link, ben).want(t, "a token of another mailbox", 400, "syncStateInvalid")
	other := start(t) // the emulator was started anew
	a := other.get(strings.Replace(link, f.url, other.url, 1), ada).want(t, "a token of another emulator", 410, "syncStateNotFound")
	if there, _, _ := other.round(a.header.Get("Location"), ada); len(there) != 0 {
		t.Errorf("from the beginning: %v", there)
	}
}

func TestADeltaOfMailForgetsWhatIsTooLongGone(t *testing.T) {
	f := start(t)
	ada := user(mailScopes)
	f.draftOf("archive", "x")
	_, _, link := f.round(f.url+"/v1.0/me/mailFolders/archive/messages/delta", ada)
	f.mail.mu.Lock()
	b := f.mail.box(directory.AdaID)
	for i := range maxGone + 1 {
		b.lose(fmt.Sprint("gone-", i), "archive", 1)
	}
	f.mail.mu.Unlock()
	f.get(link, ada).want(t, "a token of before", 410, "syncStateNotFound")
}

func TestAWriteOfMailIsAnsweredAsPreferred(t *testing.T) {
	f := start(t)
	ada := user(mailScopes)
	made := f.write("POST", "/v1.0/me/messages", ada, `{"subject":"x"}`, "Prefer", "return=minimal").want(t, "made", 204, "")
	at := made.header.Get("Location")
	if made.text != "" || made.header.Get("Preference-Applied") != "return=minimal" || at == "" || made.header.Get("OData-EntityId") != at || made.header.Get("ETag") == "" {
		t.Errorf("made: %v %s", made.header, made.text)
	}
	if a := f.get(at, ada); a.str("subject") != "x" {
		t.Errorf("at %s: %s", at, a.text)
	}
	if a := f.write("PATCH", at, ada, `{"subject":"y"}`, "Prefer", `IdType="ImmutableId", return=minimal`).want(t, "changed", 204, ""); a.header.Get("Preference-Applied") != `IdType="ImmutableId", return=minimal` {
		t.Errorf("changed: %v", a.header)
	}
	if a := f.write("PATCH", at, ada, `{"subject":"z"}`, "Prefer", "return=representation").want(t, "shown", 200, ""); a.str("subject") != "z" || a.header.Get("Preference-Applied") != "return=representation" {
		t.Errorf("shown: %v %s", a.header, a.text)
	}
	f.write("PATCH", at, ada, `{"isDraft":"no"}`, "Prefer", "return=minimal").want(t, "refused", 400, "Request_BadRequest")
	f.get(at, ada, "Prefer", "return=minimal").want(t, "a read", 200, "")
	// The directory has its own mind.
	keeper := app("User.ReadWrite.All", "User.Read.All")
	if a := f.write("PATCH", "/v1.0/users/"+directory.BenID, keeper, `{"jobTitle":"x"}`, "Prefer", "return=representation").want(t, "a user", 204, ""); a.header.Get("Preference-Applied") != "" {
		t.Errorf("a user: %v", a.header)
	}
	if a := f.get("/v1.0/users/delta", keeper, "Prefer", "return=minimal").want(t, "a delta", 200, ""); a.header.Get("Preference-Applied") != "return=minimal" {
		t.Errorf("a delta: %v", a.header)
	}
}

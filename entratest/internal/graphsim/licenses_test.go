package graphsim

import (
	"fmt"
	"strings"
	"testing"

	"github.com/fobauth/fob/entratest/internal/directory"
)

func TestLicensesAreAssignedAndCounted(t *testing.T) {
	f := start(t)
	tok := app("LicenseAssignment.ReadWrite.All", "LicenseAssignment.Read.All", "User.ReadWrite.All", "User.Read.All", "Directory.Read.All")
	plenty, few := directory.SKUs()[0], directory.SKUs()[1]
	assign := func(who, add, remove string) answer {
		t.Helper()
		return f.write("POST", "/v1.0/users/"+who+"@fob.example/assignLicense", tok, `{"addLicenses":[`+add+`],"removeLicenses":[`+remove+`]}`)
	}
	sku := func(s directory.SKU, disabled string) string {
		return `{"skuId":"` + s.ID + `","disabledPlans":[` + disabled + `]}`
	}
	refused := func(what string, a answer, message string) {
		t.Helper()
		if a.want(t, what, 400, "Request_BadRequest"); a.message() != message {
			t.Errorf("%s: %s", what, a.message())
		}
	}
	refused("without a usage location", assign("ada", sku(plenty, ""), ""), "License assignment cannot be done for user with invalid usage location.")
	for _, who := range []string{"ada", "ben", "cleo"} {
		f.write("PATCH", "/v1.0/users/"+who+"@fob.example", tok, `{"usageLocation":"CH"}`).want(t, "usage location", 204, "")
	}
	a := assign("ada", sku(plenty, `"`+plenty.Plans[0].ID+`"`)+","+sku(few, ""), "").want(t, "assign", 200, "")
	if a.str("userPrincipalName") != "ada@fob.example" {
		t.Errorf("assigned: %s", a.text)
	}
	a = f.get("/v1.0/users/ada@fob.example?$select=assignedLicenses,assignedPlans,provisionedPlans", tok)
	if want := `"assignedLicenses":[{"disabledPlans":["` + plenty.Plans[0].ID + `"],"skuId":"` + plenty.ID + `"},{"disabledPlans":[],"skuId":"` + few.ID + `"}]`; !strings.Contains(a.text, want) ||
		strings.Count(a.text, `"capabilityStatus":"Enabled","service"`) != 5 || strings.Count(a.text, `"capabilityStatus":"Deleted","service":"exchange"`) != 1 {
		t.Errorf("licensed: %s", a.text)
	}
	a = f.get("/v1.0/users/ada@fob.example/licenseDetails", tok)
	if fmt.Sprint(a.values("skuPartNumber")) != "[ENTERPRISEPACK EMSPREMIUM]" || strings.Count(a.text, `"provisioningStatus":"Disabled"`) != 1 {
		t.Errorf("details: %s", a.text)
	}
	if a = f.get("/v1.0/users?$select=displayName&$filter="+enc("assignedLicenses/any(x:x/skuId eq "+few.ID+")"), tok); names(a) != "Ada Quill" {
		t.Errorf("by license: %s", a.text)
	}
	assign("ben", sku(few, ""), "").want(t, "the second of two", 200, "")
	refused("the third of two", assign("cleo", sku(few, ""), ""), "Subscription with SKU "+few.ID+" does not have any available licenses.")
	assign("ben", sku(few, `"`+few.Plans[2].ID+`"`), "").want(t, "change what one has", 200, "")
	a = f.get("/v1.0/subscribedSkus", tok)
	if fmt.Sprint(a.values("skuPartNumber")) != "[ENTERPRISEPACK EMSPREMIUM]" || !strings.Contains(a.text, `"consumedUnits":2,"prepaidUnits":{"enabled":2,`) || !strings.Contains(a.text, `"consumedUnits":1,"prepaidUnits":{"enabled":25,`) {
		t.Errorf("subscribed: %s", a.text)
	}
	if a = f.get("/v1.0/subscribedSkus/"+a.values("id")[0]+"?$select=skuPartNumber", tok); a.str("skuPartNumber") != "ENTERPRISEPACK" {
		t.Errorf("one of them: %s", a.text)
	}
	f.get("/v1.0/subscribedSkus/x", tok).want(t, "none of them", 404, "Request_ResourceNotFound")
	f.get("/v1.0/subscribedSkus?$top=1", tok).want(t, "$top", 400, "BadRequest")

	assign("ben", "", `"`+few.ID+`"`).want(t, "remove", 200, "")
	assign("cleo", sku(few, ""), "").want(t, "what was given back", 200, "")
	refused("removing what one has not", assign("ben", "", `"`+few.ID+`"`), "User does not have a corresponding license.")
	refused("an unknown product", assign("ben", `{"skuId":"f0b00000-9999-4000-8000-000000000001"}`, ""), "License f0b00000-9999-4000-8000-000000000001 does not correspond to a valid company License.")
	refused("a plan of another product", assign("ben", sku(few, `"`+plenty.Plans[0].ID+`"`), ""), "Service plan "+plenty.Plans[0].ID+" is not a part of the license "+few.ID+".")
	refused("an unknown property", assign("ben", `{"sku":"x"}`, ""), "Invalid property 'sku'.")
	a = f.write("POST", "/v1.0/users/ben@fob.example/assignLicense", tok, `{"addLicenses":[]}`)
	refused("half of it", a, "A value is required for parameter 'removeLicenses' of the operation 'assignLicense': an empty list if there is none.")
	f.write("POST", "/v1.0/users/ben@fob.example/assignLicense", app("LicenseAssignment.Read.All"), `{}`).want(t, "without permission", 403, "Authorization_RequestDenied")
	f.write("POST", "/v1.0/me/assignLicense", user("User.ReadWrite.All", "oid", directory.BenID), `{"addLicenses":[],"removeLicenses":[]}`).want(t, "without the right", 403, "Authorization_RequestDenied")
	f.get("/v1.0/subscribedSkus", app("User.Read.All")).want(t, "reading without permission", 403, "Authorization_RequestDenied")
}

func TestDevicesBelongToTheirOwners(t *testing.T) {
	f := start(t)
	tok := app("Device.Read.All", "Device.ReadWrite.All", "User.Read.All", "Directory.Read.All", "Group.ReadWrite.All")
	if a := f.get("/v1.0/devices?$select=displayName,operatingSystem,trustType", tok); fmt.Sprint(a.values("displayName"), a.values("trustType")) != "[ADA-LAPTOP Ben's phone] [AzureAd Workplace]" {
		t.Errorf("devices: %s", a.text)
	}
	if a := f.get("/v1.0/devices/$count", tok, "ConsistencyLevel", "eventual"); a.text != "2" {
		t.Errorf("count: %s", a.text)
	}
	if a := f.get("/v1.0/devices?$filter="+enc("startswith(operatingSystem,'And')"), tok); fmt.Sprint(a.values("id")) != "["+directory.BenDeviceID+"]" {
		t.Errorf("filtered: %s", a.text)
	}
	laptop := f.get("/v1.0/devices(deviceId='f0b00000-1007-4000-8000-000000000001')?$expand=registeredOwners($select=displayName)", tok).want(t, "by its other key", 200, "")
	if laptop.str("id") != directory.AdaDeviceID || !strings.Contains(laptop.text, `"registeredOwners":[{"@odata.type":"#microsoft.graph.user","displayName":"Ada Quill"}]`) {
		t.Errorf("laptop: %s", laptop.text)
	}
	at := "/v1.0/devices/" + directory.AdaDeviceID
	for _, relation := range []string{"registeredOwners", "registeredUsers"} {
		if a := f.get(at+"/"+relation, tok); names(a) != "Ada Quill" {
			t.Errorf("%s: %s", relation, a.text)
		}
	}
	for _, relation := range []string{"ownedDevices", "registeredDevices"} {
		if a := f.get("/v1.0/users/ben@fob.example/"+relation, tok); fmt.Sprint(a.values("@odata.type"), a.values("displayName")) != "[#microsoft.graph.device] [Ben's phone]" {
			t.Errorf("%s: %s", relation, a.text)
		}
	}
	if a := f.get("/v1.0/me/ownedDevices/microsoft.graph.device?$count=true", user("User.Read Device.Read.All"), "ConsistencyLevel", "eventual"); fmt.Sprint(a.values("displayName")) != "[ADA-LAPTOP]" {
		t.Errorf("mine: %s", a.text)
	}
	f.write("POST", "/v1.0/groups/"+directory.ReadersGroupID+"/members/$ref", tok, `{"@odata.id":"https://graph.microsoft.com/v1.0/devices/`+directory.AdaDeviceID+`"}`).want(t, "into a group", 204, "")
	if a := f.get(at+"/memberOf", tok); names(a) != "Readers" {
		t.Errorf("member of: %s", a.text)
	}
	if a := f.write("POST", at+"/getMemberGroups", tok, `{"securityEnabledOnly":true}`); !strings.Contains(a.text, directory.ReadersGroupID) {
		t.Errorf("member groups: %s", a.text)
	}
	if a := f.get("/v1.0/groups/"+directory.ReadersGroupID+"/members/microsoft.graph.device?$count=true", tok, "ConsistencyLevel", "eventual"); fmt.Sprint(a.values("id")) != "["+directory.AdaDeviceID+"]" {
		t.Errorf("devices of the group: %s", a.text)
	}
	if a := f.write("POST", "/v1.0/directoryObjects/getByIds", tok, `{"ids":["`+directory.AdaDeviceID+`","`+directory.AdaID+`"],"types":["device"]}`); fmt.Sprint(a.values("displayName")) != "[ADA-LAPTOP]" {
		t.Errorf("by ids: %s", a.text)
	}
	f.write("PATCH", at, tok, `{"accountEnabled":false}`).want(t, "turn off", 204, "")
	if a := f.get(at, tok); a.body["accountEnabled"] != false {
		t.Errorf("turned off: %s", a.text)
	}
	f.write("PATCH", at, tok, `{"trustType":"Workplace"}`).want(t, "what it tells itself", 400, "Request_BadRequest")
	f.write("PATCH", at, user("Device.ReadWrite.All", "oid", directory.BenID), `{"accountEnabled":true}`).want(t, "without the right", 403, "Authorization_RequestDenied")
	f.do("DELETE", at, tok).want(t, "delete", 204, "")
	f.get(at, tok).want(t, "deleted", 404, "Request_ResourceNotFound")
	if a := f.get("/v1.0/groups/"+directory.ReadersGroupID+"/members", tok); names(a) != "Ben Ostrow, Cleo Marsh" {
		t.Errorf("left in the group: %s", a.text)
	}
	f.get("/v1.0/devices", app("User.Read.All")).want(t, "without permission", 403, "Authorization_RequestDenied")
}

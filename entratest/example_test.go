package entratest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/fobauth/fob/entratest"
)

// A program gets an app token and lists users with it, as the real service
// would let it.
func Example() {
	emu, err := entratest.Start(entratest.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer emu.Close()

	res, err := emu.Client().PostForm(emu.URL()+"/"+entratest.TenantID+"/oauth2/v2.0/token", url.Values{
		"grant_type":    {"client_credentials"},
		"client_id":     {entratest.DaemonClientID},
		"client_secret": {entratest.DaemonSecret},
		"scope":         {"https://graph.microsoft.com/.default"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	var token struct {
		AccessToken string `json:"access_token"`
	}
	json.NewDecoder(res.Body).Decode(&token)
	res.Body.Close()

	r, _ := http.NewRequest("GET", emu.GraphURL()+"/v1.0/users?$select=userPrincipalName", nil)
	r.Header.Set("Authorization", "Bearer "+token.AccessToken)
	if res, err = emu.Client().Do(r); err != nil {
		fmt.Println(err)
		return
	}
	defer res.Body.Close()
	var users struct {
		Value []struct{ UserPrincipalName string }
	}
	json.NewDecoder(res.Body).Decode(&users)
	for _, u := range users.Value {
		fmt.Println(u.UserPrincipalName)
	}
	// Output:
	// ada@fob.example
	// ben@fob.example
	// cleo@fob.example
}

// A test makes Graph throttle twice, and looks at the log afterwards.
func ExampleEmulator_Fail() {
	emu, err := entratest.Start(entratest.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer emu.Close()
	emu.Fail(2, entratest.Fault{Status: http.StatusTooManyRequests, RetryAfter: "1", Path: "/v1.0/"})

	for range 3 { // the program under test
		if res, err := emu.Client().Get(emu.GraphURL() + "/v1.0/me"); err == nil {
			res.Body.Close()
		}
	}
	for _, r := range emu.Requests() {
		fmt.Println(r.Method, r.Path, r.Status)
	}
	// Output:
	// GET /v1.0/me 429
	// GET /v1.0/me 429
	// GET /v1.0/me 401
}

// Tokens and codes expire because the clock moves, not because a test waits.
func ExampleEmulator_Advance() {
	emu, err := entratest.Start(entratest.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer emu.Close()
	before := emu.Now()
	emu.Advance(2 * time.Hour)
	fmt.Println(emu.Now().Sub(before).Round(time.Minute))
	// Output: 2h0m0s
}

package graph_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/fobauth/fob"
	"github.com/fobauth/fob/graph"
)

// exampleClient returns a client of a small service on this machine. A real
// one is &graph.Client{Source: client}, with a *fob.Client.
func exampleClient() (client *graph.Client, end func()) {
	service := http.NewServeMux()
	service.HandleFunc("GET /v1.0/users", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("$skiptoken") == "" {
			fmt.Fprintf(w, `{"@odata.nextLink":"http://%s/v1.0/users?$skiptoken=2","value":[{"id":"1","displayName":"Mira"}]}`, r.Host)
			return
		}
		fmt.Fprint(w, `{"value":[{"id":"2","displayName":"Noah"}]}`)
	})
	service.HandleFunc("GET /v1.0/users/9", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"error":{"code":"Request_ResourceNotFound","message":"Resource '9' does not exist."}}`)
	})
	service.HandleFunc("POST /v1.0/$batch", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, `{"responses":[{"id":"2","status":404,"body":{"error":{"code":"itemNotFound","message":"No such item."}}},{"id":"1","status":200,"body":{"id":"1"}}]}`)
	})
	service.HandleFunc("GET /v1.0/users/delta", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"value":[{"id":"3","@removed":{"reason":"deleted"}}],"@odata.deltaLink":"http://%s/v1.0/users/delta?$deltatoken=5"}`, r.Host)
	})
	service.HandleFunc("POST /v1.0/me/drive/root:/report.txt:/createUploadSession", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"uploadUrl":"http://%s/upload/1","expirationDateTime":"2030-01-01T00:00:00Z"}`, r.Host)
	})
	service.HandleFunc("PUT /upload/1", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, `{"name":"report.txt","size":%d}`, r.ContentLength)
	})
	server := httptest.NewServer(service)
	client = &graph.Client{
		Source:    exampleTokens{},
		Base:      server.URL + "/v1.0",
		Audiences: map[string]string{server.URL: "https://graph.microsoft.com/.default"},
		HTTP:      server.Client(),
	}
	return client, server.Close
}

type exampleTokens struct{}

func (exampleTokens) Token(context.Context, fob.Request) (*fob.Token, error) {
	return &fob.Token{Access: fob.NewSecret("token"), Type: "Bearer", Expires: time.Now().Add(time.Hour)}, nil
}

func ExampleClient_Pages() {
	client, end := exampleClient()
	defer end()
	for user, err := range client.Pages(context.Background(), "/users?$select=id,displayName", nil) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(user)
	}
	// Output:
	// {"id":"1","displayName":"Mira"}
	// {"id":"2","displayName":"Noah"}
}

func ExampleClient_Export() {
	client, end := exampleClient()
	defer end()
	progress, err := client.Export(context.Background(), os.Stdout, "/users?$top=999", graph.ExportOptions{})
	fmt.Println(progress.Items, "users", err)
	// Output:
	// {"id":"1","displayName":"Mira"}
	// {"id":"2","displayName":"Noah"}
	// 2 users <nil>
}

func ExampleClient_Do() {
	client, end := exampleClient()
	defer end()
	request, _ := http.NewRequest("GET", "/users/9", nil)
	_, err := client.Do(request)
	var refused *graph.Error
	if errors.As(err, &refused) {
		fmt.Println(refused.Status, refused.Code)
	}
	// Output: 404 Request_ResourceNotFound
}

func ExampleClient_Batch() {
	client, end := exampleClient()
	defer end()
	answers, err := client.Batch(context.Background(), []graph.BatchRequest{
		{URL: "/users/1"},
		{URL: "/me/messages", Method: "POST", Header: map[string]string{"Content-Type": "application/json"}, Body: jsontext.Value(`{"subject":"Hello"}`)},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, answer := range answers {
		fmt.Println(answer.ID, answer.Status, answer.Err == nil)
	}
	// Output:
	// 1 200 true
	// 2 404 false
}

func ExampleClient_Delta() {
	client, end := exampleClient()
	defer end()
	changes := client.Delta("/users/delta", nil)
	for item, err := range changes.Items(context.Background()) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(item, bytes.Contains(item, []byte("@removed")))
	}
	fmt.Println("to go on with:", changes.Link() != "")
	// Output:
	// {"id":"3","@removed":{"reason":"deleted"}} true
	// to go on with: true
}

func ExampleClient_Upload() {
	client, end := exampleClient()
	defer end()
	report := strings.NewReader("All is well.")
	// What is remembered from one run of the program to the next: keep it like a
	// password.
	remembered := ""
	item, err := client.Upload(context.Background(), graph.Upload{
		Session: "/me/drive/root:/report.txt:/createUploadSession",
		Content: report, Size: report.Size(),
		URL: fob.NewSecret(remembered), // goes on where the last run ended
		OnSession: func(s graph.UploadSession) {
			remembered = s.URL.Reveal() // nothing when the upload is over
		},
	})
	fmt.Println(item, err)
	fmt.Printf("%q\n", remembered)
	// Output:
	// {"name":"report.txt","size":12} <nil>
	// ""
}

func ExampleAudience() {
	for _, address := range []string{
		"https://graph.microsoft.com/v1.0/me",
		"https://my-vault.vault.azure.net/secrets",
		"https://graph.microsoft.com.example.org/v1.0/me",
	} {
		scope, service, err := graph.Audience(address)
		fmt.Println(scope, service, errors.Is(err, graph.ErrUnknownHost))
	}
	// Output:
	// https://graph.microsoft.com/.default Microsoft Graph (also GCC) false
	// https://vault.azure.net/.default Key Vault false
	//   true
}

func ExampleExplain403() {
	rights := graph.Rights{Scopes: []string{"User.Read"}}
	fmt.Println(graph.Explain403("GET", "/v1.0/users/delta", rights))
	// Output: this needs one of the delegated permissions User.Read.All, User.ReadWrite.All, Directory.Read.All, AgentIdUser.ReadWrite.All, AgentIdUser.ReadWrite.IdentityParentedBy, Directory.ReadWrite.All; the token has User.Read. Add one to the app registration, consent to it, and get a new token
}

package interop

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	abstractions "github.com/microsoft/kiota-abstractions-go"
	"github.com/microsoft/kiota-abstractions-go/serialization"
	khttp "github.com/microsoft/kiota-http-go"
	jsonserialization "github.com/microsoft/kiota-serialization-json-go"
	msgraph "github.com/microsoftgraph/msgraph-sdk-go-core"
	"github.com/microsoftgraph/msgraph-sdk-go-core/authentication"

	"github.com/fobauth/fob/entratest"
)

// The core of Microsoft's Graph SDK for Go is pointed at another Graph by the
// base URL of its adapter and the hosts that its token provider allows. The
// models of the whole SDK take minutes to compile and add nothing to what goes
// over the wire: a user, a page and an error are written by hand below, as the
// SDK's generator writes them.

// prepareSDK tells the SDK, which has it in variables of its packages, how to
// read and write JSON and what an error looks like.
var prepareSDK = sync.OnceValue(func() error {
	abstractions.RegisterDefaultSerializer(func() serialization.SerializationWriterFactory {
		return jsonserialization.NewJsonSerializationWriterFactory()
	})
	abstractions.RegisterDefaultDeserializer(func() serialization.ParseNodeFactory { return jsonserialization.NewJsonParseNodeFactory() })
	mapping := abstractions.ErrorMappings{"4XX": newSDKError, "5XX": newSDKError}
	return errors.Join(msgraph.RegisterError(msgraph.PageIteratorErrorRegistryKey, mapping), msgraph.RegisterError(msgraph.BatchRequestErrorRegistryKey, mapping))
})

// sdkUser is a user of the SDK with one property.
type sdkUser struct{ name *string }

func newSDKUser(serialization.ParseNode) (serialization.Parsable, error) { return &sdkUser{}, nil }

func (u *sdkUser) Serialize(w serialization.SerializationWriter) error {
	return w.WriteStringValue("displayName", u.name)
}

func (u *sdkUser) GetFieldDeserializers() map[string]func(serialization.ParseNode) error {
	return map[string]func(serialization.ParseNode) error{
		"displayName": func(n serialization.ParseNode) (err error) { u.name, err = n.GetStringValue(); return err },
	}
}

// sdkPage is a page of users.
type sdkPage struct {
	value       []*sdkUser
	next, delta *string
}

func newSDKPage(serialization.ParseNode) (serialization.Parsable, error) { return &sdkPage{}, nil }

func (p *sdkPage) GetValue() []*sdkUser                              { return p.value }
func (p *sdkPage) GetOdataNextLink() *string                         { return p.next }
func (p *sdkPage) GetOdataDeltaLink() *string                        { return p.delta }
func (p *sdkPage) Serialize(serialization.SerializationWriter) error { return nil }

func (p *sdkPage) GetFieldDeserializers() map[string]func(serialization.ParseNode) error {
	return map[string]func(serialization.ParseNode) error{
		"@odata.nextLink":  func(n serialization.ParseNode) (err error) { p.next, err = n.GetStringValue(); return err },
		"@odata.deltaLink": func(n serialization.ParseNode) (err error) { p.delta, err = n.GetStringValue(); return err },
		"value": func(n serialization.ParseNode) error {
			values, err := n.GetCollectionOfObjectValues(newSDKUser)
			for _, v := range values {
				p.value = append(p.value, v.(*sdkUser))
			}
			return err
		},
	}
}

// sdkError is an error of Graph.
type sdkError struct {
	abstractions.ApiError
	code, requestID string
}

func newSDKError(serialization.ParseNode) (serialization.Parsable, error) { return &sdkError{}, nil }

func (e *sdkError) Error() string                                     { return e.code + ": " + e.Message }
func (e *sdkError) Serialize(serialization.SerializationWriter) error { return nil }

func (e *sdkError) GetFieldDeserializers() map[string]func(serialization.ParseNode) error {
	return map[string]func(serialization.ParseNode) error{"error": func(n serialization.ParseNode) error {
		for path, to := range map[string]*string{"code": &e.code, "message": &e.Message, "innerError/request-id": &e.requestID} {
			node := n
			for name := range strings.SplitSeq(path, "/") {
				var err error
				if node, err = node.GetChildNode(name); err != nil || node == nil {
					return fmt.Errorf("an error without %s: %w", path, err)
				}
			}
			text, err := node.GetStringValue()
			if err != nil || text == nil {
				return fmt.Errorf("an error with a strange %s: %w", path, err)
			}
			*to = *text
		}
		return nil
	}}
}

// sdkAdapter is the SDK's adapter with its middleware, signed in as the daemon.
// The scope is the SDK's own choice: it follows from the URL that is called.
func sdkAdapter(t *testing.T, emu *entratest.Emulator) *msgraph.GraphRequestAdapterBase {
	t.Helper()
	if err := prepareSDK(); err != nil {
		t.Fatal(err)
	}
	credential, err := azidentity.NewClientSecretCredential(entratest.TenantID, entratest.DaemonClientID, entratest.DaemonSecret,
		&azidentity.ClientSecretCredentialOptions{ClientOptions: azOptions(emu), DisableInstanceDiscovery: true})
	if err != nil {
		t.Fatal(err)
	}
	base, err := url.Parse(emu.GraphURL())
	if err != nil {
		t.Fatal(err)
	}
	provider, err := authentication.NewAzureIdentityAuthenticationProviderWithScopesAndValidHosts(credential, nil, []string{base.Hostname()})
	if err != nil {
		t.Fatal(err)
	}
	options := msgraph.GraphClientOptions{GraphServiceVersion: "v1.0", GraphServiceLibraryVersion: "1.89.0"}
	client := &http.Client{Transport: khttp.NewCustomTransportWithParentTransport(emu.Client().Transport, msgraph.GetDefaultMiddlewaresWithOptions(&options)...)}
	adapter, err := msgraph.NewGraphRequestAdapterBaseWithParseNodeFactoryAndSerializationWriterFactoryAndHttpClient(provider, options, nil, nil, client)
	if err != nil {
		t.Fatal(err)
	}
	adapter.SetBaseUrl(emu.GraphURL() + "/v1.0")
	return adapter
}

// sdkRequest is a request as the SDK's builders make it.
func sdkRequest(adapter *msgraph.GraphRequestAdapterBase, template string, query map[string]any) *abstractions.RequestInformation {
	r := abstractions.NewRequestInformationWithMethodAndUrlTemplateAndPathParameters(abstractions.GET, template, map[string]string{"baseurl": adapter.GetBaseUrl()})
	if query != nil {
		r.QueryParametersAny = query
	}
	r.Headers.TryAdd("Accept", "application/json")
	return r
}

// crowded makes a directory of more than a page.
func crowded(cfg *entratest.Config) { cfg.GeneratedUsers = 250 }

func TestTheGraphSDKsIteratorSeesEveryUserOnce(t *testing.T) {
	t.Parallel()
	emu := entratest.New(t, crowded)
	adapter := sdkAdapter(t, emu)
	first, err := adapter.Send(t.Context(), sdkRequest(adapter, "{+baseurl}/users{?%24top,%24select}", map[string]any{"%24top": int32(60), "%24select": []string{"displayName", "id"}}),
		newSDKPage, abstractions.ErrorMappings{"4XX": newSDKError})
	if err != nil {
		t.Fatal(err)
	}
	pages, err := msgraph.NewPageIterator[*sdkUser](first, adapter, newSDKPage)
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	if err := pages.Iterate(t.Context(), func(u *sdkUser) bool {
		if u.name == nil {
			t.Error("a user without a name")
		}
		seen++
		return true
	}); err != nil {
		t.Fatal(err)
	}
	if seen != 253 {
		t.Errorf("%d users", seen)
	}
}

func TestTheGraphSDKsIteratorEndsADeltaWithItsLink(t *testing.T) {
	t.Parallel()
	emu := entratest.New(t, crowded)
	adapter := sdkAdapter(t, emu)
	first, err := adapter.Send(t.Context(), sdkRequest(adapter, "{+baseurl}/users/delta(){?%24select}", map[string]any{"%24select": []string{"displayName"}}), newSDKPage, nil)
	if err != nil {
		t.Fatal(err)
	}
	pages, err := msgraph.NewPageIterator[*sdkUser](first, adapter, newSDKPage)
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	if err := pages.Iterate(t.Context(), func(*sdkUser) bool { seen++; return true }); err != nil {
		t.Fatal(err)
	}
	if link := pages.GetOdataDeltaLink(); seen != 253 || link == nil || !strings.Contains(*link, "$deltatoken=") {
		t.Errorf("%d users, link %v", seen, link)
	}
}

func TestTheGraphSDKWaitsAsLongAsTheThrottleSays(t *testing.T) {
	t.Parallel()
	emu := entratest.New(t)
	adapter := sdkAdapter(t, emu)
	if err := emu.Fail(1, entratest.Fault{Path: "/v1.0/users", Status: http.StatusTooManyRequests, RetryAfter: "1"}); err != nil {
		t.Fatal(err)
	}
	if _, err := adapter.Send(t.Context(), sdkRequest(adapter, "{+baseurl}/users", nil), newSDKPage, nil); err != nil {
		t.Error(err)
	}
}

func TestTheGraphSDKReadsTheRefusal(t *testing.T) {
	t.Parallel()
	emu := entratest.New(t)
	adapter := sdkAdapter(t, emu)
	_, err := adapter.Send(t.Context(), sdkRequest(adapter, "{+baseurl}/users/nobody%40fob.example", nil), newSDKUser, abstractions.ErrorMappings{"4XX": newSDKError})
	var refused *sdkError
	if !errors.As(err, &refused) || refused.code != "Request_ResourceNotFound" || refused.Message == "" || refused.requestID == "" || refused.ResponseStatusCode != 404 {
		t.Errorf("%v, %+v", err, refused)
	}
}

func TestTheGraphSDKsBatchesAreAnswered(t *testing.T) {
	t.Parallel()
	emu := entratest.New(t, crowded)
	adapter := sdkAdapter(t, emu)
	batch := msgraph.NewBatchRequestCollection(adapter)
	var ids []string
	const many = 45 // in three batches of at most 19
	for i := range many {
		template := "{+baseurl}/users/ada%40fob.example{?%24select}"
		if i == many-1 {
			template = "{+baseurl}/users/nobody%40fob.example{?%24select}"
		}
		item, err := batch.AddBatchRequestStep(*sdkRequest(adapter, template, map[string]any{"%24select": []string{"displayName"}}))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, *item.GetId())
	}
	answers, err := batch.Send(t.Context(), adapter)
	if err != nil {
		t.Fatal(err)
	}
	for i, id := range ids {
		user, err := msgraph.GetBatchResponseById[*sdkUser](answers, id, newSDKUser)
		var refused *sdkError
		switch {
		case i == many-1 && (!errors.As(err, &refused) || refused.code != "Request_ResourceNotFound"):
			t.Errorf("item %d: %v", i, err)
		case i < many-1 && (err != nil || user.name == nil || *user.name != "Ada Quill"):
			t.Errorf("item %d: %+v, %v", i, user, err)
		}
	}
}

package graph

import (
	stdjson "encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/fobauth/fob"
)

type sentItem struct {
	ID, Method, URL string
	Headers         map[string]string
	Body            stdjson.RawMessage
	DependsOn       []string
}

// batches answers $batch item by item, backwards, and keeps what was sent.
type batches struct {
	mu   sync.Mutex // guards sent
	sent [][]sentItem
	item func(sentItem) string // one response, without its id; "" for none
}

func (b *batches) serve(t testing.TB) *world {
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		var body struct{ Requests []sentItem }
		if err := stdjson.NewDecoder(r.Body).Decode(&body); err != nil || r.Method != "POST" || !strings.HasSuffix(r.URL.Path, "/$batch") {
			t.Errorf("%s %s: %v", r.Method, r.URL, err)
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		b.sent = append(b.sent, body.Requests)
		var parts []string
		for _, item := range slices.Backward(body.Requests) {
			if text := b.item(item); text != "" {
				parts = append(parts, `{"id":`+asJSON(item.ID)+","+text+"}")
			}
		}
		says(200, `{"responses":[`+strings.Join(parts, ",")+`]}`)(w, r)
	})
}

func (b *batches) ids() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []string
	for _, batch := range b.sent {
		var ids []string
		for _, item := range batch {
			ids = append(ids, item.ID)
		}
		all = append(all, strings.Join(ids, " "))
	}
	return all
}

func TestABatchIsSplitByTwentyAndAnsweredInOrder(t *testing.T) {
	b := &batches{item: func(i sentItem) string { return `"status":200,"body":{"url":` + asJSON(i.URL) + `}` }}
	w := b.serve(t)
	var requests []BatchRequest
	for i := range 45 {
		requests = append(requests, BatchRequest{URL: fmt.Sprintf("/users/%d?$select=id", i)})
	}
	got, err := w.Batch(t.Context(), requests)
	if err != nil || len(got) != 45 {
		t.Fatalf("%d answers, %v", len(got), err)
	}
	for i, r := range got {
		if want := fmt.Sprintf(`{"url":"/users/%d?$select=id"}`, i); string(r.Body) != want || r.Err != nil || r.Status != 200 || r.ID != fmt.Sprint(i+1) {
			t.Errorf("answer %d: %+v", i, r)
		}
	}
	if len(b.sent) != 3 || len(b.sent[0]) != 20 || len(b.sent[2]) != 5 {
		t.Errorf("sent as %q", b.ids())
	}
}

func TestABatchInParallelIsAnsweredInOrder(t *testing.T) {
	b := &batches{item: func(i sentItem) string { return `"status":200,"body":{"url":` + asJSON(i.URL) + `}` }}
	w := b.serve(t)
	w.Parallel = 8
	var requests []BatchRequest
	for i := range 200 {
		requests = append(requests, BatchRequest{URL: fmt.Sprintf("/users/%d", i)})
	}
	got, err := w.Batch(t.Context(), requests)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range got {
		if string(r.Body) != fmt.Sprintf(`{"url":"/users/%d"}`, i) {
			t.Errorf("answer %d: %s", i, r.Body)
		}
	}
}

func TestWhatDependsOnEachOtherTravelsTogetherAndInOrder(t *testing.T) {
	b := &batches{item: func(sentItem) string { return `"status":200` }}
	w := b.serve(t)
	got, err := w.Batch(t.Context(), []BatchRequest{
		{ID: "c", URL: "/c", DependsOn: []string{"B"}},
		{ID: "x", URL: "/x"},
		{ID: "a", URL: "/a"},
		{ID: "b", URL: "/b", DependsOn: []string{"a"}},
		{ID: "y", URL: "/y"},
	})
	if err != nil || got[0].ID != "c" || got[4].ID != "y" {
		t.Fatalf("%+v, %v", got, err)
	}
	if ids := b.ids(); !slices.Equal(ids, []string{"x y", "a b c"}) && !slices.Equal(ids, []string{"a b c", "x y"}) {
		t.Errorf("sent as %q", ids)
	}
	for _, batch := range b.sent {
		if len(batch) == 3 && (len(batch[0].DependsOn) != 0 || batch[1].DependsOn[0] != "a" || batch[2].DependsOn[0] != "B") {
			t.Errorf("sent %+v", batch)
		}
	}
}

func TestAChainThatIsLongerThanABatchGoesOnInTheNext(t *testing.T) {
	b := &batches{item: func(i sentItem) string {
		if i.ID == "5" {
			return `"status":404,"body":{"error":{"code":"x","message":"m"}}`
		}
		return `"status":200`
	}}
	w := b.serve(t)
	requests := []BatchRequest{{ID: "0", URL: "/0"}}
	for i := 1; i < 30; i++ {
		requests = append(requests, BatchRequest{ID: fmt.Sprint(i), URL: "/x", DependsOn: []string{fmt.Sprint(i - 1)}})
	}
	got, err := w.Batch(t.Context(), requests[:5])
	if err != nil || len(b.sent) != 1 {
		t.Fatalf("%v, %q", err, b.ids())
	}
	b.sent = nil
	// The chain without the failing link in the first batch.
	requests[5].ID, requests[6].DependsOn = "5b", []string{"5b"}
	got, err = w.Batch(t.Context(), requests)
	if err != nil || len(b.sent) != 2 || len(b.sent[1]) != 10 || b.sent[1][0].DependsOn != nil || got[29].Err != nil {
		t.Errorf("%v, %q, %+v", err, b.ids(), got[29])
	}
}

func TestWhatDependsOnAFailureIsNotSent(t *testing.T) {
	b := &batches{item: func(i sentItem) string {
		if i.ID == "19" {
			return `"status":404`
		}
		return `"status":200`
	}}
	w := b.serve(t)
	requests := []BatchRequest{{ID: "0", URL: "/0"}}
	for i := 1; i < 25; i++ {
		requests = append(requests, BatchRequest{ID: fmt.Sprint(i), URL: "/x", DependsOn: []string{fmt.Sprint(i - 1)}})
	}
	got, err := w.Batch(t.Context(), requests)
	if err != nil || len(b.sent) != 1 {
		t.Fatalf("%v, %q", err, b.ids())
	}
	if got[20].Status != 424 || got[24].Status != 424 {
		t.Errorf("%+v", got[20:])
	}
	wantError(t, got[20].Err, `request "19"`)
}

func TestThrottledItemsAreSentAgainAfterTheLongestWait(t *testing.T) {
	tries := map[string]int{}
	b := &batches{item: func(i sentItem) string {
		tries[i.ID]++
		switch {
		case i.ID == "2" && tries["2"] == 1:
			return `"status":429,"headers":{"Retry-After":"0.249"},"body":{"error":{"code":"TooManyRequests","message":"m"}}`
		case i.ID == "3" && tries["3"] == 1:
			return `"status":503,"headers":{"retry-after":7}`
		}
		return `"status":200`
	}}
	w := b.serve(t)
	got, err := w.Batch(t.Context(), []BatchRequest{{URL: "/1"}, {URL: "/2"}, {URL: "/3", Method: "POST", Body: jsontext.Value(`{}`)}, {URL: "/4"}})
	if err != nil || got[1].Status != 200 || got[2].Status != 200 {
		t.Fatalf("%+v, %v", got, err)
	}
	if ids := b.ids(); !slices.Equal(ids, []string{"1 2 3 4", "2 3"}) {
		t.Errorf("sent as %q", ids)
	}
	if waits := w.clock.waited(); len(waits) != 1 || waits[0] != 7*time.Second {
		t.Errorf("waited %v", waits)
	}
}

func TestItemsThatAreNotSafeToRepeatAreNot(t *testing.T) {
	b := &batches{item: func(i sentItem) string { return `"status":504` }}
	w := b.serve(t)
	got, err := w.Batch(t.Context(), []BatchRequest{{URL: "/1", Method: "POST"}, {URL: "/2", Method: "GET"}})
	if err != nil || got[0].Status != 504 || got[1].Status != 504 {
		t.Fatalf("%+v, %v", got, err)
	}
	if ids := b.ids(); len(ids) != maxFailures || ids[1] != "2" {
		t.Errorf("sent as %q", ids)
	}
}

func TestDependentsOfAThrottledItemAreSentAgainWithIt(t *testing.T) {
	n := 0
	b := &batches{item: func(i sentItem) string {
		switch {
		case n < 2 && i.ID == "a":
			n++
			return `"status":429,"headers":{"Retry-After":"1"}`
		case n < 2:
			n++
			return `"status":424`
		}
		return `"status":201`
	}}
	w := b.serve(t)
	got, err := w.Batch(t.Context(), []BatchRequest{{ID: "a", Method: "POST", URL: "/a"}, {ID: "b", Method: "POST", URL: "/b", DependsOn: []string{"a"}}})
	if err != nil || got[0].Status != 201 || got[1].Status != 201 {
		t.Errorf("%+v, %v", got, err)
	}
	if ids := b.ids(); !slices.Equal(ids, []string{"a b", "a b"}) {
		t.Errorf("sent as %q", ids)
	}
}

func TestAnswersThatAreMissingAreToldApart(t *testing.T) {
	b := &batches{item: func(i sentItem) string {
		if i.URL == "/gone" {
			return ""
		}
		return `"status":200`
	}}
	w := b.serve(t)
	got, err := w.Batch(t.Context(), []BatchRequest{{URL: "/here"}, {URL: "/gone", Method: "POST"}, {ID: "x", URL: "/gone"}})
	if err != nil || got[0].Err != nil || got[1].Status != 0 || got[2].Status != 0 || got[2].ID != "x" {
		t.Fatalf("%+v, %v", got, err)
	}
	wantError(t, got[1].Err, "no part for this request")
	if ids := b.ids(); len(ids) != maxFailures || ids[1] != "x" {
		t.Errorf("sent as %q", ids)
	}
}

func TestABatchWhoseAnswerGotLostSaysWhatMayHaveBeenDone(t *testing.T) {
	throttled := `{"responses":[{"id":"1","status":200},{"id":"2","status":429,"headers":{"Retry-After":"1"}},{"id":"3","status":429},{"id":"4","status":201}]}`
	for name, answers := range map[string]struct {
		lost        http.HandlerFunc
		unavailable bool
	}{
		"cut":     {says(200, `{"responses":[{"id":"1","status":200},{"id":"2","sta`), true},
		"broken":  {says(200, `{"responses":[{]}`), false},
		"empty":   {says(200, ``), false},
		"nothing": {says(200, `{}`), false},
		"reset":   {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, true},
	} {
		sent := 0
		w := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if sent++; sent == 1 {
				says(200, throttled)(w, r)
				return
			}
			answers.lost(w, r)
		})
		got, err := w.Batch(t.Context(), []BatchRequest{{URL: "/a"}, {Method: "POST", URL: "/b"}, {Method: "DELETE", URL: "/c"}, {Method: "PATCH", URL: "/d"}})
		if !errors.Is(err, ErrUncertain) || errors.Is(err, fob.ErrUnavailable) != answers.unavailable {
			t.Errorf("%s: %v", name, err)
		}
		if got[0].Status != 200 || got[3].Status != 201 || got[3].Err != nil {
			t.Errorf("%s: what was answered before is %+v and %+v", name, got[0], got[3])
		}
		if got[1].Status != 0 || !errors.Is(got[1].Err, ErrUncertain) {
			t.Errorf("%s: the POST that was sent again is %+v", name, got[1])
		}
		if got[2].Status != 0 || got[2].Err == nil || errors.Is(got[2].Err, ErrUncertain) {
			t.Errorf("%s: the DELETE, which does no harm twice, is %+v", name, got[2])
		}
	}
}

func TestWhatIsBehindALostBatchIsNotSent(t *testing.T) {
	w := serve(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	got, err := w.Batch(t.Context(), slices.Repeat([]BatchRequest{{Method: "POST", URL: "/y"}}, 25))
	if !errors.Is(err, ErrUncertain) {
		t.Error(err)
	}
	for i, r := range got {
		if r.Err == nil || errors.Is(r.Err, ErrUncertain) == strings.HasPrefix(r.Err.Error(), "not sent") || errors.Is(r.Err, ErrUncertain) != (i < 20) {
			t.Errorf("%d: %v", i, r.Err)
		}
	}
}

func TestAStrangeBatchAnswerHarmsNobody(t *testing.T) {
	w := serve(t, says(200, `{"responses":[{"id":"9","status":200},{"id":"1","status":200,"headers":{"n":1,"b":true},"body":"dGV4dA"},{"id":"1","status":500},{"id":"2","status":302,"headers":{"Location":"https://x.example"},"body":null}]}`))
	got, err := w.Batch(t.Context(), []BatchRequest{{URL: "/1"}, {URL: "/2"}})
	if err != nil || got[0].Status != 200 || string(got[0].Body) != `"dGV4dA"` || got[0].Header["n"] != "1" || got[1].Status != 302 || got[1].Err != nil {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestABatchThatIsRefusedAsAWholeIsAnError(t *testing.T) {
	w := serve(t, says(400, `{"error":{"code":"BadRequest","message":"Number of batch request steps exceeds the maximum value of 20.","innerError":{"code":"MaximumValueExceeded"}}}`))
	got, err := w.Batch(t.Context(), []BatchRequest{{URL: "/1"}})
	wantError(t, err, "MaximumValueExceeded")
	if len(got) != 1 || got[0].Err == nil {
		t.Errorf("%+v", got)
	}
}

func TestAnOlderServiceMayAnswer424ToTheWholeBatch(t *testing.T) {
	w := serve(t, answers(
		says(424, `{"responses":[{"id":"1","status":429,"headers":{"Retry-After":"2"}},{"id":"2","status":200}]}`),
		says(200, `{"responses":[{"id":"1","status":200}]}`)))
	got, err := w.Batch(t.Context(), []BatchRequest{{URL: "/1"}, {URL: "/2"}})
	if err != nil || got[0].Status != 200 || got[1].Status != 200 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestABatchOfReadsIsSentAgainWhenTheConnectionBreaks(t *testing.T) {
	for method, want := range map[string]bool{"GET": true, "POST": false} {
		w := serve(t, answers(breaks, says(200, `{"responses":[{"id":"1","status":200}]}`)))
		_, err := w.Batch(t.Context(), []BatchRequest{{URL: "/1", Method: method}})
		if (err == nil) != want {
			t.Errorf("%s: %v", method, err)
		}
		if err != nil && !errors.Is(err, fob.ErrUnavailable) {
			t.Errorf("%s: not marked as unavailable", method)
		}
	}
}

func TestVersionsGoToTheirOwnBatch(t *testing.T) {
	var paths []string
	w := serve(t, func(w http.ResponseWriter, r *http.Request) {
		paths = append(paths, r.URL.Path)
		says(200, `{"responses":[{"id":"1","status":200},{"id":"2","status":200}]}`)(w, r)
	})
	_, err := w.Batch(t.Context(), []BatchRequest{{URL: "/beta/me"}, {URL: w.server.URL + "/v1.0/me"}})
	if err != nil || !slices.Equal(paths, []string{"/beta/$batch", "/v1.0/$batch"}) {
		t.Errorf("%q, %v", paths, err)
	}
}

func TestABatchThatCannotWorkIsNotSent(t *testing.T) {
	w := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("it was sent") })
	for want, requests := range map[string][]BatchRequest{
		"have the id":     {{ID: "a", URL: "/1"}, {ID: "A", URL: "/2"}},
		"not in it":       {{ID: "a", URL: "/1", DependsOn: []string{"b"}}},
		"in a circle":     {{ID: "a", URL: "/1", DependsOn: []string{"b"}}, {ID: "b", URL: "/2", DependsOn: []string{"a"}}},
		"another version": {{ID: "a", URL: "/1", DependsOn: []string{"b"}}, {ID: "b", URL: "/beta/2"}},
		"another service": {{URL: "https://graph.microsoft.com/v1.0/me"}},
		"batch inside":    {{URL: "/$batch"}},
		"not below":       {{URL: w.server.URL + "/other/me"}},
		"is no address":   {{URL: ""}},
	} {
		_, err := w.Batch(t.Context(), requests)
		wantError(t, err, want)
	}
}

func TestAnEmptyBatchIsNotSent(t *testing.T) {
	w := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("it was sent") })
	if got, err := w.Batch(t.Context(), nil); err != nil || len(got) != 0 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestALongChainIsPlannedInTime(t *testing.T) {
	c := &Client{}
	var requests []BatchRequest
	for i := range 50_000 { // the last is the first that can be sent
		requests = append(requests, BatchRequest{ID: strconv.Itoa(i), URL: "/me", DependsOn: []string{strconv.Itoa(i + 1)}})
	}
	requests[len(requests)-1].DependsOn = nil
	began := time.Now()
	if err := c.CheckBatch(requests); err != nil || time.Since(began) > 20*time.Second {
		t.Errorf("%v after %s", err, time.Since(began))
	}
	requests[len(requests)-1].DependsOn = []string{"0"}
	wantError(t, c.CheckBatch(requests), "circle")
}

package cli

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/fobauth/fob"
	"github.com/fobauth/fob/graph"
	"github.com/fobauth/fob/store/filestore"
)

// largeContent is where a drive wants an upload session. Some take more in one
// request, all take this.
const largeContent = 4 << 20

// isForDrive reports whether what is sent is the content of a drive's file.
func (c *call) isForDrive() bool {
	path := strings.ToLower(c.target.Path)
	return c.method == http.MethodPut && strings.HasSuffix(path, "/content") && (strings.Contains(path, "/drive/") || strings.Contains(path, "/drives/")) &&
		sameOrigin(c.target.String(), c.inv.settings.graph.text)
}

// isLargeUpload reports whether the content is a file for a drive that is too
// large for one request.
func (c *call) isLargeUpload(content *content) bool {
	return content != nil && content.file != nil && content.size > largeContent && c.isForDrive()
}

// spool copies what comes on stdin to a file without a name: a drive wants to
// know beforehand how much there is. On Windows it has its name until it is
// closed.
func spool(stdin io.Reader) (file *os.File, size int64, err error) {
	if file, err = os.CreateTemp("", "fob-upload-*"); err != nil {
		return nil, 0, err
	}
	os.Remove(file.Name())
	if size, err = io.Copy(file, stdin); err != nil {
		unspool(file)
	}
	return file, size, err
}

func unspool(file *os.File) {
	file.Close()
	os.Remove(file.Name())
}

// upload sends a file in pieces and returns what became of it. An earlier run
// that was interrupted is gone on with. told is to be called when the answer
// is printed: until then another run would print it, and send nothing.
func (c *call) upload(ctx context.Context, content *content) (item jsontext.Value, told func(), err error) {
	ctx, cancel, err := c.withGivenTimeout(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer cancel()
	kept, err := c.keptUpload(ctx, content)
	if err != nil {
		return nil, nil, err
	}
	told = func() {
		kept.forget()
		kept.unlock()
	}
	if item = kept.record.Item; item == nil {
		item, err = c.sendPieces(ctx, content, kept)
	}
	switch {
	case err == nil:
		kept.done(item)
		return item, told, nil
	case kept.record.URL == "":
		told()
	default:
		kept.unlock()
	}
	return nil, nil, err
}

func (c *call) sendPieces(ctx context.Context, content *content, kept *keptUpload) (jsontext.Value, error) {
	session := *c.target
	session.Path = session.Path[:len(session.Path)-len("content")] + "createUploadSession"
	session.RawPath, session.RawQuery = "", ""
	behavior := "replace" // what PUT does with a file that is there already
	for pair := range strings.SplitSeq(c.target.RawQuery, "&") {
		if name, value, _ := strings.Cut(pair, "="); strings.EqualFold(unescaped(name), conflictBehavior) {
			behavior = unescaped(value)
		} else if pair != "" {
			session.RawQuery += "&" + pair
		}
	}
	session.RawQuery = strings.TrimPrefix(session.RawQuery, "&")
	properties, err := json.Marshal(map[string]any{"item": map[string]any{conflictBehavior: behavior}})
	if err != nil {
		return nil, err
	}
	meter := c.inv.meter("sent")
	c.client.OnWait = func(w graph.Wait) {
		meter.clear()
		c.inv.onWait(w)
	}
	var there int64
	item, err := c.client.Upload(ctx, graph.Upload{
		Session: session.String(), Properties: properties, Header: c.header, Content: content.file, Size: content.size,
		URL: fob.NewSecret(kept.record.URL), OnSession: kept.remember,
		Progress: func(done, size int64) {
			there = done
			meter.bytes(done, size)
		},
	})
	meter.clear()
	if err != nil && kept.record.URL != "" {
		c.inv.note("%d of %d bytes of %s are there; the same command goes on from there", there, content.size, content.name)
	}
	return item, c.refused(err)
}

const conflictBehavior = "@microsoft.graph.conflictBehavior"

// uploadRecord is an upload that is not complete, as the store keeps it, sealed:
// whoever has the URL can write the file.
type uploadRecord struct {
	URL       string      `json:"url"`
	File      string      `json:"file"`
	Size      int64       `json:"size"`
	Modified  time.Time   `json:"modified"` // the file
	Target    string      `json:"target"`
	Account   fob.Account `json:"account"` // zero: the app itself
	Tenant    string      `json:"tenant"`
	ClientID  string      `json:"client_id"`
	Authority string      `json:"authority"`
	Stored    time.Time   `json:"stored"`
	Expires   time.Time   `json:"expires"`
	// Item is what became of the file, if nobody may have been told so yet.
	Item jsontext.Value `json:"item,omitzero"`
}

const uploadPrefix = "upload-" // of keys in the store

// keptUpload is the upload of one file to one place, as it is remembered from
// run to run.
type keptUpload struct {
	c      *call
	store  *filestore.Store // nil: it is not remembered
	key    string
	record uploadRecord // no URL: there is nothing to go on with
	unlock func()
	warned bool
}

// keptUpload looks whether an earlier run began to send the content, and makes
// sure that no other run does so now. What comes from stdin is another file
// every time, and without a store nothing is remembered.
func (c *call) keptUpload(ctx context.Context, content *content) (*keptUpload, error) {
	k := &keptUpload{c: c, unlock: func() {}}
	store, ok := c.app.Store.(*filestore.Store)
	if !ok || content.info == nil {
		return k, nil
	}
	path, err := filepath.Abs(content.name)
	if err != nil {
		return nil, err
	}
	k.record = uploadRecord{
		File: path, Size: content.size, Modified: content.info.ModTime().UTC(), Target: c.target.String(), Account: fob.Account{ID: c.source.req.Account},
		Tenant: c.app.Authority.Tenant, ClientID: c.app.ID, Authority: c.app.Authority.Host,
	}
	identity, err := json.Marshal([]string{c.app.Authority.Host, strings.ToLower(c.app.Authority.Tenant), strings.ToLower(c.app.ID), c.source.req.Account,
		k.record.Target, path, c.header.Get("If-Match"), c.header.Get("If-None-Match")})
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256(identity)
	k.key = uploadPrefix + hex.EncodeToString(digest[:])
	soon, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	unlock, err := store.Lock(soon, k.key)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, context.DeadlineExceeded):
		return nil, &problem{text: "another fob is sending " + quoted(content.name) + " to the same place", fix: "wait until it has done so"}
	case err != nil:
		c.inv.warn(fmt.Errorf("going on without keeping the upload: %w", err))
		return k, nil
	}
	k.store, k.unlock = store, unlock
	if err := c.inv.forgetUploads(ctx, store, func(r uploadRecord) bool { return time.Now().After(r.Expires) }); err != nil {
		c.inv.warn(err)
	}
	last, err := readUpload(ctx, store, k.key)
	c.inv.hide(last.URL)
	switch {
	case errors.Is(err, fob.ErrNotStored):
	case err != nil:
		c.inv.warn(err)
	case last.Size == k.record.Size && last.Modified.Equal(k.record.Modified):
		c.inv.tell("going on with the upload of %s that was interrupted", content.name)
		k.record.URL, k.record.Expires, k.record.Item = last.URL, last.Expires, last.Item
	default:
		c.inv.tell("%s has changed since its upload was interrupted; it begins anew", content.name)
		brief, stop := context.WithTimeout(ctx, 10*time.Second)
		defer stop()
		if err := c.client.CancelUpload(brief, fob.NewSecret(last.URL)); err != nil {
			c.inv.tell("%v", err) // it expires
		}
		if err := store.Delete(ctx, k.key); err != nil {
			c.inv.warn(err)
		}
	}
	return k, nil
}

// remember keeps what the next run goes on with. An upload that cannot be kept
// goes on all the same. What was kept of one that is over stays until it is
// clear what became of it.
func (k *keptUpload) remember(s graph.UploadSession) {
	k.c.inv.hide(s.URL.Reveal())
	if k.store == nil {
		return
	}
	if k.record.URL = s.URL.Reveal(); k.record.URL == "" {
		return
	}
	k.record.Expires = s.Expires.UTC()
	if s.Expires.IsZero() {
		k.record.Expires = time.Now().UTC().Add(24 * time.Hour) // it did not say
	}
	k.put()
}

// untold is how long the next run believes that it only has to say what became
// of an upload.
const untold = 10 * time.Minute

// done keeps what became of the upload, for whoever is killed before it is said.
func (k *keptUpload) done(item jsontext.Value) {
	k.record.URL, k.record.Item, k.record.Expires = "", item, time.Now().UTC().Add(untold)
	k.put()
}

func (k *keptUpload) put() {
	if k.store == nil {
		return
	}
	k.record.Stored = time.Now().UTC()
	if token := k.c.source.last(); token != nil {
		k.record.Account = token.Account
	}
	text, err := json.Marshal(k.record, jsontext.AllowDuplicateNames(true))
	if err == nil {
		err = k.store.Put(context.Background(), k.key, text) // also for who was interrupted
	}
	k.warn(err)
}

// forget removes what is kept of an upload that is over.
func (k *keptUpload) forget() {
	if k.store != nil {
		k.warn(k.store.Delete(context.Background(), k.key))
	}
}

func (k *keptUpload) warn(err error) {
	if err != nil && !k.warned {
		k.warned = true
		k.c.inv.warn(fmt.Errorf("another run could not go on with this upload: %w", err))
	}
}

func readUpload(ctx context.Context, store *filestore.Store, key string) (r uploadRecord, err error) {
	text, err := store.Get(ctx, key)
	if err != nil {
		return r, err
	}
	return parseUpload(text)
}

func parseUpload(text []byte) (r uploadRecord, err error) {
	if err = json.Unmarshal(text, &r, jsontext.AllowDuplicateNames(true)); err != nil {
		err = fmt.Errorf("the record of an upload is not of this version of fob: %w", err)
	}
	return r, err
}

// forgetUploads removes the records of the uploads that are meant.
func (inv *invocation) forgetUploads(ctx context.Context, store *filestore.Store, meant func(uploadRecord) bool) error {
	for key, err := range store.List(ctx) {
		if err != nil {
			return err
		}
		if !strings.HasPrefix(key, uploadPrefix) {
			continue
		}
		if r, err := readUpload(ctx, store, key); err == nil && meant(r) {
			if err := store.Delete(ctx, key); err != nil {
				return err
			}
		}
	}
	return nil
}

// answerOf makes an answer of what an upload brought, for all that is done with
// answers.
func answerOf(item jsontext.Value) *http.Response {
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(item))}
}

package graph

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/fobauth/fob"
)

// Upload is a file that goes up in pieces, so that a broken connection costs
// one of them.
type Upload struct {
	// Session is the address of the createUploadSession action, such as
	// "/me/drive/root:/report.pdf:/createUploadSession".
	Session string
	// Properties is the JSON body of that action, if it needs one: the item
	// and what to do if there is one of its name.
	Properties jsontext.Value
	// Header goes along with the request for that action: If-Match, for one.
	Header http.Header
	// Content and Size are the file. One that has a Stat method, as an
	// [*os.File] does, must stay as it is: see [ErrChanged].
	Content io.ReaderAt
	Size    int64
	// Piece is the size of the pieces. It is rounded to a multiple of 320 KiB
	// below 60 MiB, as the services want. Zero means 10 MiB. While pieces do
	// not get through they are smaller.
	Piece int64
	// URL goes on with an upload that OnSession has told of, in this process or
	// in one that was killed: the service is asked what it has, and is sent the
	// rest. Session may be set beside it for the case that the service has
	// forgotten the upload; then it begins anew.
	URL fob.Secret
	// OnSession, if set, is told what is to be remembered to go on with the
	// upload after the end of the process: when the upload begins, when the
	// service prolongs it by minutes or more, and with the zero value when there
	// is nothing left to go on with.
	OnSession func(UploadSession)
	// Progress, if set, is told how much the service has, also before the first
	// piece.
	Progress func(done, size int64)
}

// UploadSession is what [Upload.OnSession] is told.
type UploadSession struct {
	// URL is the address that the file is sent to. Whoever has it can write the
	// file: keep it like a password.
	URL fob.Secret
	// Expires is when the service forgets the upload unless more of it comes;
	// zero if it did not say.
	Expires time.Time
}

const (
	pieceUnit    = 320 << 10
	defaultPiece = 32 * pieceUnit
	maxPiece     = 60<<20/pieceUnit*pieceUnit - pieceUnit
	maxSessions  = 3 // in one call

	prolonged  = 5 * time.Minute  // is worth to be remembered
	cancelTime = 10 * time.Second // for a courtesy
)

// Upload sends a file and returns the item that the service made of it. After
// a break it asks the service what has arrived, and goes on behind that. A
// session that the service has forgotten is begun again, unless the file of a
// drive is in its place already: then the answer to the last piece was lost,
// and the item is the result. The upload URL is a permission in itself and gets
// no token.
func (c *Client) Upload(ctx context.Context, u Upload) (jsontext.Value, error) {
	switch {
	case u.Content == nil || u.Size < 0:
		return nil, errors.New("an upload needs Content and Size")
	case u.Size == 0:
		return nil, errors.New("an empty file cannot be sent in pieces; PUT it to the item's /content instead")
	case u.Session == "" && u.URL.IsZero():
		return nil, errors.New("an upload needs the address of a createUploadSession action")
	}
	up := uploading{Upload: u, c: c}
	up.Piece = u.Piece / pieceUnit * pieceUnit
	switch {
	case u.Piece == 0:
		up.Piece = defaultPiece
	case up.Piece < pieceUnit:
		up.Piece = pieceUnit
	case up.Piece > maxPiece:
		up.Piece = maxPiece
	}
	if err := up.look(); err != nil {
		return nil, err
	}
	for begun := 0; ; {
		var item jsontext.Value
		var next gap
		var err error
		resumed := begun == 0 && !u.URL.IsZero()
		if resumed {
			if up.how, err = c.uploadCall(u.Session, u.URL.Reveal()); err != nil {
				return nil, err
			}
			up.told.URL = u.URL
			next, err = up.received(ctx)
		} else {
			if begun == maxSessions {
				return nil, fmt.Errorf("the service forgot the upload %d times: %w", maxSessions, ErrExpired)
			}
			if next, err = up.begin(ctx); err != nil {
				return nil, fmt.Errorf("beginning the upload: %w", err)
			}
		}
		begun++
		useless := resumed && isRefused(err)
		if err == nil {
			item, err = up.send(ctx, next)
		}
		switch {
		case err == nil:
			up.end(false)
			return item, nil
		case isFinal(err) && !useless:
			up.end(!errors.Is(err, errSilent)) // it may wait to be committed
			return nil, err
		case !useless && !isGone(err):
			return nil, err
		}
		up.end(false)
		if item = up.inPlace(ctx); item != nil {
			return item, nil
		}
		if u.Session == "" {
			return nil, err
		}
	}
}

// CancelUpload gives up an upload that [Upload.OnSession] has told of: the
// service removes what it has of it. That it has forgotten it already is no
// error.
func (c *Client) CancelUpload(ctx context.Context, address fob.Secret) error {
	how, err := c.uploadCall("", address.Reveal())
	if err != nil {
		return err
	}
	how.once = false
	if _, err := c.fetch(ctx, http.MethodDelete, how, nil, nil); err != nil && !isGone(err) {
		return fmt.Errorf("giving up an upload: %w", err)
	}
	return nil
}

// isGone reports whether an upload session is no more.
func isGone(err error) bool {
	var refused *Error
	return errors.As(err, &refused) && (refused.Status == http.StatusNotFound || refused.Status == http.StatusGone)
}

// isRefused reports whether a service would say the same tomorrow. To an
// address that is too old they say so in many ways.
func isRefused(err error) bool {
	var refused *Error
	return errors.As(err, &refused) && refused.Status/100 == 4 && !refused.Is(fob.ErrUnavailable)
}

// isFinal reports whether a session that is still there is of no more use. It
// is after most errors: whoever has no network, no permission or no space left
// today goes on tomorrow.
func isFinal(err error) bool {
	var refused *Error
	if errors.As(err, &refused) {
		switch refused.Status {
		case http.StatusBadRequest, http.StatusConflict, http.StatusPreconditionFailed:
			return true
		}
	}
	return errors.Is(err, ErrChanged) || errors.Is(err, errSilent)
}

// errSilent is a service that has it all and makes nothing of it.
var errSilent = errors.New("the service has the whole file and does not say what it made of it; look there before you send it again")

// uploading is an upload on its way.
type uploading struct {
	Upload
	c    *Client
	how  call          // of the session's own address
	told UploadSession // last
	file fs.FileInfo   // nil if Content cannot say
}

// session is what the services tell of an upload, in either case of letters.
type session struct {
	URL     string   `json:"uploadUrl,case:ignore"`
	Next    []string `json:"nextExpectedRanges,case:ignore"`
	Expires string   `json:"expirationDateTime,case:ignore"`
}

// gap is a part of the file that the service does not have: from its first
// byte to the one behind its last.
type gap struct{ from, to int64 }

// next reads the first of ranges like "26", "26-" and "26-90".
func (s session) next(size int64) (gap, error) {
	if len(s.Next) == 0 {
		return gap{size, size}, nil
	}
	first, last, _ := strings.Cut(strings.TrimSpace(s.Next[0]), "-")
	from, err := strconv.ParseInt(first, 10, 64)
	to := size
	if err == nil && last != "" {
		if to, err = strconv.ParseInt(last, 10, 64); err == nil && to < size {
			to++
		}
	}
	if err != nil || from < 0 || from > size || to > size || from == to && from < size || from > to {
		return gap{}, fmt.Errorf("the service expects the range %q of a file of %d bytes", shown(s.Next[0]), size)
	}
	return gap{from, to}, nil
}

func (up *uploading) begin(ctx context.Context) (gap, error) {
	home, err := up.c.Resolve(up.Session)
	if err != nil {
		return gap{}, err
	}
	body := up.Properties
	if body == nil {
		body = jsontext.Value("{}")
	}
	var s session
	if _, err := up.c.fetch(ctx, http.MethodPost, call{home: home, header: up.Header}, body, &s); err != nil {
		return gap{}, err
	}
	if up.how, err = up.c.uploadCall(up.Session, s.URL); err != nil {
		return gap{}, err
	}
	up.told = UploadSession{URL: fob.NewSecret(s.URL), Expires: s.expires()}
	if up.OnSession != nil {
		up.OnSession(up.told)
	}
	return gap{0, up.Size}, nil
}

func (c *Client) uploadCall(from, address string) (call, error) {
	if from == "" {
		from = "/"
	}
	home, err := c.Resolve(from)
	if err != nil {
		return call{}, err
	}
	target, err := url.Parse(address)
	if err != nil || address == "" {
		return call{}, fmt.Errorf("%s gave no upload URL", home.Host)
	}
	return call{home: target, open: true, once: true}, away(home, target)
}

func (s session) expires() time.Time {
	t, _ := time.Parse(time.RFC3339, s.Expires)
	return t
}

// prolong tells of a session that the service keeps for longer.
func (up *uploading) prolong(s session) {
	if t := s.expires(); up.OnSession != nil && t.Sub(up.told.Expires) >= prolonged {
		up.told.Expires = t
		up.OnSession(up.told)
	}
}

// end says that there is nothing left to go on with, to the service, too, if
// it still has something.
func (up *uploading) end(cancel bool) {
	if cancel {
		// Also when the caller has given up. It expires if this does not work.
		ctx, stop := context.WithTimeout(context.Background(), cancelTime)
		defer stop()
		up.c.fetch(ctx, http.MethodDelete, up.how, nil, nil)
	}
	up.told = UploadSession{}
	if up.OnSession != nil {
		up.OnSession(up.told)
	}
}

// received asks what the service wants next.
func (up *uploading) received(ctx context.Context) (gap, error) {
	how := up.how
	how.once = false
	var s session
	if _, err := up.c.fetch(ctx, http.MethodGet, how, nil, &s); err != nil {
		return gap{}, fmt.Errorf("asking how far the upload has come: %w", err)
	}
	up.prolong(s)
	return s.next(up.Size)
}

// send sends what is missing from next on.
func (up *uploading) send(ctx context.Context, next gap) (jsontext.Value, error) {
	tries := up.c.attempts(http.MethodPut, up.how)
	piece := up.Piece
	done := int64(-1)
	for {
		if next.from > done {
			done = next.from
			tries = up.c.attempts(http.MethodPut, up.how)
			if up.Progress != nil {
				up.Progress(done, up.Size)
			}
		}
		if next.from == up.Size {
			if item := up.inPlace(ctx); item != nil {
				return item, nil
			}
			return nil, fmt.Errorf("PUT %s: %w", up.how.place(), errSilent)
		}
		item, then, err := up.sendPiece(ctx, next.from, min(piece, next.to-next.from))
		if item != nil {
			return item, nil
		}
		if err == nil && then.from > next.from {
			next, piece = then, min(2*piece, up.Piece)
			continue
		}
		var refused *Error
		switch errors.As(err, &refused); {
		case err == nil:
			// The service has lost what it had, or never takes this piece.
			err = &unreachable{errors.New("the upload makes no headway")}
			if !tries.again(ctx, nil, err) {
				return nil, fmt.Errorf("PUT %s: %w", up.how.place(), err)
			}
			next = then
			continue
		case refused == nil && tries.again(ctx, nil, err):
		case refused != nil && refused.Status == http.StatusRequestedRangeNotSatisfiable && tries.worth(http.StatusBadGateway, false, nil):
		case refused != nil && tries.worth(refused.Status, refused.RetryAfter > 0, nil) && tries.pause(ctx, refused.Status, refused.RetryAfter, nil):
		default:
			return nil, orEnd(ctx, err)
		}
		if refused == nil || refused.Status == http.StatusRequestTimeout || refused.Status == http.StatusBadGateway || refused.Status == http.StatusGatewayTimeout {
			// What does not get through, or not in time, may do so in smaller pieces.
			piece = max(piece/2/pieceUnit*pieceUnit, pieceUnit)
		}
		if next, err = up.received(ctx); err != nil {
			return nil, err
		}
	}
}

// sendPiece sends one piece. The result is the finished item, or what the
// service wants next.
func (up *uploading) sendPiece(ctx context.Context, from, length int64) (jsontext.Value, gap, error) {
	how := up.how
	piece := &reading{up: up, from: io.NewSectionReader(up.Content, from, length), left: length}
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, how.home.String(), piece)
	if err != nil {
		return nil, gap{}, err
	}
	req.ContentLength = length
	req.Header.Set("Content-Type", "application/octet-stream")
	req.Header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, from+length-1, up.Size))
	resp, err := up.c.send(req, how)
	if failed := piece.failed(); failed != nil {
		if err == nil {
			resp.Body.Close()
		}
		return nil, gap{}, failed
	}
	if err != nil {
		return nil, gap{}, err
	}
	defer resp.Body.Close()
	body, err := readAll(up.c.whole(resp), maxAnswer)
	if err != nil {
		return nil, gap{}, up.c.failed(req, how, err)
	}
	if resp.StatusCode != http.StatusAccepted {
		if from+length < up.Size {
			return nil, gap{}, badAnswer(how, resp, nil, "the upload is said to be complete before all of it was sent")
		}
		location := resp.Header.Get("Location")
		if len(body) == 0 && location != "" {
			// Outlook names the attachment in a header and sends no body.
			body, err = json.Marshal(map[string]string{"location": location})
			return body, gap{}, err
		}
		if item := jsontext.Value(body); item.Kind() == '{' && item.IsValid(pageSyntax) {
			return item, gap{}, nil
		}
		return nil, gap{}, badAnswer(how, resp, nil, "the upload is said to be complete, but not what became of it; look there before you send it again")
	}
	var s session
	if json.Unmarshal(body, &s) != nil || len(s.Next) == 0 {
		return nil, gap{from + length, up.Size}, nil
	}
	up.prolong(s)
	next, err := s.next(up.Size)
	return nil, next, err
}

// reading is a piece as it is read. It does not end well if the file is not
// what it was: no piece of another one becomes part of the upload.
type reading struct {
	up   *uploading
	from *io.SectionReader
	left int64
	err  atomic.Pointer[error] // the connection reads, the caller asks
}

func (r *reading) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	r.left -= int64(n)
	var failed error
	switch {
	case err != nil && (err != io.EOF || r.left > 0):
		if failed = r.up.look(); failed == nil {
			failed = fmt.Errorf("reading the file: %w", err)
		}
	case r.left == 0 && n > 0:
		failed = r.up.look()
	}
	if failed != nil {
		r.err.Store(&failed)
		return 0, failed
	}
	return n, err
}

func (r *reading) Close() error { return nil }

func (r *reading) failed() error {
	if err := r.err.Load(); err != nil {
		return *err
	}
	return nil
}

// look reports whether the file is still what it was at the first look.
func (up *uploading) look() error {
	file, ok := up.Content.(interface{ Stat() (fs.FileInfo, error) })
	if !ok {
		return nil
	}
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("looking at the file: %w", err)
	}
	if up.file == nil {
		up.file = info
	}
	switch {
	case info.Size() != up.Size:
		return fmt.Errorf("%w: it has %d bytes now, not %d; send it again when nobody writes to it", ErrChanged, info.Size(), up.Size)
	case !info.ModTime().Equal(up.file.ModTime()):
		return fmt.Errorf("%w: it was written to at %s; send it again when nobody does", ErrChanged, info.ModTime().Format(time.TimeOnly))
	}
	return nil
}

// inPlace returns the item of a drive that the upload was to make, if it is
// there and holds the file. Only one that is of the same size is asked for its
// hash, and the file is read only to be compared with that.
func (up *uploading) inPlace(ctx context.Context) jsontext.Value {
	home, err := up.c.Resolve(up.Session)
	if up.Session == "" || err != nil {
		return nil
	}
	path, ok := strings.CutSuffix(home.Path, "/createUploadSession")
	if !ok || !strings.Contains(path, "/drive/") && !strings.Contains(path, "/drives/") {
		return nil
	}
	home.Path, home.RawPath, home.RawQuery = strings.TrimSuffix(path, ":"), "", ""
	var item jsontext.Value
	if _, err := up.c.fetch(ctx, http.MethodGet, call{home: home}, nil, &item); err != nil {
		return nil
	}
	var made struct {
		Size int64 `json:"size"`
		File struct {
			Hashes struct {
				QuickXor string `json:"quickXorHash"`
			} `json:"hashes"`
		} `json:"file"`
	}
	if json.Unmarshal(item, &made, jsontext.AllowDuplicateNames(true)) != nil || made.Size != up.Size || made.File.Hashes.QuickXor == "" {
		return nil
	}
	hash, err := quickXor(io.NewSectionReader(up.Content, 0, up.Size))
	if err != nil || hash != made.File.Hashes.QuickXor {
		return nil
	}
	return item
}

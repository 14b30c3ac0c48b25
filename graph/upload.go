package graph

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

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
	// Content and Size are the file.
	Content io.ReaderAt
	Size    int64
	// Piece is the size of the pieces. It is rounded to a multiple of 320 KiB
	// below 60 MiB, as the services want. Zero means 10 MiB.
	Piece int64
	// URL goes on with an upload that Started has told of. It replaces
	// Session, which may be set beside it for the case that it is too old.
	URL fob.Secret
	// Started, if set, is told the URL of a new upload. Whoever has it can
	// write the file: keep it like a password.
	Started func(url fob.Secret)
	// Progress, if set, is told how much the service has.
	Progress func(done, size int64)
}

const (
	pieceUnit    = 320 << 10
	defaultPiece = 32 * pieceUnit
	maxPiece     = 60<<20/pieceUnit*pieceUnit - pieceUnit
	maxSessions  = 3 // in one call
)

// Upload sends a file and returns the item that the service made of it. After
// a break it asks the service what has arrived, and goes on behind that. A
// session that the service has forgotten is begun again. The upload URL is a
// permission in itself and gets no token.
func (c *Client) Upload(ctx context.Context, u Upload) (jsontext.Value, error) {
	switch {
	case u.Content == nil || u.Size < 0:
		return nil, errors.New("an upload needs Content and Size")
	case u.Size == 0:
		return nil, errors.New("an empty file cannot be sent in pieces; PUT it to the item's /content instead")
	case u.Session == "" && u.URL.IsZero():
		return nil, errors.New("an upload needs the address of a createUploadSession action")
	}
	piece := u.Piece / pieceUnit * pieceUnit
	switch {
	case u.Piece == 0:
		piece = defaultPiece
	case piece < pieceUnit:
		piece = pieceUnit
	case piece > maxPiece:
		piece = maxPiece
	}
	if !u.URL.IsZero() {
		how, err := c.uploadCall(u, u.URL.Reveal())
		if err != nil {
			return nil, err
		}
		next, err := c.received(ctx, how, u.Size)
		var item jsontext.Value
		if err == nil {
			item, err = c.sendPieces(ctx, u, how, next, piece)
		}
		if !isGone(err) || u.Session == "" {
			return item, err
		}
	}
	for range maxSessions {
		how, err := c.beginUpload(ctx, u)
		if err != nil {
			return nil, fmt.Errorf("beginning the upload: %w", err)
		}
		item, err := c.sendPieces(ctx, u, how, 0, piece)
		if !isGone(err) {
			return item, err
		}
	}
	return nil, fmt.Errorf("the service forgot the upload %d times: %w", maxSessions, ErrExpired)
}

// isGone reports whether an upload session is no more.
func isGone(err error) bool {
	var refused *Error
	return errors.As(err, &refused) && (refused.Status == http.StatusNotFound || refused.Status == http.StatusGone)
}

// session is what the services tell of an upload, in either case of letters.
type session struct {
	URL  string   `json:"uploadUrl,case:ignore"`
	Next []string `json:"nextExpectedRanges,case:ignore"`
}

func (c *Client) beginUpload(ctx context.Context, u Upload) (call, error) {
	home, err := c.Resolve(u.Session)
	if err != nil {
		return call{}, err
	}
	body := u.Properties
	if body == nil {
		body = jsontext.Value("{}")
	}
	var s session
	if _, err := c.fetch(ctx, http.MethodPost, call{home: home}, body, &s); err != nil {
		return call{}, err
	}
	how, err := c.uploadCall(u, s.URL)
	if err == nil && u.Started != nil {
		u.Started(fob.NewSecret(s.URL))
	}
	return how, err
}

func (c *Client) uploadCall(u Upload, address string) (call, error) {
	from := u.Session
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

// received asks what the service wants next.
func (c *Client) received(ctx context.Context, how call, size int64) (int64, error) {
	how.once = false
	var s session
	if _, err := c.fetch(ctx, http.MethodGet, how, nil, &s); err != nil {
		return 0, fmt.Errorf("asking how far the upload has come: %w", err)
	}
	return s.next(size)
}

// next reads the first of ranges like "26-" and "26-90".
func (s session) next(size int64) (int64, error) {
	if len(s.Next) == 0 {
		return size, nil
	}
	first, _, _ := strings.Cut(s.Next[0], "-")
	n, err := strconv.ParseInt(strings.TrimSpace(first), 10, 64)
	if err != nil || n < 0 || n >= size {
		return 0, fmt.Errorf("the service expects the range %q of a file of %d bytes", shown(s.Next[0]), size)
	}
	return n, nil
}

func (c *Client) sendPieces(ctx context.Context, u Upload, how call, next, piece int64) (jsontext.Value, error) {
	tries := c.attempts(http.MethodPut, how)
	for {
		if next >= u.Size {
			return nil, fmt.Errorf("%s has the whole file and does not say what it made of it; look there before you send it again", how.place())
		}
		item, then, err := c.sendPiece(ctx, u, how, next, min(piece, u.Size-next))
		if item != nil {
			return item, nil
		}
		if err == nil && then > next {
			next, tries = then, c.attempts(http.MethodPut, how)
			if u.Progress != nil {
				u.Progress(next, u.Size)
			}
			continue
		}
		var refused *Error
		switch errors.As(err, &refused); {
		case err == nil:
			// The service has lost what it had, or never takes this piece.
			err = &unreachable{errors.New("the upload makes no headway")}
			if !tries.again(ctx, nil, err) {
				return nil, fmt.Errorf("PUT %s: %w", how.place(), err)
			}
			next = then
			continue
		case refused == nil && tries.again(ctx, nil, err):
		case refused != nil && refused.Status == http.StatusRequestedRangeNotSatisfiable && tries.worth(http.StatusBadGateway, false, nil):
		case refused != nil && tries.worth(refused.Status, refused.RetryAfter > 0, nil) && tries.pause(ctx, refused.Status, refused.RetryAfter, nil):
		default:
			return nil, orEnd(ctx, err)
		}
		if next, err = c.received(ctx, how, u.Size); err != nil {
			return nil, err
		}
	}
}

// sendPiece sends one piece. The result is the finished item, or what the
// service wants next.
func (c *Client) sendPiece(ctx context.Context, u Upload, how call, from, length int64) (jsontext.Value, int64, error) {
	piece := io.NewSectionReader(u.Content, from, length)
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, how.home.String(), io.NopCloser(piece))
	if err != nil {
		return nil, 0, err
	}
	req.ContentLength = length
	req.Header.Set("Content-Type", "application/octet-stream")
	req.Header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, from+length-1, u.Size))
	resp, err := c.send(req, how)
	if err != nil {
		return nil, 0, err
	}
	defer resp.Body.Close()
	body, err := readAll(resp.Body, maxAnswer)
	if err != nil {
		return nil, 0, c.failed(req, how, err)
	}
	if resp.StatusCode != http.StatusAccepted {
		if from+length < u.Size {
			return nil, 0, badAnswer(how, resp, "the upload is said to be complete before all of it was sent")
		}
		location := resp.Header.Get("Location")
		if len(body) == 0 && location != "" {
			// Outlook names the attachment in a header and sends no body.
			body, err = json.Marshal(map[string]string{"location": location})
			return body, u.Size, err
		}
		if item := jsontext.Value(body); item.Kind() == '{' && item.IsValid(pageSyntax) {
			return item, u.Size, nil
		}
		return nil, 0, badAnswer(how, resp, "the upload is said to be complete, but not what became of it; look there before you send it again")
	}
	var s session
	if json.Unmarshal(body, &s) != nil || len(s.Next) == 0 {
		return nil, from + length, nil
	}
	next, err := s.next(u.Size)
	return nil, next, err
}

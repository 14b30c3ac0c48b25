package graph

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// Download says how a file is fetched. The zero value fetches all of it.
type Download struct {
	// Header goes along with the request.
	Header http.Header
	// Offset is how much of the file is there already, from an earlier
	// download that ended with an error.
	Offset int64
	// ETag is the one of what is there. If the file has changed since, or the
	// ETag is weak or empty, it is fetched from its beginning.
	ETag string
	// Progress, if set, is told how much is there; size is 0 if the service
	// does not tell it.
	Progress func(done, size int64)
	// Begin, if set, is told what is known of the file before its first byte is
	// written. Its error ends the download.
	Begin func(File) error
}

// File is what a download brought.
type File struct {
	Size int64  // in bytes. What lies behind it in the target is older: cut it off
	Type string // the media type, as the service calls it
	ETag string // of this content; may be empty
}

// Download fetches a file into to; [Client.DownloadFile] does so with a file
// and all that can happen to it. Redirects to storage hosts are followed
// without a token. After a break the rest is asked for, at the original
// address, because those of storage are short-lived, and only if its ETag says
// that it is the rest of the same file. The length is checked against what the
// service announced.
//
// With an error the File says what is there: Size and ETag are the Offset and
// ETag to go on with.
func (c *Client) Download(ctx context.Context, address string, to io.WriterAt, d Download) (File, error) {
	f := fetching{to: to, begin: d.Begin, progress: d.Progress, File: File{Size: d.Offset, ETag: d.ETag}}
	return c.download(ctx, address, d.Header, &f)
}

func (c *Client) download(ctx context.Context, address string, header http.Header, f *fetching) (File, error) {
	home, err := c.Resolve(address)
	if err != nil {
		return File{}, err
	}
	how := call{home: home, answers: []int{http.StatusRequestedRangeNotSatisfiable}}
	tries := c.attempts(http.MethodGet, how)
	f.size = -1
	most := f.Size
	for {
		if !isStrong(f.ETag) {
			f.Size, f.size = 0, -1 // nothing would say that the rest is of the same file
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, home.String(), nil)
		if err != nil {
			return f.File, err
		}
		if header != nil {
			req.Header = header.Clone()
		}
		// Lengths and ranges are those of the bytes that travel.
		req.Header.Set("Accept-Encoding", "identity")
		if f.Size > 0 {
			req.Header.Set("Range", fmt.Sprintf("bytes=%d-", f.Size))
			req.Header.Set("If-Range", f.ETag)
		}
		resp, err := c.send(req, how)
		if err != nil {
			return f.File, err
		}
		err = f.take(resp)
		resp.Body.Close()
		var lost *unreachable
		switch {
		case err == nil:
			return f.File, nil
		case err == errChanged:
			err = &unreachable{errChanged}
		case !errors.As(err, &lost):
			return f.File, fmt.Errorf("GET %s: %w", how.place(), err)
		case f.Size > most:
			most, tries = f.Size, c.attempts(http.MethodGet, how)
		}
		if !tries.again(ctx, nil, err) {
			return f.File, fmt.Errorf("GET %s: %w", how.place(), orEnd(ctx, err))
		}
	}
}

// errChanged says that what is there and what comes are not the same file.
var errChanged = errors.New("the file changes while it is fetched")

// isStrong reports whether the parts of two files with this ETag fit together
// (RFC 9110 section 8.8.1).
func isStrong(etag string) bool { return strings.HasPrefix(etag, `"`) }

type fetching struct {
	File
	to       io.WriterAt
	size     int64            // of the whole file; -1 until it is known
	begin    func(File) error // if set: another file comes, from its beginning
	progress func(done, size int64)
}

// take writes one answer to where it belongs.
func (f *fetching) take(resp *http.Response) error {
	etag := resp.Header.Get("ETag")
	if encoding := resp.Header.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return fmt.Errorf("the file comes in the encoding %q, which was not asked for", shown(resp.Header.Get("Content-Encoding")))
	}
	until := int64(-1) // where the answer ends, if it says so
	switch resp.StatusCode {
	case http.StatusRequestedRangeNotSatisfiable:
		_, _, total, ok := contentRange(resp.Header)
		if f.Size > 0 && ok && total == f.Size && (etag == "" || etag == f.ETag) {
			return nil // there was nothing left
		}
		f.ETag = ""
		return errChanged
	case http.StatusPartialContent:
		start, end, total, ok := contentRange(resp.Header)
		switch {
		case !ok || start != f.Size:
			return fmt.Errorf("another part of the file than was asked for (%q)", shown(resp.Header.Get("Content-Range")))
		case f.Size > 0 && (etag != f.ETag || f.size >= 0 && total != f.size):
			f.ETag = ""
			return errChanged
		}
		f.size, until = total, end+1
	case http.StatusOK:
		f.Size, f.size, until = 0, resp.ContentLength, resp.ContentLength
	default:
		return fmt.Errorf("the answer holds no file (HTTP %d)", resp.StatusCode)
	}
	f.ETag, f.Type = etag, clean(resp.Header.Get("Content-Type"))
	if f.Size == 0 && f.begin != nil {
		if err := f.begin(f.File); err != nil {
			return err
		}
	}

	buffer := make([]byte, 256<<10)
	for {
		n, err := resp.Body.Read(buffer)
		if until >= 0 && f.Size+int64(n) > until {
			return fmt.Errorf("more of the file than the %d bytes that were announced", until)
		}
		if n > 0 {
			if _, err := f.to.WriteAt(buffer[:n], f.Size); err != nil {
				return fmt.Errorf("writing the file: %w", err)
			}
			f.Size += int64(n)
			if f.progress != nil {
				f.progress(f.Size, max(f.size, 0))
			}
		}
		switch {
		case err == io.EOF && f.size >= 0 && f.Size < f.size:
			return &unreachable{io.ErrUnexpectedEOF}
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}

// contentRange reads "bytes 2-5/10" and "bytes */10".
func contentRange(h http.Header) (start, end, total int64, ok bool) {
	part, whole, found := strings.Cut(strings.TrimPrefix(h.Get("Content-Range"), "bytes "), "/")
	if !found {
		return 0, 0, 0, false
	}
	total, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || total < 0 {
		return 0, 0, 0, false
	}
	if part == "*" {
		return 0, 0, total, true
	}
	from, to, _ := strings.Cut(part, "-")
	start, err1 := strconv.ParseInt(from, 10, 64)
	end, err2 := strconv.ParseInt(to, 10, 64)
	return start, end, total, err1 == nil && err2 == nil && 0 <= start && start <= end && end < total
}

// Sequential makes a writer, such as standard output, a target for
// [Client.Download]. A download that would have to write anywhere but at the
// end of what it wrote before fails.
func Sequential(w io.Writer) io.WriterAt { return &sequential{w: w} }

type sequential struct {
	w  io.Writer
	at int64
}

func (s *sequential) WriteAt(p []byte, at int64) (int, error) {
	if at != s.at {
		return 0, errors.New("the download has to begin again, which is not possible into a stream; write to a file instead")
	}
	n, err := s.w.Write(p)
	s.at += int64(n)
	return n, err
}

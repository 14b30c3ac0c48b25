package graphsim

import (
	"compress/gzip"
	"net/http"
	"strings"
	"sync"
)

// compressor writes an answer, compressed if it is of a kind that shrinks. Its
// user closes it.
type compressor struct {
	http.ResponseWriter
	z       *gzip.Writer // nil: not compressed
	decided bool
}

// compressors are used again: each has some hundred kilobytes of tables.
var compressors = sync.Pool{New: func() any {
	z, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // a level that exists
	return z
}}

// acceptsGzip says whether a client takes an answer compressed.
func acceptsGzip(r *http.Request) bool {
	for list := range strings.SplitSeq(strings.Join(r.Header.Values("Accept-Encoding"), ","), ",") {
		name, weight, _ := strings.Cut(strings.ReplaceAll(strings.ToLower(list), " ", ""), ";")
		if name == "gzip" || name == "*" {
			return strings.Trim(strings.TrimPrefix(weight, "q="), "0.") != "" || weight == ""
		}
	}
	return false
}

// WriteHeader decides whether to compress: what has a body, and is text.
func (c *compressor) WriteHeader(status int) {
	h := c.Header()
	kind := h.Get("Content-Type")
	body := status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified && h.Get("Content-Length") != "0"
	if !c.decided && body && (strings.HasPrefix(kind, "application/json") || strings.HasPrefix(kind, "application/xml") || strings.HasPrefix(kind, "text/")) {
		h.Set("Content-Encoding", "gzip")
		h.Del("Content-Length")
		c.z = compressors.Get().(*gzip.Writer)
		c.z.Reset(c.ResponseWriter)
	}
	c.decided = true
	c.ResponseWriter.WriteHeader(status)
}

func (c *compressor) Write(b []byte) (int, error) {
	if !c.decided {
		c.WriteHeader(http.StatusOK)
	}
	if c.z == nil {
		return c.ResponseWriter.Write(b)
	}
	return c.z.Write(b)
}

func (c *compressor) close() {
	if c.z != nil {
		_ = c.z.Close() // whoever has gone away does not get the rest
		compressors.Put(c.z)
	}
}

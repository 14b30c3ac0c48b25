package cli

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"strings"

	"github.com/fobauth/fob/graph"
)

// isDownload reports whether the answer goes to a file as it is.
func (c *call) isDownload() bool {
	return c.method == http.MethodGet && c.outputFile != "" && !c.all && c.jq == "" && c.raw && !c.include
}

// partial is where a download is until it is whole; the ETag beside it says of
// which file it is a part.
func partial(name string) (data, etag string) { return name + ".partial", name + ".partial.etag" }

// download fetches a file. What an earlier run left of it is not fetched
// again.
func (c *call) download(ctx context.Context) error {
	data, tag := partial(c.outputFile)
	d := graph.Download{Header: c.header}
	if etag, err := os.ReadFile(tag); err == nil {
		if info, err := os.Stat(data); err == nil {
			d.ETag, d.Offset = strings.TrimSpace(string(etag)), info.Size()
		}
	}
	if d.ETag == "" {
		d.Offset = 0 // nothing says that it would be the same file
	}
	file, err := os.OpenFile(data, os.O_WRONLY|os.O_CREATE, 0o666)
	if err != nil {
		return &problem{text: "writing " + quoted(c.outputFile), err: err}
	}
	if d.Offset > 0 {
		c.inv.tell("%s: going on after %d bytes", c.outputFile, d.Offset)
	}
	meter := c.inv.meter("fetched")
	d.Progress = meter.bytes
	f, err := c.client.Download(ctx, c.target.String(), file, d)
	meter.clear()
	if err == nil {
		err = file.Truncate(f.Size)
	}
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		if err = os.Rename(data, c.outputFile); err == nil {
			err = removeIfThere(tag)
		}
		return err
	}
	if f.ETag != "" && f.Size > 0 {
		if keepErr := os.WriteFile(tag, []byte(f.ETag+"\n"), 0o666); keepErr == nil {
			c.inv.note("%d bytes are in %s; the same command goes on from there", f.Size, data)
			return c.refused(err)
		}
	}
	return errors.Join(c.refused(err), removeIfThere(data), removeIfThere(tag))
}

func removeIfThere(name string) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

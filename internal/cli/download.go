package cli

import (
	"context"
	"net/http"
	"os"

	"github.com/fobauth/fob/graph"
)

// isDownload reports whether the answer goes to a file as it is.
func (c *call) isDownload() bool {
	return c.method == http.MethodGet && c.outputFile != "" && !c.all && c.jq == "" && c.raw && !c.include && c.header.Get("Range") == ""
}

// download fetches a file. What an earlier run left of it is not fetched
// again.
func (c *call) download(ctx context.Context) error {
	ctx, cancel, err := c.withGivenTimeout(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	part := graph.PartialFile(c.outputFile)
	if info, err := os.Stat(part); err == nil && info.Size() > 0 {
		c.inv.tell("going on with %s, which has %d bytes, if it is still the same file", part, info.Size())
	}
	meter := c.inv.meter("fetched")
	c.client.OnWait = func(w graph.Wait) {
		meter.clear()
		c.inv.onWait(w)
	}
	f, err := c.client.DownloadFile(ctx, c.outputFile, c.target.String(), graph.Download{Header: c.header, Progress: meter.bytes,
		Begin: func(f graph.File) error { return c.refusePage(f.Type) }})
	meter.clear()
	if err == nil {
		return nil
	}
	if _, statErr := os.Stat(part); statErr == nil && f.Size > 0 {
		c.inv.note("%d bytes are in %s; the same command goes on from there", f.Size, part)
	}
	return c.refused(err)
}

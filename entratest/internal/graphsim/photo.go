package graphsim

import (
	"bytes"
	"crypto/sha1"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/fobauth/fob/entratest/internal/directory"
)

// photoSizes are the widths, and heights, that photos come in.
var photoSizes = []int{48, 64, 96, 120, 240, 360, 432, 504, 648}

const defaultPhoto = 240

// photoAlbum holds the photos that were set, and those that were drawn.
type photoAlbum struct {
	mu    sync.Mutex // guards below
	set   map[string][]byte
	drawn map[string][]byte // by user and size
}

// picture returns the photo of a user in a size: the one that somebody has
// set, or for an administrator, so that there is one, a drawn one.
func (a *photoAlbum) picture(u *directory.User, size int) ([]byte, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if p, ok := a.set[u.ID]; ok {
		return p, true // one size will do: nobody looks
	}
	if !u.Admin() {
		return nil, false
	}
	key := u.ID + "/" + strconv.Itoa(size)
	if p, ok := a.drawn[key]; ok {
		return p, true
	}
	if a.drawn == nil {
		a.drawn = map[string][]byte{}
	}
	a.drawn[key] = draw(u.ID, size)
	return a.drawn[key], true
}

// draw makes a JPEG whose colours follow from a name.
func draw(name string, size int) []byte {
	sum := sha1.Sum([]byte(name))
	img := image.NewRGBA(image.Rect(0, 0, size, size))
	for y := range size {
		for x := range size {
			c := color.RGBA{sum[0], sum[1], sum[2], 255}
			if dx, dy := x-size/2, y-size/2; dx*dx+dy*dy < size*size/9 {
				c = color.RGBA{sum[3], sum[4], sum[5], 255}
			}
			img.SetRGBA(x, y, c)
		}
	}
	var b bytes.Buffer
	_ = jpeg.Encode(&b, img, nil) // a buffer takes everything
	return b.Bytes()
}

// photoOf finds the user and the size in the path, and the photo, or answers
// 404.
func (c *call) photoOf() (picture []byte, size int, ok bool) {
	u, ok := c.findUser(c.arg(0))
	if !ok {
		return nil, 0, false
	}
	size = defaultPhoto
	if len(c.args) > 1 {
		width, height, _ := strings.Cut(strings.ToLower(c.arg(1)), "x")
		n, err := strconv.Atoi(width)
		if err != nil || width != height || !slices.Contains(photoSizes, n) {
			c.refuse(http.StatusBadRequest, "ErrorInvalidImageId", "The size '"+c.arg(1)+"' is not one that photos come in.")
			return nil, 0, false
		}
		size = n
	}
	if picture, ok = c.Server.photos.picture(u, size); !ok {
		c.refuse(http.StatusNotFound, "ImageNotFound", "Exception of type 'Microsoft.Fast.Profile.Core.Exception.ImageNotFoundException' was thrown.")
	}
	return picture, size, ok
}

func photoObject(picture []byte, size int) object {
	return object{{"@odata.mediaContentType", "image/jpeg"}, {"@odata.mediaEtag", mediaETag(picture)}, {"id", fmt.Sprintf("%dX%d", size, size)},
		{"height", size}, {"width", size}}
}

func mediaETag(b []byte) string { return fmt.Sprintf(`W/"%x"`, sha1.Sum(b)) }

func (c *call) photo() {
	picture, size, ok := c.photoOf()
	if ok && c.noOptions() {
		c.entity("users('"+c.arg(0)+"')/photo/$entity", photoObject(picture, size))
	}
}

func (c *call) photos() {
	picture, _, ok := c.photoOf()
	if !ok || !c.noOptions() {
		return
	}
	shown := []object{}
	for _, size := range photoSizes {
		shown = append(shown, photoObject(picture, size))
	}
	c.entity("users('"+c.arg(0)+"')/photos", object{{"value", shown}})
}

func (c *call) photoValue() {
	picture, _, ok := c.photoOf()
	if !ok || !c.noOptions() {
		return
	}
	c.w.Header().Set("ETag", mediaETag(picture))
	c.w.Header().Set("Content-Type", "image/jpeg")
	c.w.Header().Set("Content-Length", strconv.Itoa(len(picture)))
	c.w.Write(picture)
}

func (c *call) setPhoto() {
	u, ok := c.findUser(c.arg(0))
	if !ok || !c.noOptions() {
		return
	}
	const most = 4 << 20
	if kind := c.r.Header.Get("Content-Type"); !strings.HasPrefix(kind, "image/") {
		c.refuse(http.StatusUnsupportedMediaType, "UnsupportedMediaType", "The content type '"+kind+"' is not supported: send image/jpeg.")
		return
	}
	if _, err := jpeg.DecodeConfig(bytes.NewReader(c.body)); err != nil || len(c.body) > most {
		c.refuse(http.StatusBadRequest, "ErrorInvalidImage", "The body is not a JPEG of at most 4 MB.")
		return
	}
	a := &c.Server.photos
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.set == nil {
		a.set = map[string][]byte{}
	}
	a.set[u.ID] = c.body
	c.w.Header().Set("Content-Length", "0")
	c.w.WriteHeader(http.StatusOK)
}

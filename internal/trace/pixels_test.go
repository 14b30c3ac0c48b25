package trace

import (
	"image/png"
	"os"
	"testing"
)

// arrows counts the pixels that have the colour of a request's arrow, of the
// light or the dark page.
func arrows(t *testing.T, name string) int {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	picture, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for y := picture.Bounds().Min.Y; y < picture.Bounds().Max.Y; y++ {
		for x := picture.Bounds().Min.X; x < picture.Bounds().Max.X; x++ {
			r, g, b, _ := picture.At(x, y).RGBA()
			switch [3]uint32{r >> 8, g >> 8, b >> 8} {
			case [3]uint32{0x0b, 0x57, 0xd0}, [3]uint32{0x8a, 0xb4, 0xf8}:
				n++
			}
		}
	}
	return n
}

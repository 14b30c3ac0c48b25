package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/fobauth/fob/graph"
)

// meter is a line on the terminal that says how far something has come. It
// shows nothing where nobody looks.
type meter struct {
	w     io.Writer
	term  terminal
	verb  string
	began time.Time
	from  int64 // where a file goes on
	last  time.Time
	shown bool
}

func (inv *invocation) meter(verb string) *meter {
	return &meter{w: inv.Stderr, term: inv.terminal(inv.Stderr), verb: verb, began: time.Now()}
}

// due reports whether it is time to say something again.
func (m *meter) due() bool {
	now := time.Now()
	if !m.term.is || now.Sub(m.last) < 100*time.Millisecond {
		return false
	}
	m.last = now
	return true
}

func (m *meter) show(text string) {
	m.shown = true
	fmt.Fprintf(m.w, "\r%s\x1b[K", clip(text, m.term.width-1))
}

// clear takes the line away.
func (m *meter) clear() {
	if m.shown {
		m.shown = false
		io.WriteString(m.w, "\r\x1b[K")
	}
}

// bytes tells of a file.
func (m *meter) bytes(done, size int64) {
	if m.last.IsZero() {
		m.from = done
	}
	if !m.due() {
		return
	}
	text := fmt.Sprintf("%s %s", m.verb, sizeText(done))
	if size > 0 {
		text += fmt.Sprintf(" of %s  %d %%", sizeText(size), done*100/size)
	}
	if s := time.Since(m.began).Seconds(); s > 1 {
		text += "  " + sizeText(int64(float64(done-m.from)/s)) + "/s"
	}
	m.show(text)
}

// items tells of an export.
func (m *meter) items(p graph.Progress) {
	if m.due() {
		m.show(progressText(p))
	}
}

// progressText is an export in one line.
func progressText(p graph.Progress) string {
	parts := []string{thousands(p.Items) + " items"}
	if p.Total > 0 {
		parts = []string{thousands(p.Items) + " of " + thousands(p.Total) + " items", fmt.Sprintf("%d %%", min(100, p.Items*100/p.Total))}
	}
	if rate := p.Rate(); rate > 0 {
		parts = append(parts, thousands(int64(rate))+"/s")
	}
	if p.Throttled >= time.Second {
		parts = append(parts, "throttled "+spanText(p.Throttled))
	}
	if left := p.Left(); left > 0 {
		parts = append(parts, spanText(left)+" left")
	}
	return strings.Join(parts, "  ")
}

func spanText(d time.Duration) string {
	if d >= time.Minute {
		return d.Round(time.Second).String()
	}
	return fmt.Sprintf("%.0f s", max(1, d.Seconds()))
}

// thousands writes 1234567 as 1,234,567.
func thousands(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func sizeText(n int64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 10<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 10<<10:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d bytes", n)
}

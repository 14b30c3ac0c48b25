// Command measure is a program that uses package graph, or does the same in
// other ways, and reports what that cost. It is a program of its own because a
// test binary holds much more than package graph.
//
//	measure server              serves 1,000,000 users and prints its address
//	measure export URL FILE     exports them
//	measure exportfile URL FILE exports them with checkpoints
//	measure download URL FILE   downloads a file
//	measure transport URL FILE  only reads the bytes
//	measure standard URL FILE   uses the standard decoder
package main

import (
	"bufio"
	"context"
	stdjson "encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fobauth/fob"
	"github.com/fobauth/fob/graph"
)

func main() {
	if os.Args[1] == "server" {
		serveUsers(1_000_000)
		return
	}
	measure(os.Args[1], os.Args[2], os.Args[3])
}

type tokens struct{}

func (tokens) Token(context.Context, fob.Request) (*fob.Token, error) {
	return &fob.Token{Access: fob.NewSecret("secret"), Type: "Bearer", Expires: time.Now().Add(time.Hour)}, nil
}

const usersPerPage = 999

// userPage writes a page as Microsoft Graph does, with users that are all
// different: they are the same text but for a number of eight digits.
type userPage struct {
	once   sync.Once
	user   []byte
	digits []int // where the number stands in user
}

func (u *userPage) write(b []byte, first, n int) []byte {
	u.once.Do(func() {
		const mark = "00000000"
		user := `{"businessPhones":["+41 44 555 01 02"],"displayName":"Mira Keller ` + mark + `","givenName":"Mira","jobTitle":"Platform Engineer","mail":"mira.keller` + mark + `@fabrikam.example","mobilePhone":null,"officeLocation":"Z3/21","preferredLanguage":"de-CH","surname":"Keller","userPrincipalName":"mira.keller` + mark + `@fabrikam.example","id":"3f0c4a52-7a41-4c35-9d2e-5d2f` + mark + `"}`
		u.user = []byte(user)
		for at := 0; ; {
			i := strings.Index(user[at:], mark)
			if i < 0 {
				break
			}
			u.digits = append(u.digits, at+i)
			at += i + len(mark)
		}
	})
	for i := range n {
		if i > 0 {
			b = append(b, ',')
		}
		start := len(b)
		b = append(b, u.user...)
		var number [8]byte
		for k, v := 7, first+i; k >= 0; k, v = k-1, v/10 {
			number[k] = byte('0' + v%10)
		}
		for _, at := range u.digits {
			copy(b[start+at:], number[:])
		}
	}
	return b
}

// serveUsers prints its address and serves until its input ends.
func serveUsers(total int) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	var users userPage
	buffers := sync.Pool{New: func() any { return new([]byte) }}
	go http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, token, _ := strings.Cut(r.URL.RawQuery, "skiptoken=")
		first, _ := strconv.Atoi(token)
		n := min(usersPerPage, total-first)
		buffer := buffers.Get().(*[]byte)
		b := append((*buffer)[:0], `{"@odata.context":"http://x/v1.0/$metadata#users",`...)
		if first+n < total {
			b = fmt.Appendf(b, `"@odata.nextLink":"http://%s/v1.0/users?$top=999&$skiptoken=%d",`, r.Host, first+n)
		}
		b = append(b, `"value":[`...)
		b = users.write(b, first, n)
		b = append(b, "]}"...)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(b)))
		w.Write(b)
		*buffer = b
		buffers.Put(buffer)
	}))
	fmt.Println("http://" + listener.Addr().String())
	io.Copy(io.Discard, os.Stdin)
}

type measured struct {
	Items    int
	Seconds  float64
	Allocs   uint64
	Resident int // KiB at the most
	Early    int // KiB after a tenth
}

// measure reads all users in one of several ways, and prints what it cost.
func measure(how, base, file string) {
	var m measured
	var before, after runtime.MemStats
	c := &graph.Client{Source: tokens{}, Base: base + "/v1.0", Audiences: map[string]string{base: "https://graph.microsoft.com/.default"}}
	runtime.ReadMemStats(&before)
	began := time.Now()
	var err error
	switch how {
	case "export":
		var out *os.File
		if out, err = os.Create(file); err != nil {
			break
		}
		var p graph.Progress
		p, err = c.Export(context.Background(), out, "/users?$top=999", graph.ExportOptions{Progress: func(p graph.Progress) {
			if p.Pages == 100 {
				m.Early = resident("VmRSS:")
			}
		}})
		m.Items = int(p.Items)
	case "transport":
		m.Items, err = readOnly(base)
	case "standard":
		m.Items, err = standardDecoder(base, file)
	case "exportfile":
		_, err = c.ExportFile(context.Background(), file, "/users", graph.ExportOptions{Checkpoint: 1})
	case "download":
		_, err = c.DownloadFile(context.Background(), file, "/content", graph.Download{})
	}
	m.Seconds = time.Since(began).Seconds()
	runtime.ReadMemStats(&after)
	m.Allocs = after.Mallocs - before.Mallocs
	m.Resident = resident("VmHWM:")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	stdjson.NewEncoder(os.Stdout).Encode(m)
}

func resident(name string) int {
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == name {
			n, _ := strconv.Atoi(f[1])
			return n
		}
	}
	return 0
}

// readOnly is the floor: the bytes alone, nothing looked at but the link.
func readOnly(base string) (items int, err error) {
	buffer := make([]byte, 64<<10)
	for items < 1_000_000 {
		resp, err := http.Get(fmt.Sprintf("%s/v1.0/users?$top=999&$skiptoken=%d", base, items))
		if err != nil {
			return items, err
		}
		_, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, resp.Body, buffer)
		resp.Body.Close()
		if err != nil {
			return items, err
		}
		items = min(items+usersPerPage, 1_000_000)
	}
	return items, nil
}

// standardDecoder is what most programs do: decode each page into structs, and
// write them again.
func standardDecoder(base, file string) (items int, err error) {
	type user struct {
		BusinessPhones                                                                                            []string
		DisplayName, GivenName, JobTitle, Mail, OfficeLocation, PreferredLanguage, Surname, UserPrincipalName, ID string
		MobilePhone                                                                                               *string
	}
	out, err := os.Create(file)
	if err != nil {
		return 0, err
	}
	defer out.Close()
	buffered := bufio.NewWriterSize(out, 256<<10)
	encoder := stdjson.NewEncoder(buffered)
	for next := base + "/v1.0/users?$top=999"; next != ""; {
		resp, err := http.Get(next)
		if err != nil {
			return items, err
		}
		var page struct {
			Next  string `json:"@odata.nextLink"`
			Value []user
		}
		err = stdjson.NewDecoder(resp.Body).Decode(&page)
		resp.Body.Close()
		if err != nil {
			return items, err
		}
		for i := range page.Value {
			if err := encoder.Encode(&page.Value[i]); err != nil {
				return items, err
			}
		}
		items += len(page.Value)
		next = page.Next
	}
	return items, buffered.Flush()
}

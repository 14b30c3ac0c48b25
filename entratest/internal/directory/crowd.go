package directory

import (
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// GeneratedPassword is the password of every user of a [Crowd].
const GeneratedPassword = "generated-password-1"

// Crowd is any number of users that are computed from their index and take no
// memory. Index, object id and user principal name can each be computed from
// the others. Larger indexes have larger user principal names, display names
// and creation dates: a prefix of a name is a range of indexes.
type Crowd struct {
	Tenant, Domain string
	n              int
	width          int // of the number in a name
	names          *crowdNames
}

// crowdNames are the names of the crowd, each list in the order of its bytes.
// Given names begin with every letter and every digit, three of them each.
type crowdNames struct {
	given, surname, title, department, office []string
	nicks                                     []nicks // of each pair of names
}

// names are made when the first crowd is: most emulators have none, and every
// start of a program would pay for them.
var names = sync.OnceValue(func() *crowdNames {
	n := &crowdNames{given: crowdGivenNames(), surname: strings.Fields(`Adler Baumann Castelli Dubois Eriksen Fontana Graf Hartmann Ivanova Jansen Keller Lindqvist Moreau Novak
		Oliveira Petrov Quinn Rossi Sommer Tanaka Urban Vogel Weber Xavier Yilmaz Zeller`),
		title:      strings.Fields("Accountant Analyst Auditor Buyer Chemist Designer Engineer Nurse Planner Teacher"),
		department: strings.Fields("Care Finance Laboratory Platform Sales Works"),
		office:     strings.Fields("Annexe Harbour Mill North South Station Tower")}
	slices.SortFunc(n.given, func(a, b string) int { return strings.Compare(strings.ToLower(a), strings.ToLower(b)) })
	for _, g := range n.given {
		for _, s := range n.surname {
			n.nicks = append(n.nicks, nicks{strings.ToLower(g), strings.ToLower(s)})
		}
	}
	return n
})

// crowdBorn is when the first user was created.
var crowdBorn = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

func crowdGivenNames() []string {
	var names []string
	for d := range 10 {
		for _, shift := range []string{"blue", "green", "red"} { // the accounts of shifts
			names = append(names, strconv.Itoa(d)+shift)
		}
	}
	return append(names, strings.Fields(`Adele Amara Anton Beat Bruno Bianca Carlo Clara Cyril Dario Delia Dunja Elena Emil Esra Fabio Fiona Fred
		Gina Greta Guido Hanna Hector Hugo Ida Ines Ivan Jan Jonas Julia Karla Kim Kurt Lara Leon Lukas Marta Milo Mona Nadia Nils Nora Olga Oscar
		Otto Paula Petra Pius Qadir Qiana Quentin Rafael Rita Rosa Sara Stefan Sven Tessa Tim Tomas Ugo Ulrich Ursula Vera Vito Volker Walter Willem
		Wanda Xaver Xenia Ximena Yann Yara Yusuf Zeno Zita Zoe`)...)
}

// nicks are the names of a slot as they are in a user principal name.
type nicks struct{ given, surname string }

// newCrowd returns a crowd of n users.
func newCrowd(tenant, domain string, n int) *Crowd {
	c := &Crowd{Tenant: tenant, Domain: domain, n: n, names: names()}
	c.width = len(strconv.Itoa(max(0, (n-1)/len(c.names.nicks))))
	return c
}

// Len is how many users the crowd has.
func (c *Crowd) Len() int { return c.n }

// slot spreads the indexes evenly over all pairs of names.
func (c *Crowd) slot(i int) int { return i * len(c.names.nicks) / c.n }

// begin is the first index of a slot.
func (c *Crowd) begin(slot int) int { return (slot*c.n + len(c.names.nicks) - 1) / len(c.names.nicks) }

// Face is what the user with an index is called, in pieces that share memory
// with the crowd.
type Face struct {
	Given, Surname            string // as they are written
	NickGiven, NickSurname    string // as they are in the user principal name
	Title, Department, Office string
	Created                   time.Time
	number                    int
	width                     int
	Phone1, Phone2, Phone3    int // the digits of the phone number, in groups of 3, 2 and 2
	idHead                    uint32
	idTail                    uint64
}

// Face fills f with the names of user i.
func (c *Crowd) Face(i int, f *Face) {
	slot := c.slot(i)
	all := c.names
	n := all.nicks[slot]
	f.NickGiven, f.NickSurname = n.given, n.surname
	f.Given, f.Surname = all.given[slot/len(all.surname)], all.surname[slot%len(all.surname)]
	f.Title = all.title[i%len(all.title)]
	f.Department = all.department[i%len(all.department)]
	f.Office = all.office[i%len(all.office)]
	f.Created = crowdBorn.Add(time.Duration(i) * time.Second)
	f.number, f.width = i-c.begin(slot), c.width
	f.Phone1, f.Phone2, f.Phone3 = i/10000%1000, i/100%100, i%100
	f.idHead, f.idTail = scramble(i)
}

// AppendNumber appends the number that tells people of the same name apart.
func (f *Face) AppendNumber(b []byte) []byte { return appendPadded(b, f.number, f.width) }

// AppendUPN appends the user principal name in a domain.
func (f *Face) AppendUPN(b []byte, domain string) []byte {
	b = f.AppendNick(b)
	b = append(b, '@')
	return append(b, domain...)
}

// AppendNick appends the part of the user principal name before the @.
func (f *Face) AppendNick(b []byte) []byte {
	b = append(b, f.NickGiven...)
	b = append(b, '.')
	b = append(b, f.NickSurname...)
	return f.AppendNumber(b)
}

// AppendDisplayName appends the display name.
func (f *Face) AppendDisplayName(b []byte) []byte {
	b = append(b, f.Given...)
	b = append(b, ' ')
	b = append(b, f.Surname...)
	b = append(b, ' ')
	return f.AppendNumber(b)
}

// AppendPhone appends the phone number.
func (f *Face) AppendPhone(b []byte) []byte {
	b = append(b, "+41 44 "...)
	b = append(appendPadded(b, f.Phone1, 3), ' ')
	b = append(appendPadded(b, f.Phone2, 2), ' ')
	return appendPadded(b, f.Phone3, 2)
}

// AppendID appends the object id.
func (f *Face) AppendID(b []byte) []byte {
	b = appendHex(b, uint64(f.idHead), 8)
	b = append(b, crowdIDMiddle...)
	return appendHex(b, f.idTail, 12)
}

const crowdIDMiddle = "-f0b0-4000-8000-"

// User returns user i as if it were kept.
func (c *Crowd) User(i int) *User {
	var f Face
	c.Face(i, &f)
	upn := string(f.AppendUPN(nil, c.Domain))
	return &User{ID: string(f.AppendID(nil)), Tenant: c.Tenant, UPN: upn, Mail: upn, DisplayName: string(f.AppendDisplayName(nil)),
		GivenName: f.Given, Surname: f.Surname, JobTitle: f.Title, Department: f.Department, Office: f.Office, PreferredLanguage: "en-GB",
		BusinessPhones: []string{string(f.AppendPhone(nil))}, Password: GeneratedPassword, Created: f.Created}
}

// Index returns the index of the user with an object id or a user principal
// name, in any case.
func (c *Crowd) Index(idOrUPN string) (int, bool) {
	if at := strings.LastIndexByte(idOrUPN, '@'); at >= 0 {
		return c.indexOfUPN(strings.ToLower(idOrUPN), at)
	}
	if len(idOrUPN) != 36 || idOrUPN[8:24] != crowdIDMiddle {
		if len(idOrUPN) != 36 || !strings.EqualFold(idOrUPN[8:24], crowdIDMiddle) {
			return 0, false
		}
	}
	tail, err := strconv.ParseUint(idOrUPN[24:], 16, 64)
	if err != nil {
		return 0, false
	}
	i := unscramble(tail)
	if i >= uint64(c.n) {
		return 0, false
	}
	head, _ := scramble(int(i))
	if got, err := strconv.ParseUint(idOrUPN[:8], 16, 64); err != nil || uint32(got) != head {
		return 0, false
	}
	return int(i), true
}

func (c *Crowd) indexOfUPN(upn string, at int) (int, bool) {
	if upn[at+1:] != c.Domain || c.n == 0 {
		return 0, false
	}
	i := c.search(upn)
	if i == c.n {
		return 0, false
	}
	var f Face
	c.Face(i, &f)
	return i, string(f.AppendUPN(make([]byte, 0, 64), c.Domain)) == upn
}

// search returns the first index whose user principal name is not below upn,
// which is in lower case.
func (c *Crowd) search(upn string) int {
	var f Face
	buf := make([]byte, 0, 64)
	lo, hi := 0, c.n
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		c.Face(mid, &f)
		if buf = f.AppendUPN(buf[:0], c.Domain); string(buf) < upn {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// Begins returns the range of indexes whose user principal names begin with
// prefix, in any case.
func (c *Crowd) Begins(prefix string) (from, to int) {
	prefix = strings.ToLower(prefix)
	return c.search(prefix), c.search(prefix + "\xff") // no name has this byte
}

// Up returns the first index whose user principal name is not below upn, in
// any case.
func (c *Crowd) Up(upn string) int { return c.search(strings.ToLower(upn)) }

// Since returns the first index that was created at t or later.
func (c *Crowd) Since(t time.Time) int {
	d := t.Sub(crowdBorn)
	if d <= 0 {
		return 0
	}
	return min(c.n, int((d+time.Second-1)/time.Second))
}

// Object ids look random, as real ones do, and can be undone: multiplication
// with an odd number is a bijection.
const (
	crowdFactor  = 0x5DEECE66D
	crowdMask    = 1<<48 - 1
	crowdHeadMul = 0x9E3779B1
)

// crowdInverse undoes crowdFactor modulo 2^64.
const crowdInverse = 0x7B13DFE05BCB1365

func scramble(i int) (head uint32, tail uint64) {
	tail = (uint64(i) + 1) * crowdFactor & crowdMask
	return bits.RotateLeft32((uint32(i)+1)*crowdHeadMul, 7), tail
}

func unscramble(tail uint64) uint64 { return (tail*crowdInverse&crowdMask - 1) & crowdMask }

func appendPadded(b []byte, v, width int) []byte {
	for range width {
		b = append(b, '0')
	}
	for i := len(b) - 1; v > 0; i, v = i-1, v/10 {
		b[i] = byte('0' + v%10)
	}
	return b
}

func appendHex(b []byte, v uint64, width int) []byte {
	const digits = "0123456789abcdef"
	for range width {
		b = append(b, '0')
	}
	for i := len(b) - 1; v > 0; i, v = i-1, v>>4 {
		b[i] = digits[v&15]
	}
	return b
}

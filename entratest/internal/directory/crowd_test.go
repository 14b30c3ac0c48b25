package directory

import (
	"slices"
	"strings"
	"testing"
)

func crowdOf(t testing.TB, n int) *World {
	t.Helper()
	w := Default()
	if err := w.Generate(TenantID, n); err != nil {
		t.Fatal(err)
	}
	return w
}

func TestEveryoneOfACrowdIsFoundByIDAndName(t *testing.T) {
	for _, n := range []int{1, 7, 2807, 2808, 2809, 100_000} {
		w := crowdOf(t, n)
		c := w.People(TenantID).Crowd
		seen := map[string]bool{}
		for i := range n {
			u := c.User(i)
			if seen[u.ID] || seen[u.UPN] {
				t.Fatalf("of %d, number %d is there twice: %s %s", n, i, u.ID, u.UPN)
			}
			seen[u.ID], seen[u.UPN] = true, true
			for _, key := range []string{u.ID, u.UPN, strings.ToUpper(u.ID), strings.ToUpper(u.UPN)} {
				if got, ok := c.Index(key); !ok || got != i {
					t.Fatalf("of %d, %s is number %d %v, want %d", n, key, got, ok, i)
				}
			}
		}
		for _, nobody := range []string{"", "@", "nobody@fob.example", c.User(0).UPN + "x", "f0b00000-1001-4000-8000-000000000001",
			c.User(0).ID[:35] + "g", strings.Replace(c.User(0).UPN, "@", "0@", 1)} {
			if i, ok := c.Index(nobody); ok {
				t.Errorf("of %d, %q is number %d", n, nobody, i)
			}
		}
	}
}

func TestACrowdIsInTheOrderOfItsNames(t *testing.T) {
	c := crowdOf(t, 50_000).People(TenantID).Crowd
	for i := 1; i < c.Len(); i++ {
		a, b := c.User(i-1), c.User(i)
		if a.UPN >= b.UPN || strings.ToLower(a.DisplayName) >= strings.ToLower(b.DisplayName) || !a.Created.Before(b.Created) {
			t.Fatalf("%d: %s, %s, %s and then %s, %s, %s", i, a.UPN, a.DisplayName, a.Created, b.UPN, b.DisplayName, b.Created)
		}
	}
}

func TestACrowdIsSpreadOverLettersAndDigits(t *testing.T) {
	c := crowdOf(t, 36_000).People(TenantID).Crowd
	for _, first := range "0123456789abcdefghijklmnopqrstuvwxyz" {
		if from, to := c.Begins(strings.ToUpper(string(first))); to-from < 500 || to-from > 1500 {
			t.Errorf("%d names begin with %c", to-from, first)
		}
	}
	from, to := c.Begins("ad")
	for i := range c.Len() {
		if strings.HasPrefix(c.User(i).UPN, "ad") != (from <= i && i < to) {
			t.Fatalf("%s is on the wrong side of %d to %d", c.User(i).UPN, from, to)
		}
	}
}

func TestAChangedUserOfACrowdIsRemembered(t *testing.T) {
	w := crowdOf(t, 1000)
	u, _ := w.User(TenantID, w.People(TenantID).Crowd.User(500).ID)
	if err := w.UpdateUser(TenantID, u.UPN, func(u *User) error { u.UPN = "new@fob.example"; return nil }); err != nil {
		t.Fatal(err)
	}
	if got, ok := w.User("", "new@fob.example"); !ok || got.ID != u.ID {
		t.Errorf("by the new name: %v", got)
	}
	if _, ok := w.User(TenantID, u.UPN); ok {
		t.Error("the old name still leads to it")
	}
	if err := w.CreateUser(&User{ID: "f0b00000-1001-4000-8000-0000000000ff", Tenant: TenantID, UPN: w.People(TenantID).Crowd.User(1).UPN}); err != ErrConflict {
		t.Errorf("a name of the crowd is free: %v", err)
	}
	if n := w.People(TenantID).Len(); n != 1003 {
		t.Errorf("there are %d", n)
	}
}

func TestADeletedUserOfACrowdIsGoneUntilRestored(t *testing.T) {
	w := crowdOf(t, 10)
	u := w.People(TenantID).Crowd.User(3)
	if !w.DeleteUser(TenantID, u.UPN) || w.DeleteUser(TenantID, u.UPN) {
		t.Fatal("deleted not at all, or twice")
	}
	if _, ok := w.User(TenantID, u.ID); ok || w.People(TenantID).Len() != 12 {
		t.Errorf("still there, %d of them", w.People(TenantID).Len())
	}
	if _, err := w.Restore(TenantID, u.ID); err != nil {
		t.Fatal(err)
	}
	if got, ok := w.User(TenantID, u.UPN); !ok || got.DisplayName != u.DisplayName {
		t.Errorf("restored: %v", got)
	}
}

func TestRestoringBringsMembershipsBack(t *testing.T) {
	w := Default()
	w.DeleteUser(TenantID, BenID)
	if _, err := w.Restore(TenantID, BenID); err != nil {
		t.Fatal(err)
	}
	if g, _ := w.Group(TenantID, PlatformGroupID); !slices.Contains(g.Members, BenID) {
		t.Errorf("members: %v", g.Members)
	}
}

func TestADeletedUserCanBeRestoredForThirtyDays(t *testing.T) {
	w := Default()
	w.DeleteUser(TenantID, BenID)
	w.Advance(retention + 1)
	if _, err := w.Restore(TenantID, BenID); err != ErrNotFound || len(w.DeletedItems(TenantID)) != 0 {
		t.Errorf("restored after 30 days: %v", err)
	}
}

func TestTheHistoryForgetsItsBeginning(t *testing.T) {
	w := Default()
	start := w.Seq()
	u, _ := w.User(TenantID, BenID)
	for range maxChanges + 1 {
		c := *u
		w.PutUser(&c)
	}
	if _, _, ok := w.Changes(TenantID, UserKind, start); ok {
		t.Error("the history still reaches back to its beginning")
	}
	list, last, ok := w.Changes(TenantID, UserKind, w.Seq()-3)
	if !ok || len(list) != 3 || last != w.Seq() {
		t.Errorf("the last three: %d %v", len(list), ok)
	}
}

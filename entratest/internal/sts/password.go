package sts

import (
	"crypto/sha256"
	"crypto/subtle"

	"github.com/fobauth/fob/entratest/internal/directory"
)

// sameSecret compares two secrets in a time that tells nothing about either.
// There is no password hash: the emulator's secrets are invented, and a test
// suite should not pay for hiding them.
func sameSecret(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// findAccount returns the account with a name. That of a guest, with its #EXT#,
// is no name to sign in with.
func (s *Server) findAccount(name string) (*directory.User, bool) {
	u, ok := s.World.User("", name)
	return u, ok && !u.External()
}

// checkPassword returns the account that somebody signs in with by a name and a
// password, of whatever tenant. Whether it is known in tenant is for the caller,
// and whether more than a password is asked for: a page can ask, a grant cannot.
func (s *Server) checkPassword(tenant *directory.Tenant, name, password string) (*directory.User, *refusal) {
	u, ok := s.findAccount(name)
	switch {
	case !ok:
		where := "any"
		if tenant != nil {
			where = tenant.Name
		}
		return nil, no(50034, "The user account %s does not exist in the %s directory. To sign into this application, the account must be added to the directory.", name, where).as("invalid_grant")
	case u.Locked:
		return nil, no(50053, "The account is locked, you've tried to sign in too many times with an incorrect user ID or password.").as("invalid_grant")
	case u.Password == "":
		return nil, no(50056, "Invalid or null password: password does not exist in the directory for this user.").as("invalid_grant")
	case !sameSecret(u.Password, password):
		return nil, no(50126, "Error validating credentials due to invalid username or password.").as("invalid_grant")
	}
	return u, s.mayUse(u)
}

// mayUse refuses users who may not sign in at all, whatever they know: of guests
// both tenants have a say.
func (s *Server) mayUse(u *directory.User) *refusal {
	account, ok := s.World.Account(u)
	switch {
	case !ok:
		return no(50034, "The user account {EUII Hidden} does not exist in the directory where it is at home.").as("invalid_grant")
	case u.Disabled, account.Disabled:
		return no(50057, "The user account is disabled.").as("invalid_grant")
	case account.PasswordExpired:
		return no(50055, "The password is expired.").as("invalid_grant").sub("user_password_expired")
	}
	return nil
}

package graphsim

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/fobauth/fob/entratest/internal/directory"
)

// invite makes somebody a guest of the tenant. Who has an account in another
// tenant of the world can sign in with it at once; the others are known, but
// there is nobody to sign them in.
func (c *call) invite() {
	given, ok := c.action("invitation", true, "invitedUserEmailAddress Edm.String", "inviteRedirectUrl Edm.String", "invitedUserDisplayName Edm.String",
		"invitedUserType Edm.String", "sendInvitationMessage Edm.Boolean", "resetRedemption Edm.Boolean", "invitedUser invitedUser", "invitedUserMessageInfo invitedUserMessageInfo")
	if !ok {
		return
	}
	email, back, kind := str(given["invitedUserEmailAddress"]), str(given["inviteRedirectUrl"]), str(given["invitedUserType"])
	to, err := url.Parse(back)
	switch {
	case !validAddress(email):
		c.invalid(errors.New("The invited user email address is not valid: invitedUserEmailAddress is missing, or no address."))
		return
	case back == "" || err != nil || to.Host == "":
		c.invalid(errors.New("The invite redirect URL is not valid: inviteRedirectUrl is missing, or no URL."))
		return
	case kind != "" && kind != "Guest" && kind != "Member":
		c.invalid(errors.New("Invalid value specified for property 'invitedUserType' of resource 'Invitation'."))
		return
	}
	account := c.byMail(email)
	if account != nil && account.Tenant == c.tenant() {
		c.refuse(http.StatusBadRequest, "BadRequest", "The invited user already exists in the directory as object ID: "+account.ID+". They can use that account to sign in to shared apps and resources.")
		return
	}
	guest, reset := (*directory.User)(nil), given["resetRedemption"] == true
	switch named := str(inside(given["invitedUser"], "id")); {
	case reset:
		if guest, ok = c.reinvited(named, email, account); !ok {
			return
		}
	case named != "":
		c.invalid(errors.New("Invalid value specified for property 'invitedUser' of resource 'Invitation': it is for resetRedemption."))
		return
	default:
		guest = c.invited(email, account, str(given["invitedUserDisplayName"]), kind == "Member")
	}
	c.concerns = guest.ID
	status := "PendingAcceptance"
	if state, _ := userValue(guest, "externalUserState"); state == "Accepted" {
		status = "Completed"
	}
	id := c.World.NewID("invitation")
	c.created("invitations/$entity", "/invitations/"+id, object{{"id", id},
		{"inviteRedeemUrl", c.AuthorityURL(c.r) + "/redeem?rd=" + url.QueryEscape("https://invitations.microsoft.com/redeem/?tenant="+c.tenant()+"&user="+id+"&ver=2.0")},
		{"invitedUserDisplayName", given["invitedUserDisplayName"]}, {"invitedUserType", userTypeOf(guest)}, {"invitedUserEmailAddress", email},
		{"sendInvitationMessage", given["sendInvitationMessage"] == true}, {"resetRedemption", reset}, {"inviteRedirectUrl", back}, {"status", status},
		{"invitedUserMessageInfo", given["invitedUserMessageInfo"]}, {"invitedUser", object{{"id", guest.ID}}}})
}

// invited returns the guest with an address, who may have been invited before.
func (c *call) invited(email string, account *directory.User, name string, member bool) *directory.User {
	here, _ := c.World.Tenant(c.tenant())
	upn := directory.GuestUPN(here, email)
	if account != nil {
		upn = directory.GuestUPN(here, account.UPN)
		if known, ok := c.World.UserOf(here.ID, account); ok {
			return known
		}
	}
	if known, ok := c.World.User(here.ID, upn); ok {
		return known
	}
	guest := &directory.User{ID: c.World.NewID("user"), Tenant: here.ID, UPN: upn, DisplayName: name, Mail: email, Guest: !member, Created: c.World.Now(),
		More: map[string]any{"creationType": "Invitation", "externalUserState": "PendingAcceptance", "otherMails": []any{email}}}
	if account != nil {
		guest.Home = account.ID
	}
	if name == "" {
		guest.DisplayName, _, _ = strings.Cut(email, "@")
		if account != nil {
			guest.DisplayName = account.DisplayName
		}
	}
	c.World.PutUser(guest)
	return guest
}

// reinvited returns the guest with an id, who is to come once more, perhaps with
// another account; or it answers 400.
func (c *call) reinvited(id, email string, account *directory.User) (*directory.User, bool) {
	guest, ok := c.World.User(c.tenant(), id)
	if !ok || !guest.External() {
		c.invalid(errors.New("The redemption cannot be reset: invitedUser is no guest of this directory."))
		return nil, false
	}
	home := ""
	if account != nil {
		if other, known := c.World.UserOf(c.tenant(), account); known && other.ID != guest.ID {
			c.invalid(errors.New("The redemption cannot be reset: another guest has this account already, with the object ID " + other.ID + "."))
			return nil, false
		}
		home = account.ID
	}
	_ = c.World.UpdateUser(c.tenant(), guest.ID, func(u *directory.User) error { // if it is gone by now, so is the invitation
		u.Home, u.Mail = home, email
		if u.More == nil {
			u.More = map[string]any{}
		}
		u.More["creationType"], u.More["externalUserState"] = "Invitation", "PendingAcceptance"
		delete(u.More, "externalUserStateChangeDateTime")
		guest = u
		return nil
	})
	return guest, true
}

package insight

import (
	"strings"
	"sync"
)

// permission says in words what a scope or role allows, where its name follows
// the pattern Resource.Operation.Constraint of Microsoft's APIs, or where it is
// one of the few names that everybody uses.
func permission(name string, app bool) Permission {
	name = clean(name, 200)
	bare := name
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		bare = name[i+1:] // https://graph.microsoft.com/User.Read
	}
	switch bare {
	case "openid":
		return Permission{name, "sign the user in (an ID token)"}
	case "profile":
		return Permission{name, "see the user's name and sign-in name"}
	case "email":
		return Permission{name, "see the user's mail address"}
	case "offline_access":
		return Permission{name, "stay signed in (a refresh token)"}
	case "user_impersonation":
		return Permission{name, "do whatever the user may do in this API"}
	case ".default":
		return Permission{name, "everything that was granted for this API"}
	case "User.Read":
		return Permission{name, "read the signed-in user's profile"}
	}
	parts := strings.Split(bare, ".")
	if len(parts) < 2 {
		return Permission{Name: name}
	}
	verb, ok := verbs()[strings.ToLower(parts[1])]
	if !ok {
		return Permission{Name: name}
	}
	thing := spaced(parts[0])
	words := verb + " " + thing
	constraint := ""
	if len(parts) > 2 {
		constraint = parts[2]
	}
	switch constraint {
	case "All":
		if app {
			words = verb + " every " + singular(thing) + " of the tenant"
		} else {
			words = verb + " every " + singular(thing) + " that the user may see"
		}
	case "Shared":
		words += ", also what others share with the user"
	case "AppFolder":
		words += " in the app's own folder"
	case "OwnedBy":
		words += " that the app owns"
	case "Selected":
		words += " that were chosen for the app"
	case "":
		if !app {
			words += " of the signed-in user"
		} else {
			words += " of every user"
		}
	default:
		words += " (" + spaced(constraint) + ")"
	}
	return Permission{name, words}
}

// singular is thing without the s of "files" and "sites".
func singular(thing string) string {
	if strings.HasSuffix(thing, "ss") {
		return thing
	}
	return strings.TrimSuffix(thing, "s")
}

var verbs = sync.OnceValue(func() map[string]string {
	return map[string]string{
		"read": "read", "readwrite": "read and write", "readbasic": "read the basics of", "write": "write", "create": "create",
		"send": "send", "manage": "manage", "invite": "invite", "export": "export", "import": "import", "delete": "delete",
		"accessasuser": "open as the user", "accessasapp": "open as the app", "sendasapp": "send as the app",
		"fullcontrol": "fully control", "readwriteall": "read and write all", "use": "use", "execute": "execute",
	}
})

// spaced writes CamelCase as words: "groupMember" is "group member".
func spaced(s string) string {
	var b strings.Builder
	for i, r := range s {
		upper := 'A' <= r && r <= 'Z'
		before := i > 0 && s[i-1] >= 'a' && s[i-1] <= 'z'
		if upper && before {
			b.WriteByte(' ')
		}
		after := i+1 < len(s) && s[i+1] >= 'A' && s[i+1] <= 'Z'
		if upper && (before || i == 0) && !after {
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return b.String()
}

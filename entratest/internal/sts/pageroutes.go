package sts

// pageRoutes are the endpoints that people see in a browser: by the path after
// the tenant in lower case ("oauth2/v2.0/authorize"), or by the whole path where
// there is no tenant ("/devicelogin"). "userrealm" gets all paths below it.
var pageRoutes = map[string]handler{}

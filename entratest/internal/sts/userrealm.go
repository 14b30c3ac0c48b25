package sts

import (
	"net/http"
	"path"
	"strings"
)

// userRealm says where a user signs in. Libraries ask it before they send a
// password; here everybody's is managed by the tenant itself.
func (s *Server) userRealm(w http.ResponseWriter, r *http.Request, at authority) {
	upn := r.URL.Query().Get("user")
	if upn == "" {
		upn = path.Base(r.URL.Path)
	}
	_, domain, _ := strings.Cut(upn, "@")
	answer := struct {
		Version  string `json:"ver"`
		Type     string `json:"account_type"`
		Domain   string `json:"domain_name"`
		Cloud    string `json:"cloud_instance_name"`
		Audience string `json:"cloud_audience_urn"`
	}{"1.0", "Unknown", domain, "microsoftonline.com", "urn:federation:MicrosoftOnline"}
	if _, ok := s.World.Tenant(domain); ok && domain != "" {
		answer.Type = "Managed"
	}
	s.answer(w, r, http.StatusOK, newTraceID(), correlationID(r), 0, answer)
}

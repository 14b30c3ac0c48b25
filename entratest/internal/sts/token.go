package sts

import "net/http"

func (s *Server) tokenV1(w http.ResponseWriter, r *http.Request, at authority) {
	s.refuse(w, r, 50000, "Not there yet.")
}
func (s *Server) tokenV2(w http.ResponseWriter, r *http.Request, at authority) {
	s.refuse(w, r, 50000, "Not there yet.")
}
func (s *Server) deviceCodeV1(w http.ResponseWriter, r *http.Request, at authority) {
	s.refuse(w, r, 50000, "Not there yet.")
}
func (s *Server) deviceCodeV2(w http.ResponseWriter, r *http.Request, at authority) {
	s.refuse(w, r, 50000, "Not there yet.")
}

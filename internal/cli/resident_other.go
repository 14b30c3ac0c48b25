//go:build !linux

package cli

// forgetPages is for Linux, where the pages of a program's file count as its
// own.
func forgetPages() {}

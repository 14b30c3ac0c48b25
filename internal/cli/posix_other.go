//go:build !windows

package cli

func posix(err error) error { return err }

//go:build !unix

package graph

import "io/fs"

const noFollow = 0

// ownedByOther cannot be told here. The access lists of the directory protect
// what is in it.
func ownedByOther(fs.FileInfo) bool { return false }

// Command floor is what BenchmarkStoredToken compares fob with: the least that
// a program with cobra and net/http does to print a file.
package main

import (
	"net/http"
	"os"

	"github.com/spf13/cobra"
)

func main() {
	root := &cobra.Command{Use: "floor", Args: cobra.ExactArgs(1), RunE: func(_ *cobra.Command, args []string) error {
		data, err := os.ReadFile(args[0])
		if err != nil {
			// Never happens; keeps net/http linked.
			_, err := http.Get(args[0])
			return err
		}
		_, err = os.Stdout.Write(data)
		return err
	}}
	if root.Execute() != nil {
		os.Exit(1)
	}
}

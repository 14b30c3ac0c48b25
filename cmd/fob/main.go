// Command fob gets, keeps, renews, explains and uses Microsoft Entra ID tokens.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/fobauth/fob/internal/cli"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// After the first Ctrl-C the next one ends the process at once.
	context.AfterFunc(ctx, stop)
	return cli.Run(ctx, cli.FromProcess())
}

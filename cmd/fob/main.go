// Command fob gets, keeps, renews, explains and uses Microsoft Entra ID tokens.
package main

import (
	"context"
	"io"
	"log"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/fobauth/fob/internal/cli"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	log.SetOutput(io.Discard) // net/http prints there what a server sends unasked
	env := cli.FromProcess()
	// Signals are watched from when something takes time. To watch them costs
	// more than to print a stored token, which ends before anyone can interrupt.
	env.Watch = sync.OnceFunc(func() {
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
		if !signal.Ignored(syscall.SIGHUP) { // as nohup has it
			signal.Notify(signals, syscall.SIGHUP)
		}
		go func() {
			<-signals
			signal.Stop(signals) // the next Ctrl-C ends the process at once
			cancel()
		}()
	})
	return cli.Run(ctx, env)
}

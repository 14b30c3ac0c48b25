package cli

import (
	"net/http"
	"strings"

	"github.com/spf13/cobra"
)

// request is what the flags of "fob get" and its siblings say.
type request struct {
	method       string
	all          bool
	jq           string
	query        []string
	headers      []string
	body         string
	include      bool
	outputFile   string
	dryRun       bool
	beta         bool
	consistency  string
	hasBody, raw bool // --body was given; -o was not
}

func (inv *invocation) getCommand() *cobra.Command {
	return inv.requestCommand(http.MethodGet, &cobra.Command{
		Use: "get URL|PATH [flags]", Short: "Call Microsoft Graph, Azure or another API",
		Long: "Calls an API with GET and a token for it, and prints the answer. A path such as\n" +
			"/me means Microsoft Graph v1.0, /beta/me its beta version; /subscriptions,\n" +
			"/tenants, /providers, /metadata/endpoints and what has an api-version are Azure\n" +
			"Resource Manager's. For a URL the token follows from the host: some 140 are\n" +
			"known; for another one say with --resource or --scope which token it takes. The\n" +
			"token is sent to the API's own origin and nowhere else.\n\n" +
			"--jq chooses from the answer; where items are printed (--all, or -o ndjson,\n" +
			"table, csv) from each of them. Strings are printed as they are; with -o json\n" +
			"every result is one JSON value, as jq prints it, and with --all all of them are\n" +
			"one array. What it gets at a time, an answer or an item, may take 256 MiB of\n" +
			"memory, which is some 60 MiB of users; --all and $top make it less.\n\n" +
			"A service that throttles or fails is asked again. --timeout bounds the whole\n" +
			"call: with --all every page, and every wait between them. Where it is not given,\n" +
			"one answer gets a minute, and --all goes on as long as pages come.\n\n" +
			"A download to --output-file that was interrupted, also by kill -9, goes on where\n" +
			"it was if the file is still the same.",
		Example: "fob get /me\n" +
			"fob get '/users?$select=id,displayName' --all -o ndjson\n" +
			"fob get /users --query '$orderby=displayName' --all -o table\n" +
			"fob get /me --jq .displayName\n" +
			"fob get '/me/photo/$value' --output-file me.jpg\n" +
			"fob emulator run -- fob get /users --all",
	})
}

// methods are those that an API may be called with.
var methods = []string{"GET", "POST", "PATCH", "PUT", "DELETE", "HEAD"}

// requestCommand adds to cmd the flags that method has, and runs it.
func (inv *invocation) requestCommand(method string, cmd *cobra.Command) *cobra.Command {
	r := &request{method: method}
	fs := cmd.Flags()
	if method == "" {
		fs.VarP(&choice{&r.method, methods, true}, "method", "X", "`method`: GET, POST, PATCH, PUT, DELETE or HEAD (default: POST with a body, else GET)")
	}
	inv.outputFlag(fs, "json", "ndjson", "table", "csv")
	fs.StringVarP(&r.jq, "jq", "q", "", "choose from the answer with a jq `filter`")
	fs.StringArrayVar(&r.query, "query", nil, "add `NAME=VALUE` to the query, encoded as it must be; repeat")
	fs.StringArrayVarP(&r.headers, "header", "H", nil, "add a header, `NAME:VALUE`; repeat for several")
	fs.BoolVar(&r.include, "include", false, "print status and headers before the answer")
	fs.StringVar(&r.outputFile, "output-file", "", "write to `file`; a download that broke off goes on")
	fs.BoolVar(&r.dryRun, "dry-run", false, "print the request and send nothing")
	fs.BoolVar(&r.beta, "beta", false, "Microsoft Graph's beta version")
	if method == http.MethodGet || method == "" {
		fs.BoolVar(&r.all, "all", false, "follow the links to further pages, and print the items of all")
		fs.Var(&choice{value: &r.consistency, among: []string{"eventual", "session"}}, "consistency", "`level` that is asked of the directory: eventual or session (default: what the query needs)")
	}
	if method != http.MethodGet && method != http.MethodDelete {
		fs.StringVar(&r.body, "body", "", "what to send: `JSON`, @FILE, or - for stdin")
	}
	inv.sharedFlags(fs, tokenFlags)
	cmd.Args = oneAddress
	return inv.define(cmd, func(cmd *cobra.Command, args []string) error {
		r.raw = !fs.Changed("output")
		r.hasBody = fs.Changed("body")
		if err := inv.checkRequest(r); err != nil {
			return err
		}
		c, err := inv.call(cmd.Context(), args[0], r)
		if err != nil {
			return err
		}
		return c.run(cmd.Context())
	})
}

func oneAddress(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return &problem{status: StatusUsage, text: "name one URL or path", try: cmd.CommandPath() + " /me"}
	}
	return nil
}

// checkRequest refuses what contradicts itself before anything is sent.
func (inv *invocation) checkRequest(r *request) error {
	if r.method == "" {
		r.method = http.MethodGet
		if r.hasBody {
			r.method = http.MethodPost
		}
	}
	usage := func(text, fix string) error { return &problem{status: StatusUsage, text: text, fix: fix} }
	switch {
	case r.all && r.method != http.MethodGet:
		return usage("--all goes with GET only", "")
	case r.hasBody && (r.method == http.MethodGet || r.method == http.MethodHead):
		return usage(r.method+" has no body", "leave --body out, or say with --method what is meant")
	case r.all && r.include:
		return usage("--include shows one answer, --all asks for many", "leave one of them out")
	case r.outputFile != "":
		return hasDirectory("--output-file", r.outputFile)
	}
	return nil
}

// readHeaders reads the values of --header.
func readHeaders(given []string) (http.Header, error) {
	h := http.Header{}
	for _, line := range given {
		name, value, ok := strings.Cut(line, ":")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		p := &problem{status: StatusUsage}
		switch strings.ToLower(name) {
		case "authorization", "proxy-authorization":
			// Without the value: it is a token.
			p.text = "--header " + strings.ToLower(name) + " is refused: whoever lists the processes of this machine would see it"
			p.fix = "leave it out: fob adds a token of the signed-in account or of the given credential; --scope and --resource say which"
			return nil, p
		case "host", "content-length", "transfer-encoding", "connection":
			p.text = "--header " + name + " follows from the request and cannot be set"
			return nil, p
		}
		isToken := name != "" && strings.IndexFunc(name, func(r rune) bool {
			return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", r))
		}) < 0
		if !ok || !isToken || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			p.text = "--header wants NAME: VALUE, not " + quoted(line)
			return nil, p
		}
		h.Add(name, value)
	}
	return h, nil
}

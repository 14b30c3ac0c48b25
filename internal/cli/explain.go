package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fobauth/fob/aadsts"
)

func (inv *invocation) explainCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "explain CODE|TOPIC|WORDS… [-o json]", Short: "Explain an error code, offline",
		Long: "Explains AADSTS error codes of Entra ID: what each means, why it usually comes,\n" +
			"what helps and who can do it. Give one or several codes, the text of an error\n" +
			"(- reads it from stdin), a topic such as \"invalid scope\", or words to search.",
		Example: "fob explain AADSTS700016\n" +
			"fob explain 7000215 7000222\n" +
			"fob explain invalid scope\n" +
			"fob explain secret expired",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return nil
			}
			return &problem{status: StatusUsage, text: "name a code, a topic or words to search for", try: "fob explain AADSTS700016"}
		},
	}
	inv.outputFlag(cmd.Flags(), "text", "json")
	return inv.define(cmd, func(cmd *cobra.Command, args []string) error {
		words := strings.Join(args, " ")
		if words == "-" {
			text, err := readAtMost(inv.Stdin, "stdin", 1<<20)
			if err != nil {
				return err
			}
			words = string(text)
		}
		codes := aadsts.Parse(words)
		for _, word := range strings.Fields(words) { // or several bare numbers
			number := aadsts.Parse(strings.Trim(word, ",;"))
			if len(number) != 1 {
				break
			}
			if !slices.Contains(codes, number[0]) {
				codes = append(codes, number[0])
			}
		}
		if len(codes) > 0 {
			return inv.explainCodes(codes)
		}
		if guide, ok := aadsts.Topic(words); ok {
			return inv.explainTopic(guide)
		}
		found := aadsts.Search(words)
		switch len(found) {
		case 0:
			return &problem{status: StatusFailed, text: "nothing is known about " + quoted(words),
				fix: "give a code, fewer words, or one of the topics: " + topics(), try: "fob explain invalid scope"}
		case 1:
			return inv.explainCodes([]int{found[0].Number})
		}
		return inv.listCodes(found)
	})
}

func topics() string {
	var titles []string
	for _, g := range aadsts.Guides() {
		titles = append(titles, strings.ToLower(g.Title))
	}
	return strings.Join(titles, ", ")
}

// codeForm is what "fob explain -o json" prints for a code.
type codeForm struct {
	Code       string `json:"code"`
	Name       string `json:"name"`
	Error      string `json:"error"`
	ErrorNote  string `json:"error_note"`
	Status     int    `json:"http_status"`
	Meaning    string `json:"meaning"`
	Cause      string `json:"cause"`
	Fix        string `json:"fix"`
	Owner      string `json:"owner"`
	Confidence string `json:"confidence"`
}

func describeCode(c aadsts.Code) codeForm {
	return codeForm{c.String(), c.Name, c.OAuthError, c.OAuthNote, c.Status, c.Meaning, c.Cause, c.Fix, string(c.Owner), c.Evidence.Meaning.String()}
}

func (inv *invocation) explainCodes(numbers []int) error {
	var codes []aadsts.Code
	var unknown error
	for _, n := range numbers {
		code, ok := aadsts.Lookup(n)
		if ok {
			codes = append(codes, code)
			continue
		}
		p := &problem{status: StatusFailed, text: fmt.Sprintf("AADSTS%d is not in the table", n),
			fix: "search by words from its text, or look it up at https://login.microsoftonline.com/error"}
		if near := aadsts.Near(n); len(near) > 0 {
			var names []string
			for _, c := range near[:min(3, len(near))] {
				names = append(names, fmt.Sprintf("%s (%s)", c, c.Name))
			}
			p.fix = "perhaps " + strings.Join(names, " or ") + " was meant"
			p.try = fmt.Sprintf("fob explain %d", near[0].Number)
		}
		unknown = p
	}
	if inv.flags.output == "json" && len(codes) > 0 {
		forms := make([]codeForm, len(codes))
		for i, c := range codes {
			forms[i] = describeCode(c)
		}
		if err := inv.printJSON(forms); err != nil {
			return err
		}
		return unknown
	}
	t := inv.terminal(inv.Stdout)
	var b strings.Builder
	for i, c := range codes {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(t.paint(styleHead, c.String()) + " " + c.Name + "\n")
		answer := fmt.Sprintf("%s, HTTP %d", c.OAuthError, c.Status)
		if c.OAuthNote != "" {
			answer += " (" + c.OAuthNote + ")"
		}
		paragraph(&b, t, "means", c.Meaning)
		paragraph(&b, t, "cause", c.Cause)
		paragraph(&b, t, "fix", c.Fix)
		paragraph(&b, t, "who", c.Owner.String())
		paragraph(&b, t, "answer", answer)
		paragraph(&b, t, "source", c.Evidence.Meaning.String())
	}
	if err := inv.print(b.String()); err != nil {
		return err
	}
	return unknown
}

// paragraph writes a labelled text, wrapped on a terminal.
func paragraph(b *strings.Builder, t terminal, label, text string) {
	const indent = 10
	fmt.Fprintf(b, "  %s%s\n", t.paint(styleLabel, fmt.Sprintf("%-*s", indent-2, label)), hang(text, indent, t.textWidth()))
}

func (inv *invocation) explainTopic(g aadsts.Guide) error {
	if inv.flags.output == "json" {
		form := struct {
			Title string     `json:"title"`
			Cause string     `json:"cause"`
			Fix   string     `json:"fix"`
			Codes []codeForm `json:"codes"`
		}{Title: g.Title, Cause: g.Cause, Fix: g.Fix}
		for _, n := range g.Codes {
			if c, ok := aadsts.Lookup(n); ok {
				form.Codes = append(form.Codes, describeCode(c))
			}
		}
		return inv.printJSON(form)
	}
	t := inv.terminal(inv.Stdout)
	var b strings.Builder
	b.WriteString(t.paint(styleHead, g.Title) + "\n")
	paragraph(&b, t, "cause", g.Cause)
	paragraph(&b, t, "fix", g.Fix)
	b.WriteString("  " + t.paint(styleLabel, "codes") + "\n")
	for _, n := range g.Codes {
		if c, ok := aadsts.Lookup(n); ok {
			codeLine(&b, t, c)
		}
	}
	return inv.print(b.String())
}

func (inv *invocation) listCodes(codes []aadsts.Code) error {
	if inv.flags.output == "json" {
		forms := make([]codeForm, len(codes))
		for i, c := range codes {
			forms[i] = describeCode(c)
		}
		return inv.printJSON(forms)
	}
	t := inv.terminal(inv.Stdout)
	var b strings.Builder
	for _, c := range codes {
		codeLine(&b, t, c)
	}
	return inv.print(b.String())
}

func codeLine(b *strings.Builder, t terminal, c aadsts.Code) {
	const indent = 17
	fmt.Fprintf(b, "  %s  %s\n", t.paint(styleName, fmt.Sprintf("%-*s", indent-4, c)), hang(c.Meaning, indent, t.textWidth()))
}

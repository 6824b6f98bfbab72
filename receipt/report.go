package receipt

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"

	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// Status is how a check went.
type Status string

// The statuses. Only Failed speaks against a receipt.
const (
	OK            Status = "ok"
	Failed        Status = "failed"
	NotApplicable Status = "n/a" // the task ended before, or what it rests on has failed
)

// Row is one check.
type Row struct {
	Name   string `json:"name"`
	Status Status `json:"status"`
	Words  string `json:"words"`
}

// Report is what Verify found.
type Report struct {
	Task     task.TaskID     `json:"task"`
	Chain    string          `json:"chain"`
	Function task.FunctionID `json:"function"`
	Executor task.NodeID     `json:"executor"`
	Outcome  ledger.Outcome  `json:"outcome"`
	Parties  []task.Party    `json:"parties"` // who asked, whose data and whose code: in the order that all else names them by
	Output   task.Hash       `json:"output"`  // SHA-256 of the result's file; zero without a result
	Tier     task.Tier       `json:"tier"`    // of evidence that was found good; zero without
	Rows     []Row           `json:"rows"`
	Caveats  []string        `json:"caveats"` // true, and yet not what one would hope for
	Vouched  []string        `json:"vouched"` // what the chain alone vouches for
}

// Holds says whether every check that applies has held.
func (r Report) Holds() bool { return len(r.Rows) > 0 && len(r.failures()) == 0 }

// Err is nil if the report holds; else it names every row that failed.
func (r Report) Err() error {
	if r.Holds() {
		return nil
	}
	return task.Refuse("receipt-false", "the receipt does not hold: %s", strings.Join(r.failures(), "; "))
}

func (r Report) failures() (list []string) {
	for _, row := range r.Rows {
		if row.Status == Failed {
			list = append(list, row.Name+": "+row.Words)
		}
	}
	return list
}

// MarshalJSON adds the verdict.
func (r Report) MarshalJSON() ([]byte, error) {
	type fields Report
	return json.Marshal(struct {
		Holds bool `json:"holds"`
		fields
	}{r.Holds(), fields(r)})
}

const (
	nameWidth = 18
	lineWidth = 100
)

// Text is the report for people: plain text, 100 columns.
func (r Report) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Receipt of task %s\non chain %s, outcome: %s\n\n", r.Task, r.Chain, r.Outcome)
	for _, c := range r.Caveats {
		b.WriteString(wrap("  !  ", c))
	}
	if len(r.Caveats) > 0 {
		b.WriteString("\n")
	}
	for _, row := range r.Rows {
		mark := map[Status]string{OK: "ok", Failed: "FAILED", NotApplicable: "-"}[row.Status]
		b.WriteString(wrap(fmt.Sprintf("  %-*s %-7s", nameWidth, row.Name, mark), row.Words))
	}
	b.WriteString("\nFor these the file holds the chain's word only, which the signatures under its header prove:\n")
	for _, v := range r.Vouched {
		b.WriteString(wrap("  -  ", v))
	}
	b.WriteString("\n" + r.conclusion() + "\n")
	return b.String()
}

func (r Report) conclusion() string {
	switch n := len(r.failures()); {
	case n > 0:
		return fmt.Sprintf("The receipt does NOT hold: %d of %d checks failed.", n, len(r.Rows))
	case !r.Holds():
		return "Nothing was checked."
	case len(r.Caveats) > 0:
		return "The receipt holds, with the reservations above (!)."
	}
	return "The receipt holds."
}

// wrap sets words beside a margin.
func wrap(margin, words string) string {
	var b strings.Builder
	indent, column := strings.Repeat(" ", len(margin)), len(margin)
	b.WriteString(margin)
	for i, w := range strings.Fields(words) {
		switch {
		case i == 0:
		case column+1+len(w) > lineWidth:
			b.WriteString("\n" + indent)
			column = len(margin)
		default:
			b.WriteString(" ")
			column++
		}
		b.WriteString(w)
		column += len(w)
	}
	return b.String() + "\n"
}

// plain keeps a stranger's text from steering the reader's terminal.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
}

// named is an amount and whose it is.
type named struct {
	amount task.Amount
	of     string
}

// amounts lists those that are above zero.
func amounts(list ...named) string {
	var words []string
	for _, n := range list {
		if n.amount > 0 {
			words = append(words, n.amount.String()+" "+n.of)
		}
	}
	return cmp.Or(strings.Join(words, ", "), "nothing")
}

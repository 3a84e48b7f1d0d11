package terminal

// This file says what somebody may have meant.

import (
	"errors"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"
	"github.com/xrash/smetrics"
)

// DidYouMean asks whether s was to be one of the candidates: ": did you mean X?"; empty when
// none is near.
func DidYouMean(s string, candidates []string) string {
	best, least := "", 3
	for _, c := range candidates {
		distance := smetrics.WagnerFischer(s, c, 1, 1, 1)
		if len(s) > 2 && strings.HasPrefix(c, s) || swapped(s, c) {
			distance = 1
		}
		if distance < least && 2*distance < len(s) {
			best, least = c, distance
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(": did you mean %s?", best)
}

// swapped reports whether t is s with two neighbours the other way round.
func swapped(s, t string) bool {
	if len(s) != len(t) {
		return false
	}
	for i := range len(s) - 1 {
		if s[i] != t[i] {
			return s[i] == t[i+1] && s[i+1] == t[i] && s[i+2:] == t[i+2:]
		}
	}
	return false
}

// noCommand is the error of a word that is no command.
func noCommand(of, word string, commands []*cli.Command) error {
	var names []string
	for _, c := range commands {
		names = append(names, c.Names()...)
	}
	if meant := DidYouMean(word, names); meant != "" {
		return Usagef("no command %q%s See %s --help", word, meant, of)
	}
	return Usagef("no command %q: see %s --help", word, of)
}

// usageError is err as wrong usage of what has these flags.
func usageError(flags []cli.Flag, err error) error {
	_, word, unknown := strings.Cut(err.Error(), "flag provided but not defined: -")
	if !unknown {
		return UsageError{err}
	}
	var names []string
	for _, f := range flags {
		for _, n := range f.Names() {
			names = append(names, "--"+n)
		}
	}
	return UsageError{errors.New(err.Error() + DidYouMean("--"+strings.TrimLeft(word, "-"), names))}
}

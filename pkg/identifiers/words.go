package identifiers

// This file takes out of a word what can only be a unit's, where the rest is to tell a type.

import (
	"regexp"
	"strings"
)

// unitParts are a UUID, a MAC with colons or dashes, six or more hex digits in a row, and
// four or five at the end of a word, after a dash or an underscore.
var unitParts = regexp.MustCompile(`[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}` +
	`|[0-9a-f]{2}(?:[:-][0-9a-f]{2}){5}` +
	`|[0-9a-f]{6,}` +
	`|[-_][0-9a-f]{4,5}\b`)

// WithoutUnit is a text in lower case without what names a unit in it.
func WithoutUnit(text string) string {
	return unitParts.ReplaceAllString(strings.ToLower(text), "")
}

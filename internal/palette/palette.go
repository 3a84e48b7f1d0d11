// Package palette has the colours and typefaces that the sensor's page and the reports share.
package palette

import _ "embed" // of the sheet

// CSS is a style sheet that declares them as custom properties of the root element: light, dark
// where that is asked for, on paper light.
//
//go:embed palette.css
var CSS string

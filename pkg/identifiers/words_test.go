package identifiers

import "testing"

func TestWithoutUnit(t *testing.T) {
	for text, want := range map[string]string{
		"HS110":                "hs110",
		"ESP_07AEFB":           "esp_",
		"Hue-24ff":             "hue",
		"plug_a1b2 x":          "plug x",
		"lamp-12ab34":          "lamp-",
		"lamp-cafes":           "lamp-cafes",
		"id=00:17:88:24:76:FF": "id=",
		"uuid:2f402f80-DA50-11e1-9b23-0017882476ff::x": "uuid:::x",
		"": "",
	} {
		if got := WithoutUnit(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

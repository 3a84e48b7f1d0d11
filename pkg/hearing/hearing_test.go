package hearing

import "testing"

func TestModelName(t *testing.T) {
	for label, want := range map[string]string{
		"TP-LinkPlugHS110": "hs110", "tplink-hs110": "hs110", "KL125": "kl125", "EdimaxPlug1101W": "1101w", "iKettle2": "", "smart-plug": "", "none of them": "",
	} {
		if got := modelName(label); got != want {
			t.Errorf("%s: %q, want %q", label, got, want)
		}
	}
}

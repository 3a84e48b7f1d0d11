package v1

import "testing"

func TestWordsOfFields(t *testing.T) {
	n := func(n int) *int { return &n }
	for _, tt := range []struct {
		field ExplainedField
		want  string
	}{
		{ExplainedField{Row: 2, Name: "remote_port", Raw: 56700, Part: Metadata}, "remote port 56700, 3rd flow"},
		{ExplainedField{Row: 0, Name: "device_port", Raw: -1, Part: Metadata}, "no device port, 1st flow"},
		{ExplainedField{Row: 10, Name: "remote_o4", Raw: 251, Part: Metadata}, "octet 4 of the remote address: 251, 11th flow"},
		{ExplainedField{Row: 1, Name: "since", Raw: 1_500_000, Part: Metadata}, "1.5 s after the flow before, 2nd flow"},
		{ExplainedField{Row: 3, Name: "protocol", Raw: 17, Part: Metadata}, "protocol UDP, 4th flow"},
		{ExplainedField{Row: 3, Name: "protocol", Raw: 2, Part: Metadata}, "protocol 2, 4th flow"},
		{ExplainedField{Row: 3, Name: "byte_count", Raw: 1234567, Part: Metadata}, "1234567 bytes in all, 4th flow"},
		{ExplainedField{Row: 3, Name: "packet_count", Raw: 12, Part: Metadata}, "12 packets in all, 4th flow"},
		{ExplainedField{Row: 3, Name: "offset_10", Raw: 25000, Part: Metadata, Packet: n(10)}, "packet 10 after 0.025 s, 4th flow"},
		{ExplainedField{Row: 3, Name: "size_3", Raw: 128, Part: Metadata, Packet: n(3)}, "packet 3 of 128 bytes, 4th flow"},
		{ExplainedField{Row: 3, Name: "size_3", Raw: -1, Part: Metadata, Packet: n(3)}, "no packet 3 (its size), 4th flow"},
		{ExplainedField{Row: 3, Name: "direction_1", Raw: 1, Part: Metadata, Packet: n(1)}, "packet 1 sent, 4th flow"},
		{ExplainedField{Row: 20, Name: "direction_1", Raw: 0, Part: Metadata, Packet: n(1)}, "packet 1 received, 21st flow"},
		{ExplainedField{Row: 3, Name: "payload_77", Raw: 'M', Part: Byte, Packet: n(2), Byte: n(37)}, "payload byte 37 of packet 2, 4th flow: 'M'"},
		{ExplainedField{Row: 3, Name: "payload_77", Raw: 0x1b, Part: Byte, Packet: n(2), Byte: n(37)}, "payload byte 37 of packet 2, 4th flow: 0x1b"},
		{ExplainedField{Row: 3, Name: "payload_1", Raw: -4, Part: Begin, Packet: n(1)}, "where the payload of packet 1 begins, 4th flow"},
		{ExplainedField{Row: 3, Name: "payload_9", Raw: -8, Part: End, Packet: n(1)}, "where the payload of packet 1 ends, 4th flow"},
		{ExplainedField{Row: 3, Name: "payload_900", Raw: -255, Part: Padding}, "padding behind the payload, place 900, 4th flow"},
		{ExplainedField{Row: 0, Name: "remote_port", Raw: -1, Part: Padding}, "padding of remote port, 1st flow"},
	} {
		if got := tt.field.Words(); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.field.Name, got, tt.want)
		}
	}
}

func TestTitle(t *testing.T) {
	of := func(s State) *State { return &s }
	hub := "hub"
	for _, tt := range []struct {
		state *State
		not   *string
		want  string
	}{
		{nil, nil, "Why plug"},
		{of(Known), &hub, "Why plug and not hub"},
		{of(Unknown), nil, "Unknown; its nearest guess: why plug"},
		{of(Likely), &hub, "Likely; its best guess: why plug and not hub"},
	} {
		if got := (&Explanation{State: tt.state, Label: "plug", WhyNot: tt.not}).Title(); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}

func TestWordsOfFacts(t *testing.T) {
	for _, tt := range []struct{ kind, value, want string }{
		{"dhcp_host", "HS110", "says it is HS110 by DHCP"},
		{"port_to", "udp/53", "sends to udp/53"},
		{"smoke", "signals", "smoke: signals"},
		{"maker", "100% Wood", "its MAC is one of 100% Wood"},
	} {
		if got := (&ExplainedFact{Kind: tt.kind, Value: tt.value}).Words(); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}

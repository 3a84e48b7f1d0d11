package notify

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// What a broker sends is taken up to a bound, however it is cut into pieces.
func TestBounded(t *testing.T) {
	long := strings.Repeat("x", mostAnswer)
	for _, tt := range []struct {
		name string
		look func() interface{ look([]byte) error }
		text string
		ok   bool
	}{
		{"MQTT's answers", newMQTT, "\x20\x02\x00\x00\x40\x02\x00\x01\xd0\x00", true},
		{"of the most bytes", newMQTT, "\x30\x80\x80\x04" + long + "\xd0\x00", true},
		{"of one more", newMQTT, "\x30\x81\x80\x04", false},
		{"of 256 MiB", newMQTT, "\x20\x02\x00\x00\x30\xff\xff\xff\x7f", false},
		{"without an end to the length", newMQTT, "\x30\x80\x80\x80\x80\x00", false},
		{"NATS' answers", newNATS, "INFO {}\r\n+OK\r\nMSG a 1 2\r\nMS\r\nPING\r\n", true},
		{"a message of the most bytes", newNATS, "MSG a 1 reply 65536\r\n" + long + "\r\nPONG\r\n", true},
		{"of one more", newNATS, "MSG a 1 65537\r\n", false},
		{"of no number", newNATS, "MSG a 1 1e9\r\n", false},
		{"with headers", newNATS, "HMSG a 1 12 99999999\r\n", false},
		{"in a message", newNATS, "MSG a 1 19\r\nMSG a 1 99999999\r\n\r\n", true},
		{"right behind one", newNATS, "MSG a 1 1\r\n1\nMSG a 1 99999999\r\n", false},
		{"a line without an end", newNATS, "INFO " + long, false},
	} {
		for _, size := range []int{1, 7, len(tt.text)} {
			if err := inPieces(tt.look(), tt.text, size); (err == nil) != tt.ok {
				t.Errorf("%s, in pieces of %d: %v", tt.name, size, err)
			}
		}
	}
}

func newMQTT() interface{ look([]byte) error } { return &mqttPackets{} }
func newNATS() interface{ look([]byte) error } { return &natsLines{} }

func inPieces(l interface{ look([]byte) error }, text string, size int) (err error) {
	for err == nil && text != "" {
		n := min(size, len(text))
		err, text = l.look([]byte(text[:n])), text[n:]
	}
	return err
}

// A broker that is mad is hung up on before anything is kept of what it says.
func TestMadBroker(t *testing.T) {
	for kind, says := range map[string][]string{
		"mqtt": {"", "\x20\xff\xff\xff\x7f"}, "nats": {"INFO {}\r\n", "PONG\r\nMSG a 1 4000000000000\r\nx"},
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		url := kind + "://" + l.Addr().String()
		cfg := Config{NATS: NATS{URL: url, Subject: "house"}}
		if kind == "mqtt" {
			cfg = Config{MQTT: MQTT{URL: url, Topic: "a", Discovery: "b"}}
		}
		n := notifier(t, "", cfg, &house{})
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		for i, text := range says {
			if i > 0 { // when the client has said something itself
				if _, err := c.Read(make([]byte, 4096)); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := io.WriteString(c, text); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.SetReadDeadline(time.Now().Add(within / 2)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: it waits for more", kind)
		}
		c.Close()
		n.Close(0)
	}
}

// FuzzBounded has what a broker sends cut into pieces: that changes nothing of what is refused.
func FuzzBounded(f *testing.F) {
	f.Add("\x20\x02\x00\x00\x30\xff\xff\xff\x7f", uint8(3))
	f.Add("INFO {}\r\nMSG a 1 2\r\nMS\r\nHMSG a 1 12 99999999\r\n", uint8(5))
	f.Fuzz(func(t *testing.T, text string, size uint8) {
		for _, look := range []func() interface{ look([]byte) error }{newMQTT, newNATS} {
			whole, pieces := look().look([]byte(text)), inPieces(look(), text, max(1, int(size)))
			if (whole == nil) != (pieces == nil) {
				t.Errorf("as a whole: %v, in pieces of %d: %v", whole, size, pieces)
			}
		}
	})
}

package packet

import (
	"bytes"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// Another decoder reads what the builders write.
func TestBuildersAgainstGopacket(t *testing.T) {
	body := Payload(33)
	for _, tt := range []struct {
		name  string
		frame []byte
		ports [2]uint16
	}{
		{"udp over ipv4", Ethernet(IPv4Type, IPv4(IP{Proto: UDPProto, Options: make([]byte, 8)}, UDP(5000, 5001, body))), [2]uint16{5000, 5001}},
		{"tcp over ipv6 in two tags", Ethernet(QinQType, VLAN(7, VLANType, VLAN(8, IPv6Type, IPv6(IP{Proto: TCPProto}, TCP(5000, 443, body))))), [2]uint16{5000, 443}},
		{"udp behind extension headers", Ethernet(IPv6Type, IPv6(IP{Proto: HopByHop},
			Extension(DestOpts, 1, Extension(UDPProto, 0, UDP(1, 2, body))))), [2]uint16{1, 2}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := gopacket.NewPacket(tt.frame, layers.LayerTypeEthernet, gopacket.Default)
			if e := p.ErrorLayer(); e != nil {
				t.Fatal(e.Error())
			}
			eth := p.LinkLayer().(*layers.Ethernet)
			if !bytes.Equal(eth.SrcMAC, DeviceMAC[:]) || !bytes.Equal(eth.DstMAC, RouterMAC[:]) {
				t.Errorf("MACs %v > %v", eth.SrcMAC, eth.DstMAC)
			}
			var got [2]uint16
			switch l := p.TransportLayer().(type) {
			case *layers.UDP:
				got = [2]uint16{uint16(l.SrcPort), uint16(l.DstPort)}
			case *layers.TCP:
				got = [2]uint16{uint16(l.SrcPort), uint16(l.DstPort)}
			}
			if got != tt.ports || !bytes.Equal(p.TransportLayer().LayerPayload(), body) {
				t.Errorf("ports %v, payload %x, want %v and %x", got, p.TransportLayer().LayerPayload(), tt.ports, body)
			}
		})
	}
}

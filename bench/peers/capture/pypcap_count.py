"""pypcap + dpkt: pypcap_count.py IFACE [--ring]. Immediate mode, as the paper has it, which
leaves libpcap a ring of few slots; --ring takes 32 MB, read 20 times a second."""

import sys

import dpkt
import pcap
from counting import Counter

counter = Counter()
if "--ring" in sys.argv:
    sniffer = pcap.pcap(name=sys.argv[1], immediate=False, timeout_ms=50, buffer_size=32 << 20)
else:
    sniffer = pcap.pcap(name=sys.argv[1], immediate=True)
for _, packet in sniffer:
    ip = dpkt.ethernet.Ethernet(packet).data
    if isinstance(ip, dpkt.ip.IP) and ip.p == dpkt.ip.IP_PROTO_TCP:
        counter.tcp += 1
    elif isinstance(ip, dpkt.ip.IP) and ip.p == dpkt.ip.IP_PROTO_UDP:
        counter.udp += 1
    else:
        counter.other += 1

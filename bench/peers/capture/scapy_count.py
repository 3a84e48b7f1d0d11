"""Scapy: scapy_count.py IFACE."""

import sys

from counting import Counter
from scapy.all import TCP, UDP, sniff

counter = Counter()


def count(packet):
    if packet.haslayer(TCP):
        counter.tcp += 1
    elif packet.haslayer(UDP):
        counter.udp += 1
    else:
        counter.other += 1


sniff(iface=sys.argv[1], prn=count, store=0)

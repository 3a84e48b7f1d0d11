"""Pyshark: pyshark_count.py IFACE. It starts tshark, and that dumpcap."""

import os
import signal
import sys

import pyshark
from counting import Counter


class TreeCounter(Counter):
    def stop(self):
        os.killpg(0, signal.SIGKILL)


os.setpgid(0, 0)
counter = TreeCounter()


def count(packet):
    if hasattr(packet, "tcp"):
        counter.tcp += 1
    elif hasattr(packet, "udp"):
        counter.udp += 1
    else:
        counter.other += 1


pyshark.LiveCapture(interface=sys.argv[1]).apply_on_packets(count)

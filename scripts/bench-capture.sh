#!/bin/sh
# The sensor beside tools that capture packets: installs them (apt; PyPI and what is
# compiled here: build/capture) and runs `iotsense bench capture` with the flags given.
# The page and capture.json are in build/capture-report.
set -eu
cd "$(dirname "$0")/.."

dir=build/capture
source=bench/peers/capture
headers=$(python3 -c 'import sysconfig; print(sysconfig.get_path("include"))' 2>/dev/null || echo /usr/include/python3)
scripts/need.sh python3 cc:gcc /usr/include/pcap/pcap.h:libpcap-dev "$headers/Python.h:python3-dev" \
  tcpdump tshark iperf3 /usr/sbin/softflowd:softflowd
scripts/peers.sh capture
newer() { [ -n "$(find "$2" -newer "$1" 2>/dev/null)" ] || [ ! -e "$1" ]; }
if newer $dir/libpcap_count $source/libpcap_count.c; then
  cc -O2 -Wall -Wextra -Werror -o $dir/libpcap_count $source/libpcap_count.c -lpcap
fi
if newer $dir/gopacket_count $source/gopacket; then
  scripts/patiently.sh "compiling gopacket's" scripts/go -C $source/gopacket build -trimpath -o "$PWD/$dir/gopacket_count" .
fi
python=$dir/bin/python
# What each tool is, for the report: its name, then its version.
{
  "$python" -c '
from importlib.metadata import version as v
import platform
on = "on Python " + platform.python_version()
print("pyshark", v("pyshark"), on, end=", ")
' && tshark --version 2>/dev/null | head -n 1
  "$python" -c '
from importlib.metadata import version as v
import platform
on = "on Python " + platform.python_version()
print("scapy", v("scapy"), on)
for name in "pypcap", "pypcap-ring":
    print(name, v("pypcap"), "dpkt", v("dpkt"), on)
print("nfstream", v("nfstream"), on)
'
  echo "tcpdump $(tcpdump --version 2>&1 | sed -n 's/^tcpdump version //p; s/^libpcap version/libpcap/p' | paste -sd ' ')"
  echo "libpcap $(tcpdump --version 2>&1 | sed -n 's/^libpcap version //p')"
  echo "gopacket $(sed -n 's/^require github.com.gopacket.gopacket //p' $source/gopacket/go.mod), $(scripts/go env GOVERSION)"
  echo "softflowd $(dpkg-query -W -f '${Version}' softflowd 2>/dev/null || echo unknown)"
} >$dir/versions.txt
exec scripts/root.sh bin/iotsense bench capture --report build/capture-report "$@"

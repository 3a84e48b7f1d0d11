/* Counts packets by protocol with libpcap: libpcap_count IFACE. */
#include <pcap/pcap.h>
#include <signal.h>
#include <stdio.h>

static pcap_t *handle;
static unsigned long long tcp, udp, other;

static void stop(int signal)
{
	(void)signal;
	pcap_breakloop(handle);
}

/* Ethernet, IPv4, and IPv6 without extension headers. */
static void count(unsigned char *user, const struct pcap_pkthdr *header, const unsigned char *frame)
{
	unsigned char protocol = 0;

	(void)user;
	if (header->caplen >= 34 && frame[12] == 0x08 && frame[13] == 0x00)
		protocol = frame[23];
	else if (header->caplen >= 54 && frame[12] == 0x86 && frame[13] == 0xdd)
		protocol = frame[20];
	if (protocol == 6)
		tcp++;
	else if (protocol == 17)
		udp++;
	else
		other++;
}

int main(int argc, char **argv)
{
	char error[PCAP_ERRBUF_SIZE] = "";
	struct sigaction action = { .sa_handler = stop };

	if (argc != 2) {
		fprintf(stderr, "usage: %s IFACE\n", argv[0]);
		return 2;
	}
	handle = pcap_open_live(argv[1], 65535, 1, 50, error);
	if (!handle || pcap_datalink(handle) != DLT_EN10MB) {
		fprintf(stderr, "%s: %s\n", argv[1], *error ? error : "not Ethernet");
		return 1;
	}
	sigaction(SIGTERM, &action, NULL);
	if (pcap_loop(handle, -1, count, NULL) == PCAP_ERROR) {
		fprintf(stderr, "%s: %s\n", argv[1], pcap_geterr(handle));
		return 1;
	}
	printf("packets %llu tcp %llu udp %llu other %llu\n", tcp + udp + other, tcp, udp, other);
	return 0;
}

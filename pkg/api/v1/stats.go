package v1

// This file declares each counter, once: its JSON key, what it means, what to do about
// it, and what it is the sum of. Text, log, metrics and documents come from here (counters.go).

// Stats is the answer to `iotsense stats`.
type Stats struct {
	Sensor            string           `json:"sensor" means:"the process that counts: another after each start, and with it counters begin anew"`
	UptimeS           float64          `json:"uptime_s" metric:"gauge" means:"seconds since the start"`
	Model             *string          `json:"model" means:"in words; null: records only"`
	Interfaces        []Interface      `json:"interfaces" means:"those watched"`
	Packets           PacketStats      `json:"packets" means:"what became of every packet, in wire packets"`
	Protocols         ProtocolStats    `json:"protocols" means:"packets.in_closed by IP protocol"`
	Samples           SampleStats      `json:"samples" means:"a life's first packets with their payload"`
	Flows             FlowStats        `json:"flows" means:"in lives"`
	Records           uint64           `json:"records" means:"records made"`
	IncompleteRecords uint64           `json:"incomplete_records" of:"records" means:"that lost a sample" do:"see samples.ring_full"`
	Inferences        uint64           `json:"inferences" means:"runs of the model"`
	DroppedVerdicts   uint64           `json:"dropped_verdicts" means:"verdicts of run that nobody read in time: 8,192 wait, then the oldest go" do:"read faster; packets, records and the socket's answers do not wait for them"`
	EvictedDevices    uint64           `json:"evicted_devices" means:"devices forgotten for want of room" do:"raise --max-devices; their open flows are still counted"`
	Facts             FactStats        `json:"facts" means:"what devices say of themselves"`
	Explanations      ExplanationStats `json:"explanations" means:"with run --explain-rate; else all are 0"`
	Registry          RegistryStats    `json:"registry" means:"what is kept of devices beyond the process, with --state"`
	Recording         RecordingStats   `json:"recording" means:"of records to learn from, with --record; else all are 0"`
	Clients           ClientStats      `json:"clients" means:"who asks on the socket and over TCP"`
	Sinks             SinkStats        `json:"sinks" means:"what is told to others, with sinks set"`
	Export            ExportStats      `json:"export" means:"flow records that are sent away as they end"`
	Ring              RingStats        `json:"ring" means:"the buffer from the kernel programs to this process"`
	MapsBytes         uint64           `json:"maps_bytes" metric:"gauge" means:"memory that the kernel programs' maps take, the ring's among them; 0: the kernel does not say"`
	Goroutines        uint64           `json:"goroutines" metric:"gauge" means:"tasks of this process (Go's goroutines), at work or waiting"`
	UserCPUS          float64          `json:"user_cpu_s" means:"seconds that this process took in user space"`
	KernelNSTotal     *uint64          `json:"kernel_ns_total" means:"ns spent in the kernel programs; null without --kernel-stats"`
	KernelRuns        *uint64          `json:"kernel_runs" means:"runs of these; null without --kernel-stats"`
}

// PacketStats says what became of every packet, in wire packets. The sums hold
// exactly when traffic has stopped; see [Check].
type PacketStats struct {
	Seen       uint64 `json:"seen" sum:"counted not_ip malformed table_full duplicate" means:"every packet, before its outcome is looked at"`
	Counted    uint64 `json:"counted" metric:"outcome" sum:"in_closed in_open" means:"belongs to a life of a flow"`
	NotIP      uint64 `json:"not_ip" metric:"outcome" means:"ARP, EAPOL, LLC but for IP in SNAP, PPPoE control, ..." do:"nothing: no record is made of these"`
	Malformed  uint64 `json:"malformed" metric:"outcome" means:"link or IP header incomplete or impossible" do:"look at the sender"`
	TableFull  uint64 `json:"table_full" metric:"outcome" means:"would open a flow, and that was refused" do:"look for a scan; raise --max-flows (see below)"`
	Duplicate  uint64 `json:"duplicate" metric:"outcome" means:"another attached interface carried this direction of the flow first" do:"nothing, or attach to fewer interfaces (see below)"`
	Truncated  uint64 `json:"truncated" of:"counted" means:"frame shorter than its IP length claims" do:"capture with a longer snap length"`
	Fragment   uint64 `json:"fragment" of:"counted" means:"first or later fragment" do:"nothing: later ones have no ports"`
	Late       uint64 `json:"late" of:"counted" means:"met a life that was being closed" do:"nothing: it opened the flow's next life"`
	InOpen     uint64 `json:"in_open" metric:"gauge" means:"of lives that go on"`
	InClosed   uint64 `json:"in_closed" sum:"with_device no_device" means:"of lives that have ended"`
	WithDevice uint64 `json:"with_device" means:"of ended lives with a device end"`
	NoDevice   uint64 `json:"no_device" means:"of ended lives without one" do:"see --local if devices are missing"`
}

// ProtocolStats are wire packets of ended lives; together they are
// PacketStats.InClosed.
type ProtocolStats struct {
	TCP   uint64 `json:"tcp" means:"TCP"`
	UDP   uint64 `json:"udp" means:"UDP"`
	ICMP  uint64 `json:"icmp" means:"ICMP and ICMPv6"`
	Other uint64 `json:"other" means:"every other protocol"`
}

// SampleStats counts samples.
type SampleStats struct {
	Sent     uint64 `json:"sent" metric:"outcome" means:"written to the ring for user space"`
	RingFull uint64 `json:"ring_full" metric:"outcome" means:"lost, the ring was full: totals stay exact, the record is marked incomplete and enters no window" do:"raise --ring-size"`
}

// RingStats says how full the ring is.
type RingStats struct {
	SizeBytes    uint64 `json:"size_bytes" metric:"gauge" means:"its size, as --ring-size"`
	WaitingBytes uint64 `json:"waiting_bytes" metric:"gauge" means:"in it and not yet read, when asked"`
	MostBytes    uint64 `json:"most_bytes" metric:"gauge" means:"the most that waited when it was read" do:"near ring.size_bytes: raise --ring-size, before samples are lost"`
}

// FlowStats counts lives of flows.
type FlowStats struct {
	Open        uint64 `json:"open" metric:"gauge" means:"going on"`
	Closed      uint64 `json:"closed" means:"ended"`
	Refused     uint64 `json:"refused" means:"not opened, one for each packet of table_full" do:"see below"`
	OverShare   uint64 `json:"over_share" of:"refused" means:"the MAC holds as many flows as one may" do:"one device scans or is scanned; or it needs a larger table"`
	OverReserve uint64 `json:"over_reserve" of:"refused" means:"what is left is for known devices" do:"a flood of new devices"`
	Collided    uint64 `json:"collided" means:"found by the same fingerprint as another: kept at a second place, or refused if that was taken too" do:"nothing, it takes billions of flows; many: start again, which draws other fingerprints"`
}

// FactStats counts what became of payloads that facts come from, and of facts.
type FactStats struct {
	Payloads  uint64 `json:"payloads" means:"of protocols that tell what a device is; with --no-facts none, and no fact"`
	Cut       uint64 `json:"cut" of:"payloads" means:"read as far as the sample goes" do:"nothing: it may tell less"`
	Malformed uint64 `json:"malformed" of:"payloads" means:"not what their port or first bytes promise" do:"nothing, but for many: look at the sender"`
	Dropped   uint64 `json:"dropped" means:"facts that made room for another of the device's, or of a packet that says more than a device can have" do:"nothing: the commonest kind's that was said least recently goes"`
	Forgotten uint64 `json:"forgotten" means:"devices whose facts made room for another's" do:"raise --max-devices"`
}

// ExplanationStats counts explanations, and what is kept for them.
type ExplanationStats struct {
	Made      uint64 `json:"made" means:"of verdicts of the sample, and those that were asked for"`
	Dropped   uint64 `json:"dropped" means:"verdicts of the sample without: a twentieth of a processor is theirs, and that was used up, or it failed" do:"lower --explain-rate; look in the log for errors"`
	Devices   uint64 `json:"devices" metric:"gauge" means:"whose last flows are kept"`
	Bytes     uint64 `json:"bytes" metric:"gauge" means:"that these flows take"`
	Forgotten uint64 `json:"forgotten" means:"devices whose flows made room for others': 80 MB is for them and for what can be computed again" do:"nothing: after as many more flows it can be explained again"`
}

// Interface is a configured interface.
type Interface struct {
	Name     string  `json:"name" means:"its present one, where it was renamed"`
	Hook     string  `json:"hook" means:"where packets are seen, as taken; as configured while not attached"`
	Attached bool    `json:"attached" metric:"gauge" means:"packets are seen"`
	Gaps     uint64  `json:"gaps" means:"how often the programs were off it while it was there: others took them off, or they could not be attached" do:"look in the log who takes them off"`
	GapS     float64 `json:"gap_s" means:"for how many seconds in all"`
}

// RegistryStats counts what became of writes to the registry's file.
type RegistryStats struct {
	Writes    uint64 `json:"writes" means:"to the file of --state; 0 without it"`
	Failures  uint64 `json:"write_failures" means:"writes that failed: what has changed stays in memory and is tried again" do:"look in the log: mostly the disk is full"`
	Unwritten uint64 `json:"unwritten" means:"events lost: 4,096 others came before they could be written" do:"see registry.write_failures; or a flood of new devices"`
}

// RecordingStats counts what became of records that are kept to learn from.
type RecordingStats struct {
	Written  uint64 `json:"written" means:"records, to files of --record"`
	Shed     uint64 `json:"shed" means:"records left out for others: of a device's hour 120 are kept, fewer where there is no room" do:"nothing, or raise --record-size"`
	Dropped  uint64 `json:"dropped" means:"records that came too fast: 4,096 wait, then the oldest go" do:"nothing: others are as good to learn from"`
	Failures uint64 `json:"failures" means:"writes that failed: their records are lost" do:"look in the log: mostly the disk is full"`
	Bytes    uint64 `json:"bytes" metric:"gauge" means:"that the files take"`
}

// ClientStats counts those who ask.
type ClientStats struct {
	Streams uint64 `json:"streams" metric:"gauge" means:"streams of events that are open: 16 at most"`
	Cut     uint64 `json:"cut" means:"streams that were not read in time, or made room for another peer's, and connections that stood still while others waited" do:"nothing, but for many: look who asks"`
	Refused uint64 `json:"refused" means:"streams and connections beyond those that there may be" do:"nothing, but for many: look who asks"`
}

// SinkStats count what is told to others on the sensor's own account, in events up to Dropped, then
// in messages.
type SinkStats struct {
	Events  uint64 `json:"events" means:"events that came, of all kinds"`
	Held    uint64 `json:"held" metric:"gauge" means:"new devices of which nothing is told until they have a name, or time is up"`
	Quiet   uint64 `json:"quiet" of:"events" means:"left out by the rules against noise"`
	Dropped uint64 `json:"dropped" of:"events" means:"made room for others before a rule could be asked" do:"nothing: a flood of new devices"`
	Waiting uint64 `json:"waiting" metric:"gauge" means:"messages that wait to be delivered" do:"look in the log why they are not"`
	Sent    uint64 `json:"sent" means:"messages delivered"`
	Retries uint64 `json:"retries" means:"attempts that failed, and are made again"`
	Refused uint64 `json:"refused" means:"messages that the other side does not take: given up" do:"look in the log; mostly the address or the token is wrong"`
	Lost    uint64 `json:"lost" means:"messages that made room for others: 1,000 or 4 MiB wait for each sink" do:"see sinks.waiting"`
}

// ExportStats count flow records that are sent away as they end.
type ExportStats struct {
	IPFIX     IPFIXStats     `json:"ipfix" means:"to the collector of --ipfix; without it all are 0"`
	FlowsJSON FlowsJSONStats `json:"flows_json" means:"to the file of --flows-json; without it all are 0"`
}

// IPFIXStats count records that go to a collector.
type IPFIXStats struct {
	Sent     uint64 `json:"sent" means:"records in messages that were sent"`
	Dropped  uint64 `json:"dropped" means:"records that made room for others: 8,192 wait while a collector over TCP is away; and what waited at the end" do:"see export.ipfix.failures"`
	Lost     uint64 `json:"lost" means:"records of messages that could not be sent" do:"see export.ipfix.failures"`
	Failures uint64 `json:"failures" means:"connections that failed or broke, and messages that nobody listens to or that could not be sent" do:"look in the log, and whether the collector runs"`
}

// FlowsJSONStats count records that become lines of a file.
type FlowsJSONStats struct {
	Written uint64 `json:"written" means:"records, a line each"`
	Dropped uint64 `json:"dropped" means:"records that came faster than the disk: 8,192 wait, then the oldest go" do:"nothing, or name a faster disk"`
	Lost    uint64 `json:"lost" means:"records that could not be written" do:"look in the log: mostly the disk is full"`
}

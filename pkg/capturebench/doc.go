// Package capturebench measures what it costs to watch an interface: programs that
// capture packets, and the sensor beside them, each at the same traffic. It is the
// comparison of "Performance Evaluation of Python Tools to Capture Packets in
// Resource-Constrained Devices" (Silva and Batista), with rows for the sensor.
//
// In go tools ([Tool]), scenarios ([Scenario]) and a [Config]; out comes a [Result]:
// every run, and medians with ranges. A run starts one tool in a cgroup of its own
// ([Group]), waits until it captures and has come to rest, makes the scenario's traffic,
// waits until the tool has come to rest again, and ends it. What the interface itself
// has counted meanwhile is the truth that the tool's count is held against.
package capturebench

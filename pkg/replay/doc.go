// Package replay plays recorded frames through the real network code of this
// machine, on a private pair of interfaces that nothing else can reach.
//
// In go frames with their times, from a capture ([ReadCapture]) or from package
// lab; they come out on [Interface], in a network namespace of its own, as if
// the devices that sent them were on its link:
//
//	the devices' namespace          the sensor's namespace
//	  device0 ======================= sensor0  <- the sensor attaches here
//	  sends what the devices sent     sends what others sent to them
//
// So ingress of [Interface] carries one direction of each flow and egress the
// other, as on a gateway. The package knows no flow, record or model, and never
// touches an interface that it has not made.
package replay

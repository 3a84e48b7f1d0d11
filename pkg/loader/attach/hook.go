package attach

import (
	"fmt"
	"slices"
)

// Hook is where in the kernel packets are seen.
type Hook string

const (
	HookAuto       Hook = "auto"        // TCX, or clsact where the kernel has no TCX
	HookTCX        Hook = "tcx"         // both directions, Linux 6.6
	HookTC         Hook = "tc"          // both directions, a filter on a clsact qdisc
	HookTCIngress  Hook = "tc-ingress"  // received packets only, on a clsact or an ingress qdisc; never chosen unasked
	HookXDP        Hook = "xdp"         // received packets only, in the driver
	HookXDPGeneric Hook = "xdp-generic" // received packets only, after the driver; never chosen unasked
)

// ParseHook reads a hook's name.
func ParseHook(s string) (Hook, error) {
	h := Hook(s)
	if !slices.Contains([]Hook{HookAuto, HookTCX, HookTC, HookTCIngress, HookXDP, HookXDPGeneric}, h) {
		return "", fmt.Errorf("hook %q: want auto, tcx, tc, tc-ingress, xdp or xdp-generic", s)
	}
	return h, nil
}

// IsXDP reports whether only received packets are seen, by the XDP program.
func (h Hook) IsXDP() bool { return h == HookXDP || h == HookXDPGeneric }

// IsLink reports whether the programs are attached by links, which TCX and XDP have.
func (h Hook) IsLink() bool { return h == HookTCX || h.IsXDP() }
func (h Hook) isTC() bool   { return h == HookTC || h == HookTCIngress }

// SPDX-License-Identifier: Apache-2.0 OR MIT OR GPL-2.0-only
// Sonde's kernel programs: they tell who connects to whom, what passes, and what processes run. They change nothing: every program
// that is asked for a verdict says yes. Built by scripts/build-ebpf into sonde.bpf.o, which the agent embeds.

#include "lengths.h"
#include "process.h"
#include "tcp.h"
#include "udp.h"

// The kernel lets only programs under the GPL use some of these helpers.
char LICENSE[] SEC("license") = "Dual MIT/GPL";

// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

// What clang makes of bpf/ is committed: building the agent needs no clang. Debian keeps asm/types.h in a directory
// per machine, hence -idirafter. -mcpu=v3: atomic operations that return the old value (Linux 5.12).
//go:generate go tool bpf2go -tags linux -target bpfel -cflags "-O2 -g -mcpu=v3 -Wall -Werror -idirafter /usr/include/x86_64-linux-gnu" -no-global-types gateway bpf/gateway.c -- -Ibpf

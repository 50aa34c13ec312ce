// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package programs

// As for the product's: what clang makes is committed.
//go:generate go tool bpf2go -tags linux -target bpfel -cflags "-O2 -g -Wall -Werror -idirafter /usr/include/x86_64-linux-gnu" -no-global-types bench ../bpf/bench.c

// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package link

import (
	"os"
	"path/filepath"
)

// Where kernel settings are below. A container that is not privileged has /proc/sys read-only; the DaemonSet mounts the
// node's /proc/sys/net there once more, where it can be written to by who has CAP_NET_ADMIN.
const (
	processSysctls = "/proc/sys/net"
	mountedSysctls = "/host/proc/sys/net"
)

// mounted is mountedSysctls, but for tests.
var mounted = mountedSysctls

// sysctl is the file of a setting of this network namespace, for example sysctl("ipv4/conf/all/rp_filter").
func sysctl(path ...string) string {
	root := processSysctls
	if _, err := os.Stat(filepath.Join(mounted, "ipv4")); err == nil {
		root = mounted
	}
	return filepath.Join(append([]string{root}, path...)...)
}

// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package link

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/link/linktest"
)

// TestReadOnlySysctls makes a gateway port where /proc/sys is as in a container: read-only, and the network's part of it mounted
// elsewhere.
func TestReadOnlySysctls(t *testing.T) {
	ns, dir := linktest.New(t, "sysctls"), t.TempDir()
	defer func() { mounted = mountedSysctls }()
	ns.MustDo(t, func() error { // the thread ends with its mounts
		if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
			return err
		}
		err := errors.Join(
			unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
			unix.Mount(processSysctls, dir, "", unix.MS_BIND, ""),
			unix.Mount("/proc/sys", "/proc/sys", "", unix.MS_BIND, ""),
			unix.Mount("", "/proc/sys", "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""),
		)
		if err != nil {
			return err
		}
		if err := Ensure(gatewayPort); !errors.Is(err, unix.EROFS) {
			return fmt.Errorf("with a read-only /proc/sys alone: error is %w", err)
		}
		mounted = dir
		if err := Ensure(gatewayPort); err != nil {
			return err
		}
		raw, err := os.ReadFile(dir + "/ipv4/conf/" + gatewayPort.GatewayEnd + "/rp_filter")
		if err == nil && strings.TrimSpace(string(raw)) != "1" {
			err = fmt.Errorf("rp_filter is %s", raw)
		}
		return err
	})
}

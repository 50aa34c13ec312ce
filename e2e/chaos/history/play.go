// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package history

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/charts"
	"github.com/tombolo-io/tombolo/e2e/chaos/faulty"
	"github.com/tombolo-io/tombolo/e2e/chaos/witness"
	"github.com/tombolo-io/tombolo/e2e/chaos/world"
)

const (
	// Limit of the time from heal to exact convergence. The promise is ten seconds; a busy machine gets more.
	Limit = time.Minute
	// glance is how often to look whether everything is as wanted.
	glance = 200 * time.Millisecond
)

// errBroken tells a promise that was broken from a history that could not be played.
var errBroken = errors.New("a promise is broken")

// player plays steps.
type player struct {
	world  *world.World
	seen   *witness.Witness
	wanted *Wanted
	// lies are the proxies and resources whose watches must begin anew after the heal.
	lies map[*faulty.Proxy][]string
	// restored is true when the hub has forgotten something.
	restored bool
	// lost is true when a step has deleted what must be made again.
	lost bool
	// killed are the programs that a step has ended.
	killed map[*world.Process]bool
	// disturbed are those that a fault was for.
	disturbed map[*world.Process]bool
	hits      map[faulty.Kind]int
}

// play does one step. Errors are the world's own: what people do may fail, and is done again later.
func (p *player) play(ctx context.Context, s Step) error {
	p.touch(s)
	if !p.wanted.apply(s) {
		return nil
	}
	switch s.Kind {
	case Settle:
		_, err := p.settle(ctx)
		return err
	case Pause:
		sleep(ctx, s.Delay)
	case Heal:
		return p.heal(ctx)
	case Backup:
		return p.world.Backup(ctx)
	case Restore:
		p.restored = true
		for _, spoke := range p.world.Spokes {
			p.disturbed[spoke.Agent] = true
		}
		p.disturbed[p.world.Controller] = true
		return p.world.Restore(ctx)
	case Definition:
		p.lost = true
		return p.world.DeleteDefinition(ctx, s.Resource)
	case Namespace:
		p.lost = true
		return p.world.DeleteNamespace(ctx, s.Target)
	case Foreign:
		return p.estrange(ctx, p.world.Spoke(s.Target))
	case Home:
		return p.world.Home(ctx, p.world.Spoke(s.Target))
	case Inject, Lie, Cut:
		p.disturb(s)
	case Kill, Start, Stop, Go:
		return p.signal(s)
	default:
		_ = express(ctx, p.world.Hub.Admin, p.wanted) // once more when the world is healed
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// touch tells the witness what a person does.
func (p *player) touch(s Step) {
	switch s.Kind {
	case DropVpc, MoveVpc:
		p.seen.Touch("vpc/" + s.Vpc)
	case DropPeer:
		p.seen.Touch(witness.Peering(s.Vpc, s.Peer))
	case Namespace:
		p.seen.Touch("hub/" + s.Target)
	case Definition:
		for _, cluster := range p.world.Clusters {
			p.seen.Touch("hub/" + cluster)
		}
	case Restore: // what was wanted when the backup was made is what the hub goes by, until people say it again
		for _, vpc := range vpcs {
			p.seen.Touch("vpc/" + vpc)
		}
	}
}

func (p *player) proxy(s Step) *faulty.Proxy {
	spoke := p.world.Spoke(s.Target)
	switch {
	case spoke == nil:
		return p.world.HubProxy
	case s.Server == "own":
		return spoke.ToSpoke
	}
	return spoke.ToHub
}

func (p *player) disturb(s Step) {
	if s.Kind != Inject || s.Fault.Verb != "write" { // a write that fails breaks no watch
		p.disturbed[p.process(s.Target)] = true
	}
	proxy := p.proxy(s)
	switch s.Kind {
	case Inject:
		proxy.Inject(*s.Fault)
		if s.Fault.Kind == faulty.Oversize { // what a client has kept of that has the version of the right one, and would stay
			p.lies[proxy] = append(p.lies[proxy], proxy.Watched()...)
		}
	case Lie:
		proxy.Inject(faulty.Fault{Kind: s.Fault.Kind, Verb: "list", Resource: s.Resource})
		p.lies[proxy] = append(p.lies[proxy], s.Resource)
		proxy.Anew(s.Resource)
	case Cut:
		proxy.Cut()
	}
}

func (p *player) process(target string) *world.Process {
	if spoke := p.world.Spoke(target); spoke != nil {
		return spoke.Agent
	}
	return p.world.Controller
}

func (p *player) signal(s Step) error {
	process := p.process(s.Target)
	switch s.Kind {
	case Kill:
		p.killed[process] = true
		process.Kill()
	case Start:
		return process.Start()
	case Stop:
		process.Signal(syscall.SIGSTOP)
	case Go:
		process.Signal(syscall.SIGCONT)
	}
	return nil
}

// heal ends everything that goes wrong.
func (p *player) heal(ctx context.Context) error {
	var errs []error
	for _, spoke := range p.world.Spokes {
		errs = append(errs, p.world.Home(ctx, spoke), p.revive(spoke.Agent, spoke.ToHub, spoke.ToSpoke))
	}
	return errors.Join(append(errs, p.revive(p.world.Controller, p.world.HubProxy))...)
}

// estrange shows a cluster another hub, from the beginning of a list on: the versions of one hub mean nothing at another.
func (p *player) estrange(ctx context.Context, spoke *world.Spoke) error {
	p.disturbed[spoke.Agent] = true
	p.lies[spoke.ToHub] = append(p.lies[spoke.ToHub], "localrouters")
	err := p.world.Estrange(ctx, spoke)
	spoke.ToHub.Anew("localrouters")
	return err
}

// revive lets a program go on. One that nobody has killed must still be there.
func (p *player) revive(process *world.Process, proxies ...*faulty.Proxy) error {
	killed := p.killed[process]
	for _, proxy := range proxies {
		hits := p.mend(proxy)
		killed = killed || hits[faulty.KillBefore]+hits[faulty.KillAfter] > 0
	}
	process.Signal(syscall.SIGCONT)
	if !killed && !process.Alive() {
		return fmt.Errorf("%w: I0: a program has ended by itself: %s", errBroken, process.Tail(2000))
	}
	return process.Start()
}

// refresh starts anew what was disturbed: client-go waits longer after each broken watch, up to a minute, and forgets that
// only after two quiet ones. Histories would wait for each other.
func (p *player) refresh() error {
	var errs []error
	for process := range p.disturbed {
		process.Kill()
		errs = append(errs, process.Start())
	}
	return errors.Join(errs...)
}

func (p *player) mend(proxy *faulty.Proxy) map[faulty.Kind]int {
	proxy.Heal()
	hits := proxy.Hits()
	for kind, n := range hits {
		p.hits[kind] += n
	}
	for _, resource := range p.lies[proxy] {
		proxy.Anew(resource)
	}
	delete(p.lies, proxy)
	return hits
}

// settle waits until all is as wanted, and says how long that took.
func (p *player) settle(ctx context.Context) (time.Duration, error) {
	begin, last := time.Now(), errors.New("nothing was looked at")
	ctx, cancel := context.WithTimeout(ctx, Limit)
	defer cancel()
	for {
		var err error
		if p.lost {
			err = p.world.Repair(ctx)
		}
		if err == nil && p.restored {
			err = p.runbook(ctx)
		}
		if err == nil {
			err = converged(ctx, p.world, p.seen, p.wanted)
		}
		if err == nil {
			return time.Since(begin), nil
		}
		if broken := p.seen.Broken(false); len(broken) > 0 {
			return 0, nil // that says more than what follows from it
		}
		if ctx.Err() != nil {
			return 0, fmt.Errorf("%w: I4: not as wanted %s after the heal: %w", errBroken, Limit, last)
		}
		last = err
		sleep(ctx, glance)
	}
}

// runbook is what an admin is told to do after the hub was put back to a backup (status of the LocalRouter): delete the
// copies of what the hub has forgotten, and let the hub's older generations count.
func (p *player) runbook(ctx context.Context) error {
	if err := express(ctx, p.world.Hub.Admin, p.wanted); err != nil {
		return err
	}
	routers, err := checkHub(ctx, p.world, p.wanted)
	if err != nil {
		return err
	}
	for _, spoke := range p.world.Spokes {
		var copies spokev1alpha1.LocalRouterList
		if err := spoke.Admin.List(ctx, &copies, client.InNamespace(charts.Namespace)); err != nil {
			return err
		}
		for i := range copies.Items {
			c := &copies.Items[i]
			r := routers[spoke.Name][c.Name]
			p.seen.Touch("copy/" + spoke.Name + "/" + c.Name)
			if r == nil || r.Spec.VpcUID != c.Spec.VpcUID {
				err = errors.Join(err, client.IgnoreNotFound(spoke.Admin.Delete(ctx, c)))
				continue
			}
			before := c.DeepCopy()
			c.Annotations[spokev1alpha1.AnnotationHubGeneration] = "0"
			err = errors.Join(err, spoke.Admin.Patch(ctx, c, client.MergeFrom(before)))
		}
	}
	p.restored = err != nil
	return err
}

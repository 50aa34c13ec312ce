// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package federation

import (
	"fmt"
	"maps"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
)

// TestGrantedGoes: what is confirmed goes in as many passes as it needs, whatever else is lost in the meantime, and that is judged for itself.
func TestGrantedGoes(t *testing.T) {
	losses := func(from, to int) []*loss {
		var all []*loss
		for i := from; i < to; i++ {
			all = append(all, &loss{kind: kindRouter, key: Key(fmt.Sprintf("c/%d", i)), weight: weight{routers: 1}, what: fmt.Sprintf("deleted %d", i)})
		}
		return all
	}
	items := func(losses []*loss) map[string]bool {
		all := map[string]bool{}
		for _, l := range losses {
			all[l.item()] = true
		}
		return all
	}
	first := guard(&Brake{}, losses(0, 40), nil, weight{routers: 100}, 100)
	confirmed := guard(&Brake{Confirmed: first.Digest}, losses(0, 40), nil, weight{routers: 100}, 100)
	if confirmed.Held || !maps.Equal(confirmed.Granted, items(losses(0, 40))) {
		t.Fatalf("confirmed, and not granted: %+v", confirmed)
	}
	for name, test := range map[string]struct {
		reason        string
		losses, since []*loss
		held          map[string]bool
		granted       int
	}{
		"Rest":       {"a pass has done half of it", losses(20, 40), nil, nil, 20},
		"LittleMore": {"one more object loses something", losses(20, 41), nil, nil, 20},
		"MuchMore":   {"another removal is asked about, and the first goes on", losses(20, 70), nil, items(losses(40, 70)), 20},
		"InSteps":    {"what else has gone in the meantime counts", losses(30, 45), losses(45, 60), items(losses(40, 45)), 10},
		"Changed":    {"what loses something else than was confirmed is asked about", append(losses(20, 25), otherwise(losses(25, 45))...), nil, items(otherwise(losses(25, 45))), 5},
		"Done":       {"nothing is left of it", losses(40, 45), nil, nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := guard(&Brake{Granted: confirmed.Granted, Confirmed: first.Digest}, test.losses, test.since, weight{routers: 80}, 80)
			if test.granted == 0 && test.held == nil {
				if r != nil {
					t.Errorf("%s: %+v", test.reason, r)
				}
				return
			}
			if r == nil || r.Held != (test.held != nil) || len(r.Granted) != test.granted || r.Held && !maps.Equal(r.Items, test.held) {
				t.Errorf("%s: %+v", test.reason, r)
			}
		})
	}
}

func otherwise(losses []*loss) []*loss {
	for _, l := range losses {
		l.what = "loses something else"
	}
	return losses
}

// TestAfter: what was confirmed does not count as lost when it has gone.
func TestAfter(t *testing.T) {
	s := &Snapshot{}
	for _, name := range []string{"a", "b", "c"} {
		s.Routers = append(s.Routers, &spokev1alpha1.LocalRouter{ObjectMeta: metav1.ObjectMeta{Namespace: "east", Name: name}, Spec: spokev1alpha1.LocalRouterSpec{Routes: []string{"10.0.0.0/8", "11.0.0.0/8"}}})
	}
	r := &Removal{granted: []*loss{
		{kind: kindRouter, key: "east/a", weight: weight{routers: 1, ways: 2}}, {kind: kindRouter, key: "east/b", weight: weight{ways: 1}},
	}}
	want := Past{{kindRouter, "east/b"}: {routers: 1, ways: 1}, {kindRouter, "east/c"}: {routers: 1, ways: 2}}
	if got := r.After(s); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

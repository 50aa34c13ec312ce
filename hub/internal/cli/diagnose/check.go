// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package diagnose looks for what is wrong and says what to do. The facts are gathered once; each check is a pure function of them.
package diagnose

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tombolo-io/tombolo/hub/internal/cli/facts"
	"github.com/tombolo-io/tombolo/hub/internal/cli/terminal"
)

// APIVersion of the JSON form: fields are added to it, and none is taken away or changes its meaning.
const APIVersion = "cli.tombolo.io/v1"

// Report is what was looked at, and what was found.
type Report struct {
	APIVersion string `json:"apiVersion"`
	// Kind is "Diagnosis".
	Kind string `json:"kind"`
	// Context of the kubeconfig.
	Context string `json:"context,omitempty"`
	// State is the worst of all results.
	State terminal.Level `json:"state"`
	// Results in the order of the checks.
	Results []Result `json:"results"`
	// Unread is what could not be read.
	Unread []facts.Unread `json:"unread,omitempty"`
}

// Result of one check.
type Result struct {
	// Group of checks that belong together.
	Group string `json:"group"`
	// Check that was made, as a sentence that is true when all is well.
	Check string `json:"check"`
	// State: Well, Waiting (something to know) or Failed. It is Unknown when what the check needs could not be read.
	State terminal.Level `json:"state"`
	// Findings are what is not well.
	Findings []Finding `json:"findings,omitempty"`
}

// Unknown is the state of a check that could not be made.
const Unknown terminal.Level = "Unknown"

// Finding is one thing that is not well.
type Finding struct {
	// State: Waiting or Failed.
	State terminal.Level `json:"state"`
	// Subject is the object: "cluster east", "VpcPeering shop/one-two".
	Subject string `json:"subject"`
	// Cause is what is wrong with it.
	Cause string `json:"cause"`
	// Cure is what to do.
	Cure string `json:"cure"`
}

// check is one thing to look at.
type check struct {
	group string
	// name is a sentence that is true when all is well.
	name string
	// needs are the kinds that it looks at, as facts calls those that it could not read.
	needs []string
	run   func(*facts.Facts) []Finding
}

func failed(subject, cause, cure string) Finding {
	return Finding{State: terminal.Failed, Subject: subject, Cause: cause, Cure: cure}
}

func warning(subject, cause, cure string) Finding {
	return Finding{State: terminal.Waiting, Subject: subject, Cause: cause, Cure: cure}
}

// Sides that can be looked at.
const (
	SideHub     = "hub"
	SideCluster = "cluster"
)

// Of makes all checks that concern the side; with side "" all those that there is something of.
func Of(f *facts.Facts, side string) *Report {
	r := &Report{APIVersion: APIVersion, Kind: "Diagnosis", Context: f.Context, State: terminal.Well, Unread: f.Unread}
	checks := common
	if f.Hub && side != SideCluster {
		checks = append(slices.Clip(checks), hubChecks...)
	}
	if f.Cluster && side != SideHub {
		checks = append(slices.Clip(checks), clusterChecks...)
	}
	for _, c := range checks {
		result := c.result(f)
		r.Results = append(r.Results, result)
		r.State = terminal.Worse(r.State, result.State)
	}
	return r
}

func (c check) result(f *facts.Facts) Result {
	result := Result{Group: c.group, Check: c.name, State: terminal.Well}
	for _, unread := range f.Unread {
		for _, need := range c.needs {
			if unread.What == need {
				result.State = Unknown
				result.Findings = append(result.Findings, warning(unread.What, "could not be read: "+unread.Why, "ask with a user who may read it"))
			}
		}
	}
	if result.State == Unknown {
		return result
	}
	result.Findings = c.run(f)
	for _, finding := range result.Findings {
		result.State = terminal.Worse(result.State, finding.State)
	}
	return result
}

// Print writes the report, group by group. Quiet leaves away what is well.
func (r *Report) Print(w *terminal.Writer, quiet bool) {
	group, failures, warnings := "", 0, 0
	for _, result := range r.Results {
		for _, finding := range result.Findings {
			if finding.State == terminal.Failed {
				failures++
			} else {
				warnings++
			}
		}
		if quiet && result.State == terminal.Well {
			continue
		}
		if result.Group != group {
			if group != "" {
				w.Printf("\n")
			}
			group = result.Group
			w.Title(group)
		}
		result.print(w)
	}
	w.Printf("\n%d checks, %s, %s\n", len(r.Results), count(failures, "failure"), count(warnings, "warning"))
}

func (r Result) print(w *terminal.Writer) {
	level, mark := r.State, r.State.Mark()
	if level == Unknown {
		level, mark = terminal.Waiting, "?"
	}
	w.Printf("%s %s\n", w.Paint(level, mark), r.Check)
	for _, f := range r.Findings {
		w.Printf("    %s %s: %s\n", w.Paint(f.State, f.State.Mark()), f.Subject, strings.Join(strings.Fields(f.Cause), " "))
		w.Printf("      → %s\n", f.Cure)
	}
}

func count(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

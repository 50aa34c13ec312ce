// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package apis_test

import (
	"io/fs"
	"regexp"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/tombolo-io/tombolo/apis/crds"
)

// constraint is one thing that a CRD's schema demands of an object.
type constraint struct {
	kind string
	// path of the field, with [] for each list: "spec.cidrs[]".
	path string
	// keyword of the schema: "rule", "pattern", "maxLength", …
	keyword string
	// says are the pieces that the refusal's message contains, in any order.
	says []string
}

func (c constraint) String() string {
	return c.kind + " " + c.path + " " + c.keyword + ": " + strings.Join(c.says, " … ")
}

var listIndex = regexp.MustCompile(`\[\d+\]`)

// broken reports whether a cause in the apiserver's refusal is this constraint's.
func (c constraint) broken(kind string, cause metav1.StatusCause) bool {
	// The apiserver writes the root of the object as <nil>.
	field := strings.TrimPrefix(listIndex.ReplaceAllString(cause.Field, "[]"), "<nil>")
	if kind != c.kind || field != c.path {
		return false
	}
	for _, piece := range c.says {
		if !strings.Contains(cause.Message, piece) {
			return false
		}
	}
	return true
}

// constraints of every kind in apis/crds, without those of metav1.Condition,
// which are apimachinery's.
func constraints(t *testing.T) []constraint {
	t.Helper()
	var all []constraint
	for _, crd := range definitions(t) {
		for _, version := range crd.Spec.Versions {
			all = append(all, schemaConstraints(crd.Spec.Names.Kind, "", *version.Schema.OpenAPIV3Schema)...)
		}
	}
	return all
}

func definitions(t *testing.T) []apiextensionsv1.CustomResourceDefinition {
	t.Helper()
	names, err := fs.Glob(crds.Files, "*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var all []apiextensionsv1.CustomResourceDefinition
	for _, name := range names {
		text, err := crds.Files.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var crd apiextensionsv1.CustomResourceDefinition
		if err := yaml.UnmarshalStrict(text, &crd); err != nil {
			t.Fatalf("parse %s: %v", name, err)
		}
		all = append(all, crd)
	}
	return all
}

func schemaConstraints(kind, path string, s apiextensionsv1.JSONSchemaProps) []constraint {
	if strings.HasSuffix(path, ".conditions[]") {
		return nil
	}
	var all []constraint
	add := func(set bool, path, keyword string, says ...string) {
		if set {
			all = append(all, constraint{kind: kind, path: path, keyword: keyword, says: says})
		}
	}
	for _, rule := range s.XValidations {
		add(true, path, "rule", messagePieces(rule)...)
	}
	add(s.Pattern != "", path, "pattern", "should match")
	add(len(s.Enum) > 0, path, "enum", "supported values")
	add(s.Minimum != nil, path, "minimum", "should be greater than or equal to")
	add(s.Maximum != nil, path, "maximum", "should be less than or equal to")
	add(s.MinLength != nil, path, "minLength", "should be at least", "chars long")
	add(s.MaxLength != nil, path, "maxLength", "Too long")
	add(s.MinItems != nil, path, "minItems", "should have at least", "items")
	add(s.MaxItems != nil, path, "maxItems", "Too many")
	unique := s.XListType != nil && *s.XListType != "atomic"
	add(unique, path+"[]", "unique", "Duplicate value")

	for name, field := range s.Properties {
		all = append(all, schemaConstraints(kind, strings.TrimPrefix(path+"."+name, "."), field)...)
	}
	if s.Items != nil {
		all = append(all, schemaConstraints(kind, path+"[]", *s.Items.Schema)...)
	}
	return all
}

var celString = regexp.MustCompile(`"([^"]*)"`)

// messagePieces are the parts of a CEL rule's message that don't depend on the object.
func messagePieces(rule apiextensionsv1.ValidationRule) []string {
	if rule.MessageExpression == "" {
		return []string{rule.Message}
	}
	var pieces []string
	for _, literal := range celString.FindAllStringSubmatch(rule.MessageExpression, -1) {
		pieces = append(pieces, strings.Split(literal[1], "%s")...)
	}
	return pieces
}

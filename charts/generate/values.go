// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"strings"

	"go.yaml.in/yaml/v3"
)

// value of values.yaml, with what its comment says.
type value struct {
	key  string
	text string
	// limits is what the line @schema says, free that everything is taken below it.
	limits map[string]any
	free   bool
	node   *yaml.Node
	// values of a map whose keys are known.
	values []value
}

func readValues(file string) ([]value, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var document yaml.Node
	if err := yaml.Unmarshal(data, &document); err != nil {
		return nil, fmt.Errorf("parse %s: %w", file, err)
	}
	return valuesOf(document.Content[0])
}

func valuesOf(node *yaml.Node) ([]value, error) {
	var all []value
	for i := 0; i < len(node.Content); i += 2 {
		v, err := newValue(node.Content[i], node.Content[i+1])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", node.Content[i].Value, err)
		}
		all = append(all, v)
	}
	return all, nil
}

func newValue(key, node *yaml.Node) (value, error) {
	v := value{key: key.Value, node: node}
	// Of a comment with an empty line inside, only what stands right over the value is its own.
	comment := key.HeadComment[strings.LastIndex(key.HeadComment, "\n\n")+1:]
	var words []string
	for line := range strings.SplitSeq(comment, "\n") {
		line = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "#"))
		line = strings.TrimPrefix(line, "-- ") // as helm-docs wants it
		if limits, ok := strings.CutPrefix(line, "@schema "); ok {
			if err := yaml.Unmarshal([]byte(limits), &v.limits); err != nil {
				return v, fmt.Errorf("parse %s: %w", line, err)
			}
			continue
		}
		words = append(words, line)
	}
	v.text = strings.TrimSpace(strings.Join(words, " "))
	v.free = v.limits["free"] == true
	delete(v.limits, "free")
	if node.Kind == yaml.MappingNode && !v.free {
		values, err := valuesOf(node)
		v.values = values
		return v, err
	}
	if v.text == "" {
		return v, fmt.Errorf("say in a comment over it what it is for")
	}
	return v, nil
}

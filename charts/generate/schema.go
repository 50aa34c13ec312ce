// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"

	"go.yaml.in/yaml/v3"
)

var jsonTypes = map[string]string{"!!str": "string", "!!int": "integer", "!!bool": "boolean", "!!seq": "array", "!!map": "object"}

func schemaOf(chart string, values []value) ([]byte, error) {
	root, err := object(values)
	if err != nil {
		return nil, err
	}
	root["properties"].(map[string]any)["global"] = map[string]any{"description": "Helm hands it to charts that are part of another. Nothing reads it."}
	root["$schema"] = "http://json-schema.org/draft-07/schema#"
	root["title"] = "Values of " + chart
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	err = encoder.Encode(root)
	return text.Bytes(), err
}

func object(values []value) (map[string]any, error) {
	properties := map[string]any{}
	for _, v := range values {
		property, err := property(v)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", v.key, err)
		}
		properties[v.key] = property
	}
	return map[string]any{"type": "object", "additionalProperties": false, "properties": properties}, nil
}

func property(v value) (map[string]any, error) {
	schema := map[string]any{}
	if v.values != nil {
		below, err := object(v.values)
		if err != nil {
			return nil, err
		}
		schema = below
	} else {
		kind, ok := jsonTypes[v.node.Tag]
		if !ok {
			return nil, fmt.Errorf("type of the default %s is not known", v.node.Tag)
		}
		schema["type"] = kind
	}
	if v.text != "" {
		schema["description"] = v.text
	}
	maps.Copy(schema, v.limits)
	return schema, nil
}

// shown is a default value as the README has it.
func shown(node *yaml.Node) (string, error) {
	var plain any
	if err := node.Decode(&plain); err != nil {
		return "", err
	}
	text, err := json.Marshal(plain)
	return string(text), err
}

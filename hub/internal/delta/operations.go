// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package delta

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Operation is one of a JSON patch (RFC 6902).
type Operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

// MarshalJSON writes a value wherever there has to be one, be it empty.
func (o Operation) MarshalJSON() ([]byte, error) {
	if o.Op == "remove" {
		return json.Marshal(map[string]any{"op": o.Op, "path": o.Path})
	}
	return json.Marshal(map[string]any{"op": o.Op, "path": o.Path, "value": o.Value})
}

// plain is an object as JSON says it.
func plain(object any) (map[string]any, error) {
	text, err := json.Marshal(object)
	if err != nil {
		return nil, fmt.Errorf("encode %T: %w", object, err)
	}
	decoder, fields := json.NewDecoder(bytes.NewReader(text)), map[string]any{}
	decoder.UseNumber()
	if err := decoder.Decode(&fields); err != nil {
		return nil, fmt.Errorf("decode %T: %w", object, err)
	}
	return fields, nil
}

// Operations make after of before. Of a list they leave what is the same at its beginning and at its end.
func Operations(before, after map[string]any) []Operation { return fields(nil, "", before, after) }

func values(all []Operation, path string, before, after any) []Operation {
	switch was := before.(type) {
	case map[string]any:
		if is, ok := after.(map[string]any); ok && len(was) > 0 { // one that is empty here may not be there at the server
			return fields(all, path, was, is)
		}
	case []any:
		if is, ok := after.([]any); ok && len(was) > 0 {
			return items(all, path, was, is)
		}
	}
	if reflect.DeepEqual(before, after) {
		return all
	}
	return append(all, Operation{Op: "add", Path: path, Value: after})
}

var escape = strings.NewReplacer("~", "~0", "/", "~1")

func fields(all []Operation, path string, before, after map[string]any) []Operation {
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if _, stays := after[name]; !stays {
			all = append(all, Operation{Op: "remove", Path: path + "/" + escape.Replace(name)})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(after)) {
		all = values(all, path+"/"+escape.Replace(name), before[name], after[name])
	}
	return all
}

func items(all []Operation, path string, before, after []any) []Operation {
	from := 0
	for from < min(len(before), len(after)) && reflect.DeepEqual(before[from], after[from]) {
		from++
	}
	end := 0
	for end < min(len(before), len(after))-from && reflect.DeepEqual(before[len(before)-1-end], after[len(after)-1-end]) {
		end++
	}
	was, is := before[from:len(before)-end], after[from:len(after)-end]
	same := min(len(was), len(is))
	for i := range same {
		all = itemAt(all, path+"/"+strconv.Itoa(from+i), was[i], is[i])
	}
	for i := len(was) - 1; i >= same; i-- {
		all = append(all, Operation{Op: "remove", Path: path + "/" + strconv.Itoa(from+i)})
	}
	for i := same; i < len(is); i++ {
		all = append(all, Operation{Op: "add", Path: path + "/" + strconv.Itoa(from+i), Value: is[i]})
	}
	return all
}

// identities are the fields that tell items of lists apart.
var identities = []string{"name", "namespace", "type", "node", "cluster", "vpc", "vpcUID", "cidr", "value", "owner", "address", "priority", "match"}

// another is true for an item that is not the former one changed. A newer API may have given that one fields that this program does not know, and
// would leave them there.
func another(before, after any) bool {
	was, wasFields := before.(map[string]any)
	is, isFields := after.(map[string]any)
	return wasFields && isFields && slices.ContainsFunc(identities, func(name string) bool { return !reflect.DeepEqual(was[name], is[name]) })
}

// itemAt changes an item of a list, where to add would be to insert.
func itemAt(all []Operation, path string, before, after any) []Operation {
	if another(before, after) {
		return append(all, Operation{Op: "replace", Path: path, Value: after})
	}
	inner := values(nil, path, before, after)
	if len(inner) == 1 && inner[0].Path == path {
		inner[0].Op = "replace"
	}
	return append(all, inner...)
}

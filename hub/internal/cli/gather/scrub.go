// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package gather

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"regexp"
	"strings"
)

// removed stands where a secret was.
const removed = "(removed)"

// A rule finds secrets in text. Its groups: 1 stays before, the secret follows.
type rule struct {
	pattern *regexp.Regexp
	replace string
}

// secretName ends the name of what must not be told: a field, a flag, a variable, a header.
const secretName = `(?:password|passwd|passphrase|token|api[-_]?key|private[-_]?key|preshared[-_]?key|client[-_]?key(?:[-_]?data)?|client[-_]?secret|secret[-_]?key|secret[-_]?access[-_]?key|access[-_]?key|credentials?|authorization)`

var rules = []rule{
	// PEM, with line breaks as they are or escaped; one without an end goes on to the end of the text.
	{regexp.MustCompile(`(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|$)`), removed},
	// The rest of one whose begin was cut off, with or without the time before each line of a log.
	{regexp.MustCompile(`(?:(?:[0-9TZ:.+-]{20,} )?[A-Za-z0-9+/=]{1,76}(?:\r?\n|\\n))*(?:[0-9TZ:.+-]{20,} )?-----END [A-Z0-9 ]*PRIVATE KEY-----`), removed},
	// A JSON Web Token, as service accounts have, also without its signature.
	{regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{6,}(?:\.[A-Za-z0-9_-]*){1,2}`), removed},
	{regexp.MustCompile(`(?i)\b(bearer|basic)[ \t]+[A-Za-z0-9._~+/=-]{6,}`), "$1 " + removed},
	// A bootstrap token of Kubernetes.
	{regexp.MustCompile(`\b[a-z0-9]{6}\.[a-z0-9]{16}\b`), removed},
	// User and password in an address.
	{regexp.MustCompile(`(://)[^/\s:@"']*:[^/\s@"']+@`), "${1}" + removed + "@"},
	// name: value, name=value, "name":"value", --name value, in quotes or not, escaped or not.
	{regexp.MustCompile(`(?i)([\w.-]*` + secretName + `(?:\\?["'])?[ \t]*[:=][ \t]*)\\?"(?:[^"\\]|\\[^"])*\\?"`), `${1}"` + removed + `"`},
	{regexp.MustCompile(`(?i)([\w.-]*` + secretName + `(?:\\?["'])?[ \t]*[:=][ \t]*)'[^']*'`), "${1}'" + removed + "'"},
	{regexp.MustCompile(`(?i)([\w.-]*` + secretName + `[ \t]*[:=][ \t]*)[^\s"'\\(){}\[\],;][^\s"',;]*`), "${1}" + removed},
	{regexp.MustCompile(`(?i)(--?[\w-]*` + secretName + `[ \t]+)[^\s"'(-][^\s"']*`), "${1}" + removed},
}

// wireguardKey is 32 octets in base64. A private key can't be told from a public one, so both become a fingerprint: equal keys stay equal.
var wireguardKey = regexp.MustCompile(`(^|[^A-Za-z0-9+/=])([A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=)`)

// encoded is base64 that is long enough to hide something.
var encoded = regexp.MustCompile(`[A-Za-z0-9+/_-]{24,}={0,2}`)

// maxDepth of base64 in base64.
const maxDepth = 4

// Scrub takes secrets out of text: private keys, tokens, passwords, and base64 of any of them. It rather takes too much.
// A text that was scrubbed stays as it is.
func Scrub(text string) string { return scrub(text, maxDepth) }

func scrub(text string, depth int) string {
	for _, r := range rules {
		text = r.pattern.ReplaceAllString(text, r.replace)
	}
	text = wireguardKey.ReplaceAllStringFunc(text, func(found string) string {
		m := wireguardKey.FindStringSubmatch(found)
		return m[1] + fingerprint(m[2])
	})
	if depth == 0 {
		return text
	}
	return encoded.ReplaceAllStringFunc(text, func(found string) string {
		if hides(found, depth) {
			return removed
		}
		return found
	})
}

func fingerprint(key string) string {
	sum := sha256.Sum256([]byte(key))
	return "(key sha256:" + hex.EncodeToString(sum[:6]) + ")"
}

// hides is true for base64 of something that Scrub would change.
func hides(text string, depth int) bool {
	text = strings.TrimRight(text, "=")
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		// What was cut at its end may still be read up to there.
		for cut := range 4 {
			if cut > len(text) {
				break
			}
			plain, err := encoding.DecodeString(text[:len(text)-cut])
			if err == nil && printable(plain) {
				return scrub(string(plain), depth-1) != string(plain)
			}
		}
	}
	return false
}

// printable is true for what may be text: base64 of random octets is none.
func printable(data []byte) bool {
	for _, b := range data {
		if b < ' ' && b != '\n' && b != '\r' && b != '\t' || b == 0x7f {
			return false
		}
	}
	return len(data) > 0
}

// secretField matches names of fields, variables and flags whose whole value is a secret.
var secretField = regexp.MustCompile(`(?i)^-{0,2}[\w.-]*` + secretName + `$`)

// lastApplied is what kubectl apply wrote down: another copy of everything.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// ScrubObject takes secrets out of an object, in place: the data of Secrets wherever they are (also in a ManifestWork), fields and variables whose
// name says that they are secret, and what Scrub finds in any string. Who wrote which field goes too: it is long and tells nothing.
func ScrubObject(object map[string]any) {
	if kind, _ := object["kind"].(string); kind == "Secret" {
		hideValues(object, "data")
		hideValues(object, "stringData")
	}
	if metadata, ok := object["metadata"].(map[string]any); ok {
		delete(metadata, "managedFields")
		if annotations, ok := metadata["annotations"].(map[string]any); ok {
			delete(annotations, lastApplied)
		}
	}
	if name, ok := object["name"].(string); ok && secretField.MatchString(name) {
		if _, text := object["value"].(string); text { // an environment variable
			object["value"] = removed
		}
	}
	for key, value := range object {
		if text, ok := value.(string); ok && text != "" && secretField.MatchString(key) {
			object[key] = removed
			continue
		}
		object[key] = scrubValue(value)
	}
}

func hideValues(object map[string]any, field string) {
	values, ok := object[field].(map[string]any)
	if !ok {
		return
	}
	for key := range values {
		values[key] = removed
	}
}

func scrubValue(value any) any {
	switch v := value.(type) {
	case map[string]any:
		ScrubObject(v)
	case []any:
		for i := range v {
			// --token, then its value, as two arguments.
			if before, ok := at(v, i-1).(string); ok && strings.HasPrefix(before, "-") && secretField.MatchString(before) {
				if text, ok := v[i].(string); ok && !strings.HasPrefix(text, "-") {
					v[i] = removed
					continue
				}
			}
			v[i] = scrubValue(v[i])
		}
	case string:
		return Scrub(v)
	}
	return value
}

func at(list []any, i int) any {
	if i < 0 {
		return nil
	}
	return list[i]
}

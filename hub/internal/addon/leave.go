// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package addon

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"math"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	addonv1beta1 "open-cluster-management.io/api/addon/v1beta1"
)

// preDelete makes helm's hook before an uninstall one of OCM's. OCM runs Jobs only; what else is in such a hook (the
// Job's service account, say) goes with the rest.
//
// Who runs helm sees the Job fail, and runs it again. OCM tells nobody, and makes no other: so the Job never fails, but tries until it has
// succeeded.
//
// The Job's name says what the Job does: what a Job does can't be changed, and OCM's work agent would try in vain to
// apply other values, such as leave.force, to one that runs. With another name it makes another Job, and
// takes the first one away.
func preDelete(object *unstructured.Unstructured) error {
	if object.GetKind() != "Job" {
		return nil
	}
	if err := errors.Join(
		unstructured.SetNestedField(object.Object, int64(math.MaxInt32), "spec", "backoffLimit"),
		unstructured.SetNestedField(object.Object, "OnFailure", "spec", "template", "spec", "restartPolicy"),
	); err != nil {
		return fmt.Errorf("let Job %s try again: %w", object.GetName(), err)
	}
	text, err := json.Marshal(object.Object["spec"]) // sorts the keys
	if err != nil {
		return fmt.Errorf("encode Job %s: %w", object.GetName(), err)
	}
	sum := fnv.New32a()
	sum.Write(text)
	object.SetName(fmt.Sprintf("%s-%08x", object.GetName(), sum.Sum32()))
	annotate(object, addonv1beta1.AddonPreDeleteHookAnnotationKey, "")
	return nil
}

// isPreDelete tells the Jobs that are to run before the add-on goes.
func isPreDelete(object *unstructured.Unstructured) bool {
	_, is := object.GetAnnotations()[addonv1beta1.AddonPreDeleteHookAnnotationKey]
	return is
}

//go:build tools

// Package tools pins the kube-proxy that the tests of the data path run.
package tools

import (
	_ "k8s.io/kubernetes/cmd/kube-proxy"
)

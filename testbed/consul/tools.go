//go:build tools

// Package tools pins the Consul server that the tests run against.
package tools

import _ "github.com/hashicorp/consul"

// Package debug stands in for github.com/siderolabs/go-debug v0.5.0, which has no file for Go newer than 1.24.
// The debug server is off in a release build, so nothing is lost.
package debug

import "context"

// Enabled says whether the debug server is compiled in.
const Enabled = false

// RaceEnabled says whether the race detector is compiled in.
const RaceEnabled = false

// LogFunc receives the server's messages.
type LogFunc func(msg string)

// ListenAndServe does nothing: the debug server is not compiled in.
func ListenAndServe(context.Context, string, LogFunc) error { return nil }

// Package register registers no generator: the tree has none.
package register

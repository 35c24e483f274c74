module github.com/siderolabs/go-debug

go 1.24.0

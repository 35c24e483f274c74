module firstlight.dev/lab/cilium

go 1.24

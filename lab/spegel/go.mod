module firstlight.dev/lab/spegel

go 1.24

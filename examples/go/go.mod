module fanfare.dev/examples

go 1.26

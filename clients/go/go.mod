module fanfare.dev

go 1.26

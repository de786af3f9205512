module fixedpatch

go 1.24

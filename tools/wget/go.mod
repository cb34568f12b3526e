module github.com/engram-memory/engram/tools/wget

go 1.26.0

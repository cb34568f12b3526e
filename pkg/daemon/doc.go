// Package daemon wires the parts of Engram into the processes that run them: Gateway, Worker and Recall, each from a
// configuration and an Env to a running part that Close ends. The commands under cmd run one each; package node runs
// all three against an embedded server.
package daemon

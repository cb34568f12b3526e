// Package cluster breaks a composed Engram on purpose: it kills, stops and freezes containers, cuts hosts off from each other, slows
// their network down, and reaches the volumes. It asks Docker Engine by the docker command, and needs to be root on the
// engine's host, since what is done to a network is done inside the container's own namespace: connections that exist
// hang there, as they do when a cable is pulled, and are not reset.
package cluster

package gateway

// Reading is how many bytes of requests are being read.
func (g *Gateway) Reading() int { return int(g.bodies.used.Load()) }

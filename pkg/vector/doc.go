// Package vector holds the numeric kernels on embeddings.
package vector

// Package host is the processes of a network, each made of a configuration: a worker
// that joins one ([Join]), or a whole network in one process ([Start]). Nothing is global
// here and nothing is printed: a logger is given, what a person may want to know at once
// comes as a [Notice], and the context or a Close ends it. A validator alone is a
// [github.com/prytany/prytany/chain.Node], and a broker alone is package broker.
package host

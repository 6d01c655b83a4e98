// Package engine runs the calls of one node.
//
// Three values flow through it. A [Command] goes down: what the customer tells us. [Event]s come up: what we tell the
// customer. Audio goes across, from one [Leg]'s line to another's, and is moved by package media and the packages that
// own sockets; the engine only says who hears whom.
//
// A [Call] is one party connected to the platform. Its loop, one goroutine, owns all of its state; others hand it
// closures (Call.post) or wait for one (Call.visit). A loop never waits for another loop: what concerns two calls is
// posted to each, or visits one after the other, in the order of their ids, from a goroutine that is no loop.
//
// What a call does with its audio is an activity: play, gather, echo, wait, a bridge. It has one at a time, and the
// next one begins when the last has told its outcome. A list of instructions is the call's program; step runs it until
// something takes time. When the program runs out the application is asked once more, and then the call idles.
//
// The engine knows no SIP, no HTTP and no store: doors implement Leg and Dialer, and a Sink keeps the events.
package engine

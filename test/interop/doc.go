// Package interop lets programs that we did not write speak with the real Tipring: SIPp, with the scenarios in sipp/,
// and baresip, a phone.
package interop

// Package e2e holds stories: what a customer does with the real program, told in his words. Phones judge by what they
// hear, applications by what they are told.
package e2e

// Package view turns a Rollout and the objects around it into what a person or a script wants to know, and that into
// text.
//
// Invariant: Build and Render are pure. Build takes objects and gives a View, a type of its own with apiVersion and
// kind that stays as it is when status changes its form; Render takes a View, a Style and a time and gives text. No
// state is told by colour alone: there is always a word.
package view

"""Routing: which complete study goes to which model, and where the results go, by the operator's file of rules."""

"""The DICOM network as a server: C-ECHO, C-STORE and what else PS3.4 has for a store.

A thread serves each association with blocking reads, so that a data set goes from the socket to the disk in flat
memory. pynetdicom reads and writes the items of negotiation; its own reactor collects data sets in memory and polls.
"""

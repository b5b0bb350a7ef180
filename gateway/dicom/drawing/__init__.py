"""Findings as pictures: laid over their images and gathered on a contact sheet."""

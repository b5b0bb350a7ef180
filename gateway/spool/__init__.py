"""The bytes of a request while it is served: parts, anonymous files and pooled memory. No Flask here."""

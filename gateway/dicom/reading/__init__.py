"""From bytes to instances: a file opened, its header read, and where its pixels lie in the patient."""

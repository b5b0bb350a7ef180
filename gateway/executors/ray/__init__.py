"""Models as actors of a Ray cluster, which the supervisor reaches through one process, the only one that knows Ray.

Messages are those of model processes. Ray carries bytes of JSON and arrays of uint8, and never pickles an object that
a client or a model made.
"""

"""A plain Flask application that loads its model in each worker."""

import os

import numpy
from flask import Flask

app = Flask(__name__)
WEIGHTS = numpy.ones(int(os.environ["BENCH_WEIGHTS"]) << 20, numpy.uint8)
app.add_url_rule("/readyz", "readyz", lambda: {"weight": int(WEIGHTS[0])})

"""A plain Flask application that holds its model in each worker, as one writes it first."""

import os

import numpy
from flask import Flask

app = Flask(__name__)
WEIGHTS = numpy.ones(int(os.environ["BENCH_WEIGHTS"]) << 20, numpy.uint8)
app.add_url_rule("/readyz", "readyz", lambda: {"weight": int(WEIGHTS[0])})

"""The least that Flask can do: a view that returns a constant."""

from flask import Flask

app = Flask(__name__)
app.add_url_rule("/tiny", "tiny", lambda: "done", methods=["POST"])

"""``python -m models -s3D``: one example model on ``/``, as ``mock_server.py`` of the predecessor serves it."""

import argparse

from gateway import Gateway, serve
from models.app import MODELS, add

FLAGS = {
    "/segmentation-3d": ("-s3D", "--segmentation_model_3D", "a mask over a volume"),
    "/segmentation-2d": ("-s2D", "--segmentation_model_2D", "a heatmap for each image"),
    "/bounding-boxes": ("-b", "--bounding_box_model", "boxes and a measurement"),
    "/classification": ("-cl", "--classification_model", "labels for study and series"),
    "/secondary-capture": ("-sc", "--secondary_capture_model", "a DICOM secondary capture"),
}


def main() -> None:
    """Parse the flags and serve until a signal ends it."""
    parser = argparse.ArgumentParser(prog="python -m models", description=__doc__)
    group = parser.add_mutually_exclusive_group(required=True)
    for route, (short, long, text) in FLAGS.items():
        group.add_argument(short, long, dest="route", action="store_const", const=route, help=text)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("-p", "--port", type=int, default=8900, help="port to listen on (default: %(default)s)")
    options = parser.parse_args()
    app = Gateway(__name__)
    add(app, "/", MODELS[options.route])
    serve(app, host=options.host, port=options.port)


if __name__ == "__main__":
    main()

"""A service whose disk refuses files above 8 MiB: the kernel fails the write, as a full disk does."""

import resource

from gateway import Gateway

resource.setrlimit(resource.RLIMIT_FSIZE, (8 << 20, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
app = Gateway(__name__)
app.add_inference_route("/count", lambda json_input, instances, digest: ({"study_ml_json": {"n": len(instances)}}, []))

"""A service whose disk takes no file above 8 MiB: the kernel refuses to write on, as a full disk does."""

import resource

from gateway import Gateway

resource.setrlimit(resource.RLIMIT_FSIZE, (8 << 20, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
app = Gateway(__name__)

"""Arguments of a model: a study, its series, and the volume or the images in them."""

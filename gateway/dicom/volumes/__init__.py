"""What a model is given: a study, its series, and the volume or the images in them."""
